//! Deletes events past their retention.

use std::time::Duration;

use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::db::{Db, Statement};

/// Events purged in one transaction.
const MAX_PURGED: i64 = 5_000;

/// The task that deletes events older than `retention_days`.
pub fn task(db: Db, retention_days: u32) -> BackgroundTask {
    BackgroundTask::new("old events", Duration::from_secs(60), move || purge(db.clone(), retention_days))
}

async fn purge(db: Db, retention_days: u32) -> Result<TaskOutcome> {
    let purged = db.unscoped().write("purge_events", move |tx| {
        let mut sql = Statement::new("SELECT rapport_purge_events(now() - ");
        sql.bind(retention_days).sql(" * interval '1 day', ").bind(MAX_PURGED).sql("::integer)");
        Ok(sql.scalar::<i32>(tx)?.unwrap_or_default())
    });
    Ok(if purged.await? > 0 { TaskOutcome::Again } else { TaskOutcome::Rest })
}
