//! Background task which settles attempts without an outcome: those of processes that died become uncertain, and what no status has settled
//! in its time is given up. Apart from the sender, so that no backlog delays it.

use std::time::Duration;

use super::claim::{ClaimedAttempt, claim_unsettled};
use super::outbound::SendOutcome;
use super::record;
use super::send_limits;
use crate::auth::Tenant;
use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::db::{Db, Tx};

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);
/// Limits forgotten in one run.
const MAX_PURGED: u32 = 1_000;

/// The task. Any number of processes may run it: what one has claimed is left out by the others.
pub fn task(db: Db) -> BackgroundTask {
    BackgroundTask::new("sending settlement", PERIOD, move || run(db.clone()))
}

async fn run(db: Db) -> Result<TaskOutcome> {
    let unsettled = db.unscoped().write("sending_unsettled", claim_unsettled).await?;
    let outcome = if unsettled.is_empty() { TaskOutcome::Rest } else { TaskOutcome::Again };
    for attempt in unsettled {
        let tenant = Tenant::for_channel(attempt.business_id);
        let own = tenant.clone();
        db.for_tenant(&tenant).write("sending_settle", move |tx| settle(tx, &own, &attempt)).await?;
    }
    db.unscoped().write("sending_purge", |tx| send_limits::purge(tx, MAX_PURGED)).await?;
    Ok(outcome)
}

fn settle(tx: &mut Tx<'_>, tenant: &Tenant, attempt: &ClaimedAttempt) -> Result<()> {
    match attempt.is_sending {
        true => {
            let outcome = SendOutcome::Unknown("The process that sent it has ended.".to_owned());
            record::record(tx, tenant, attempt, &outcome)
        }
        false => record::give_up(tx, tenant, attempt),
    }
}
