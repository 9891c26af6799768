//! Enqueues the jobs of an import: the import itself, its dry run, and its undo.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::job::{self, IMPORT};
use super::revert::{self, REVERT};
use super::stored_import::Import;
use crate::auth::Tenant;
use crate::background::{self, JobType};
use crate::base::error::{Error, Result};
use crate::db::{Statement, Tx};

/// Enqueues the job which imports `import` or, with `dry_run`, dry-runs it. Errors: 409 when it was imported; 422 for its
/// mapping.
pub fn enqueue_import(tx: &mut Tx<'_>, tenant: &Tenant, import: Import, dry_run: bool) -> Result<Uuid> {
    if import.executed {
        let detail = "The file has been imported already. Upload it again: rows that exist are recognised.";
        return Err(Error::conflict("already_imported", detail));
    }
    import.column_mapping()?;
    let input = job::Input { import: import.id, dry_run, previous_run: import.run };
    let (state, executed) = if dry_run { ("trying", "NULL") } else { ("importing", "now()") };
    let zeros = "read = 0, created = 0, changed = 0, unchanged = 0, failed = 0, companies = 0";
    let set = format!("state = '{state}', executed_at = {executed}, finished_at = NULL, {zeros}, run_id = job_id");
    enqueue(tx, tenant, import.id, &IMPORT, json!(input), &set)
}

/// Enqueues the job which reverts `import`. Errors: 409 when nothing was imported, when it was reverted already, and
/// after `days`.
pub fn enqueue_revert(tx: &mut Tx<'_>, tenant: &Tenant, import: Import, days: u32) -> Result<Uuid> {
    let refused = |code, detail: String| Err(Error::conflict(code, detail));
    let mut sql = Statement::new("SELECT (executed_at > now() - ");
    sql.bind(days).sql(" * interval '1 day')::int FROM imports WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(import.id);
    let in_time = sql.row(tx)?.and_then(|row| row.int(0));
    match (import.run, in_time, import.state.as_str()) {
        (_, _, "reverted") => refused("already_reverted", "The import has been taken back already.".into()),
        (None, ..) | (_, None, _) => refused("not_imported", "Nothing of the file has been imported.".into()),
        (_, Some(0), _) => {
            refused("too_late", format!("An import can be taken back for {days} days (RAPPORT_IMPORT_RETENTION_DAYS)."))
        }
        (Some(run), ..) => {
            let input = revert::Input { import: import.id, run };
            enqueue(tx, tenant, import.id, &REVERT, json!(input), "state = 'reverting', reverted = 0, kept = 0")
        }
    }
}

/// Enqueues a job and updates the import. In `set`, which is SQL, `run_id = job_id` sets the id of the new job.
fn enqueue(tx: &mut Tx<'_>, tenant: &Tenant, import: Uuid, job_type: &JobType, input: Json, set: &str) -> Result<Uuid> {
    let job = background::enqueue(tx, tenant, job_type, input)?;
    let mut sql = Statement::new("UPDATE imports SET job_id = ");
    sql.bind(job).sql(", version = version + 1, updated_at = now(), ");
    match set.split_once("run_id = job_id") {
        Some((rest, _)) => sql.push(rest).sql("run_id = ").bind(job),
        None => sql.push(set),
    };
    sql.sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND id = ");
    sql.bind(import).run(tx)?;
    Ok(job)
}
