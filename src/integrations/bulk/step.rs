//! One step of a bulk job: changes the next rows as one batch and advances the checkpoint.

use diesel::sql_types::{self, Text};
use diesel::{PgConnection, QueryableByName};
use serde_json::json;
use uuid::Uuid;

use super::request::{BulkAction, BulkRequest};
use crate::auth::{Tenant, TenantSettings};
use crate::background::{Job, JobType, Step};
use crate::base::error::{Error, FieldError, Result};
use crate::db::{Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::batch::{self, Batch};
use crate::resource::body::MAX_TAGS;
use crate::resource::{Changeset, instant, select};

/// Rows per step: some tenths of a second's work.
const ROWS: u32 = 250;
/// Row errors that the job result includes, however many there were.
const MAX_REPORTED_ERRORS: usize = 20;

/// Job type of bulk operations.
pub static BULK: JobType = JobType { name: "bulk_operation", step };

/// A selected row.
#[derive(QueryableByName)]
struct SelectedRow {
    #[diesel(sql_type = sql_types::Uuid)]
    id: Uuid,
    /// Its tags as JSON, where the action changes tags.
    #[diesel(sql_type = Text, column_name = to_json)]
    tags: String,
}

impl SelectedRow {
    /// Runs a statement of [`select::select_ids_for_update`].
    fn load(sql: &Statement, with_tags: bool, conn: &mut PgConnection) -> Result<Vec<Self>> {
        if with_tags {
            return Ok(sql.load(conn)?);
        }
        let ids: Vec<Uuid> = sql.scalars(conn)?;
        Ok(ids.into_iter().map(|id| Self { id, tags: String::new() }).collect())
    }
}

/// Errors: 409 when this version cannot read the job's input; errors that concern no single row.
fn step(tx: &mut Tx<'_>, tenant: &Tenant, business: &TenantSettings, job: &mut Job) -> Result<Step> {
    let unreadable = || {
        let detail = "What this job was given cannot be read by this version of the service. Ask for it anew.";
        Error::conflict("unreadable_job", detail)
    };
    let request = BulkRequest::of_job(&job.input).ok_or_else(unreadable)?;
    let until = job.input["until"].as_str().and_then(instant::parse).ok_or_else(unreadable)?;
    let after = job.cursor["after"].as_str().and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_default();
    // New tags are computed from the current ones.
    let with_tags = matches!(request.action, BulkAction::Tag { .. });
    let sql = select::select_ids_for_update(&request.list(business)?, tenant, after, until, with_tags, ROWS);
    let rows = SelectedRow::load(&sql, with_tags, tx)?;
    let last = rows.last().map(|row| row.id);
    let (ids, batch) = work(&request, business, &rows)?;
    let refused: Vec<(Uuid, Error)> = match ids.is_empty() {
        true => Vec::new(),
        false => {
            let refusals = batch::refusals(tx, tenant, &batch)?;
            ids.into_iter().zip(refusals).filter_map(|(id, refusal)| Some((id, refusal?))).collect()
        }
    };
    job.total = job.input["matched"].as_i64();
    job.done += rows.len() as i64;
    job.failed += refused.len() as i64;
    let mut reported = job.cursor["refused"].as_array().cloned().unwrap_or_default();
    let room = MAX_REPORTED_ERRORS.saturating_sub(reported.len());
    reported.extend(refused.iter().take(room).map(|(id, error)| json!({ "id": id, "problem": error.problem() })));
    if rows.len() < ROWS as usize {
        let changed = job.done - job.failed;
        return Ok(Step::Done(json!({ "changed": changed, "failed": job.failed, "refused": reported })));
    }
    job.cursor = json!({ "after": last, "refused": reported });
    Ok(Step::More)
}

/// Builds the batch for `rows`. Returns the ids of its items, and the batch.
fn work(request: &BulkRequest, business: &TenantSettings, rows: &[SelectedRow]) -> Result<(Vec<Uuid>, Batch)> {
    let ids = || rows.iter().map(|row| row.id);
    let changes: Vec<(Uuid, Result<Changeset, Vec<FieldError>>)> = match (&request.action, request.change(business)?) {
        (BulkAction::Tag { add, remove }, _) => {
            rows.iter().filter_map(|row| Some((row.id, tagged(request, &row.tags, add, remove)?))).collect()
        }
        (BulkAction::Set(_), Some(change)) => ids().map(|id| (id, Ok(change.clone()))).collect(),
        _ => {
            return Ok((
                ids().collect(),
                Batch::of_ids(request.resource, ids().map(|id| (id, IfMatch::ANY)).collect()),
            ));
        }
    };
    let ids = changes.iter().map(|(id, _)| *id).collect();
    let changes = changes.into_iter().map(|(id, change)| (id, IfMatch::ANY, change)).collect();
    Ok((ids, Batch::of_changes(request.resource, changes)))
}

/// Computes the new tags of a row; `None` when they do not change. Errors: too many.
fn tagged(
    request: &BulkRequest,
    known: &str,
    add: &[String],
    remove: &[String],
) -> Option<Result<Changeset, Vec<FieldError>>> {
    let known: Vec<String> = serde_json::from_str(known).ok()?;
    let kept = known.iter().filter(|tag| !remove.contains(tag));
    let tags: Vec<String> = kept.chain(add.iter().filter(|tag| !known.contains(tag))).cloned().collect();
    if tags == known {
        return None;
    }
    if tags.len() > MAX_TAGS {
        let detail = format!("The row would have {} labels, and can have {MAX_TAGS}.", tags.len());
        return Some(Err(vec![FieldError::new("/tags", "length", detail)]));
    }
    let mut change = Changeset::empty(request.resource.fields);
    change.set_field(request.resource.own_field("tags"), tags.into());
    Some(Ok(change))
}
