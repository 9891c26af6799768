//! Waiting for locks that others hold: briefly where the transaction stands, and then in a line, so that a row that is held
//! for long costs its business no more than one database thread.
//!
//! A transaction that waits for a lock keeps its thread, its connection and its own locks. So its first attempt waits for
//! [`FIRST`] only, and is then undone. Further attempts take turns: those of a business on a quarter of the connections, of all
//! businesses on half of them, each for a part of the time that is left. Between turns a transaction holds nothing.
//! After `RAPPORT_LOCK_WAIT_MS` without its lock it is refused with the code `locked`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::queue::Party;

/// How long a first attempt waits for one lock: twenty times as long as a usual write holds its rows.
const FIRST: Duration = Duration::from_millis(100);
/// The same, while another transaction of the business is in the line already: what holds that one up probably holds this
/// one up as well, and hundreds of callers must not keep the threads busy with finding out.
const FIRST_OF_MANY: Duration = Duration::from_millis(20);
/// A turn in the line where nobody else of the business waits.
const TURN: Duration = Duration::from_millis(250);
/// A turn where others wait: they may want other rows, which may be free.
const TURN_OF_MANY: Duration = Duration::from_millis(100);
/// How long a read outside of a transaction waits for one lock. It only waits for a table that is being changed.
const READ: Duration = Duration::from_millis(250);

/// The lines, one for each business.
pub(super) struct LockLines {
    lines: Mutex<HashMap<Party, Arc<Line>>>,
    /// Turns at once, of all businesses.
    places: Arc<Semaphore>,
    /// Of one business.
    places_each: usize,
    /// In all; nothing: as long as a statement may take, without a line.
    limit: Option<Duration>,
}

struct Line {
    turn: Arc<Semaphore>,
    /// Transactions that are in it.
    waiting: AtomicUsize,
}

/// One transaction's wait.
pub(super) struct LockWait<'l> {
    lines: &'l LockLines,
    party: Party,
    until: Option<Instant>,
    line: Option<Arc<Line>>,
}

/// The right to wait for locks on a database thread, as long as it is kept.
pub(super) struct Turn {
    pub timeout: Duration,
    _permits: [OwnedSemaphorePermit; 2],
}

impl LockLines {
    /// `limit_ms` as `RAPPORT_LOCK_WAIT_MS` has it.
    pub fn new(limit_ms: u64, connections: u32) -> Self {
        let share = |part: u32| (connections / part).max(1) as usize;
        Self {
            lines: Mutex::default(),
            places: Arc::new(Semaphore::new(share(2))),
            places_each: share(4),
            limit: (limit_ms > 0).then(|| Duration::from_millis(limit_ms)),
        }
    }

    /// What a connection waits for a lock outside of transactions, where statements may take `statement`.
    pub fn of_session(limit_ms: u64, statement_ms: u64) -> u64 {
        if limit_ms == 0 { statement_ms } else { (READ.as_millis() as u64).min(limit_ms) }
    }

    pub fn begin(&self, party: Party) -> LockWait<'_> {
        LockWait { lines: self, party, until: None, line: None }
    }
}

impl LockWait<'_> {
    /// How long the first attempt waits for a lock; nothing: as long as a statement may take.
    pub fn first(&self) -> Option<Duration> {
        let limit = self.lines.limit?;
        let crowded = self.lines.places.available_permits() == 0 || self.lines.lines.lock().contains_key(&self.party);
        Some(limit.min(if crowded { FIRST_OF_MANY } else { FIRST }))
    }

    /// An attempt got its locks and failed otherwise: the next one may wait for them as long again.
    pub fn got_through(&mut self) {
        self.until = None;
    }

    /// Waits for the next turn, after an attempt that did not get its lock. `None`: the time is over.
    pub async fn turn(&mut self) -> Option<Turn> {
        let limit = self.lines.limit?;
        let until = *self.until.get_or_insert_with(|| Instant::now() + limit);
        let line = self.line.get_or_insert_with(|| self.lines.enter(self.party)).clone();
        let permits = timeout_at(until, async {
            let mine = line.turn.clone().acquire_owned().await.ok()?;
            let place = self.lines.places.clone().acquire_owned().await.ok()?;
            Some([mine, place])
        });
        let permits = permits.await.ok()??;
        let left = until.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            return None;
        }
        let alone = line.waiting.load(Ordering::Relaxed) <= self.lines.places_each;
        Some(Turn { timeout: left.min(if alone { TURN } else { TURN_OF_MANY }), _permits: permits })
    }
}

impl Drop for LockWait<'_> {
    fn drop(&mut self) {
        if self.line.take().is_some() {
            self.lines.leave(self.party);
        }
    }
}

impl LockLines {
    fn enter(&self, party: Party) -> Arc<Line> {
        let new = || Arc::new(Line { turn: Arc::new(Semaphore::new(self.places_each)), waiting: AtomicUsize::new(0) });
        let mut lines = self.lines.lock();
        let line = lines.entry(party).or_insert_with(new);
        line.waiting.fetch_add(1, Ordering::Relaxed);
        line.clone()
    }

    fn leave(&self, party: Party) {
        let mut lines = self.lines.lock();
        let last = lines.get(&party).is_some_and(|line| line.waiting.fetch_sub(1, Ordering::Relaxed) == 1);
        if last {
            lines.remove(&party);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSINESS: Party = None;

    #[tokio::test]
    async fn turns_are_taken_one_at_a_time_and_end_at_the_limit() {
        let lines = LockLines::new(50, 4);
        let (mut first, mut second) = (lines.begin(BUSINESS), lines.begin(BUSINESS));
        assert_eq!(first.first(), Some(Duration::from_millis(50)), "no longer than in all");
        let turn = first.turn().await.expect("a turn");
        assert_eq!(second.first(), Some(FIRST_OF_MANY), "another is in the line");
        let waited = Instant::now();
        assert!(second.turn().await.is_none(), "the turn is taken");
        assert!(waited.elapsed() >= Duration::from_millis(50));
        drop((turn, second));
        drop(first);
        assert!(lines.lines.lock().is_empty(), "nobody waits any more");
    }

    #[tokio::test]
    async fn businesses_have_lines_of_their_own_and_half_of_the_connections() {
        let lines = LockLines::new(50, 4);
        let of = |number| Some(uuid::Uuid::from_u128(number));
        let mut waits: Vec<LockWait<'_>> = (0..3).map(|number| lines.begin(of(number))).collect();
        let mut turns = Vec::new();
        for wait in &mut waits {
            turns.push(wait.turn().await);
        }
        assert_eq!(turns.iter().filter(|turn| turn.is_some()).count(), 2);
        assert!(lines.begin(of(9)).first() == Some(FIRST_OF_MANY));
    }

    #[test]
    fn a_limit_of_zero_waits_as_long_as_a_statement_may_take() {
        assert_eq!(LockLines::new(0, 4).begin(BUSINESS).first(), None);
        assert_eq!(LockLines::of_session(0, 5_000), 5_000);
    }
}
