//! One step of a job: the next rows, changed as a set, and where to go on.

use serde_json::json;
use uuid::Uuid;

use super::order::{Order, Work};
use crate::auth::{Business, Tenant};
use crate::db::{Cells, Tx, Value};
use crate::error::{Error, Fault, Result};
use crate::jobs::{Job, Step};
use crate::noun::batch::{self, Batch};
use crate::noun::body::MOST_TAGS;
use crate::noun::{Change, params, select};

/// Rows of one step: some tenths of a second's work.
const ROWS: u32 = 250;
/// Refusals that the job tells of, of however many there were.
const MOST_TOLD: usize = 20;

/// Errors: 409 when the job is not one of this version; and those that are about no single row.
pub fn step(tx: &mut Tx<'_>, tenant: &Tenant, business: &Business, job: &mut Job) -> Result<Step> {
    let unreadable = || {
        let detail = "What this job was given cannot be read by this version of the service. Ask for it anew.";
        Error::conflict("unreadable_job", detail)
    };
    let order = Order::of_job(&job.input).ok_or_else(unreadable)?;
    let until = job.input["until"].as_str().and_then(params::instant).ok_or_else(unreadable)?;
    let after = job.cursor["after"].as_str().and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_default();
    // Labels are added to those that are there.
    let with_tags = matches!(order.work, Work::Tag { .. });
    let rows = select::walk(&order.list(business)?, tenant, after, until, with_tags, ROWS).rows(tx)?;
    let last = rows.last().and_then(|row| row.uuid(0));
    let (ids, batch) = work(&order, business, &rows)?;
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
    let mut told = job.cursor["refused"].as_array().cloned().unwrap_or_default();
    let room = MOST_TOLD.saturating_sub(told.len());
    told.extend(refused.iter().take(room).map(|(id, error)| json!({ "id": id, "problem": error.problem() })));
    if rows.len() < ROWS as usize {
        let changed = job.done - job.failed;
        return Ok(Step::Done(json!({ "changed": changed, "failed": job.failed, "refused": told })));
    }
    job.cursor = json!({ "after": last, "refused": told });
    Ok(Step::More)
}

/// What is done to `rows`, and to which of them.
fn work(order: &Order, business: &Business, rows: &[Cells]) -> Result<(Vec<Uuid>, Batch)> {
    let ids = || rows.iter().filter_map(|row| row.uuid(0));
    let changes: Vec<(Uuid, Result<Change, Vec<Fault>>)> = match (&order.work, order.change(business)?) {
        (Work::Tag { add, remove }, _) => {
            rows.iter().filter_map(|row| Some((row.uuid(0)?, tagged(order, row.text(1)?, add, remove)?))).collect()
        }
        (Work::Set(_), Some(change)) => ids().map(|id| (id, Ok(change.clone()))).collect(),
        _ => return Ok((ids().collect(), Batch::of_ids(order.noun, ids().collect()))),
    };
    Ok((changes.iter().map(|(id, _)| *id).collect(), Batch::of_changes(order.noun, changes)))
}

/// The labels of a row as they are to be, of those that it has; `None` if they are that already. Errors: too many.
fn tagged(order: &Order, known: &str, add: &[String], remove: &[String]) -> Option<Result<Change, Vec<Fault>>> {
    let known: Vec<String> = serde_json::from_str(known).ok()?;
    let kept = known.iter().filter(|tag| !remove.contains(tag));
    let tags: Vec<String> = kept.chain(add.iter().filter(|tag| !known.contains(tag))).cloned().collect();
    if tags == known {
        return None;
    }
    if tags.len() > MOST_TAGS {
        let detail = format!("The row would have {} labels, and can have {MOST_TAGS}.", tags.len());
        return Some(Err(vec![Fault::new("/tags", "length", detail)]));
    }
    let mut change = Change::nothing(order.noun);
    change.set("tags", Value::Texts(tags));
    Some(Ok(change))
}
