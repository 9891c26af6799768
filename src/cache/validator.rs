//! Validation rounds: one statement reads the versions that all waiting readers depend on.
//!
//! A thread with its own connection sends one round at a time. A reader joins the next round that has not been sent,
//! never one in flight, whose statement may have read the versions before a write that the reader must see. While a
//! round is in flight, readers queue for the next, so rounds grow with the load and each costs the database about the
//! same.
//!
//! A transaction's snapshot alone decides what it sees. So each round also reads its snapshot: while that equals the
//! previous round's, nothing was committed in between and the known versions still hold. Such rounds are of one
//! *generation*: a reader whose data was confirmed in it need not compare versions again.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diesel::PgConnection;
use diesel::connection::SimpleConnection;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::pace::Pace;
use super::tags::{CacheTag, VersionStamp};
use crate::base::error::{BoxError, Error, Result};
use crate::base::supervisor::{Pulse, Supervisor, Task};
use crate::base::telemetry::log_limiter::LogLimiter;
use crate::base::telemetry::metrics;
use crate::db::backend_id::is_of_another_backend;
use crate::db::{DatabaseGate, LastAnswer, ReplyBatcher, SqlValue, Statement, catalogue, connect, pooler};

/// Name of the thread that sends rounds, as a background task: without it no response can come from the cache.
pub const VALIDATOR: &str = "validator";
/// Cache tags that one round takes; readers beyond that wait for the next round.
const MAX_TAGS_PER_ROUND: usize = 2_048;
/// Readers that may wait for the next round; others get 503.
const MAX_WAITING: usize = 20_000;
/// Versions remembered under one snapshot; beyond that, all are dropped.
const MAX_KNOWN_VERSIONS: usize = 100_000;
/// Minimum time between attempts to connect. Rounds that are due before that fail at once.
const RECONNECT: Duration = Duration::from_millis(100);

/// The result of a validation round for one reader.
#[derive(Clone, Debug)]
pub struct ValidationResult {
    /// Incremented when anything was committed since the previous round; 0 means none.
    pub generation: u64,
    /// `None`: nothing was committed since the generation that the reader passed.
    pub stamp: Option<VersionStamp>,
}

type Answer = Option<ValidationResult>;

struct PendingValidation {
    scopes: Arc<[CacheTag]>,
    since: u64,
    answer: oneshot::Sender<Answer>,
    mailbox: ReplyBatcher<Answer>,
}

thread_local! {
    static MAILBOX: RefCell<Option<ReplyBatcher<Answer>>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Queue {
    waiting: Vec<PendingValidation>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    rounds: AtomicU64,
    failed: AtomicU64,
    micros: AtomicU64,
    answered: LastAnswer,
    failures: LogLimiter,
    /// The next round reconnects and identifies the database again.
    reconnect: AtomicBool,
}

/// Number and duration of validation rounds.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct ValidatorStats {
    pub rounds: u64,
    pub failed: u64,
    /// Mean time from sending to response, in milliseconds.
    pub mean_ms: f64,
}

/// Validates cache tags: readers join its next round.
pub struct Validator {
    shared: Arc<Shared>,
    deadline: Duration,
    guard: Arc<DatabaseGate>,
}

impl Drop for Validator {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

impl Validator {
    /// Starts the thread, which connects when the first reader joins. `deadline` bounds a reader's wait.
    /// `guard` is notified of each new connection.
    pub fn start(url: &str, deadline: Duration, supervisor: &Supervisor, guard: Arc<DatabaseGate>) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut thread = Thread {
            shared: shared.clone(),
            url: url.to_owned(),
            guard: guard.clone(),
            timeout: deadline,
            session: None,
            connected_at: None,
            generation: 0,
            pace: Pace::default(),
        };
        supervisor.spawn_thread(Task::required(VALIDATOR), "rounds", move |pulse| {
            // After a panic the state of the session is unknown.
            thread.session = None;
            thread.run(pulse);
            Ok(())
        })?;
        Ok(Self { shared, deadline, guard })
    }

    /// Returns the versions of cache tags, read after this call began, or none if nothing has changed since the
    /// generation `since`. Errors: 503 when the round fails or is late, too many readers wait, or the database is
    /// behind a pooler that shares connections.
    pub async fn validate(&self, scopes: &Arc<[CacheTag]>, since: u64) -> Result<ValidationResult> {
        self.guard.gate().pass()?;
        let (answer, answered) = oneshot::channel();
        let mailbox = MAILBOX.with(ReplyBatcher::open);
        let first = {
            let mut queue = self.shared.queue.lock();
            if queue.waiting.len() >= MAX_WAITING {
                return Err(Error::busy());
            }
            queue.waiting.push(PendingValidation { scopes: scopes.clone(), since, answer, mailbox });
            queue.waiting.len() == 1
        };
        // The thread sleeps only while the queue is empty.
        if first {
            self.shared.wake.notify_one();
        }
        match tokio::time::timeout(self.deadline, answered).await {
            Ok(Ok(Some(found))) => Ok(found),
            _ if self.guard.gate().is_closed() => Err(pooler::PoolerSharesConnections::refusal()),
            _ => Err(Error::Unavailable {
                code: "validation_unavailable",
                detail: "The database could not be asked whether the answer is still good. Try again shortly.".into(),
                after: 1,
            }),
        }
    }

    /// Returns the time since the database last answered a round.
    pub fn last_answer(&self) -> Duration {
        self.shared.answered.age()
    }

    /// Has the next round reconnect and identify the database again.
    pub fn reconnect(&self) {
        self.shared.reconnect.store(true, Ordering::Release);
    }

    pub fn counts(&self) -> ValidatorStats {
        let rounds = self.shared.rounds.load(Ordering::Relaxed);
        let micros = self.shared.micros.load(Ordering::Relaxed);
        ValidatorStats {
            rounds,
            failed: self.shared.failed.load(Ordering::Relaxed),
            mean_ms: micros as f64 / 1000.0 / rounds.max(1) as f64,
        }
    }
}

/// A connection, and the result of its last round.
struct Session {
    conn: PgConnection,
    /// The pooler gate's epoch when the connection was made.
    epoch: u64,
    identity: u64,
    snapshot_id: SnapshotId,
    known: HashMap<CacheTag, i64, xxhash_rust::xxh3::Xxh3DefaultBuilder>,
    /// Whether the last round saw the same snapshot as the one before; then the next probably does, too.
    quiet: bool,
}

impl Session {
    /// Reads the versions that `round` needs; `generation` is that of the last round. Returns whether anything was
    /// committed since.
    fn ask(&mut self, round: &[PendingValidation], generation: u64) -> Result<bool, BoxError> {
        if self.known.len() > MAX_KNOWN_VERSIONS {
            self.known.clear();
        }
        if self.quiet {
            let changed = round.iter().filter(|waiting| waiting.since != generation);
            let unknown = changed.flat_map(|waiting| waiting.scopes.iter()).filter(|s| !self.known.contains_key(s));
            let unknown = deduplicate(unknown);
            let (moment, versions) = versions(&mut self.conn, &unknown)?;
            if self.is_unchanged(&moment) {
                self.known.extend(unknown.into_iter().zip(versions));
                return Ok(false);
            }
        }
        let all = deduplicate(round.iter().flat_map(|waiting| waiting.scopes.iter()));
        let (moment, versions) = versions(&mut self.conn, &all)?;
        self.quiet = self.is_unchanged(&moment);
        if !self.quiet {
            self.snapshot_id = moment;
            self.known.clear();
        }
        self.known.extend(all.into_iter().zip(versions));
        Ok(!self.quiet)
    }

    /// Whether nothing was committed between the last known snapshot and `moment`.
    fn is_unchanged(&self, moment: &SnapshotId) -> bool {
        #[cfg(feature = "mutants")]
        if crate::base::mutants::is(crate::base::mutants::Mutant::KnownForever) {
            return self.snapshot_id.life == moment.life;
        }
        *moment == self.snapshot_id
    }

    fn stamp(&self, scopes: &[CacheTag]) -> Option<VersionStamp> {
        let epoch = xxhash_rust::xxh3::xxh3_64_with_seed(self.snapshot_id.life.as_bytes(), self.identity);
        let versions: Option<_> = scopes.iter().map(|scope| self.known.get(scope).copied()).collect();
        Some(VersionStamp { epoch, versions: versions? })
    }
}

fn deduplicate<'s>(scopes: impl Iterator<Item = &'s CacheTag>) -> Vec<CacheTag> {
    let mut seen = HashSet::<CacheTag, xxhash_rust::xxh3::Xxh3DefaultBuilder>::default();
    scopes.filter(|scope| seen.insert(**scope)).copied().collect()
}

struct Thread {
    shared: Arc<Shared>,
    url: String,
    guard: Arc<DatabaseGate>,
    timeout: Duration,
    session: Option<Session>,
    connected_at: Option<Instant>,
    generation: u64,
    pace: Pace,
}

impl Thread {
    fn run(&mut self, pulse: &Pulse) {
        while let Some(round) = self.next() {
            if round.is_empty() {
                continue;
            }
            self.pace.sends(round.len());
            let began = Instant::now();
            // A broken connection says nothing about the versions: the round is tried once more on a new one.
            let asked = self.ask(&round).or_else(|_| self.ask(&round));
            #[cfg(feature = "mutants")]
            let round = self.late_comers(round);
            self.shared.rounds.fetch_add(1, Ordering::Relaxed);
            let took = began.elapsed();
            self.shared.micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
            metrics::validated(took);
            match asked {
                Ok(()) => self.succeeded(pulse),
                Err(error) => self.failed(&error, pulse),
            }
            ReplyBatcher::deliver(round.into_iter().map(|waiting| {
                let found = self.found(&waiting);
                (waiting.mailbox, (waiting.answer, found))
            }));
            self.pace.gather();
        }
    }

    fn succeeded(&self, pulse: &Pulse) {
        self.shared.answered.note();
        if let Some(over) = self.shared.failures.recovered() {
            let seconds = over.lasted.as_secs();
            tracing::info!(seconds, suppressed = over.suppressed, "validation rounds succeed again");
        }
        pulse.succeeded();
    }

    fn failed(&self, error: &BoxError, pulse: &Pulse) {
        pulse.failed(error.to_string());
        self.shared.failed.fetch_add(1, Ordering::Relaxed);
        if let Some(suppressed) = self.shared.failures.failed() {
            tracing::error!(%error, suppressed, "a validation round failed; this is logged once a minute");
        }
    }

    /// Returns the last round's result for one reader; `None` when the round failed.
    fn found(&self, waiting: &PendingValidation) -> Answer {
        let (session, generation) = (self.session.as_ref()?, self.generation);
        let stamp = if waiting.since == generation { None } else { Some(session.stamp(&waiting.scopes)?) };
        Some(ValidationResult { generation, stamp })
    }

    /// After the statement has run: a random delay, and with the mutant, readers that joined too late for this round.
    #[cfg(feature = "mutants")]
    fn late_comers(&self, mut round: Vec<PendingValidation>) -> Vec<PendingValidation> {
        use crate::base::mutants::{Mutant, is, stall};
        stall();
        if is(Mutant::JoinInFlight) {
            let mut queue = self.shared.queue.lock();
            let known = |waiting: &PendingValidation| self.found(waiting).is_some();
            let (late, other) = queue.waiting.drain(..).partition(|waiting| known(waiting));
            queue.waiting = other;
            round.extend::<Vec<PendingValidation>>(late);
        }
        round
    }

    /// Waits for readers and takes the next round; `None` when the service has stopped. The round is empty when its
    /// readers have all been cancelled.
    fn next(&self) -> Option<Vec<PendingValidation>> {
        let mut queue = self.shared.queue.lock();
        while queue.waiting.is_empty() && !queue.closed {
            self.shared.wake.wait(&mut queue);
        }
        if queue.closed {
            return None;
        }
        // Cancelled requests need no result.
        queue.waiting.retain(|waiting| !waiting.answer.is_closed());
        let mut scopes = 0;
        let fits = queue.waiting.iter().take_while(|waiting| {
            scopes += waiting.scopes.len();
            scopes <= MAX_TAGS_PER_ROUND
        });
        let count = fits.count().max(queue.waiting.len().min(1));
        Some(queue.waiting.drain(..count).collect())
    }

    fn ask(&mut self, round: &[PendingValidation]) -> Result<(), BoxError> {
        let asked = self.try_to_ask(round);
        if let Err(error) = &asked
            && (error.is::<pooler::PoolerSharesConnections>()
                || error.downcast_ref().is_some_and(is_of_another_backend))
        {
            self.guard.gate().close();
        }
        asked
    }

    fn try_to_ask(&mut self, round: &[PendingValidation]) -> Result<(), BoxError> {
        let session = self.session.take().filter(|_| !self.shared.reconnect.swap(false, Ordering::AcqRel));
        let session = session.filter(|session| session.epoch == self.guard.gate().epoch());
        let mut session = match session {
            Some(session) => session,
            None => self.connect()?,
        };
        if session.ask(round, self.generation)? {
            self.generation += 1;
        }
        // Stored only on success: a session that failed is dropped.
        self.session = Some(session);
        Ok(())
    }

    fn connect(&mut self) -> Result<Session, BoxError> {
        if self.connected_at.is_some_and(|at| at.elapsed() < RECONNECT) {
            return Err("the connection was lost a moment ago".into());
        }
        self.connected_at = Some(Instant::now());
        let epoch = self.guard.gate().epoch();
        let mut conn = connect(&self.url)?;
        // The first connection goes to the database that startup has checked.
        if self.generation > 0 {
            self.guard.suspect();
        }
        pooler::check(&self.url)?;
        conn.batch_execute(&format!(
            "SET statement_timeout = {0}; SET lock_timeout = {0}; SET jit = off; SET application_name = 'rapport rounds';
             SET enable_seqscan = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan;",
            self.timeout.as_millis()
        ))?;
        let identity = identity(&mut conn)?;
        self.connected_at = None;
        Ok(Session {
            conn,
            epoch,
            identity,
            snapshot_id: SnapshotId::default(),
            known: HashMap::default(),
            quiet: false,
        })
    }
}

/// Identifies the database: differs for another cluster, a copy restored elsewhere, another database of the same name,
/// or one whose triggers were recreated, so that changes may have been missed. What can change while a connection lives
/// is read in each round, see [`DATABASE_EPOCH`].
fn identity(conn: &mut PgConnection) -> Result<u64, BoxError> {
    conn.batch_execute("INSERT INTO cache_epoch (id) VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING")?;
    let row = Statement::new(
        "SELECT concat_ws('/', s.system_identifier, d.oid) FROM pg_control_system() s, pg_database d \
         WHERE d.datname = current_database()",
    )
    .row(conn)?;
    let text = row.as_ref().and_then(|row| row.text(0)).ok_or("the database does not say which it is")?;
    let triggers = catalogue::fingerprint(conn)?;
    Ok(xxhash_rust::xxh3::xxh3_64(format!("{text}/{triggers}").as_bytes()))
}

/// Identifies what a round's statement saw.
#[derive(Default, PartialEq)]
struct SnapshotId {
    /// Which transactions are visible: `pg_current_snapshot()`. Every transaction that changes anything has a number,
    /// and its end removes it from the snapshot's list or raises the snapshot's upper bound; neither is ever undone.
    snapshot: String,
    /// The database's epoch, see [`DATABASE_EPOCH`].
    life: String,
}

/// Identifies the database's epoch: the server's start (older files may have been restored), the table of versions (it
/// may have been recreated or emptied), and the row of `cache_epoch`, which crash recovery and promotion empty. NULL
/// then.
const DATABASE_EPOCH: &str = "(SELECT pg_postmaster_start_time()::text || '/' || pg_relation_filenode('cache_versions') || '/' || i.id \
                    FROM cache_epoch i)";

/// Reads the snapshot and the versions of cache tags, in their order, in one statement. A version never bumped is 0.
fn versions(conn: &mut PgConnection, scopes: &[CacheTag]) -> Result<(SnapshotId, Vec<i64>), BoxError> {
    let mut sql = Statement::new(format!("SELECT 0::bigint, 0::bigint, pg_current_snapshot()::text, {DATABASE_EPOCH}"));
    if !scopes.is_empty() {
        sql.push(" UNION ALL SELECT scope_key, value, NULL, NULL FROM cache_versions WHERE scope_key = ANY(");
        sql.bind(SqlValue::Ints(scopes.iter().map(|scope| scope.key()).collect())).push(")");
    }
    let (mut moment, mut slots) = (None, HashMap::<i64, i64>::new());
    for row in sql.rows(conn)? {
        match (row.text(2), row.text(3), row.int(0), row.int(1)) {
            (Some(snapshot), Some(life), ..) => {
                moment = Some(SnapshotId { snapshot: snapshot.to_owned(), life: life.to_owned() });
            }
            (None, None, Some(place), Some(value)) => add(slots.entry(place).or_default(), value),
            _ => return Err("the database has lost its epoch".into()),
        }
    }
    let moment = moment.ok_or("a round answered nothing")?;
    Ok((moment, scopes.iter().map(|scope| slots.get(&scope.key()).copied().unwrap_or(0)).collect()))
}

/// A version is the sum of its slots.
fn add(version: &mut i64, slot: i64) {
    #[cfg(feature = "mutants")]
    if crate::base::mutants::is(crate::base::mutants::Mutant::Maximum) {
        *version = slot.max(*version);
        return;
    }
    *version = version.wrapping_add(slot);
}
