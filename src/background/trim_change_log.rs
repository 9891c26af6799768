//! Removes changes from the log that no process needs any more, see docs/CACHE.md.

use std::time::Duration;

use super::task::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::db::{Db, Statement};

/// How long changes are kept after everyone could see them: a process that was away for less reads what it missed, and one
/// that starts can judge what others have stored in Redis since.
const KEPT_SECONDS: u32 = 300;
/// Changes removed in one transaction.
const MAX_REMOVED: u32 = 20_000;

/// The task that trims the log.
pub fn task(db: Db) -> BackgroundTask {
    BackgroundTask::new("change log", Duration::from_secs(20), move || trim(db.clone()))
}

/// Trims the log once, by at most [`MAX_REMOVED`] changes.
pub async fn trim(db: Db) -> Result<TaskOutcome> {
    let removed = db.unscoped().write("change_log_trim", |tx| {
        let mut sql = Statement::new("SELECT rapport_trim_change_log(");
        sql.number(KEPT_SECONDS).sql(" * interval '1 second', ").number(MAX_REMOVED).sql(")");
        Ok(sql.scalar::<i32>(tx)?.unwrap_or_default())
    });
    Ok(if removed.await? >= MAX_REMOVED as i32 { TaskOutcome::Again } else { TaskOutcome::Rest })
}
