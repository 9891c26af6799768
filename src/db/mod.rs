//! The database: [`Db::within`] a business or [`Db::across`] all, `read` or `write`, and nothing else reaches a connection.
//!
//! A few threads of our own run the work, each on a connection that it checks out of an r2d2 pool of the same size, so
//! that no async thread ever blocks and a probe answers while every connection is stuck. What waits is bounded: past
//! `db_queue` jobs, or after `db_wait_ms`, the answer is 503 with `Retry-After`. (`actix_web::web::block` instead of
//! these threads reached 70 % of the throughput; see docs/PERFORMANCE.md.)

pub mod backend_id;
mod bounds;
pub mod catalogue;
mod connect;
pub mod connection_options;
pub mod embedded;
mod guard;
mod last_answer;
pub mod levels;
mod lock_wait;
mod mailbox;
pub mod migrate;
pub mod pg_error;
pub mod pooler;
pub mod prepared;
mod queue;
pub mod statement;
pub mod target;
mod threads;
mod tx;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use diesel::pg::PgConnection;
use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

pub use self::bounds::{Actor, Bounds, RowSecurity};
pub use self::connect::{bound_lock_waits, connect};
pub use self::guard::{Guard, Refusal};
pub use self::last_answer::LastAnswer;
use self::lock_wait::LockLines;
pub use self::mailbox::Mailbox;
pub use self::statement::{Cells, Statement, Value};
pub use self::threads::Source;
pub use self::tx::{Isolation, Tx, WriteOptions};
use crate::config::Config;
use crate::context;
use crate::error::{Error, Result};
use crate::jobs::Supervisor;
use crate::ops::metrics;

#[derive(Clone)]
pub struct Db {
    threads: Arc<threads::Threads>,
    walls: RowSecurity,
    committed: Arc<Notify>,
    locks: Arc<LockLines>,
    guard: Arc<Guard>,
    /// Levels that the operator has chosen, by the transaction's name.
    levels: Arc<[(&'static str, Isolation)]>,
}

impl Db {
    /// Opens the pool and its threads; no connection is made yet, so a database that is away does not stop the start.
    pub fn open(config: &Config, url: &str, supervisor: &Supervisor) -> Result<Self> {
        let guard = Arc::<Guard>::default();
        let threads = Arc::new(threads::Threads::start(config, url, supervisor, guard.clone())?);
        let levels = config.isolation.clone().into();
        let locks = Arc::new(LockLines::new(config.lock_wait_ms, config.db_connections));
        Ok(Self { threads, walls: config.row_security, levels, committed: Arc::default(), locks, guard })
    }

    /// Work that is confined to one business, as all is that serves one: what it writes is held to that by row-level
    /// security too, what it changes is recorded as done by its actor, and its share of the connections is that business'.
    pub fn within(&self, bounds: impl Into<Bounds>) -> Confined {
        Confined { db: self.clone(), bounds: bounds.into(), guarded: true }
    }

    /// Work that belongs to no business: what is on the way to one (credentials, signing in), and the service's own.
    pub fn across(&self) -> Confined {
        Confined { db: self.clone(), bounds: Bounds::default(), guarded: true }
    }

    /// As [`Db::across`], also while the guard refuses work: for what finds out whether it may be let through.
    pub fn unguarded(&self) -> Confined {
        Confined { guarded: false, ..self.across() }
    }

    /// Whether work is let through, and what the last check of the catalogue found.
    pub fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// Rings when work of a business was committed by this process.
    pub fn committed(&self) -> &Notify {
        &self.committed
    }

    /// As the operator has it for `name`, else as it is.
    fn configured(&self, name: &str, options: WriteOptions) -> WriteOptions {
        match self.levels.iter().find(|(known, _)| *known == name) {
            Some((_, Isolation::ReadCommitted)) => WriteOptions { isolation: Isolation::ReadCommitted, ..options },
            Some((_, isolation)) => WriteOptions { isolation: *isolation, attempts: levels::ATTEMPTS },
            None => options,
        }
    }

    /// Whether reads are held by row-level security too.
    pub fn walls_reads(&self) -> bool {
        self.walls == RowSecurity::All
    }

    /// Hands `job` to a database thread without waiting for it: for work that answers its callers itself, and says
    /// whether it went well. `false` when the queue is full.
    ///
    /// As work of no business: it is a round of single reads of many (`noun::coalesce`), of which two run at once for each
    /// noun, so whoever sends much makes rounds larger, not more. Were it the work of whoever came first, others in the
    /// round would wait for that one's share.
    pub fn submit(&self, name: &'static str, job: impl FnOnce(&Source) -> bool + Send + 'static) -> bool {
        self.threads.submit(name, None, job)
    }

    /// Tries `attempt`, work of `party` that only reads, until it does not end at a lock or its time to wait for that is over.
    /// Errors: 503 `locked`, and its own.
    pub async fn in_line<T, W>(
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

    /// How long a connection takes to be had and used. Errors: 503 when it cannot be within `limit`.
    pub async fn ping(&self, limit: Duration) -> Result<Duration> {
        tokio::time::timeout(limit, self.latency()).await.unwrap_or_else(|_| Err(Error::busy()))
    }

    /// As [`Db::ping`], however long that takes.
    pub async fn latency(&self) -> Result<Duration> {
        let asked = std::time::Instant::now();
        self.unguarded().read("ping", |conn| Ok(Statement::new("SELECT 1").run(conn)?)).await?;
        Ok(asked.elapsed())
    }

    /// Whether the pool's connections are its own: two that are idle are asked each time, and the server where some were made
    /// since the last time or a statement has met another's backend. While they are not, no work gets one.
    /// Errors: [`pooler::Shared`].
    #[expect(clippy::disallowed_methods, reason = "one at a time, of one task; the pool itself is what is in doubt")]
    pub async fn check_pooler(&self) -> std::result::Result<(), pooler::Shared> {
        let threads = self.threads.clone();
        tokio::task::spawn_blocking(move || threads.check_pooler()).await.unwrap_or(Ok(()))
    }

    pub fn state(&self) -> PoolState {
        self.threads.state()
    }

    /// How long ago the database last answered on a pooled connection.
    pub fn last_answer(&self) -> Duration {
        self.threads.last_answer()
    }
}

/// The database, as far as some work may go.
pub struct Confined {
    db: Db,
    bounds: Bounds,
    guarded: bool,
}

impl Confined {
    /// On behalf of `actor`, as the audit log will tell.
    pub fn by(mut self, actor: Actor) -> Self {
        self.bounds.actor = Some(actor);
        self
    }

    /// Runs `f` on one connection, outside a transaction (unless reads are walled), and once more if the connection turns out
    /// to be dead. Where a table is locked, it takes its turn in waiting for that, as a write does.
    ///
    /// `name` is the query's name in `/metrics`. Errors: 503 when the queue is full or the wait too long, and whatever
    /// `f` returns.
    pub async fn read<T, F>(self, name: &'static str, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut PgConnection) -> Result<T> + Send + 'static,
    {
        self.check()?;
        let party = self.bounds.business;
        let walled = self.db.walls_reads() && party.is_some();
        let (f, bounds, request) = (Arc::new(Mutex::new(f)), self.bounds, Arc::<str>::from(context::request_id()));
        let attempt = || {
            let (f, request) = (f.clone(), request.clone());
            let work = move |source: &Source| {
                source.read(|conn| match walled {
                    true => tx::look(conn, &bounds, &request, &mut *f.lock()),
                    false => (*f.lock())(conn),
                })
            };
            self.db.threads.run(name, party, work)
        };
        self.db.in_line(name, party, attempt).await.map_err(|error| self.db.guard.explain(error))
    }

    fn check(&self) -> Result<()> {
        self.db.guard.gate().pass()?;
        if self.guarded { self.db.guard.check() } else { Ok(()) }
    }

    /// Runs `f` in one transaction and commits, or rolls back if it fails. When PostgreSQL reports a serialization
    /// failure or a deadlock, the whole transaction is tried again after a pause (exponential, with jitter) in which it
    /// holds neither a thread nor a connection; where another holds a lock that it needs, when it is its turn to wait for
    /// that ([`lock_wait`]). So `f` may run several times.
    pub async fn write<T, F>(self, name: &'static str, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T> + Send + Sync + 'static,
    {
        self.write_with(name, WriteOptions::default(), f).await
    }

    /// [`Db::write`] with an isolation level and a number of attempts of its own.
    pub async fn write_with<T, F>(self, name: &'static str, options: WriteOptions, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T> + Send + Sync + 'static,
    {
        #[cfg(feature = "mutants")]
        if crate::cache::mutants::is(crate::cache::mutants::Mutant::BumpBefore) {
            self.move_everything().await?;
        }
        #[cfg(feature = "mutants")]
        if crate::cache::mutants::is(crate::cache::mutants::Mutant::BumpAfter) {
            let written = self.transact(name, options, f).await;
            crate::cache::mutants::linger().await;
            self.move_everything().await?;
            return written;
        }
        self.transact(name, options, f).await
    }

    /// Moves every version, apart from any write: what two of the mutants do instead of the triggers.
    #[cfg(feature = "mutants")]
    async fn move_everything(&self) -> Result<()> {
        let moved = self.db.threads.run("mutant", None, |source| {
            source.read(|conn| {
                let sql = "SELECT rapport_move_all(b.id, t) FROM businesses b, unnest(ARRAY['leads', 'companies']) t";
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
        let walled = self.db.walls != RowSecurity::Off;
        let mut pauses = options.pauses();
        let mut locks = self.db.locks.begin(self.bounds.business);
        let mut turn: Option<lock_wait::Turn> = None;
        loop {
            let patience = turn.as_ref().map_or_else(|| locks.first(), |turn| Some(turn.timeout));
            let begin = self.bounds.begin(options.isolation.mode(), walled, &context::request_id(), patience);
            let attempt = f.clone();
            let outcome = self
                .db
                .threads
                .run(name, self.bounds.business, move |source| {
                    // A connection that was dead before the transaction began has done nothing yet.
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
                        locks.got_through();
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
    /// Connections that may be open at once.
    pub size: u32,
    /// Connections that are open now.
    pub open: u32,
    /// Open connections that nothing uses.
    pub idle: u32,
    /// Jobs that wait for a database thread.
    pub waiting: usize,
    /// Jobs that may wait before callers are sent away.
    pub queue: usize,
}

/// Runs `f` in one transaction on a connection of the caller's own, without retries: for the command line.
pub fn in_transaction<T>(conn: &mut PgConnection, f: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
    tx::transact(conn, &Bounds::default().begin(Isolation::default().mode(), false, "-", None), f)
}
