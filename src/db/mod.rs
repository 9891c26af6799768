//! Database access: [`Db::for_tenant`] or [`Db::unscoped`], then `read` or `write`; nothing else reaches a connection.
//!
//! A pool of worker threads runs the statements, each on a connection from an r2d2 pool of the same size, so that no
//! async thread ever blocks and a health probe is answered while every connection is busy. The queue is bounded: beyond
//! `db_queue` jobs, or after `db_wait_ms`, the response is 503 with `Retry-After`. (`actix_web::web::block` instead of
//! these threads reached 70 % of the throughput; see docs/PERFORMANCE.md.)

mod args;
pub mod backend_id;
pub mod catalogue;
mod connect;
pub mod connection_options;
pub mod database_target;
pub mod embedded;
mod fair_queue;
mod gate;
pub mod isolation_overrides;
mod last_answer;
mod lock_wait;
pub mod migrate;
pub mod pg_error;
pub mod pooler;
pub mod prepared;
mod reply_batcher;
pub mod schema;
mod session_context;
pub mod statement;
mod tx;
mod worker_pool;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use diesel::pg::PgConnection;
use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

pub use self::args::{DatabaseArgs, PoolArgs};
pub use self::connect::{bound_lock_waits, connect};
pub use self::gate::{ClosedReason, DatabaseGate};
pub use self::last_answer::LastAnswer;
use self::lock_wait::LockQueues;
pub use self::reply_batcher::ReplyBatcher;
pub use self::session_context::{Actor, RowSecurity, SessionContext};
pub use self::statement::{RawRow, SqlValue, Statement};
pub use self::tx::{Isolation, Tx, WriteOptions};
pub use self::worker_pool::Source;
use crate::base::error::{Error, Result};
use crate::base::request_context;
use crate::base::supervisor::Supervisor;
use crate::base::telemetry::metrics;

#[derive(Clone)]
pub struct Db {
    pool: Arc<worker_pool::WorkerPool>,
    row_security: RowSecurity,
    committed: Arc<Notify>,
    locks: Arc<LockQueues>,
    guard: Arc<DatabaseGate>,
    /// Isolation levels set by the operator, by the transaction's name.
    isolation_overrides: Arc<[(&'static str, Isolation)]>,
}

impl Db {
    /// Creates the pool and its threads. No connection is made yet, so an unreachable database does not prevent
    /// startup.
    pub fn open(args: &PoolArgs, url: &str, supervisor: &Supervisor) -> Result<Self> {
        let guard = Arc::<DatabaseGate>::default();
        let threads = Arc::new(worker_pool::WorkerPool::start(args, url, supervisor, guard.clone())?);
        let levels = args.isolation.clone().into();
        let locks = Arc::new(LockQueues::new(args.lock_wait_ms, args.db_connections));
        Ok(Self {
            pool: threads,
            row_security: args.row_security,
            isolation_overrides: levels,
            committed: Arc::default(),
            locks,
            guard,
        })
    }

    /// Returns access for work of one business: row-level security confines its writes to the business, the audit log
    /// attributes its changes to its actor, and it counts towards that business's share of the connections.
    pub fn for_tenant(&self, bounds: impl Into<SessionContext>) -> ScopedDb {
        ScopedDb { db: self.clone(), bounds: bounds.into(), guarded: true }
    }

    /// Returns access for work without a business: authentication before one is known, and the service's own.
    pub fn unscoped(&self) -> ScopedDb {
        ScopedDb { db: self.clone(), bounds: SessionContext::default(), guarded: true }
    }

    /// As [`Db::unscoped`], also while the database gate rejects work: for the checks that open the gate.
    pub fn ungated(&self) -> ScopedDb {
        ScopedDb { guarded: false, ..self.unscoped() }
    }

    /// Returns the database gate, which admits work and holds the last catalogue check's report.
    pub fn guard(&self) -> &Arc<DatabaseGate> {
        &self.guard
    }

    /// Notified when this process commits a transaction of a business.
    pub fn committed(&self) -> &Notify {
        &self.committed
    }

    /// Applies the operator's setting for `name`, if there is one.
    fn configured(&self, name: &str, options: WriteOptions) -> WriteOptions {
        match self.isolation_overrides.iter().find(|(known, _)| *known == name) {
            Some((_, Isolation::ReadCommitted)) => WriteOptions { isolation: Isolation::ReadCommitted, ..options },
            Some((_, isolation)) => WriteOptions { isolation: *isolation, attempts: isolation_overrides::ATTEMPTS },
            None => options,
        }
    }

    /// Whether row-level security applies to reads too.
    pub fn secures_reads(&self) -> bool {
        self.row_security == RowSecurity::All
    }

    /// Queues `job` for a worker thread without waiting for it: for work that sends its own replies and returns whether
    /// it succeeded. `false` when the queue is full.
    ///
    /// The job belongs to no business: it is a batch of single reads of many (`resource::row_loader`), two of which run
    /// at once for each resource, so a client that sends many requests makes batches larger, not more numerous. Were it
    /// queued for the first caller's business, the others in the batch would wait for that business's share.
    pub fn submit(&self, name: &'static str, job: impl FnOnce(&Source) -> bool + Send + 'static) -> bool {
        self.pool.submit(name, None, job)
    }

    /// Runs `attempt`, read-only work of a business, and retries it in the lock queue while it fails at a lock.
    /// Errors: 503 `locked` when the time to wait for locks is over, and those of `attempt`.
    pub async fn with_lock_turns<T, W>(
        &self,
        name: &'static str,
        party: Option<Uuid>,
        mut attempt: impl FnMut() -> W,
    ) -> Result<T>
    where
        W: Future<Output = Result<T>>,
    {
        let mut locks = self.locks.begin(party);
        let mut turn = None;
        loop {
            let outcome = attempt().await;
            drop(turn.take());
            match outcome {
                Err(error) if error.is_locked() => {
                    metrics::lock_timed_out(name);
                    turn = Some(locks.turn().await.ok_or_else(Error::locked)?);
                }
                done => return done,
            }
        }
    }

    /// Measures the time to get and use a connection. Errors: 503 when that takes longer than `limit`.
    pub async fn ping(&self, limit: Duration) -> Result<Duration> {
        tokio::time::timeout(limit, self.latency()).await.unwrap_or_else(|_| Err(Error::busy()))
    }

    /// As [`Db::ping`], without a limit.
    pub async fn latency(&self) -> Result<Duration> {
        let asked = std::time::Instant::now();
        self.ungated().read("ping", |conn| Ok(Statement::new("SELECT 1").run(conn)?)).await?;
        Ok(asked.elapsed())
    }

    /// Checks that the pool's connections are not shared: on two idle ones each time, and on new sessions where
    /// connections were made since the last check or a statement has reached another backend. While the check fails, no
    /// work gets a connection. Errors: [`pooler::PoolerSharesConnections`].
    #[expect(clippy::disallowed_methods, reason = "one at a time, of one task; the pool itself is what is in doubt")]
    pub async fn check_pooler(&self) -> std::result::Result<(), pooler::PoolerSharesConnections> {
        let threads = self.pool.clone();
        tokio::task::spawn_blocking(move || threads.check_pooler()).await.unwrap_or(Ok(()))
    }

    pub fn state(&self) -> PoolState {
        self.pool.state()
    }

    /// Returns the time since the database last answered on a pooled connection.
    pub fn last_answer(&self) -> Duration {
        self.pool.last_answer()
    }
}

/// Database access in the context of one business, or of none.
pub struct ScopedDb {
    db: Db,
    bounds: SessionContext,
    guarded: bool,
}

impl ScopedDb {
    /// Sets the actor to whom the audit log attributes changes.
    pub fn by(mut self, actor: Actor) -> Self {
        self.bounds.actor = Some(actor);
        self
    }

    /// Runs `f` on one connection, outside a transaction (unless row-level security applies to reads), and once more if
    /// the connection turns out to be dead. Where a table is locked, it is retried in the lock queue, as a write is.
    ///
    /// `name` labels the query in `/metrics`. Errors: 503 when the queue is full or the wait too long, and those of
    /// `f`.
    pub async fn read<T, F>(self, name: &'static str, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut PgConnection) -> Result<T> + Send + 'static,
    {
        self.check()?;
        let party = self.bounds.business;
        let walled = self.db.secures_reads() && party.is_some();
        let (f, bounds, request) =
            (Arc::new(Mutex::new(f)), self.bounds, Arc::<str>::from(request_context::request_id()));
        let attempt = || {
            let (f, request) = (f.clone(), request.clone());
            let work = move |source: &Source| {
                source.read(|conn| match walled {
                    true => tx::read_transaction(conn, &bounds, &request, &mut *f.lock()),
                    false => (*f.lock())(conn),
                })
            };
            self.db.pool.run(name, party, work)
        };
        self.db.with_lock_turns(name, party, attempt).await.map_err(|error| self.db.guard.explain(error))
    }

    fn check(&self) -> Result<()> {
        self.db.guard.gate().pass()?;
        if self.guarded { self.db.guard.check() } else { Ok(()) }
    }

    /// Runs `f` in one transaction and commits, or rolls back if it fails. On a serialization failure or a deadlock the
    /// whole transaction is retried after a pause (exponential backoff with jitter) in which it holds neither a thread
    /// nor a connection; where it fails at a lock, on its turn in the lock queue ([`lock_wait`]). So `f` may run
    /// several times.
    pub async fn write<T, F>(self, name: &'static str, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T> + Send + Sync + 'static,
    {
        self.write_with(name, WriteOptions::default(), f).await
    }

    /// [`ScopedDb::write`] with its own isolation level and number of attempts.
    pub async fn write_with<T, F>(self, name: &'static str, options: WriteOptions, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T> + Send + Sync + 'static,
    {
        #[cfg(feature = "mutants")]
        if crate::base::mutants::is(crate::base::mutants::Mutant::BumpBefore) {
            self.move_everything().await?;
        }
        #[cfg(feature = "mutants")]
        if crate::base::mutants::is(crate::base::mutants::Mutant::BumpAfter) {
            let written = self.transact(name, options, f).await;
            crate::base::mutants::delay().await;
            self.move_everything().await?;
            return written;
        }
        self.transact(name, options, f).await
    }

    /// Bumps every version, apart from any write: what two of the mutants do instead of the triggers.
    #[cfg(feature = "mutants")]
    async fn move_everything(&self) -> Result<()> {
        let moved = self.db.pool.run("mutant", None, |source| {
            source.read(|conn| {
                let sql = "SELECT rapport_bump_all_versions(b.id, t) FROM businesses b, unnest(ARRAY['leads', 'companies']) t";
                Ok(Statement::new(sql).run(conn)?)
            })
        });
        moved.await.map(|_| ())
    }

    async fn transact<T, F>(&self, name: &'static str, options: WriteOptions, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T> + Send + Sync + 'static,
    {
        self.check()?;
        let (f, options) = (Arc::new(f), self.db.configured(name, options));
        let walled = self.db.row_security != RowSecurity::Off;
        let mut pauses = options.backoff();
        let mut locks = self.db.locks.begin(self.bounds.business);
        let mut turn: Option<lock_wait::Turn> = None;
        loop {
            let patience = turn.as_ref().map_or_else(|| locks.first(), |turn| Some(turn.timeout));
            let begin =
                self.bounds.begin_sql(options.isolation.mode(), walled, &request_context::request_id(), patience);
            let attempt = f.clone();
            let outcome = self
                .db
                .pool
                .run(name, self.bounds.business, move |source| {
                    // On a connection that was dead before the transaction began, nothing was done yet.
                    let begun = Cell::new(false);
                    let work = |tx: &mut Tx<'_>| {
                        begun.set(true);
                        attempt(tx)
                    };
                    source.run(|conn| tx::transact(conn, &begin, work), || !begun.get())
                })
                .await;
            drop(turn.take());
            match outcome {
                Err(error) if error.is_locked() => {
                    metrics::lock_timed_out(name);
                    turn = Some(locks.turn().await.ok_or_else(Error::locked)?);
                    metrics::retried(name);
                }
                Err(Error::Database(error)) if tx::is_retryable(&error) => match pauses.next() {
                    Some(pause) => {
                        locks.reset();
                        metrics::retried(name);
                        tokio::time::sleep(pause).await;
                    }
                    None => return Err(Error::Database(error)),
                },
                done => {
                    if done.is_ok() && self.bounds.business.is_some() {
                        self.db.committed.notify_one();
                    }
                    return done.map_err(|error| self.db.guard.explain(error));
                }
            }
        }
    }
}

/// How busy the pool is; see `/health/detailed` and `/metrics`.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct PoolState {
    /// Maximum number of open connections.
    pub size: u32,
    /// Open connections.
    pub open: u32,
    /// Open connections that are unused.
    pub idle: u32,
    /// Jobs waiting for a worker thread.
    pub waiting: usize,
    /// Maximum number of waiting jobs; further ones are rejected.
    pub queue: usize,
}

/// Runs `f` in one transaction on the caller's own connection, without retries: for the command line.
pub fn in_transaction<T>(conn: &mut PgConnection, f: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
    tx::transact(conn, &SessionContext::default().begin_sql(Isolation::default().mode(), false, "-", None), f)
}
