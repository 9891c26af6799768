//! What became of each row of a file: so that an import can be taken back, refused rows be told of, and rows that mean the
//! same be noticed however far apart they are.

use std::collections::HashMap;

use diesel::PgConnection;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::notes;
use super::noun::{IMPORTS, Import};
use super::rows::Row;
use super::writer::Touched;
use crate::auth::Tenant;
use crate::db::{Cells, Statement, Tx, Value};
use crate::error::{Fault, Result};
use crate::noun::{select, store};

/// Records that one row of a file can have, and the bits that tell them apart.
const SLOTS: u64 = 8;
/// Of these, that of a company that was made because the row links it.
pub const COMPANY: u64 = 7;

/// The first and the last id of a run's records.
pub fn range(run: Uuid) -> [Uuid; 2] {
    [id(run, 0, 0), Uuid::from_u64_pair(run.as_u64_pair().0, u64::MAX)]
}

fn id(run: Uuid, number: u64, slot: u64) -> Uuid {
    Uuid::from_u64_pair(run.as_u64_pair().0, number * SLOTS + slot)
}

/// The row of the file that a record is about.
pub fn number(id: Uuid) -> u64 {
    id.as_u64_pair().1 / SLOTS
}

/// Which of the things that a row did it is about.
pub fn slot(id: Uuid) -> u64 {
    id.as_u64_pair().1 % SLOTS
}

/// Stands for a key in place of the row that would have it.
pub fn of_key(key: &str) -> Uuid {
    Uuid::from_u128(xxhash_rust::xxh3::xxh3_128(key.as_bytes()))
}

/// What was done to a row of the database.
pub struct Entry {
    pub outcome: &'static str,
    pub row: Uuid,
    /// The version that it was left with; of a plan, a hash of what the file says.
    pub version: Option<i64>,
    /// The fields as they were, of a changed row.
    pub before: Option<Map<String, Json>>,
    /// What the file's row says besides, and where that row is in the file.
    pub notes: Option<(Vec<Fault>, u64, u64)>,
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

    /// With what row `row` of the file says besides.
    pub fn noted(self, row: &Row) -> Self {
        let notes = row.parsed.as_ref().map(|parsed| parsed.notes.clone()).unwrap_or_default();
        Self { notes: (!notes.is_empty()).then_some((notes, row.place, row.length)), ..self }
    }

    pub fn planned(key: Uuid, says: i64) -> Self {
        Self { outcome: "planned", row: key, version: Some(says), before: None, notes: None }
    }
}

/// The records of a chunk, on their way.
pub struct Records {
    run: Uuid,
    rows: Vec<Json>,
}

impl Records {
    pub fn new(run: Uuid) -> Self {
        Self { run, rows: Vec::new() }
    }

    /// What row `number` of the file did to a row of `noun`.
    pub fn add(&mut self, number: u64, slot: u64, noun: &str, entry: Entry) {
        let Entry { outcome, row, version, before, notes } = entry;
        let mut record = json!({ "id": id(self.run, number, slot), "noun": noun, "outcome": outcome, "row_id": row,
            "version": version, "before": before });
        if let Some((notes, place, length)) = notes {
            record["faults"] = json!(notes);
            record["place"] = place.into();
            record["length"] = length.into();
        }
        self.rows.push(record);
    }

    /// That row `number` of the file was refused, and where it is.
    pub fn refused(&mut self, number: u64, noun: &str, faults: &[Fault], place: u64, length: u64) {
        self.rows.push(json!({ "id": id(self.run, number, 0), "noun": noun, "outcome": "refused", "faults": faults,
            "place": place, "length": length }));
    }

    pub fn write(self, tx: &mut Tx<'_>, tenant: &Tenant) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let columns = "id, row_id, noun, outcome, version, before, faults, place, length";
        let mut sql = Statement::new(format!("INSERT INTO import_rows (business_id, {columns}) SELECT "));
        sql.bind(Value::Uuid(Some(tenant.id()))).push(&format!(", {columns} FROM jsonb_to_recordset("));
        sql.bind(Value::Json(Some(Json::Array(self.rows))));
        sql.push(") AS x (id uuid, row_id uuid, noun text, outcome text, version bigint, before jsonb, faults jsonb, place bigint, ");
        sql.push("length bigint)").run(tx)?;
        Ok(())
    }
}

/// Which of `rows` the run has meant before, and by which row of the file.
pub fn meant(tx: &mut Tx<'_>, tenant: &Tenant, run: Uuid, rows: Vec<Uuid>) -> Result<Touched> {
    Ok(known(tx, tenant, run, rows)?.into_iter().map(|(id, (number, _))| (id, number)).collect())
}

/// As [`meant`], with the version or hash that was recorded.
pub fn known(tx: &mut Tx<'_>, tenant: &Tenant, run: Uuid, rows: Vec<Uuid>) -> Result<HashMap<Uuid, (u64, i64)>> {
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let mut sql =
        Statement::new("SELECT row_id, min(id::text)::uuid, min(version) FROM import_rows WHERE business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND row_id IS NOT NULL AND row_id = ANY(").bind(Value::Uuids(rows));
    sql.push(")").append(within(run)).push(" GROUP BY row_id");
    let known = |row: &Cells| Some((row.uuid(0)?, (number(row.uuid(1)?), row.int(2).unwrap_or_default())));
    Ok(sql.rows(tx)?.iter().filter_map(known).collect())
}

/// ` AND` it is of the run.
pub fn within(run: Uuid) -> Statement {
    let [first, last] = range(run);
    let mut sql = Statement::new(" AND id >= ");
    sql.bind(Value::Uuid(Some(first))).push(" AND id <= ").bind(Value::Uuid(Some(last)));
    sql
}

/// Removes some of the records of `run`; whether there may be more.
pub fn clear(tx: &mut Tx<'_>, tenant: &Tenant, run: Uuid) -> Result<bool> {
    const MOST: usize = 20_000;
    let mut sql = Statement::new("DELETE FROM import_rows WHERE business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id())))
        .push(" AND id = ANY(ARRAY(SELECT id FROM import_rows WHERE business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).append(within(run)).push(&format!(" ORDER BY id LIMIT {MOST}))"));
    Ok(sql.run(tx)? == MOST)
}

/// A row that made or changed something.
pub struct Deed {
    pub id: Uuid,
    pub row: Uuid,
    pub noun: String,
    pub version: i64,
    /// The fields as they were; none: the row was made.
    pub before: Option<Map<String, Json>>,
}

/// What `run` made and changed before `last`, the latest first: at most `most`, and whether each can still be taken back.
pub fn deeds(conn: &mut PgConnection, tenant: &Tenant, run: Uuid, last: Uuid, most: usize) -> Result<Vec<Deed>> {
    let mut sql = Statement::new("SELECT id, row_id, noun, version, before FROM import_rows WHERE business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).append(within(run)).push(" AND id < ").bind(Value::Uuid(Some(last)));
    sql.push(&format!(" AND outcome IN ('created', 'changed') ORDER BY id DESC LIMIT {most}"));
    let deed = |row: &Cells| {
        let before = row.get(4).and_then(|cell| serde_json::from_slice(cell.get(1..)?).ok());
        let noun = row.text(2).unwrap_or_default().to_owned();
        Some(Deed { id: row.uuid(0)?, row: row.uuid(1)?, noun, version: row.int(3).unwrap_or_default(), before })
    };
    Ok(sql.rows(conn)?.iter().filter_map(deed).collect())
}

/// Keeps what a trial shows, as row 0 of its run.
pub fn preview(tx: &mut Tx<'_>, tenant: &Tenant, run: Uuid, shown: Json) -> Result<()> {
    let mut sql = Statement::new("INSERT INTO import_rows (business_id, id, noun, outcome, before) VALUES (");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(", ").bind(Value::Uuid(Some(range(run)[0])));
    sql.push(", '', 'planned', ").bind(Value::Json(Some(shown))).push(")").run(tx)?;
    Ok(())
}

/// What the last trial of `import` showed, and what of its columns is not simply taken; no changes where there was no trial, or
/// it is not kept any more. Errors: 404.
pub fn shown(conn: &mut PgConnection, tenant: &Tenant, import: Uuid) -> Result<Json> {
    let mut sql = Statement::new("SELECT ");
    sql.push(Import::COLUMNS).push(" FROM imports t");
    sql.append(select::scoped(&IMPORTS, tenant)).push(" AND t.id = ").bind(Value::Uuid(Some(import)));
    let row = sql.row(conn)?.ok_or_else(|| store::missing(&IMPORTS))?;
    let import = Import::of(import, &row)?;
    let notes = import.mapped().map(|mapping| notes::of_columns(&mapping)).unwrap_or_default();
    let none = || json!({ "changes": {}, "notes": &notes });
    let Some(run) = import.run else { return Ok(none()) };
    let mut sql = Statement::new("SELECT before FROM import_rows WHERE business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND id = ").bind(Value::Uuid(Some(range(run)[0])));
    let row = sql.row(conn)?;
    let mut shown =
        row.as_ref().and_then(|row| serde_json::from_slice(row.get(0)?.get(1..)?).ok()).unwrap_or_else(none);
    if let Json::Object(shown) = &mut shown {
        // Trials of earlier versions told none.
        shown.entry("notes").or_insert_with(|| notes.into());
    }
    Ok(shown)
}
