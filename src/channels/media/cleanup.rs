//! Deletes what nobody used: uploads that no message has, and parts of what broke off; and gives up files that channels have forgotten.

use std::time::Duration;

use super::fetches;
use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::db::{Db, Statement, Tx};

/// Parts deleted per transaction, a mebibyte each.
const MAX_PARTS: u32 = 64;
/// Attachments deleted per transaction; their parts, a hundred of each at most, are then pending.
const MAX_ATTACHMENTS: u32 = 20;
/// How long what broke off is kept, in hours: longer than an upload takes.
const PENDING_HOURS: u32 = 24;

pub fn task(db: Db) -> BackgroundTask {
    BackgroundTask::new("media cleanup", Duration::from_secs(60), move || clean_up(db.clone()))
}

/// Deletes some of it, across all businesses: what the task does.
pub async fn clean_up(db: Db) -> Result<TaskOutcome> {
    // Each for itself: what fails at one does not stop the others.
    let steps: [fn(&mut Tx<'_>) -> Result<bool>; 3] = [fetches::give_up_expired, delete_unused, delete_pending];
    let (mut is_more, mut failed) = (false, None);
    for step in steps {
        match db.unscoped().write("media_cleanup", step).await {
            Ok(has_more) => is_more |= has_more,
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(if is_more { TaskOutcome::Again } else { TaskOutcome::Rest }),
    }
}

/// Deletes uploads whose time is over. Returns whether there may be more.
fn delete_unused(tx: &mut Tx<'_>) -> Result<bool> {
    let mut sql = Statement::new(
        "DELETE FROM attachments WHERE (business_id, id) IN (SELECT business_id, id FROM attachments \
         WHERE expires_at <= now() ORDER BY expires_at LIMIT ",
    );
    Ok(sql.number(MAX_ATTACHMENTS).sql(" FOR UPDATE SKIP LOCKED)").run(tx)? == MAX_ATTACHMENTS as usize)
}

/// Deletes parts of uploads and downloads that broke off, and of attachments that were deleted. Returns whether there may be more.
fn delete_pending(tx: &mut Tx<'_>) -> Result<bool> {
    let mut sql = Statement::new(
        "DELETE FROM attachment_parts WHERE (business_id, id) IN (SELECT business_id, id FROM attachment_parts \
         WHERE pending_since < now() - interval '",
    );
    sql.number(PENDING_HOURS).sql(" hours' ORDER BY pending_since LIMIT ").number(MAX_PARTS);
    Ok(sql.sql(" FOR UPDATE SKIP LOCKED)").run(tx)? == MAX_PARTS as usize)
}
