//! The pool of database worker threads: as many as there are connections, fed from one bounded fair queue.
//!
//! So no async thread ever blocks, and a health probe is answered while every connection is busy. The queue is bounded:
//! beyond `db_queue` jobs, or after `db_wait_ms`, the response is 503 with `Retry-After`. (`actix_web::web::block` instead
//! of these threads reached 70 % of the throughput; see docs/PERFORMANCE.md.)
//!
//! Queueing, waiting and check-out of connections all happen here, so that lints can forbid `Pool::get` and
//! `web::block` elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager, TransactionManagerStatus};
use diesel::pg::PgConnection;
use diesel::r2d2::{ConnectionManager, Pool, PooledConnection};
use tokio::sync::oneshot;

use super::args::PoolArgs;
use super::backend_assertion::assertion;
use super::backend_id::is_of_another_backend;
use super::fair_queue::{FairQueue, Limits, TenantKey};
use super::gate::DatabaseGate;
use super::last_response::LastAnswer;
use super::lock_wait::LockQueues;
use super::pooler::PoolerSharesConnections;
use super::session_setup::SessionSetup;
use super::{prepared, retry};
use crate::base::error::{Error, Result};
use crate::base::request_context;
use crate::base::supervisor::{Pulse, Supervisor, Task, guarded};
use crate::base::telemetry::log_limiter::LogLimiter;
use crate::base::telemetry::metrics;

type Manager = ConnectionManager<PgConnection>;
type Job = Box<dyn FnOnce(&Source) + Send>;

pub struct WorkerPool {
    jobs: Arc<FairQueue<Job>>,
    pool: Pool<Manager>,
    url: String,
    guard: Arc<DatabaseGate>,
    wait: Duration,
    queue: usize,
    reached: Arc<AttemptOutcome>,
}

/// How busy the pool is; see `/health/detailed` and `/metrics`.
#[derive(Clone, Copy, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct PoolState {
    /// Maximum number of open connections.
    pub size: u32,
    /// Open connections.
    pub open: u32,
    /// Open connections that are unused.
    pub idle: u32,
    /// Jobs waiting for a worker thread.
    #[schema(value_type = u32)]
    pub waiting: usize,
    /// Maximum number of waiting jobs; further ones are rejected.
    #[schema(value_type = u32)]
    pub queue: usize,
}

/// Provides a job with a connection.
pub struct Source {
    pool: Pool<Manager>,
    guard: Arc<DatabaseGate>,
    wait: Duration,
    reached: Arc<AttemptOutcome>,
}

/// Outcomes of attempts to reach the database.
#[derive(Debug, Default)]
struct AttemptOutcome {
    answered: LastAnswer,
    failures: LogLimiter,
}

impl AttemptOutcome {
    fn failed(&self, error: &dyn std::fmt::Display) {
        if let Some(suppressed) = self.failures.failed() {
            tracing::error!(%error, suppressed, "the database cannot be reached; this is logged once a minute");
        }
    }

    fn answered(&self) {
        self.answered.note();
        if let Some(over) = self.failures.recovered() {
            let seconds = over.lasted.as_secs();
            tracing::info!(seconds, suppressed = over.suppressed, "the database can be reached again");
        }
    }
}

impl Source {
    /// Runs `f` on a connection, and once more if that turns out to be dead.
    pub fn read<T>(&self, f: impl FnMut(&mut PgConnection) -> Result<T>) -> Result<T> {
        self.run(f, || true)
    }

    /// Runs `f` on a connection. If that turns out to be dead and `again` allows it, runs `f` once more, on a
    /// connection that has just answered: what closed one connection has probably closed all.
    pub fn run<T>(&self, mut f: impl FnMut(&mut PgConnection) -> Result<T>, again: impl FnOnce() -> bool) -> Result<T> {
        let mut conn = self.get()?;
        let sent = prepared::sent();
        let done = f(&mut conn);
        if matches!(&done, Err(Error::Database(error)) if is_of_another_backend(error)) {
            self.guard.gate().close();
            discard(conn);
            return Err(PoolerSharesConnections::refusal());
        }
        if !matches!(&done, Err(Error::Database(error)) if retry::is_broken(error)) {
            if prepared::sent() > sent {
                self.reached.answered();
            }
            return done;
        }
        discard(conn);
        if !again() {
            return done;
        }
        loop {
            let mut conn = self.get()?;
            if conn.batch_execute("SELECT 1").is_ok() {
                self.reached.answered();
                return f(&mut conn);
            }
            discard(conn);
        }
    }

    fn get(&self) -> Result<PooledConnection<Manager>> {
        let mut conn = loop {
            self.guard.gate().pass()?;
            let mut conn = self.pool.get_timeout(self.wait).map_err(|error| {
                self.reached.failed(&error);
                Error::Unavailable {
                    code: "database_unavailable",
                    detail: "The database is not reachable right now. Try again shortly.".into(),
                    after: 2,
                }
            })?;
            if !is_stale(&mut conn, &self.guard) {
                break conn;
            }
            discard(conn);
        };
        // Here, where it is in no transaction. A dead connection is detected by the work itself.
        if let Err(error) = prepared::make_room(&mut conn) {
            tracing::debug!(%error, "prepared statements were not given up");
        }
        Ok(conn)
    }
}

/// Whether `conn` was made while a pooler shared connections: its backend is unknown.
fn is_stale(conn: &mut PgConnection, guard: &DatabaseGate) -> bool {
    prepared::made(conn).is_some_and(|made| guard.gate().is_stale(made))
}

/// Returns a connection to the pool as broken, so that it is replaced: the pool itself checks only the transaction
/// state.
fn discard(mut conn: PooledConnection<Manager>) {
    *AnsiTransactionManager::transaction_manager_status_mut(&mut *conn) = TransactionManagerStatus::InError;
}

const WAITING: u8 = 0;
const RUNNING: u8 = 1;
const ABANDONED: u8 = 2;

impl WorkerPool {
    #[expect(clippy::disallowed_methods, reason = "the pool and its threads are made here and nowhere else")]
    pub fn start(args: &PoolArgs, url: &str, supervisor: &Supervisor, guard: Arc<DatabaseGate>) -> Result<Self> {
        let wait = Duration::from_millis(args.db_wait_ms);
        let size = args.db_connections;
        let reached = Arc::<AttemptOutcome>::default();
        // Unchecked: an unreachable database fails readiness and must not block startup.
        let pool = Pool::builder()
            .max_size(size)
            .min_idle(Some(size))
            .connection_timeout(wait)
            .test_on_check_out(false)
            .connection_customizer(Box::new(SessionSetup {
                statement_timeout_ms: args.statement_timeout_ms,
                lock_timeout_ms: LockQueues::of_session(args.lock_wait_ms, args.statement_timeout_ms),
                guard: guard.clone(),
                prepared: args.db_prepared,
            }))
            .error_handler(Box::new(LogErrors(reached.clone())))
            .build_unchecked(Manager::new(url));
        let share = |of: usize| (of * usize::from(args.db_tenant_share_percent) / 100).clamp(1, of);
        let jobs = Arc::new(FairQueue::new(Limits {
            places: args.db_queue,
            places_each: share(args.db_queue),
            running_each: share(size as usize),
        }));
        for number in 0..size {
            let (jobs, pool, guard, reached) = (jobs.clone(), pool.clone(), guard.clone(), reached.clone());
            let source = Source { pool, guard, wait, reached };
            supervisor.spawn_thread(Task::named("database threads"), format!("db-{number}"), move |pulse| {
                work(&jobs, &source, pulse);
                Ok(())
            })?;
        }
        Ok(Self { jobs, pool, url: url.to_owned(), guard, wait, queue: args.db_queue, reached })
    }

    /// Runs `work` on a worker thread and waits for it: at most `db_wait_ms` until it starts; then the statement
    /// timeout applies.
    pub async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        tenant: TenantKey,
        work: impl FnOnce(&Source) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, mut answered) = oneshot::channel();
        let state = Arc::new(AtomicU8::new(WAITING));
        let entered = state.clone();
        self.enqueue(
            tenant,
            Box::new(move |source| {
                if entered.compare_exchange(WAITING, RUNNING, Ordering::AcqRel, Ordering::Acquire).is_err() {
                    return;
                }
                let (sent, began) = (prepared::sent(), Instant::now());
                let outcome = work(source);
                let good = !outcome.as_ref().is_err_and(Error::is_failure);
                let spent = TimeSpent { time: began.elapsed(), statements: prepared::sent() - sent };
                metrics::queried(name, spent.time, spent.statements, good);
                let _ = answer.send((outcome, spent));
            }),
        )?;
        let (outcome, spent) = match tokio::time::timeout(self.wait, &mut answered).await {
            Ok(done) => done,
            Err(_) if state.compare_exchange(WAITING, ABANDONED, Ordering::AcqRel, Ordering::Acquire).is_ok() => {
                return Err(Error::busy());
            }
            Err(_) => answered.await,
        }
        .map_err(|_| Error::Internal(format!("the database thread gave up on {name}")))?;
        request_context::spent_in_database(spent.time, spent.statements);
        outcome
    }

    /// Queues `job`, which returns whether it succeeded. `false` when the queue is full.
    pub fn submit(
        &self,
        name: &'static str,
        tenant: TenantKey,
        job: impl FnOnce(&Source) -> bool + Send + 'static,
    ) -> bool {
        self.enqueue(
            tenant,
            Box::new(move |source| {
                let (sent, began) = (prepared::sent(), Instant::now());
                let good = job(source);
                metrics::queried(name, began.elapsed(), prepared::sent() - sent, good);
            }),
        )
        .is_ok()
    }

    fn enqueue(&self, tenant: TenantKey, job: Job) -> Result<()> {
        self.jobs.push(tenant, job).map_err(|_| Error::busy())
    }

    /// Returns the time since the database last answered.
    pub fn last_answer(&self) -> Duration {
        self.reached.answered.age()
    }

    /// Blocks. Errors: [`PoolerSharesConnections`].
    pub fn check_pooler(&self) -> std::result::Result<(), PoolerSharesConnections> {
        let gate = self.guard.gate();
        if !gate.is_closed() && self.has_lost_backends() {
            gate.close();
        }
        gate.check(&self.url, || (0..self.pool.max_size()).filter_map(|_| self.pool.try_get()).for_each(discard))
    }

    /// Checks the backends of two idle connections, so that a service without work notices as well. Two, because a
    /// pooler with a single client gives it the same backend each time.
    fn has_lost_backends(&self) -> bool {
        let idle: Vec<_> = (0..2).filter_map(|_| self.pool.try_get()).collect();
        let mut lost = false;
        for mut conn in idle {
            let Some(backend) = prepared::backend(&mut conn) else { continue };
            if is_stale(&mut conn, &self.guard) {
                discard(conn);
                continue;
            }
            match conn.batch_execute(assertion(backend).text()) {
                Ok(()) => self.reached.answered(),
                Err(error) => {
                    lost |= is_of_another_backend(&error);
                    if lost || retry::is_broken(&error) {
                        discard(conn);
                    }
                }
            }
        }
        lost
    }

    pub fn state(&self) -> PoolState {
        let pool = self.pool.state();
        PoolState {
            size: self.pool.max_size(),
            open: pool.connections,
            idle: pool.idle_connections,
            waiting: self.jobs.len(),
            queue: self.queue,
        }
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.jobs.close();
    }
}

struct TimeSpent {
    time: Duration,
    statements: u64,
}

fn work(jobs: &FairQueue<Job>, source: &Source, pulse: &Pulse) {
    while let Some((tenant, job)) = jobs.pop() {
        // A panic in a job fails only its own request (the channel is dropped) and must not end the thread.
        if guarded("database job", || job(source)).is_ok() {
            pulse.succeeded();
        }
        jobs.done(tenant);
    }
}

#[derive(Debug)]
struct LogErrors(Arc<AttemptOutcome>);

impl diesel::r2d2::HandleError<diesel::r2d2::Error> for LogErrors {
    fn handle_error(&self, error: diesel::r2d2::Error) {
        self.0.failed(&error);
    }
}
