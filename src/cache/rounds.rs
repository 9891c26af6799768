//! Validation rounds: one statement asks for the versions of everything that waiting readers depend on.
//!
//! A thread with one connection of its own sends one round at a time. A reader joins the next round that has not been
//! sent, never one in flight: its statement may have read the versions before the write that the reader must see. While a
//! round is in flight others gather, so rounds grow with the load and each costs the database about the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::scope::{Scope, Stamp};
use crate::db::{Mailbox, Statement, Value};
use crate::error::{Error, Result};

/// Pairs of business and table that one round asks for; who finds no place waits for the next.
const LARGEST_ROUND: usize = 2_048;
/// Readers that may wait for the next round; more are sent away.
const MOST_WAITING: usize = 20_000;
/// Pause between attempts to connect. Whoever asks meanwhile is sent away at once.
const RECONNECT: Duration = Duration::from_millis(100);

type Answer = Option<Stamp>;
type Places = HashMap<Scope, usize, xxhash_rust::xxh3::Xxh3DefaultBuilder>;

struct Waiting {
    scopes: Arc<[Scope]>,
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
}

impl Drop for Rounds {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

impl Rounds {
    /// Starts the thread; its connection is made when the first reader asks. `deadline` bounds a reader's wait.
    pub fn start(url: &str, deadline: Duration) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut thread = Thread {
            shared: shared.clone(),
            url: url.to_owned(),
            timeout: deadline,
            session: None,
            connected_at: None,
        };
        std::thread::Builder::new()
            .name("rounds".into())
            .spawn(move || thread.run())
            .map_err(|error| Error::Internal(format!("cannot start the thread of validation rounds: {error}")))?;
        Ok(Self { shared, deadline })
    }

    /// The versions of `scopes`, read after this call began. Errors: 503 when the round fails or is late.
    pub async fn join(&self, scopes: &Arc<[Scope]>) -> Result<Stamp> {
        let (answer, answered) = oneshot::channel();
        let mailbox = MAILBOX.with(Mailbox::open);
        let first = {
            let mut queue = self.shared.queue.lock();
            if queue.waiting.len() >= MOST_WAITING {
                return Err(Error::busy());
            }
            queue.waiting.push(Waiting { scopes: scopes.clone(), answer, mailbox });
            queue.waiting.len() == 1
        };
        // The thread sleeps only when nobody waits.
        if first {
            self.shared.wake.notify_one();
        }
        match tokio::time::timeout(self.deadline, answered).await {
            Ok(Ok(Some(stamp))) => Ok(stamp),
            _ => Err(Error::Unavailable {
                code: "validation_unavailable",
                detail: "The database could not be asked whether the answer is still good. Try again shortly.".into(),
                after: 1,
            }),
        }
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

struct Session {
    conn: PgConnection,
    identity: u64,
}

struct Thread {
    shared: Arc<Shared>,
    url: String,
    timeout: Duration,
    session: Option<Session>,
    connected_at: Option<Instant>,
}

impl Thread {
    fn run(&mut self) {
        while let Some(round) = self.next() {
            if round.is_empty() {
                continue;
            }
            let mut places = Places::default();
            let mut asked: Vec<Scope> = Vec::new();
            for scope in round.iter().flat_map(|waiting| waiting.scopes.iter()) {
                places.entry(*scope).or_insert_with(|| {
                    asked.push(*scope);
                    asked.len() - 1
                });
            }
            let began = Instant::now();
            // A broken connection says nothing about the question: it is asked once more, on another.
            let found = self.ask(&asked).or_else(|_| self.ask(&asked));
            #[cfg(feature = "mutants")]
            let round = self.late_comers(round, &places);
            self.shared.rounds.fetch_add(1, Ordering::Relaxed);
            self.shared.micros.fetch_add(began.elapsed().as_micros() as u64, Ordering::Relaxed);
            if let Err(error) = &found {
                self.shared.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "a validation round failed");
            }
            let found = found.ok();
            Mailbox::deliver(round.into_iter().map(|waiting| {
                let stamp = found.as_ref().map(|(epoch, versions)| Stamp {
                    epoch: *epoch,
                    versions: waiting.scopes.iter().map(|scope| versions[places[scope]]).collect(),
                });
                (waiting.mailbox, (waiting.answer, stamp))
            }));
        }
    }

    /// After the answer is there: lets those in who came too late for this round.
    #[cfg(feature = "mutants")]
    fn late_comers(&self, mut round: Vec<Waiting>, places: &Places) -> Vec<Waiting> {
        use super::mutants::{Mutant, is, stall};
        stall();
        if is(Mutant::JoinInFlight) {
            let mut queue = self.shared.queue.lock();
            let known = |waiting: &Waiting| waiting.scopes.iter().all(|scope| places.contains_key(scope));
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

    fn ask(&mut self, scopes: &[Scope]) -> Result<(u64, Vec<i64>), BoxError> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.connect()?,
        };
        let (life, versions) = versions(&mut session.conn, scopes)?;
        let epoch = xxhash_rust::xxh3::xxh3_64_with_seed(life.as_bytes(), session.identity);
        // Kept only now: a session that failed is gone.
        self.session = Some(session);
        Ok((epoch, versions))
    }

    fn connect(&mut self) -> Result<Session, BoxError> {
        if self.connected_at.is_some_and(|at| at.elapsed() < RECONNECT) {
            return Err("the connection was lost a moment ago".into());
        }
        self.connected_at = Some(Instant::now());
        let mut conn = PgConnection::establish(&self.url)?;
        conn.batch_execute(&format!(
            "SET statement_timeout = {0}; SET lock_timeout = {0}; SET jit = off; SET application_name = 'rapport rounds';
             SET enable_seqscan = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan;",
            self.timeout.as_millis()
        ))?;
        let identity = identity(&mut conn)?;
        self.connected_at = None;
        Ok(Session { conn, identity })
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Identifies the database: another cluster, a copy that was restored elsewhere, another database of the same name.
/// What can change while a connection lives rides in each round, see [`LIFE`].
fn identity(conn: &mut PgConnection) -> Result<u64, BoxError> {
    conn.batch_execute("INSERT INTO cache_incarnation (id) VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING")?;
    let row = Statement::new(
        "SELECT concat_ws('/', s.system_identifier, d.oid) FROM pg_control_system() s, pg_database d \
         WHERE d.datname = current_database()",
    )
    .row(conn)?;
    let text = row.as_ref().and_then(|row| row.text(0)).ok_or("the database does not say which it is")?;
    Ok(xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

/// Identifies this life of it: the server's start (files of before may have been put back), the table of versions (it may
/// have been made anew or emptied), and the incarnation, which crash recovery and promotion empty. NULL when that is empty.
const LIFE: &str = "(SELECT pg_postmaster_start_time()::text || '/' || pg_relation_filenode('cache_versions') || '/' || i.id \
                    FROM cache_incarnation i)";

/// The bucket that stands for all rows.
const WHOLE: i64 = -1;

/// This life of the database, and the versions of `scopes` in their order. A version that has never moved is 0.
fn versions(conn: &mut PgConnection, scopes: &[Scope]) -> Result<(String, Vec<i64>), BoxError> {
    let (mut businesses, mut tables, mut buckets) = (Vec::new(), Vec::new(), Vec::new());
    for scope in scopes {
        businesses.push(scope.business);
        tables.push(scope.table.to_owned());
        buckets.push(scope.bucket.map_or(WHOLE, i64::from));
    }
    #[cfg(feature = "mutants")]
    let version = if super::mutants::is(super::mutants::Mutant::Maximum) { "max" } else { "sum" };
    #[cfg(not(feature = "mutants"))]
    let version = "sum";
    let mut sql = Statement::new(format!(
        "SELECT (SELECT coalesce({version}(v.value), 0)::bigint FROM cache_versions v WHERE v.business_id = k.business \
         AND v.scope = k.scope AND v.bucket = k.bucket), CASE k.place WHEN 1 THEN {LIFE} END FROM unnest("
    ));
    sql.bind(Value::Uuids(businesses)).push(", ").bind(Value::Texts(tables)).push(", ").bind(Value::Ints(buckets));
    sql.push(") WITH ORDINALITY AS k (business, scope, bucket, place) ORDER BY k.place");
    let rows = sql.rows(conn)?;
    let life = rows.first().and_then(|row| row.text(1)).ok_or("the database has lost its incarnation")?.to_owned();
    let versions: Vec<i64> = rows.iter().filter_map(|row| row.int(0)).collect();
    if versions.len() == scopes.len() { Ok((life, versions)) } else { Err("a round answered too little".into()) }
}
