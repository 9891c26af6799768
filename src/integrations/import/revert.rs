//! The job which reverts an import: it deletes the rows which the import created and restores the values which it
//! changed, except in rows changed since. It works from the last row to the first, so that referencing rows are deleted
//! before referenced ones.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::resource::imported;
use super::row_results::{self, ChangeRecord};
use super::set::{self, Edit};
use super::stored_import::Import;
use crate::auth::{Tenant, TenantSettings};
use crate::background::{Job, JobType, Step};
use crate::base::error::{Error, Result};
use crate::crm::companies::COMPANIES;
use crate::db::{Statement, Tx};
use crate::resource::{Cardinality, Relation, Resource, references};

const ROWS: usize = 1_000;
/// Condition which keeps a company created for a link while contacts or leads reference it.
const UNLESS_REFERENCED: &str = " AND NOT EXISTS (SELECT FROM contacts o WHERE o.business_id = t.business_id AND o.company_id = t.id \
    AND o.deleted_at IS NULL) AND NOT EXISTS (SELECT FROM leads o WHERE o.business_id = t.business_id \
    AND o.company_id = t.id AND o.deleted_at IS NULL)";

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
    let ends = records.len() < ROWS;
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
    let mut undone = HashSet::new();
    let edits: Vec<Edit> = records
        .iter()
        .filter_map(|record| {
            let fields = record.before.clone()?;
            Some(Edit { id: record.row, version: Some(record.version), fields })
        })
        .collect();
    let edits = with_existing_references(tx, tenant, resource, edits)?;
    undone.extend(set::update(tx, tenant, resource, edits)?.into_keys());
    // Rows which reference the companies go first.
    for (of, unless) in [(resource, ""), (&COMPANIES, UNLESS_REFERENCED)] {
        let linked = std::ptr::eq(of, &COMPANIES) && !unless.is_empty();
        let made = |record: &&ChangeRecord| {
            let by_link = row_results::slot(record.id) == row_results::COMPANY;
            record.before.is_none()
                && imported(&record.resource).is_some_and(|resource| std::ptr::eq(resource, of))
                && by_link == linked
        };
        let made: Vec<(Uuid, i64)> = records.iter().filter(made).map(|record| (record.row, record.version)).collect();
        if !made.is_empty() {
            undone.extend(set::delete(tx, tenant, of, &made, unless)?);
        }
    }
    Ok(undone.len())
}

/// Returns the edits whose references all lead to existing rows, and locks those rows against deletion and merge.
fn with_existing_references(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    mut edits: Vec<Edit>,
) -> Result<Vec<Edit>> {
    let links = |edit: &Edit| -> Vec<(&'static Relation, Uuid)> {
        let one = resource.relations.iter().filter(|relation| relation.arity == Cardinality::One);
        let id = |column: &str| edit.fields.get(column).and_then(Json::as_str).and_then(|id| Uuid::try_parse(id).ok());
        one.filter_map(|relation| Some((relation, id(relation.column)?))).collect()
    };
    let existing = references::lock_existing(tx, tenant, edits.iter().flat_map(links))?;
    edits.retain(|edit| {
        let is_there = |(relation, id): &(&'static Relation, Uuid)| {
            existing.get(relation.column).is_some_and(|ids| ids.contains(id))
        };
        links(edit).iter().all(is_there)
    });
    Ok(edits)
}
