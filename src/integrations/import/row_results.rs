//! Results per row of an imported file: for reverting the import, for the report of refused rows, and for detecting
//! rows which match the same database row, however far apart.

use std::collections::HashMap;

use diesel::sql_types::{self, BigInt, Nullable};
use diesel::{PgConnection, QueryableByName};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::row::Row;
use super::writer::MatchedRows;
use crate::auth::Tenant;
use crate::base::error::{FieldError, Result};
use crate::db::schema::import_row_results;
use crate::db::{Statement, Tx};

/// Results per file row; a result's id is the row number times this, plus its slot.
const SLOTS: u64 = 8;
/// Slot of a company which was created because the row links it.
pub const COMPANY: u64 = 7;

/// The first and the last id of a run's results.
pub fn range(run: Uuid) -> [Uuid; 2] {
    [id(run, 0, 0), Uuid::from_u64_pair(run.as_u64_pair().0, u64::MAX)]
}

fn id(run: Uuid, number: u64, slot: u64) -> Uuid {
    Uuid::from_u64_pair(run.as_u64_pair().0, number * SLOTS + slot)
}

/// Number of the file row of a result.
pub fn number(id: Uuid) -> u64 {
    id.as_u64_pair().1 / SLOTS
}

/// Slot of a result among those of its file row.
pub fn slot(id: Uuid) -> u64 {
    id.as_u64_pair().1 % SLOTS
}

/// Derives an id from a key, in place of the id of the row which would have it.
pub fn of_key(key: &str) -> Uuid {
    Uuid::from_u128(xxhash_rust::xxh3::xxh3_128(key.as_bytes()))
}

/// Result for one database row.
pub struct Entry {
    pub outcome: &'static str,
    pub row: Uuid,
    /// Version after the change; for the outcome `planned` a hash of the file row's values.
    pub version: Option<i64>,
    /// Previous values of the changed fields.
    pub before: Option<Map<String, Json>>,
    /// Notes of the file row, with its offset and length in the file.
    pub notes: Option<(Vec<FieldError>, u64, u64)>,
}

impl Entry {
    pub fn created(row: Uuid) -> Self {
        Self { outcome: "created", row, version: Some(1), before: None, notes: None }
    }

    pub fn changed(row: Uuid, version: i64, before: Map<String, Json>) -> Self {
        Self { outcome: "changed", row, version: Some(version), before: Some(before), notes: None }
    }

    pub fn unchanged(row: Uuid) -> Self {
        Self { outcome: "unchanged", row, version: None, before: None, notes: None }
    }

    /// Adds the notes of file row `row`.
    pub fn noted(self, row: &Row) -> Self {
        let notes = row.parsed.as_ref().map(|parsed| parsed.notes.clone()).unwrap_or_default();
        Self { notes: (!notes.is_empty()).then_some((notes, row.offset, row.length)), ..self }
    }

    pub fn planned(key: Uuid, says: i64) -> Self {
        Self { outcome: "planned", row: key, version: Some(says), before: None, notes: None }
    }
}

/// Results of a chunk which are not written yet.
pub struct Records {
    run: Uuid,
    rows: Vec<Json>,
}

impl Records {
    pub fn new(run: Uuid) -> Self {
        Self { run, rows: Vec::new() }
    }

    /// Adds what file row `number` did to a database row.
    pub fn add(&mut self, number: u64, slot: u64, resource: &str, entry: Entry) {
        let Entry { outcome, row, version, before, notes } = entry;
        let mut record = json!({ "id": id(self.run, number, slot), "resource": resource, "outcome": outcome, "row_id": row,
            "version": version, "before": before });
        if let Some((notes, offset, length)) = notes {
            record["faults"] = json!(notes);
            record["place"] = offset.into();
            record["length"] = length.into();
        }
        self.rows.push(record);
    }

    /// Adds that file row `number` was refused, and where it is in the file.
    pub fn refused(&mut self, number: u64, resource: &str, faults: &[FieldError], offset: u64, length: u64) {
        self.rows
            .push(json!({ "id": id(self.run, number, 0), "resource": resource, "outcome": "refused", "faults": faults,
            "place": offset, "length": length }));
    }

    pub fn write(self, tx: &mut Tx<'_>, tenant: &Tenant) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut sql = Statement::new(
            "INSERT INTO import_row_results (business_id, id, row_id, resource, outcome, version, before, faults, place, length) SELECT ",
        );
        sql.bind(tenant.id())
            .sql(", id, row_id, resource, outcome, version, before, faults, place, length FROM jsonb_to_recordset(");
        sql.bind(Json::Array(self.rows)).sql(
            ") AS x (id uuid, row_id uuid, resource text, outcome text, version bigint, before jsonb, faults jsonb, place bigint, \
             length bigint)",
        );
        sql.run(tx)?;
        Ok(())
    }
}

/// A database row which the run has matched.
#[derive(QueryableByName)]
struct KnownRow {
    #[diesel(sql_type = sql_types::Uuid)]
    row_id: Uuid,
    /// Its first result.
    #[diesel(sql_type = sql_types::Uuid)]
    first_id: Uuid,
    #[diesel(sql_type = Nullable<BigInt>)]
    version: Option<i64>,
}

/// Returns which of `rows` the run has matched before, and with which file row.
pub fn matched(tx: &mut Tx<'_>, tenant: &Tenant, run: Uuid, rows: Vec<Uuid>) -> Result<MatchedRows> {
    Ok(known(tx, tenant, run, rows)?.into_iter().map(|(id, (number, _))| (id, number)).collect())
}

/// As [`matched`], with the recorded version or hash.
pub fn known(tx: &mut Tx<'_>, tenant: &Tenant, run: Uuid, rows: Vec<Uuid>) -> Result<HashMap<Uuid, (u64, i64)>> {
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let mut sql = Statement::new(
        "SELECT row_id, min(id::text)::uuid AS first_id, min(version) AS version FROM import_row_results WHERE business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND row_id IS NOT NULL AND row_id = ANY(").bind(rows);
    sql.sql(")").append(within(run)).sql(" GROUP BY row_id");
    let known = |row: KnownRow| (row.row_id, (number(row.first_id), row.version.unwrap_or_default()));
    Ok(sql.load(tx)?.into_iter().map(known).collect())
}

/// ` AND` condition for results of the run.
pub fn within(run: Uuid) -> Statement {
    let [first, last] = range(run);
    let mut sql = Statement::new(" AND id >= ");
    sql.bind(first).sql(" AND id <= ").bind(last);
    sql
}

/// Deletes some results of `run`; returns whether there may be more.
pub fn clear(tx: &mut Tx<'_>, tenant: &Tenant, run: Uuid) -> Result<bool> {
    const MAX_CLEARED: u32 = 20_000;
    Ok(delete(tx, tenant.id(), run, MAX_CLEARED)? == MAX_CLEARED as usize)
}

/// Deletes up to `most` results of `run`; returns how many.
pub fn delete(tx: &mut Tx<'_>, business: Uuid, run: Uuid, most: u32) -> Result<usize> {
    let mut sql = Statement::new("DELETE FROM import_row_results WHERE business_id = ");
    sql.bind(business).sql(" AND id = ANY(ARRAY(SELECT id FROM import_row_results WHERE business_id = ");
    sql.bind(business).append(within(run)).sql(" ORDER BY id LIMIT ").number(most);
    Ok(sql.sql("))").run(tx)?)
}

/// A database row which a file row created or changed.
#[derive(QueryableByName)]
#[diesel(table_name = import_row_results)]
pub struct ChangeRecord {
    pub id: Uuid,
    #[diesel(sql_type = sql_types::Uuid)]
    pub row_id: Uuid,
    pub resource: String,
    #[diesel(sql_type = BigInt)]
    pub version: i64,
    /// Previous values; `None`: the row was created.
    pub before: Option<Json>,
}

/// Returns at most `most` rows which `run` created or changed, with results before `last`, the latest first.
pub fn change_records(
    conn: &mut PgConnection,
    tenant: &Tenant,
    run: Uuid,
    last: Uuid,
    most: u32,
) -> Result<Vec<ChangeRecord>> {
    let mut sql =
        Statement::new("SELECT id, row_id, resource, version, before FROM import_row_results WHERE business_id = ");
    sql.bind(tenant.id()).append(within(run)).sql(" AND id < ").bind(last);
    sql.sql(" AND outcome IN ('created', 'changed') ORDER BY id DESC LIMIT ").number(most);
    Ok(sql.load(conn)?)
}
