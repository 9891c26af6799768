//! Single-row reads that arrive together are fetched together.
//!
//! A round takes what waits, at most [`LARGEST_ROUND`] rows, and asks for all of it in one query in which each row is
//! looked up under its own tenant. There is no timer: a lone request starts a round at once, and requests that arrive
//! while the database threads are busy wait for the next one, so that rounds grow with the load. At saturation this
//! about doubles the throughput of one query per request (docs/PERFORMANCE.md).

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Noun, select};
use crate::auth::Tenant;
use crate::context;
use crate::db::{Cells, Db, Mailbox};
use crate::error::{Error, Result};
use crate::jobs::{Outcome, Pulse, guarded};
use crate::ops::log_limiter::LogLimiter;

static FAILURES: LogLimiter = LogLimiter::new();

const LARGEST_ROUND: usize = 64;
/// Rounds in flight for one noun. With more, each finds less to take along; two keep the database busy while the
/// answers of one are handed out.
const ROUNDS: usize = 2;

type Key = (Uuid, Uuid);
type Answer = Result<Option<Arc<Cells>>, Failed>;

/// A round's failure, told to each who waited for it.
#[derive(Clone, Debug)]
enum Failed {
    Locked,
    Unavailable,
    Internal,
}

struct Waiting {
    key: Key,
    since: Instant,
    answer: oneshot::Sender<Answer>,
    mailbox: Mailbox<Answer>,
}

thread_local! {
    static MAILBOX: RefCell<Option<Mailbox<Answer>>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    rounds: usize,
}

/// The queues of single reads.
pub struct Coalescer {
    db: Db,
    /// By the table of the noun; a noun that is asked for the first time gets its own.
    queues: RwLock<HashMap<&'static str, Arc<Mutex<Queue>>>>,
    wait: Duration,
    most_waiting: usize,
}

impl Coalescer {
    /// `wait` bounds the wait for a round to begin, from when its statement's own timeout counts; past `most_waiting` for one noun callers are sent away.
    pub fn new(db: Db, wait: Duration, most_waiting: usize) -> Self {
        Self { db, queues: RwLock::default(), wait, most_waiting }
    }

    fn queue(&self, noun: &'static Noun) -> Arc<Mutex<Queue>> {
        if let Some(queue) = self.queues.read().get(noun.table) {
            return queue.clone();
        }
        self.queues.write().entry(noun.table).or_default().clone()
    }

    /// The cells of one row. `None`: not there, deleted, or a neighbour's.
    pub async fn one(&self, noun: &'static Noun, tenant: &Tenant, id: Uuid) -> Result<Option<Arc<Cells>>> {
        self.db.in_line("one", Some(tenant.id()), || self.in_a_round(noun, tenant, id)).await
    }

    async fn in_a_round(&self, noun: &'static Noun, tenant: &Tenant, id: Uuid) -> Result<Option<Arc<Cells>>> {
        let queue = self.queue(noun);
        let (answer, answered) = oneshot::channel();
        let mailbox = MAILBOX.with(Mailbox::open);
        let began = Instant::now();
        let starts = {
            let mut queue = queue.lock();
            let waiting = queue.waiting.len();
            // One business has half of the line; counted only where that could be too much.
            let mine = || queue.waiting.iter().filter(|waiting| waiting.key.0 == tenant.id()).count();
            if waiting >= self.most_waiting || (waiting >= self.most_waiting / 2 && mine() >= self.most_waiting / 2) {
                return Err(Error::busy());
            }
            queue.waiting.push_back(Waiting { key: (tenant.id(), id), since: began, answer, mailbox });
            let starts = queue.rounds < ROUNDS;
            queue.rounds += usize::from(starts);
            starts
        };
        if starts {
            start_round(&self.db, noun, &queue);
        }
        let answer = answered.await;
        context::spent_in_database(began.elapsed(), 1);
        match answer {
            Ok(Ok(row)) => Ok(row),
            Ok(Err(Failed::Locked)) => Err(Error::locked()),
            Ok(Err(Failed::Unavailable)) | Err(_) => Err(Error::busy()),
            Ok(Err(Failed::Internal)) => Err(Error::Internal(format!("a round of {} failed", noun.table))),
        }
    }
}

impl Coalescer {
    /// Sends away who has waited too long for a round to begin. One look over the queues now and then, instead of a
    /// timer for each request.
    pub async fn keep_moving(&self, pulse: &Pulse) -> Outcome {
        let mut ticks = tokio::time::interval(self.wait / 8);
        loop {
            ticks.tick().await;
            let queues: Vec<_> = self.queues.read().values().cloned().collect();
            for queue in queues {
                let late: Vec<Waiting> = {
                    let mut queue = queue.lock();
                    let late = queue.waiting.partition_point(|waiting| waiting.since.elapsed() >= self.wait);
                    queue.waiting.drain(..late).collect()
                };
                if !late.is_empty() {
                    answer(late, Err(Error::busy()));
                }
            }
            pulse.succeeded();
        }
    }
}

fn start_round(db: &Db, noun: &'static Noun, queue: &Arc<Mutex<Queue>>) {
    let (mine, again) = (queue.clone(), db.clone());
    let started = db.submit("one", move |source| {
        let round: Vec<Waiting> = {
            let mut queue = mine.lock();
            let size = queue.waiting.len().min(LARGEST_ROUND);
            queue.waiting.drain(..size).collect()
        };
        // A panic must not leave the round counted: two of them would end the reading of this noun.
        let outcome = guarded("single reads", || source.read(|conn| fetch(conn, noun, &round))).flatten();
        let good = outcome.is_ok();
        answer(round, outcome);
        let more = {
            let mut queue = mine.lock();
            let more = !queue.waiting.is_empty();
            queue.rounds -= usize::from(!more);
            more
        };
        // Back to the end of the line, so that other work has its turn.
        if more {
            start_round(&again, noun, &mine);
        }
        good
    });
    if !started {
        let round: Vec<Waiting> = {
            let mut queue = queue.lock();
            queue.rounds -= 1;
            queue.waiting.drain(..).collect()
        };
        answer(round, Err(Error::busy()));
    }
}

fn fetch(conn: &mut diesel::PgConnection, noun: &'static Noun, round: &[Waiting]) -> Result<HashMap<Key, Arc<Cells>>> {
    let mut keys: Vec<Key> = round.iter().filter(|w| !w.answer.is_closed()).map(|waiting| waiting.key).collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let (tenants, ids) = keys.into_iter().unzip();
    let rows = select::by_keys(noun, tenants, ids).rows(conn)?;
    let tenant = noun.fields.len();
    Ok(rows.into_iter().filter_map(|row| Some(((row.uuid(tenant)?, row.uuid(0)?), Arc::new(row)))).collect())
}

fn answer(round: Vec<Waiting>, outcome: Result<HashMap<Key, Arc<Cells>>>) {
    if outcome.is_ok() {
        FAILURES.recovered();
    }
    let outcome = outcome.map_err(|error| {
        if let Some(suppressed) = FAILURES.failed_with(&error) {
            tracing::warn!(%error, suppressed, "a round of single reads failed");
        }
        match error {
            error if error.is_locked() => Failed::Locked,
            Error::Unavailable { .. } | Error::Database(diesel::result::Error::DatabaseError(..)) => {
                Failed::Unavailable
            }
            _ => Failed::Internal,
        }
    });
    Mailbox::deliver(round.into_iter().map(|waiting| {
        let answer = match &outcome {
            Ok(rows) => Ok(rows.get(&waiting.key).cloned()),
            Err(failed) => Err(failed.clone()),
        };
        (waiting.mailbox, (waiting.answer, answer))
    }));
}
