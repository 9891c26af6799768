//! Validation rounds: one statement asks for the versions of everything that waiting readers depend on.
//!
//! A thread with one connection of its own sends one round at a time. A reader joins the next round that has not been
//! sent, never one in flight: its statement may have read the versions before the write that the reader must see. While a
//! round is in flight others gather, so rounds grow with the load and each costs the database about the same.
//!
//! What a transaction sees is decided by its snapshot alone. So each round asks for its snapshot too, and as long as that
//! is the one of the round before, nothing has been committed in between, and the versions that are known still hold. Such
//! rounds are of one *generation*: whoever has confirmed what they hold in it need not compare versions again.

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
use super::scope::{Scope, Stamp};
use crate::db::backend_id::is_of_another_backend;
use crate::db::{Guard, LastAnswer, Mailbox, Statement, Value, catalogue, connect, pooler};
use crate::error::{Error, Result};
use crate::jobs::{Pulse, Supervisor, Task};
use crate::ops::log_limiter::LogLimiter;
use crate::ops::metrics;

/// The thread that sends rounds, as a background task: without it nothing can be answered from the cache.
pub const VALIDATOR: &str = "validator";
/// Pairs of business and table that one round asks for; who finds no place waits for the next.
const LARGEST_ROUND: usize = 2_048;
/// Readers that may wait for the next round; more are sent away.
const MOST_WAITING: usize = 20_000;
/// Versions that are remembered under one snapshot; past it, all are forgotten.
const MOST_KNOWN: usize = 100_000;
/// Pause between attempts to connect. Whoever asks meanwhile is sent away at once.
const RECONNECT: Duration = Duration::from_millis(100);

/// What a round has found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Grows whenever anything was committed since the round before; 0 is none.
    pub generation: u64,
    /// `None`: nothing was committed since the generation that the reader named.
    pub stamp: Option<Stamp>,
}

type Answer = Option<Found>;

struct Waiting {
    scopes: Arc<[Scope]>,
    since: u64,
    answer: oneshot::Sender<Answer>,
    mailbox: Mailbox<Answer>,
}

thread_local! {
    static MAILBOX: RefCell<Option<Mailbox<Answer>>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
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
    /// The next round connects anew, and asks again which database it is.
    reconnect: AtomicBool,
}

/// How many rounds there were, and how long they took.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct RoundCounts {
    pub rounds: u64,
    pub failed: u64,
    /// Mean time from sending to answer, in milliseconds.
    pub mean_ms: f64,
}

/// The next round, to be joined.
pub struct Rounds {
    shared: Arc<Shared>,
    deadline: Duration,
    guard: Arc<Guard>,
}

impl Drop for Rounds {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

impl Rounds {
    /// Starts the thread; its connection is made when the first reader asks. `deadline` bounds a reader's wait.
    /// `guard` hears of each connection.
    pub fn start(url: &str, deadline: Duration, supervisor: &Supervisor, guard: Arc<Guard>) -> Result<Self> {
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
            // What a panic has left behind is not trusted.
            thread.session = None;
            thread.run(pulse);
            Ok(())
        })?;
        Ok(Self { shared, deadline, guard })
    }

    /// The versions of `scopes`, read after this call began, unless nothing has changed since the generation `since`.
    /// Errors: 503 when the round fails or is late, or the database is behind a pooler that shares connections.
    pub async fn join(&self, scopes: &Arc<[Scope]>, since: u64) -> Result<Found> {
        self.guard.gate().pass()?;
        let (answer, answered) = oneshot::channel();
        let mailbox = MAILBOX.with(Mailbox::open);
        let first = {
            let mut queue = self.shared.queue.lock();
            if queue.waiting.len() >= MOST_WAITING {
                return Err(Error::busy());
            }
            queue.waiting.push(Waiting { scopes: scopes.clone(), since, answer, mailbox });
            queue.waiting.len() == 1
        };
        // The thread sleeps only when nobody waits.
        if first {
            self.shared.wake.notify_one();
        }
        match tokio::time::timeout(self.deadline, answered).await {
            Ok(Ok(Some(found))) => Ok(found),
            _ if self.guard.gate().is_closed() => Err(pooler::Shared::refusal()),
            _ => Err(Error::Unavailable {
                code: "validation_unavailable",
                detail: "The database could not be asked whether the answer is still good. Try again shortly.".into(),
                after: 1,
            }),
        }
    }

    /// How long ago the database last answered a round.
    pub fn last_answer(&self) -> Duration {
        self.shared.answered.age()
    }

    /// Asks again which database it is, before the next round.
    pub fn reconnect(&self) {
        self.shared.reconnect.store(true, Ordering::Release);
    }

    pub fn counts(&self) -> RoundCounts {
        let rounds = self.shared.rounds.load(Ordering::Relaxed);
        let micros = self.shared.micros.load(Ordering::Relaxed);
        RoundCounts {
            rounds,
            failed: self.shared.failed.load(Ordering::Relaxed),
            mean_ms: micros as f64 / 1000.0 / rounds.max(1) as f64,
        }
    }
}

/// A connection, and what is known from its last round.
struct Session {
    conn: PgConnection,
    /// Of the gate, when it was made.
    epoch: u64,
    identity: u64,
    moment: Moment,
    known: HashMap<Scope, i64, xxhash_rust::xxh3::Xxh3DefaultBuilder>,
    /// Whether the last round found what the one before had found, so that the next may, too.
    quiet: bool,
}

impl Session {
    /// Learns what `round` asks for; `generation` is that of the last. Returns whether anything was committed since.
    fn ask(&mut self, round: &[Waiting], generation: u64) -> Result<bool, BoxError> {
        if self.known.len() > MOST_KNOWN {
            self.known.clear();
        }
        if self.quiet {
            let changed = round.iter().filter(|waiting| waiting.since != generation);
            let unknown = changed.flat_map(|waiting| waiting.scopes.iter()).filter(|s| !self.known.contains_key(s));
            let unknown = each_once(unknown);
            let (moment, versions) = versions(&mut self.conn, &unknown)?;
            if self.stands(&moment) {
                self.known.extend(unknown.into_iter().zip(versions));
                return Ok(false);
            }
        }
        let all = each_once(round.iter().flat_map(|waiting| waiting.scopes.iter()));
        let (moment, versions) = versions(&mut self.conn, &all)?;
        self.quiet = self.stands(&moment);
        if !self.quiet {
            self.moment = moment;
            self.known.clear();
        }
        self.known.extend(all.into_iter().zip(versions));
        Ok(!self.quiet)
    }

    /// Whether nothing was committed between the moment that is known and `moment`.
    fn stands(&self, moment: &Moment) -> bool {
        #[cfg(feature = "mutants")]
        if super::mutants::is(super::mutants::Mutant::KnownForever) {
            return self.moment.life == moment.life;
        }
        *moment == self.moment
    }

    fn stamp(&self, scopes: &[Scope]) -> Option<Stamp> {
        let epoch = xxhash_rust::xxh3::xxh3_64_with_seed(self.moment.life.as_bytes(), self.identity);
        let versions: Option<_> = scopes.iter().map(|scope| self.known.get(scope).copied()).collect();
        Some(Stamp { epoch, versions: versions? })
    }
}

fn each_once<'s>(scopes: impl Iterator<Item = &'s Scope>) -> Vec<Scope> {
    let mut seen = HashSet::<Scope, xxhash_rust::xxh3::Xxh3DefaultBuilder>::default();
    scopes.filter(|scope| seen.insert(**scope)).copied().collect()
}

struct Thread {
    shared: Arc<Shared>,
    url: String,
    guard: Arc<Guard>,
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
            // A broken connection says nothing about the question: it is asked once more, on another.
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
            Mailbox::deliver(round.into_iter().map(|waiting| {
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

    /// What the last round says to one who asked. `None`: it failed.
    fn found(&self, waiting: &Waiting) -> Answer {
        let (session, generation) = (self.session.as_ref()?, self.generation);
        let stamp = if waiting.since == generation { None } else { Some(session.stamp(&waiting.scopes)?) };
        Some(Found { generation, stamp })
    }

    /// After the answer is there: lets those in who came too late for this round.
    #[cfg(feature = "mutants")]
    fn late_comers(&self, mut round: Vec<Waiting>) -> Vec<Waiting> {
        use super::mutants::{Mutant, is, stall};
        stall();
        if is(Mutant::JoinInFlight) {
            let mut queue = self.shared.queue.lock();
            let known = |waiting: &Waiting| self.found(waiting).is_some();
            let (late, other) = queue.waiting.drain(..).partition(|waiting| known(waiting));
            queue.waiting = other;
            round.extend::<Vec<Waiting>>(late);
        }
        round
    }

    /// Waits until somebody does; `None` when the service is gone.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.shared.queue.lock();
        while queue.waiting.is_empty() && !queue.closed {
            self.shared.wake.wait(&mut queue);
        }
        if queue.closed {
            return None;
        }
        // Whoever has gone away meanwhile needs no answer.
        queue.waiting.retain(|waiting| !waiting.answer.is_closed());
        let mut scopes = 0;
        let fits = queue.waiting.iter().take_while(|waiting| {
            scopes += waiting.scopes.len();
            scopes <= LARGEST_ROUND
        });
        let count = fits.count().max(queue.waiting.len().min(1));
        Some(queue.waiting.drain(..count).collect())
    }

    fn ask(&mut self, round: &[Waiting]) -> Result<(), BoxError> {
        let asked = self.try_to_ask(round);
        if let Err(error) = &asked
            && (error.is::<pooler::Shared>() || error.downcast_ref().is_some_and(is_of_another_backend))
        {
            self.guard.gate().close();
        }
        asked
    }

    fn try_to_ask(&mut self, round: &[Waiting]) -> Result<(), BoxError> {
        let session = self.session.take().filter(|_| !self.shared.reconnect.swap(false, Ordering::AcqRel));
        let session = session.filter(|session| session.epoch == self.guard.gate().epoch());
        let mut session = match session {
            Some(session) => session,
            None => self.connect()?,
        };
        if session.ask(round, self.generation)? {
            self.generation += 1;
        }
        // Kept only now: a session that failed is gone.
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
        // The first connection is to what the start has looked at.
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
        Ok(Session { conn, epoch, identity, moment: Moment::default(), known: HashMap::default(), quiet: false })
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Identifies the database: another cluster, a copy that was restored elsewhere, another database of the same name, or one
/// whose triggers were made again, so that changes may have been missed.
/// What can change while a connection lives rides in each round, see [`LIFE`].
fn identity(conn: &mut PgConnection) -> Result<u64, BoxError> {
    conn.batch_execute("INSERT INTO cache_incarnation (id) VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING")?;
    let row = Statement::new(
        "SELECT concat_ws('/', s.system_identifier, d.oid) FROM pg_control_system() s, pg_database d \
         WHERE d.datname = current_database()",
    )
    .row(conn)?;
    let text = row.as_ref().and_then(|row| row.text(0)).ok_or("the database does not say which it is")?;
    let triggers = catalogue::fingerprint(conn)?;
    Ok(xxhash_rust::xxh3::xxh3_64(format!("{text}/{triggers}").as_bytes()))
}

/// What a round's statement saw, of everything that can decide what it sees.
#[derive(Default, PartialEq)]
struct Moment {
    /// Which transactions are visible: `pg_current_snapshot()`. Every transaction that changes anything has a number, and
    /// leaves the snapshot's list, or raises its end, when it ends; neither is ever taken back.
    snapshot: String,
    /// This life of the database, see [`LIFE`].
    life: String,
}

/// Identifies this life of it: the server's start (files of before may have been put back), the table of versions (it may
/// have been made anew or emptied), and the incarnation, which crash recovery and promotion empty. NULL when that is empty.
const LIFE: &str = "(SELECT pg_postmaster_start_time()::text || '/' || pg_relation_filenode('cache_versions') || '/' || i.id \
                    FROM cache_incarnation i)";

/// One statement: its moment, and the versions of `scopes` in their order. A version that has never moved is 0.
fn versions(conn: &mut PgConnection, scopes: &[Scope]) -> Result<(Moment, Vec<i64>), BoxError> {
    let mut sql = Statement::new(format!("SELECT 0::bigint, 0::bigint, pg_current_snapshot()::text, {LIFE}"));
    if !scopes.is_empty() {
        sql.push(" UNION ALL SELECT place, value, NULL, NULL FROM cache_versions WHERE place = ANY(");
        sql.bind(Value::Ints(scopes.iter().map(|scope| scope.place()).collect())).push(")");
    }
    let (mut moment, mut slots) = (None, HashMap::<i64, i64>::new());
    for row in sql.rows(conn)? {
        match (row.text(2), row.text(3), row.int(0), row.int(1)) {
            (Some(snapshot), Some(life), ..) => {
                moment = Some(Moment { snapshot: snapshot.to_owned(), life: life.to_owned() });
            }
            (None, None, Some(place), Some(value)) => add(slots.entry(place).or_default(), value),
            _ => return Err("the database has lost its incarnation".into()),
        }
    }
    let moment = moment.ok_or("a round answered nothing")?;
    Ok((moment, scopes.iter().map(|scope| slots.get(&scope.place()).copied().unwrap_or(0)).collect()))
}

/// The version is the sum of its slots.
fn add(version: &mut i64, slot: i64) {
    #[cfg(feature = "mutants")]
    if super::mutants::is(super::mutants::Mutant::Maximum) {
        *version = slot.max(*version);
        return;
    }
    *version = version.wrapping_add(slot);
}
