//! Background task which deletes what channels delivered, past its retention, and updates that have waited long enough.

use std::time::Duration;

use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::db::{Db, Statement};

/// Rows deleted in one transaction. A body may have 4 MiB, most have one kilobyte.
const MAX_PURGED: u32 = 1_000;

/// The task; bodies are kept for `retention_days`.
pub fn task(db: Db, retention_days: u32) -> BackgroundTask {
    BackgroundTask::new("inbound purge", Duration::from_secs(60), move || purge(db.clone(), retention_days))
}

async fn purge(db: Db, retention_days: u32) -> Result<TaskOutcome> {
    let purged = db.unscoped().write("inbound_purge", move |tx| {
        // One that is not applied yet is kept, however old: an outage has lasted.
        let mut sql = Statement::new(
            "DELETE FROM inbound_bodies WHERE id = ANY(ARRAY(SELECT id FROM inbound_bodies WHERE state <> 'new' AND received_at < now() - ",
        );
        sql.bind(retention_days).sql(" * interval '1 day' ORDER BY received_at LIMIT ").number(MAX_PURGED);
        let bodies = sql.sql(" FOR UPDATE SKIP LOCKED))").run(tx)?;
        let mut sql = Statement::new(
            "DELETE FROM inbound_updates WHERE (business_id, id) IN (SELECT business_id, id FROM inbound_updates \
             WHERE expires_at < now() ORDER BY expires_at LIMIT ",
        );
        let updates = sql.number(MAX_PURGED).sql(" FOR UPDATE SKIP LOCKED)").run(tx)?;
        Ok(bodies.max(updates))
    });
    Ok(if purged.await? >= MAX_PURGED as usize { TaskOutcome::Again } else { TaskOutcome::Rest })
}
