//! Waiting for database locks: briefly on the first attempt, then in a queue, so that a row locked for long takes only
//! a bounded part of the worker threads from other requests.
//!
//! A transaction that waits for a lock keeps its thread, its connection and its own locks. So its first attempt waits
//! for [`FIRST`] only, and is then rolled back. Further attempts take turns: those of a business on a quarter of the
//! connections, those of all businesses on half of them, each for a part of the remaining time. Between turns a
//! transaction holds nothing. After `RAPPORT_LOCK_WAIT_MS` without its lock it fails with the code `locked`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::fair_queue::TenantKey;

/// Lock timeout of a first attempt: twenty times as long as a typical write holds its row locks.
const FIRST: Duration = Duration::from_millis(100);
/// The same while the business already has a transaction in its queue, or all turns are taken: the same lock probably
/// blocks this one as well, and hundreds of callers must not occupy the threads to find that out.
const FIRST_OF_MANY: Duration = Duration::from_millis(20);
/// Lock timeout of a turn while the business has no more waiting transactions than turns.
const TURN: Duration = Duration::from_millis(250);
/// Lock timeout of a turn while more are waiting: they may need other rows, which may be free.
const TURN_OF_MANY: Duration = Duration::from_millis(100);
/// Lock timeout of a read outside of a transaction. It waits only for a table that is being altered.
const READ: Duration = Duration::from_millis(250);

/// The lock queues, one for each business.
pub(super) struct LockQueues {
    queues: Mutex<HashMap<TenantKey, Arc<LockQueue>>>,
    /// Concurrent turns of all businesses.
    places: Arc<Semaphore>,
    /// Concurrent turns of one business.
    places_each: usize,
    /// Total time to wait; `None`: the statement timeout applies, and there is no queue.
    limit: Option<Duration>,
}

struct LockQueue {
    turn: Arc<Semaphore>,
    /// Transactions in the queue, those that have a turn included.
    waiting: AtomicUsize,
}

/// One transaction's wait.
pub(super) struct LockWait<'l> {
    queues: &'l LockQueues,
    tenant: TenantKey,
    until: Option<Instant>,
    queue: Option<Arc<LockQueue>>,
}

/// Permission to wait for locks on a worker thread, until dropped.
pub(super) struct Turn {
    pub timeout: Duration,
    _permits: [OwnedSemaphorePermit; 2],
}

impl LockQueues {
    /// `limit_ms` is `RAPPORT_LOCK_WAIT_MS`; 0 means no limit.
    pub fn new(limit_ms: u64, connections: u32) -> Self {
        let share = |part: u32| (connections / part).max(1) as usize;
        Self {
            queues: Mutex::default(),
            places: Arc::new(Semaphore::new(share(2))),
            places_each: share(4),
            limit: (limit_ms > 0).then(|| Duration::from_millis(limit_ms)),
        }
    }

    /// Returns a connection's lock timeout outside of transactions, in ms, given the statement timeout `statement_ms`.
    pub fn of_session(limit_ms: u64, statement_ms: u64) -> u64 {
        if limit_ms == 0 { statement_ms } else { (READ.as_millis() as u64).min(limit_ms) }
    }

    pub fn begin(&self, tenant: TenantKey) -> LockWait<'_> {
        LockWait { queues: self, tenant, until: None, queue: None }
    }
}

impl LockWait<'_> {
    /// Returns the first attempt's lock timeout; `None`: the connection's own applies.
    pub fn first(&self) -> Option<Duration> {
        let limit = self.queues.limit?;
        let crowded =
            self.queues.places.available_permits() == 0 || self.queues.queues.lock().contains_key(&self.tenant);
        Some(limit.min(if crowded { FIRST_OF_MANY } else { FIRST }))
    }

    /// Resets the time limit: an attempt got its locks and failed for another reason.
    pub fn reset(&mut self) {
        self.until = None;
    }

    /// Waits for the next turn, after an attempt that did not get its lock. `None`: the time limit is exceeded.
    pub async fn turn(&mut self) -> Option<Turn> {
        let limit = self.queues.limit?;
        let until = *self.until.get_or_insert_with(|| Instant::now() + limit);
        let queue = self.queue.get_or_insert_with(|| self.queues.enter(self.tenant)).clone();
        let permits = timeout_at(until, async {
            let mine = queue.turn.clone().acquire_owned().await.ok()?;
            let place = self.queues.places.clone().acquire_owned().await.ok()?;
            Some([mine, place])
        });
        let permits = permits.await.ok()??;
        let left = until.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            return None;
        }
        let alone = queue.waiting.load(Ordering::Relaxed) <= self.queues.places_each;
        Some(Turn { timeout: left.min(if alone { TURN } else { TURN_OF_MANY }), _permits: permits })
    }
}

impl Drop for LockWait<'_> {
    fn drop(&mut self) {
        if self.queue.take().is_some() {
            self.queues.leave(self.tenant);
        }
    }
}

impl LockQueues {
    fn enter(&self, tenant: TenantKey) -> Arc<LockQueue> {
        let new =
            || Arc::new(LockQueue { turn: Arc::new(Semaphore::new(self.places_each)), waiting: AtomicUsize::new(0) });
        let mut queues = self.queues.lock();
        let queue = queues.entry(tenant).or_insert_with(new);
        queue.waiting.fetch_add(1, Ordering::Relaxed);
        queue.clone()
    }

    fn leave(&self, tenant: TenantKey) {
        let mut queues = self.queues.lock();
        let last = queues.get(&tenant).is_some_and(|queue| queue.waiting.fetch_sub(1, Ordering::Relaxed) == 1);
        if last {
            queues.remove(&tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSINESS: TenantKey = None;

    #[tokio::test]
    async fn lock_wait_turns_are_exclusive_and_time_out() {
        let queues = LockQueues::new(50, 4);
        let (mut first, mut second) = (queues.begin(BUSINESS), queues.begin(BUSINESS));
        assert_eq!(first.first(), Some(Duration::from_millis(50)), "no longer than in all");
        let turn = first.turn().await.expect("a turn");
        assert_eq!(second.first(), Some(FIRST_OF_MANY), "another is in the queue");
        let waited = Instant::now();
        assert!(second.turn().await.is_none(), "the turn is taken");
        assert!(waited.elapsed() >= Duration::from_millis(50));
        drop((turn, second));
        drop(first);
        assert!(queues.queues.lock().is_empty(), "nobody waits any more");
    }

    #[tokio::test]
    async fn lock_wait_queues_per_tenant_use_half_the_connections() {
        let queues = LockQueues::new(50, 4);
        let of = |number| Some(uuid::Uuid::from_u128(number));
        let mut waits: Vec<LockWait<'_>> = (0..3).map(|number| queues.begin(of(number))).collect();
        let mut turns = Vec::new();
        for wait in &mut waits {
            turns.push(wait.turn().await);
        }
        assert_eq!(turns.iter().filter(|turn| turn.is_some()).count(), 2);
        assert!(queues.begin(of(9)).first() == Some(FIRST_OF_MANY));
    }

    #[test]
    fn lock_wait_of_zero_waits_until_statement_timeout() {
        assert_eq!(LockQueues::new(0, 4).begin(BUSINESS).first(), None);
        assert_eq!(LockQueues::of_session(0, 5_000), 5_000);
    }
}
