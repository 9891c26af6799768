//! The job that takes an import back: what it made is deleted, what it changed gets its old values, where nobody has changed it
//! since. From the last row to the first, so that what hangs on something goes before it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::noun::{Import, imported};
use super::record::{self, Deed};
use super::set::{self, Edit};
use crate::auth::{Business, Tenant};
use crate::crm::companies::COMPANIES;
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Result};
use crate::jobs::{Job, Kind, Step};
use crate::noun::{Arity, Noun, Relation, links};

const ROWS: usize = 1_000;
/// A company that was made along the way stays where others have come to it.
const LONELY: &str = " AND NOT EXISTS (SELECT FROM contacts o WHERE o.business_id = t.business_id AND o.company_id = t.id \
    AND o.deleted_at IS NULL) AND NOT EXISTS (SELECT FROM leads o WHERE o.business_id = t.business_id \
    AND o.company_id = t.id AND o.deleted_at IS NULL)";

pub static REVERSION: Kind = Kind { name: "import_reversion", step };

/// What the job is made with.
#[derive(Serialize, Deserialize)]
pub struct Input {
    pub import: Uuid,
    /// The run that is taken back.
    pub run: Uuid,
}

#[derive(Default, Serialize, Deserialize)]
struct Cursor {
    last: Option<Uuid>,
    reverted: i64,
    kept: i64,
}

fn step(tx: &mut Tx<'_>, tenant: &Tenant, _: &Business, job: &mut Job) -> Result<Step> {
    let unreadable = |error: serde_json::Error| Error::Internal(format!("a job that cannot be read: {error}"));
    let input: Input = serde_json::from_value(job.input.clone()).map_err(unreadable)?;
    let mut cursor: Cursor = match &job.cursor {
        Json::Null => Cursor::default(),
        there => serde_json::from_value(there.clone()).map_err(unreadable)?,
    };
    let import = Import::lock(tx, tenant, input.import)?;
    let last = cursor.last.unwrap_or(record::range(input.run)[1]);
    let deeds = record::deeds(tx, tenant, input.run, last, ROWS)?;
    let undone = undo(tx, tenant, import.noun, &deeds)?;
    cursor.reverted += undone as i64;
    cursor.kept += (deeds.len() - undone) as i64;
    cursor.last = deeds.last().map(|deed| deed.id).or(cursor.last);
    let ends = deeds.len() < ROWS;
    let mut sql = Statement::new("UPDATE imports SET version = version + 1, updated_at = now(), reverted = ");
    sql.bind(Value::Int(Some(cursor.reverted))).push(", kept = ").bind(Value::Int(Some(cursor.kept)));
    sql.push(if ends { ", state = 'reverted', finished_at = now()" } else { "" }).push(" WHERE business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND id = ").bind(Value::Uuid(Some(import.id)));
    // Each time is an entry of the history.
    sql.push(if ends { "" } else { " AND updated_at < now() - interval '1 second'" }).run(tx)?;
    (job.done, job.failed) = (cursor.reverted + cursor.kept, cursor.kept);
    let result = json!({ "import": import.id, "reverted": cursor.reverted, "kept": cursor.kept });
    job.cursor = json!(cursor);
    Ok(if ends { Step::Done(result) } else { Step::More })
}

/// Takes back what it can; returns how many.
fn undo(tx: &mut Tx<'_>, tenant: &Tenant, noun: &'static Noun, deeds: &[Deed]) -> Result<usize> {
    let mut undone = HashSet::new();
    let edits: Vec<Edit> = deeds
        .iter()
        .filter_map(|deed| {
            let fields = deed.before.clone()?;
            Some(Edit { id: deed.row, version: Some(deed.version), fields })
        })
        .collect();
    let edits = with_living_links(tx, tenant, noun, edits)?;
    undone.extend(set::update(tx, tenant, noun, edits)?.into_keys());
    // What hangs on the companies first.
    for (of, unless) in [(noun, ""), (&COMPANIES, LONELY)] {
        let along = std::ptr::eq(of, &COMPANIES) && !unless.is_empty();
        let made = |deed: &&Deed| {
            let by_link = record::slot(deed.id) == record::COMPANY;
            deed.before.is_none() && imported(&deed.noun).is_some_and(|noun| std::ptr::eq(noun, of)) && by_link == along
        };
        let made: Vec<(Uuid, i64)> = deeds.iter().filter(made).map(|deed| (deed.row, deed.version)).collect();
        if !made.is_empty() {
            undone.extend(set::delete(tx, tenant, of, &made, unless)?);
        }
    }
    Ok(undone.len())
}

/// Those of `edits` whose links lead to rows that are still there; these are locked against being deleted or merged away.
fn with_living_links(tx: &mut Tx<'_>, tenant: &Tenant, noun: &'static Noun, mut edits: Vec<Edit>) -> Result<Vec<Edit>> {
    let links = |edit: &Edit| -> Vec<(&'static Relation, Uuid)> {
        let one = noun.relations.iter().filter(|relation| relation.arity == Arity::One);
        let id = |column: &str| edit.fields.get(column).and_then(Json::as_str).and_then(|id| Uuid::try_parse(id).ok());
        one.filter_map(|relation| Some((relation, id(relation.column)?))).collect()
    };
    let existing = links::lock_existing(tx, tenant, edits.iter().flat_map(links))?;
    edits.retain(|edit| {
        let is_there = |(relation, id): &(&'static Relation, Uuid)| {
            existing.get(relation.column).is_some_and(|ids| ids.contains(id))
        };
        links(edit).iter().all(is_there)
    });
    Ok(edits)
}
