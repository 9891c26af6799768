//! Background task which ends WhatsApp's customer service windows when their time is over: `can_reply` is stored, so that no answer of
//! the cache depends on the clock.

use std::time::Duration;

use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::db::{Db, Statement};

/// How often windows are looked at: who sends checks the time itself, so a second late misleads nobody.
const PERIOD: Duration = Duration::from_secs(1);
/// Conversations changed in one transaction.
const MAX_ENDED: u32 = 500;

/// The task. Any number of processes may run it: rows that one has locked are skipped by the others.
pub fn task(db: Db) -> BackgroundTask {
    BackgroundTask::new("reply windows", PERIOD, move || end(db.clone()))
}

async fn end(db: Db) -> Result<TaskOutcome> {
    let ended = db.unscoped().write("windows_end", |tx| {
        let mut sql = Statement::new(
            "UPDATE conversations SET can_reply = false, version = version + 1, updated_at = now() WHERE (business_id, id) IN (\
             SELECT business_id, id FROM conversations WHERE can_reply AND channel = 'whatsapp' AND window_expires_at <= clock_timestamp() \
             ORDER BY window_expires_at LIMIT ",
        );
        Ok(sql.number(MAX_ENDED).sql(" FOR NO KEY UPDATE SKIP LOCKED)").run(tx)?)
    });
    Ok(if ended.await? >= MAX_ENDED as usize { TaskOutcome::Again } else { TaskOutcome::Rest })
}
