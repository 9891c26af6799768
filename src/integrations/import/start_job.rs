//! Enqueues the jobs of an import: the import itself, its dry run, and its undo.

use serde_json::json;
use uuid::Uuid;

use super::job::{self, IMPORT};
use super::revert::{self, REVERT};
use super::stored_import::Import;
use crate::auth::Tenant;
use crate::background;
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
    let job = background::enqueue(tx, tenant, &IMPORT, json!(input))?;
    let mut begun = Statement::new(match dry_run {
        true => "state = 'trying', executed_at = NULL",
        false => "state = 'importing', executed_at = now()",
    });
    begun.sql(
        ", finished_at = NULL, read = 0, created = 0, changed = 0, unchanged = 0, failed = 0, companies = 0, run_id = ",
    );
    begun.bind(job);
    update(tx, tenant, import.id, job, begun)
}

/// Enqueues the job which reverts `import`. Errors: 409 when nothing was imported, when it was reverted already, and
/// after `days`.
pub fn enqueue_revert(tx: &mut Tx<'_>, tenant: &Tenant, import: Import, days: u32) -> Result<Uuid> {
    let refused = |code, detail: String| Err(Error::conflict(code, detail));
    let mut sql = Statement::new("SELECT executed_at > now() - ");
    sql.bind(days).sql(" * interval '1 day' FROM imports WHERE business_id = ");
    let in_time: Option<Option<bool>> = sql.bind(tenant.id()).sql(" AND id = ").bind(import.id).scalar(tx)?;
    match (import.run, in_time.flatten(), import.state.as_str()) {
        (_, _, "reverted") => refused("already_reverted", "The import has been taken back already.".into()),
        (None, ..) | (_, None, _) => refused("not_imported", "Nothing of the file has been imported.".into()),
        (_, Some(false), _) => {
            refused("too_late", format!("An import can be taken back for {days} days (RAPPORT_IMPORT_RETENTION_DAYS)."))
        }
        (Some(run), ..) => {
            let input = revert::Input { import: import.id, run };
            let job = background::enqueue(tx, tenant, &REVERT, json!(input))?;
            update(tx, tenant, import.id, job, Statement::new("state = 'reverting', reverted = 0, kept = 0"))
        }
    }
}

/// Sets the job of the import, and what `begun` sets. Returns the job's id.
fn update(tx: &mut Tx<'_>, tenant: &Tenant, import: Uuid, job: Uuid, begun: Statement) -> Result<Uuid> {
    let mut sql = Statement::new("UPDATE imports SET job_id = ");
    sql.bind(job).sql(", version = version + 1, updated_at = now(), ").append(begun);
    sql.sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND id = ").bind(import).run(tx)?;
    Ok(job)
}
