//! Database access in the context of one business, or of none: reads, and transactions that are retried as a whole.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use diesel::pg::PgConnection;
use parking_lot::Mutex;
use uuid::Uuid;

use super::database::Db;
use super::session_context::{Actor, RowSecurity, SessionContext};
use super::statement::Statement;
use super::tx::{Tx, WriteOptions};
use super::worker_pool::Source;
use super::{retry, tx};
use crate::base::error::{Error, Result};
use crate::base::request_context;

impl Db {
    /// Returns access for work of one business: row-level security confines its writes to the business, the audit log
    /// attributes its changes to its actor, and it counts towards that business's share of the connections.
    pub fn for_tenant(&self, context: impl Into<SessionContext>) -> ScopedDb {
        ScopedDb { db: self.clone(), context: context.into(), guarded: true }
    }

    /// Returns access for work without a business: authentication before one is known, and the service's own.
    pub fn unscoped(&self) -> ScopedDb {
        ScopedDb { db: self.clone(), context: SessionContext::default(), guarded: true }
    }

    /// As [`Db::unscoped`], also while the database gate rejects work: for the checks that open the gate.
    pub fn ungated(&self) -> ScopedDb {
        ScopedDb { guarded: false, ..self.unscoped() }
    }

    /// Runs `attempt`, read-only work of a business, and retries it in the lock queue while it fails at a lock.
    /// Errors: 503 `locked` when the time to wait for locks is over, and those of `attempt`.
    pub async fn with_lock_turns<T, W>(
        &self,
        name: &'static str,
        business: Option<Uuid>,
        attempt: impl FnMut() -> W,
    ) -> Result<T>
    where
        W: Future<Output = Result<T>>,
    {
        retry::retry_read(&self.locks, name, business, attempt).await
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
}

/// Database access in the context of one business, or of none.
pub struct ScopedDb {
    db: Db,
    context: SessionContext,
    guarded: bool,
}

impl ScopedDb {
    /// Sets the actor to whom the audit log attributes changes.
    pub fn by(mut self, actor: Actor) -> Self {
        self.context.actor = Some(actor);
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
        let business = self.context.business;
        let secured = self.db.secures_reads() && business.is_some();
        let (f, context, request) =
            (Arc::new(Mutex::new(f)), self.context, Arc::<str>::from(request_context::request_id()));
        let attempt = || {
            let (f, request) = (f.clone(), request.clone());
            let work = move |source: &Source| {
                source.read(|conn| match secured {
                    true => tx::read_transaction(conn, &context, &request, &mut *f.lock()),
                    false => (*f.lock())(conn),
                })
            };
            self.db.pool.run(name, business, work)
        };
        self.db.with_lock_turns(name, business, attempt).await.map_err(|error| self.db.guard.explain(error))
    }

    fn check(&self) -> Result<()> {
        self.db.guard.gate().pass()?;
        if self.guarded { self.db.guard.check() } else { Ok(()) }
    }

    /// Runs `f` in one transaction and commits, or rolls back if it fails. On a serialization failure or a deadlock the
    /// whole transaction is retried after a pause (exponential backoff with jitter) in which it holds neither a thread
    /// nor a connection; where it fails at a lock, on its turn in the lock queue ([`super::lock_wait`]). So `f` may run
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
        self.transact(name, options, f).await
    }

    async fn transact<T, F>(&self, name: &'static str, options: WriteOptions, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T> + Send + Sync + 'static,
    {
        self.check()?;
        let (f, options) = (Arc::new(f), self.db.configured(name, options));
        let secured = self.db.row_security != RowSecurity::Off;
        let business = self.context.business;
        let attempt = |lock_timeout| {
            let request = request_context::request_id();
            let begin = self.context.begin(options.isolation.mode(), secured, &request, lock_timeout);
            let attempt = f.clone();
            self.db.pool.run(name, business, move |source| {
                // On a connection that was dead before the transaction began, nothing was done yet.
                let begun = Cell::new(false);
                let work = |tx: &mut Tx<'_>| {
                    begun.set(true);
                    attempt(tx)
                };
                source.run(|conn| tx::transact(conn, &begin, work), || !begun.get())
            })
        };
        let done = retry::retry_write(&self.db.locks, name, business, options, attempt).await;
        if done.is_ok() && business.is_some() {
            self.db.guard.count_commit();
            self.db.committed.notify_one();
        }
        done.map_err(|error| self.db.guard.explain(error))
    }
}
