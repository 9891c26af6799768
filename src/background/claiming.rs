//! Tasks that claim rows as far as the process has free slots, and work on them side by side.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{BackgroundTask, Slots, TaskOutcome, Waker, detach};
use crate::base::error::Result;

/// Rows that are claimed and worked on. A claim is a lease in its row: what a process had claimed when it died is claimed again when the
/// lease has ended.
pub trait ClaimedWork: 'static {
    type Claim: 'static;

    /// Name of the task in logs.
    const TASK: &'static str;
    /// Name of the work on one row, under which its panics are counted.
    const WORK: &'static str;

    /// Claims at most `free` rows, and says whether there may be more. What `slots` says of those that this process works on already is for
    /// a fair choice.
    fn claim(&self, free: usize, slots: Arc<Slots>) -> impl Future<Output = Result<(Vec<Self::Claim>, TaskOutcome)>>;

    /// Whose slot a row takes: its business, and what the limit of each is for, such as a channel.
    fn slot_of(claim: &Self::Claim) -> (Uuid, Uuid);

    /// Works on one row and records how that ended.
    fn work(&self, claim: Self::Claim) -> impl Future<Output = ()>;
}

impl BackgroundTask {
    /// A task that does `work` in `slots`. `waker` wakes it, as does each slot that is free again.
    pub fn claiming<W: ClaimedWork>(work: W, slots: Slots, idle_pause: Duration, waker: Waker) -> Self {
        let (work, slots, freed) = (Arc::new(work), Arc::new(slots), waker.clone());
        let run = move || claim_and_work(work.clone(), slots.clone(), freed.clone());
        Self::new(W::TASK, idle_pause, run).woken_by(waker)
    }
}

async fn claim_and_work<W: ClaimedWork>(work: Arc<W>, slots: Arc<Slots>, freed: Waker) -> Result<TaskOutcome> {
    let free = slots.free();
    if free == 0 {
        return Ok(TaskOutcome::Rest);
    }
    let (claims, outcome) = work.claim(free, slots.clone()).await?;
    for claim in claims {
        let (owner, of) = W::slot_of(&claim);
        let slot = slots.take(owner, of);
        let (work, freed) = (work.clone(), freed.clone());
        detach(W::WORK, async move {
            work.work(claim).await;
            drop(slot);
            freed.wake();
        });
    }
    Ok(outcome)
}
