//! The readers that wait for the next validation round.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::pace::Gathering;
use super::round::Round;
use crate::base::telemetry::log_limiter::LogLimiter;
use crate::db::{LastAnswer, ReplyBatcher};

/// What a reader gets; `None`: the round failed.
pub(super) type Reply = Option<Arc<Round>>;

/// A reader that waits for the next round.
pub(super) struct PendingValidation {
    pub(super) reply: oneshot::Sender<Reply>,
    pub(super) replies: ReplyBatcher<Reply>,
}

/// The last round that succeeded.
pub(super) struct LatestRound {
    pub(super) sent: Instant,
    /// How many transactions this process had committed before that.
    pub(super) commits: u64,
    pub(super) round: Arc<Round>,
}

pub(super) struct Queue {
    pub(super) waiting: Vec<PendingValidation>,
    /// The thread is woken when so many wait.
    pub(super) wanted: usize,
    pub(super) closed: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Self { waiting: Vec::new(), wanted: 1, closed: false }
    }
}

/// What readers and the thread share.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) queue: Mutex<Queue>,
    pub(super) wake: Condvar,
    pub(super) rounds: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) micros: AtomicU64,
    pub(super) answered: LastAnswer,
    pub(super) failures: LogLimiter,
    /// The next round reconnects and identifies the database again.
    pub(super) reconnect: AtomicBool,
    /// The last round that succeeded.
    pub(super) latest: Mutex<Option<LatestRound>>,
}

impl Shared {
    /// Waits for readers and takes the next round; `None` when the service has stopped. The round is empty when its
    /// readers have all been cancelled.
    pub(super) fn next_round(&self, gathering: Option<Gathering>) -> Option<Vec<PendingValidation>> {
        let mut queue = self.queue.lock();
        if let Some(Gathering { until, returned: (readers, quickly) }) = gathering
            && !self.wait_for(&mut queue, readers, Some(quickly))
        {
            self.wait_for(&mut queue, usize::MAX, Some(until));
        }
        self.wait_for(&mut queue, 1, None);
        if queue.closed {
            return None;
        }
        let mut round = std::mem::take(&mut queue.waiting);
        drop(queue);
        // Cancelled requests need no result.
        round.retain(|waiting| !waiting.reply.is_closed());
        Some(round)
    }

    /// Waits until `wanted` readers wait, or the queue is closed. Returns whether that was before `until`.
    fn wait_for(&self, queue: &mut MutexGuard<'_, Queue>, wanted: usize, until: Option<Instant>) -> bool {
        queue.wanted = wanted;
        while queue.waiting.len() < wanted && !queue.closed {
            match until {
                Some(until) if self.wake.wait_until(queue, until).timed_out() => return false,
                Some(_) => {}
                None => self.wake.wait(queue),
            }
        }
        true
    }
}
