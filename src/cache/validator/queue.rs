//! The readers that wait for the next validation round.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::base::telemetry::log_limiter::LogLimiter;
use crate::cache::tags::{CacheTag, VersionStamp};
use crate::db::{LastAnswer, ReplyBatcher};

/// Cache tags that one round takes; readers beyond that wait for the next round.
const MAX_TAGS_PER_ROUND: usize = 2_048;

/// The result of a validation round for one reader.
#[derive(Clone, Debug)]
pub struct ValidationResult {
    /// Incremented when anything was committed since the previous round; 0 means none.
    pub generation: u64,
    /// `None`: nothing was committed since the generation that the reader passed.
    pub stamp: Option<VersionStamp>,
}

/// What a reader gets; `None`: the round failed.
pub(super) type Reply = Option<ValidationResult>;

/// A reader that waits for the next round.
pub(super) struct PendingValidation {
    pub(super) tags: Arc<[CacheTag]>,
    pub(super) since: u64,
    pub(super) reply: oneshot::Sender<Reply>,
    pub(super) replies: ReplyBatcher<Reply>,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: Vec<PendingValidation>,
    pub(super) closed: bool,
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
}

impl Shared {
    /// Waits for readers and takes the next round; `None` when the service has stopped. The round is empty when its
    /// readers have all been cancelled.
    pub(super) fn next_round(&self) -> Option<Vec<PendingValidation>> {
        let mut queue = self.queue.lock();
        while queue.waiting.is_empty() && !queue.closed {
            self.wake.wait(&mut queue);
        }
        if queue.closed {
            return None;
        }
        // Cancelled requests need no result.
        queue.waiting.retain(|waiting| !waiting.reply.is_closed());
        let mut count = 0;
        let fits = queue.waiting.iter().take_while(|waiting| {
            count += waiting.tags.len();
            count <= MAX_TAGS_PER_ROUND
        });
        let readers = fits.count().max(queue.waiting.len().min(1));
        Some(queue.waiting.drain(..readers).collect())
    }
}
