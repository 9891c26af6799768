//! The job which reverts an import: it deletes the rows which the import created and restores the values which it
//! changed, except in rows changed since. It works from the last row to the first, so that referencing rows are deleted
//! before referenced ones.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::resource::imported;
use super::row_results::{self, ChangeRecord};
use super::stored_import::Import;
use crate::auth::{Tenant, TenantSettings};
use crate::background::{Job, JobType, Step};
use crate::base::error::{Error, Result};
use crate::crm::companies::COMPANIES;
use crate::db::{Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::batch::{self, Batch};
use crate::resource::{Changeset, Resource, body, select};

const ROWS: u32 = 1_000;

pub static REVERT: JobType = JobType { name: "import_reversion", step };

/// Input of the job.
#[derive(Serialize, Deserialize)]
pub struct Input {
    pub import: Uuid,
    /// The run to revert.
    pub run: Uuid,
}

#[derive(Default, Serialize, Deserialize)]
struct Cursor {
    last: Option<Uuid>,
    reverted: i64,
    kept: i64,
}

fn step(tx: &mut Tx<'_>, tenant: &Tenant, _: &TenantSettings, job: &mut Job) -> Result<Step> {
    let unreadable = |error: serde_json::Error| Error::Internal(format!("a job that cannot be read: {error}"));
    let input: Input = serde_json::from_value(job.input.clone()).map_err(unreadable)?;
    let mut cursor: Cursor = match &job.cursor {
        Json::Null => Cursor::default(),
        stored => serde_json::from_value(stored.clone()).map_err(unreadable)?,
    };
    let import = Import::lock(tx, tenant, input.import)?;
    let last = cursor.last.unwrap_or(row_results::range(input.run)[1]);
    let records = row_results::change_records(tx, tenant, input.run, last, ROWS)?;
    let undone = undo(tx, tenant, import.resource, &records)?;
    cursor.reverted += undone as i64;
    cursor.kept += (records.len() - undone) as i64;
    cursor.last = records.last().map(|record| record.id).or(cursor.last);
    let ends = records.len() < ROWS as usize;
    let mut sql = Statement::new("UPDATE imports SET version = version + 1, updated_at = now(), reverted = ");
    sql.bind(cursor.reverted).sql(", kept = ").bind(cursor.kept);
    sql.sql(if ends { ", state = 'reverted', finished_at = now()" } else { "" }).sql(" WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(import.id);
    // Each update adds an entry to the audit log.
    sql.sql(if ends { "" } else { " AND updated_at < now() - interval '1 second'" }).run(tx)?;
    (job.done, job.failed) = (cursor.reverted + cursor.kept, cursor.kept);
    let result = json!({ "import": import.id, "reverted": cursor.reverted, "kept": cursor.kept });
    job.cursor = json!(cursor);
    Ok(if ends { Step::Done(result) } else { Step::More })
}

/// Reverts the rows which have not changed since; returns how many.
fn undo(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, records: &[ChangeRecord]) -> Result<usize> {
    let changed = records.iter().filter_map(|record| {
        let Json::Object(before) = record.before.clone()? else { return None };
        Some((record.row_id, IfMatch::version(record.version), Ok(as_before(resource, before))))
    });
    let mut undone = written(tx, tenant, Batch::of_changes(resource, changed.collect()))?;
    // Rows which reference the companies go first.
    for (of, links) in [(resource, false), (&COMPANIES, true)] {
        let made = |record: &&ChangeRecord| {
            record.before.is_none()
                && imported(&record.resource).is_some_and(|resource| std::ptr::eq(resource, of))
                && (row_results::slot(record.id) == row_results::COMPANY) == links
        };
        let mut made: Vec<&ChangeRecord> = records.iter().filter(made).collect();
        if links {
            let free = unreferenced(tx, tenant, made.iter().map(|record| record.row_id).collect())?;
            made.retain(|record| free.contains(&record.row_id));
        }
        let ids = made.iter().map(|record| (record.row_id, IfMatch::version(record.version))).collect();
        undone += written(tx, tenant, Batch::of_ids(of, ids))?;
    }
    Ok(undone)
}

/// Runs the batch; returns how many of its rows were written. Those which have another version now are not, nor those
/// whose old references lead to no row.
fn written(tx: &mut Tx<'_>, tenant: &Tenant, batch: Batch) -> Result<usize> {
    let rows = batch::written(tx, tenant, &batch.without_rows())?;
    Ok(rows.iter().filter(|row| row.is_ok()).count())
}

/// The changeset which gives a row its old values.
fn as_before(resource: &'static Resource, values: Map<String, Json>) -> Changeset {
    let mut change = Changeset::replacing(resource.fields);
    for (name, value) in values {
        if let Some(field) = resource.field(&name) {
            change.set_field(field, body::stored(field.field_type, value));
        }
    }
    change
}

/// Returns those of the companies which neither contacts nor leads reference, and locks them.
fn unreferenced(tx: &mut Tx<'_>, tenant: &Tenant, ids: Vec<Uuid>) -> Result<HashSet<Uuid>> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let mut sql = Statement::new("SELECT t.id FROM companies t");
    sql.append(select::tenant_predicate(&COMPANIES, tenant)).append(select::ids_predicate(ids));
    sql.sql(
        " AND NOT EXISTS (SELECT FROM contacts o WHERE o.business_id = t.business_id AND o.company_id = t.id \
         AND o.deleted_at IS NULL) AND NOT EXISTS (SELECT FROM leads o WHERE o.business_id = t.business_id \
         AND o.company_id = t.id AND o.deleted_at IS NULL) ORDER BY t.id FOR UPDATE",
    );
    Ok(sql.scalars(tx)?.into_iter().collect())
}
