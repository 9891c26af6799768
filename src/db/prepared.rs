//! Decides which statements a connection keeps prepared, and limits their number.
//!
//! diesel's own cache is unbounded and cannot drop a single statement, and the text of a list query or a write depends
//! on the filters and fields that a client sends. So each connection counts for itself: a statement is prepared at its
//! second use, at most [`PoolArgs::db_prepared`](super::PoolArgs) are kept, and when another one does not fit, all
//! are deallocated together. That costs each statement in use one planning, which an unprepared statement costs every
//! time.
//!
//! Any backend but the connection's own rejects its prepared statements ([`super::backend_id`]), and none is prepared
//! until the backend is known to be used by this connection alone.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use diesel::QueryResult;
use diesel::connection::{CacheSize, Connection, Instrumentation, InstrumentationEvent, SimpleConnection};
use diesel::pg::PgConnection;
use metrics::{counter, gauge};
use xxhash_rust::xxh3::{Xxh3DefaultBuilder, xxh3_64};

use super::DatabaseGate;
use super::backend_id::BackendId;
use super::pooler::Made;

/// Prepared statements that a connection keeps by default: several times the 20 to 50 that are in use at once.
pub const DEFAULT_LIMIT: usize = 256;

/// Total bytes of statement text allowed, per statement allowed. A backend needs 250 to 400 times a statement's text
/// for its plan (measured: 120 KiB for a list query, 500 KiB for one with three relations), so 256 statements take at
/// most 50 MiB.
const TEXT_EACH: usize = 512;

/// Uses since the last reset after which a statement is prepared at its first use following the next reset.
const FREQUENT: u32 = 8;

pub(super) const PREPARED_STATEMENTS: &str = "rapport_db_prepared_statements";
pub(super) const PREPARED_RESETS: &str = "rapport_db_prepared_resets_total";

thread_local! {
    /// Statements that this thread has sent, as diesel reports them.
    static SENT: Cell<u64> = const { Cell::new(0) };
}

/// Returns how many statements this thread has sent.
pub(super) fn sent() -> u64 {
    SENT.get()
}

type Shape = u64;

/// Usage of a prepared statement.
struct PreparedStatement {
    uses: u32,
    /// Bytes of its text.
    text: usize,
}

/// The prepared statements of one connection. Stored in the connection as its instrumentation.
struct Prepared {
    most: usize,
    /// The connection's own backend.
    backend: Option<BackendId>,
    /// Until the backend is known not to be shared: when the connection was made, and the gate that knows.
    unproven: Option<(Made, Arc<DatabaseGate>)>,
    made: Option<Made>,
    /// The statements kept prepared, with their uses since the last reset.
    kept: HashMap<Shape, PreparedStatement, Xxh3DefaultBuilder>,
    /// Bytes of their texts.
    text: usize,
    /// Statements that the server holds, as diesel reports them, including those that diesel caches itself.
    held: usize,
    /// Another statement should have been prepared and did not fit.
    crowded: bool,
    /// Statements in frequent use before the last reset.
    frequent: HashSet<Shape, Xxh3DefaultBuilder>,
    /// Statements used once recently: since `once` was last full, and in the period before that.
    once: HashSet<Shape, Xxh3DefaultBuilder>,
    once_before: HashSet<Shape, Xxh3DefaultBuilder>,
}

impl Prepared {
    fn new(most: usize) -> Self {
        Self {
            most,
            backend: None,
            unproven: None,
            made: None,
            kept: HashMap::default(),
            text: 0,
            held: 0,
            crowded: false,
            frequent: HashSet::default(),
            once: HashSet::default(),
            once_before: HashSet::default(),
        }
    }

    /// Whether the statement `text` is sent as a prepared one.
    fn keeps(&mut self, text: &str) -> bool {
        let shape = xxh3_64(text.as_bytes());
        if let Some(kept) = self.kept.get_mut(&shape) {
            kept.uses = kept.uses.saturating_add(1);
            return true;
        }
        if self.most == 0 || !(self.frequent.contains(&shape) || self.is_repeated(shape)) {
            return false;
        }
        if !self.is_proven() {
            return false;
        }
        if !self.has_place(text.len()) {
            self.crowded = true;
            return false;
        }
        self.once.remove(&shape);
        self.text += text.len();
        self.kept.insert(shape, PreparedStatement { uses: 1, text: text.len() });
        true
    }

    /// Whether the backend is known to be this connection's alone.
    fn is_proven(&mut self) -> bool {
        self.unproven.take_if(|(made, guard)| guard.gate().has_checked(*made));
        self.unproven.is_none()
    }

    fn has_place(&self, text: usize) -> bool {
        let count = self.kept.len().max(self.held);
        count < self.most && (count == 0 || self.text + text <= self.most * TEXT_EACH)
    }

    /// Whether `shape` was used before within the last `most` to twice `most` statements that are not kept.
    fn is_repeated(&mut self, shape: Shape) -> bool {
        if self.once.contains(&shape) || self.once_before.contains(&shape) {
            return true;
        }
        if self.once.len() >= self.most {
            self.once_before = std::mem::take(&mut self.once);
        }
        self.once.insert(shape);
        false
    }

    /// Drops all statements, but remembers those in frequent use: at most half of the limit, so that others fit too.
    fn forget(&mut self) {
        let mut used: Vec<(Shape, PreparedStatement)> =
            self.kept.drain().filter(|(_, kept)| kept.uses >= FREQUENT).collect();
        used.sort_unstable_by_key(|(_, kept)| std::cmp::Reverse(kept.uses));
        let mut text = 0;
        let half = used.into_iter().take(self.most / 2).take_while(|(_, kept)| {
            text += kept.text;
            text <= self.most * TEXT_EACH / 2
        });
        self.frequent = half.map(|(shape, _)| shape).collect();
        self.hold(0);
        self.text = 0;
        self.crowded = false;
    }

    fn hold(&mut self, held: usize) {
        gauge!(PREPARED_STATEMENTS).increment(held as f64 - self.held as f64);
        self.held = held;
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.hold(0);
    }
}

impl Instrumentation for Prepared {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartQuery { .. } => SENT.set(SENT.get() + 1),
            InstrumentationEvent::CacheQuery { .. } => self.hold(self.held + 1),
            _ => {}
        }
    }
}

/// Lets `conn`, whose backend is `backend`, keep `most` statements prepared; none without a backend id. Connections for
/// which neither this nor [`limit_of_pool`] is called keep none.
pub(super) fn limit(conn: &mut PgConnection, most: usize, backend: Option<BackendId>) {
    let mut prepared = Prepared::new(if backend.is_some() { most } else { 0 });
    prepared.backend = backend;
    conn.set_instrumentation(prepared);
}

/// As [`limit`], but none before `guard` has found that connections such as this one, which was `made`, are not shared.
pub(super) fn limit_of_pool(
    conn: &mut PgConnection,
    most: usize,
    backend: Option<BackendId>,
    made: Made,
    guard: Arc<DatabaseGate>,
) {
    limit(conn, most, backend);
    if let Some(prepared) = conn.instrumentation().downcast_mut::<Prepared>() {
        prepared.made = Some(made);
        prepared.unproven = Some((made, guard));
    }
}

/// Returns the backend of `conn`, if it sends the statement `text` as a prepared one.
pub(super) fn keeps(conn: &mut PgConnection, text: &str) -> Option<BackendId> {
    let prepared = conn.instrumentation().downcast_mut::<Prepared>()?;
    let backend = prepared.backend?;
    prepared.keeps(text).then_some(backend)
}

/// Returns the backend of `conn` at the time the connection was made.
pub(super) fn backend(conn: &mut PgConnection) -> Option<BackendId> {
    conn.instrumentation().downcast_ref::<Prepared>()?.backend
}

/// Returns when `conn`, one of the pool, was made.
pub(super) fn made(conn: &mut PgConnection) -> Option<Made> {
    conn.instrumentation().downcast_ref::<Prepared>()?.made
}

/// Deallocates all prepared statements of `conn` if another one did not fit. Only outside of a transaction: a failed
/// one accepts no statement.
pub(super) fn make_room(conn: &mut PgConnection) -> QueryResult<()> {
    let crowded = conn.instrumentation().downcast_ref::<Prepared>().is_some_and(|prepared| prepared.crowded);
    if !crowded {
        return Ok(());
    }
    conn.batch_execute("DEALLOCATE ALL")?;
    // The only way to empty diesel's cache. diesel continues to number statement names from the last one.
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    conn.set_prepared_statement_cache_size(CacheSize::Unbounded);
    if let Some(prepared) = conn.instrumentation().downcast_mut::<Prepared>() {
        prepared.forget();
    }
    counter!(PREPARED_RESETS).increment(1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(prepared: &mut Prepared, text: &str) -> [bool; 3] {
        std::array::from_fn(|_| prepared.keeps(text))
    }

    #[test]
    fn keeps_a_statement_from_its_second_use_within_the_window() {
        let mut prepared = Prepared::new(4);
        assert_eq!(uses(&mut prepared, "a"), [false, true, true]);
        assert!(!prepared.keeps("b"));
        (0..8).for_each(|n| assert!(!prepared.keeps(&format!("rare {n}"))));
        assert!(!prepared.keeps("b"), "its first use is forgotten");
        assert!(prepared.keeps("a"), "what is kept stays");
        assert!(prepared.once.len() + prepared.once_before.len() <= 2 * prepared.most);
    }

    #[test]
    fn keeps_at_most_its_bound_and_the_frequent_after_forget() {
        let mut prepared = Prepared::new(4);
        assert!((0..20).filter(|_| prepared.keeps("hot")).count() == 19);
        for n in 0..3 {
            assert_eq!(uses(&mut prepared, &format!("{n}")), [false, true, true]);
        }
        assert!(!prepared.crowded, "all have a place");
        assert_eq!(uses(&mut prepared, "more"), [false, false, false]);
        assert!(prepared.crowded && prepared.kept.len() == 4);
        prepared.forget();
        assert!(prepared.keeps("hot"), "at its first use");
        assert_eq!(uses(&mut prepared, "0"), [false, true, true]);
    }

    #[test]
    fn keeps_no_more_text_than_its_bound() {
        let mut prepared = Prepared::new(4);
        let long = |n: usize| format!("{n}{}", " ".repeat(TEXT_EACH * 2));
        assert_eq!(uses(&mut prepared, &long(0)), [false, true, true]);
        assert_eq!(uses(&mut prepared, &long(1)), [false; 3]);
        assert!(prepared.crowded && prepared.text <= 4 * TEXT_EACH);
        prepared.forget();
        assert_eq!(uses(&mut prepared, &long(1)), [true; 3]);
    }

    #[test]
    fn keeps_nothing_with_a_bound_of_zero() {
        assert_eq!(uses(&mut Prepared::new(0), "a"), [false; 3]);
    }
}
