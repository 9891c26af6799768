//! Loads single rows in batches: reads that arrive together share one query (a data loader).
//!
//! A batch takes the pending reads, at most [`MAX_BATCH_ROWS`], and loads them with one query that looks up each row
//! under its own tenant. There is no timer: a lone read starts a batch at once, and reads that arrive while the
//! database threads are busy wait for the next one, so batches grow with the load. At saturation this about doubles the
//! throughput of one query per request (docs/PERFORMANCE.md).

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Resource, row_json, select};
use crate::auth::Tenant;
use crate::background::{Outcome, Pulse, guarded};
use crate::base::error::{Error, Result};
use crate::base::request_context;
use crate::base::telemetry::log_limiter::LogLimiter;
use crate::db::{Db, RawRow, ReplyBatcher};

static FAILURES: LogLimiter = LogLimiter::new();

const MAX_BATCH_ROWS: usize = 64;
/// Batches in flight for one resource. With more, each finds fewer reads to take; two keep the database busy while the
/// replies of one are delivered.
const MAX_CONCURRENT_BATCHES: usize = 2;

type Key = (Uuid, Uuid);
type Answer = Result<Option<Arc<RawRow>>, LoadError>;

/// Why a batch failed; sent to each of its reads.
#[derive(Clone, Debug)]
enum LoadError {
    Locked,
    Unavailable,
    Internal,
}

struct PendingRead {
    key: Key,
    since: Instant,
    answer: oneshot::Sender<Answer>,
    mailbox: ReplyBatcher<Answer>,
}

thread_local! {
    static MAILBOX: RefCell<Option<ReplyBatcher<Answer>>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<PendingRead>,
    rounds: usize,
}

/// The queues of pending single-row reads.
pub struct RowLoader {
    db: Db,
    /// By the table of the resource; created on first use.
    queues: RwLock<HashMap<&'static str, Arc<Mutex<Queue>>>>,
    wait: Duration,
    most_waiting: usize,
}

impl RowLoader {
    /// `wait` limits the wait for a batch to begin; from then on the statement timeout applies. A read of a resource of
    /// which `most_waiting` are pending gets 503.
    pub fn new(db: Db, wait: Duration, most_waiting: usize) -> Self {
        Self { db, queues: RwLock::default(), wait, most_waiting }
    }

    fn queue(&self, resource: &'static Resource) -> Arc<Mutex<Queue>> {
        if let Some(queue) = self.queues.read().get(resource.table) {
            return queue.clone();
        }
        self.queues.write().entry(resource.table).or_default().clone()
    }

    /// Loads one row. `None`: it does not exist, is deleted, or belongs to another business.
    pub async fn one(&self, resource: &'static Resource, tenant: &Tenant, id: Uuid) -> Result<Option<Arc<RawRow>>> {
        self.db.with_lock_turns("one", Some(tenant.id()), || self.load_in_batch(resource, tenant, id)).await
    }

    async fn load_in_batch(
        &self,
        resource: &'static Resource,
        tenant: &Tenant,
        id: Uuid,
    ) -> Result<Option<Arc<RawRow>>> {
        let queue = self.queue(resource);
        let (answer, answered) = oneshot::channel();
        let mailbox = MAILBOX.with(ReplyBatcher::open);
        let began = Instant::now();
        let starts = {
            let mut queue = queue.lock();
            let waiting = queue.waiting.len();
            // One business may fill half of the queue; counted only where that could be exceeded.
            let mine = || queue.waiting.iter().filter(|waiting| waiting.key.0 == tenant.id()).count();
            if waiting >= self.most_waiting || (waiting >= self.most_waiting / 2 && mine() >= self.most_waiting / 2) {
                return Err(Error::busy());
            }
            queue.waiting.push_back(PendingRead { key: (tenant.id(), id), since: began, answer, mailbox });
            let starts = queue.rounds < MAX_CONCURRENT_BATCHES;
            queue.rounds += usize::from(starts);
            starts
        };
        if starts {
            start_batch(&self.db, resource, &queue);
        }
        let answer = answered.await;
        request_context::spent_in_database(began.elapsed(), 1);
        match answer {
            Ok(Ok(row)) => Ok(row),
            Ok(Err(LoadError::Locked)) => Err(Error::locked()),
            Ok(Err(LoadError::Unavailable)) | Err(_) => Err(Error::busy()),
            Ok(Err(LoadError::Internal)) => Err(Error::Internal(format!("a round of {} failed", resource.table))),
        }
    }
}

impl RowLoader {
    /// Rejects reads that waited too long for a batch to begin. A periodic scan of the queues replaces a timer per
    /// request.
    pub async fn reject_late(&self, pulse: &Pulse) -> Outcome {
        let mut ticks = tokio::time::interval(self.wait / 8);
        loop {
            ticks.tick().await;
            let queues: Vec<_> = self.queues.read().values().cloned().collect();
            for queue in queues {
                let late: Vec<PendingRead> = {
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

fn start_batch(db: &Db, resource: &'static Resource, queue: &Arc<Mutex<Queue>>) {
    let (mine, again) = (queue.clone(), db.clone());
    let started = db.submit("one", move |source| {
        let round: Vec<PendingRead> = {
            let mut queue = mine.lock();
            let size = queue.waiting.len().min(MAX_BATCH_ROWS);
            queue.waiting.drain(..size).collect()
        };
        // A panic must not leave the batch counted: two of them would end all reads of this resource.
        let outcome = guarded("single reads", || source.read(|conn| fetch(conn, resource, &round))).flatten();
        let good = outcome.is_ok();
        answer(round, outcome);
        let more = {
            let mut queue = mine.lock();
            let more = !queue.waiting.is_empty();
            queue.rounds -= usize::from(!more);
            more
        };
        // Queued again behind other work, so that this has its turn.
        if more {
            start_batch(&again, resource, &mine);
        }
        good
    });
    if !started {
        let round: Vec<PendingRead> = {
            let mut queue = queue.lock();
            queue.rounds -= 1;
            queue.waiting.drain(..).collect()
        };
        answer(round, Err(Error::busy()));
    }
}

fn fetch(
    conn: &mut diesel::PgConnection,
    resource: &'static Resource,
    round: &[PendingRead],
) -> Result<HashMap<Key, Arc<RawRow>>> {
    let mut keys: Vec<Key> = round.iter().filter(|w| !w.answer.is_closed()).map(|waiting| waiting.key).collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let (tenants, ids) = keys.into_iter().unzip();
    let rows = select::by_keys(resource, tenants, ids).rows(conn)?;
    let tenant = resource.fields.len();
    Ok(rows.into_iter().filter_map(|row| Some(((row.uuid(tenant)?, row_json::id(&row)), Arc::new(row)))).collect())
}

fn answer(round: Vec<PendingRead>, outcome: Result<HashMap<Key, Arc<RawRow>>>) {
    if outcome.is_ok() {
        FAILURES.recovered();
    }
    let outcome = outcome.map_err(|error| {
        if let Some(suppressed) = FAILURES.failed_with(&error) {
            tracing::warn!(%error, suppressed, "a round of single reads failed");
        }
        match error {
            error if error.is_locked() => LoadError::Locked,
            Error::Unavailable { .. } | Error::Database(diesel::result::Error::DatabaseError(..)) => {
                LoadError::Unavailable
            }
            _ => LoadError::Internal,
        }
    });
    ReplyBatcher::deliver(round.into_iter().map(|waiting| {
        let answer = match &outcome {
            Ok(rows) => Ok(rows.get(&waiting.key).cloned()),
            Err(failed) => Err(failed.clone()),
        };
        (waiting.mailbox, (waiting.answer, answer))
    }));
}
