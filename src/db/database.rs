//! [`Db`], the handle to the database that is shared by the whole process: the pool and what guards it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::args::PoolArgs;
use super::gate::DatabaseGate;
use super::isolation_overrides;
use super::lock_wait::LockQueues;
use super::pooler::PoolerSharesConnections;
use super::session_context::RowSecurity;
use super::tx::{Isolation, WriteOptions};
use super::worker_pool::{PoolState, Source, WorkerPool};
use crate::base::error::Result;
use crate::base::supervisor::Supervisor;

/// A handle to share. Work reaches a connection through `for_tenant` or `unscoped` (`db::scoped`), or [`Db::submit`].
#[derive(Clone)]
pub struct Db {
    pub(super) pool: Arc<WorkerPool>,
    pub(super) row_security: RowSecurity,
    pub(super) committed: Arc<Notify>,
    pub(super) locks: Arc<LockQueues>,
    pub(super) guard: Arc<DatabaseGate>,
    /// Isolation levels set by the operator, by the transaction's name.
    isolation_overrides: Arc<[(&'static str, Isolation)]>,
}

impl Db {
    /// Creates the pool and its threads. No connection is made yet, so an unreachable database does not prevent
    /// startup.
    pub fn open(args: &PoolArgs, url: &str, supervisor: &Supervisor) -> Result<Self> {
        let guard = Arc::<DatabaseGate>::default();
        let pool = Arc::new(WorkerPool::start(args, url, supervisor, guard.clone())?);
        let locks = Arc::new(LockQueues::new(args.lock_wait_ms, args.db_connections));
        Ok(Self {
            pool,
            row_security: args.row_security,
            isolation_overrides: args.isolation.clone().into(),
            committed: Arc::default(),
            locks,
            guard,
        })
    }

    /// Returns the database gate, which admits work and holds the last catalogue check's report.
    pub fn guard(&self) -> &Arc<DatabaseGate> {
        &self.guard
    }

    /// Notified when this process commits a transaction of a business.
    pub fn committed(&self) -> Arc<Notify> {
        self.committed.clone()
    }

    /// Applies the operator's setting for `name`, if there is one.
    pub(super) fn configured(&self, name: &str, options: WriteOptions) -> WriteOptions {
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

    /// Checks that the pool's connections are not shared: on two idle ones each time, and on new sessions where
    /// connections were made since the last check or a statement has reached another backend. While the check fails, no
    /// work gets a connection. Errors: [`PoolerSharesConnections`].
    #[expect(clippy::disallowed_methods, reason = "one at a time, of one task; the pool itself is what is in doubt")]
    pub async fn check_pooler(&self) -> std::result::Result<(), PoolerSharesConnections> {
        let pool = self.pool.clone();
        tokio::task::spawn_blocking(move || pool.check_pooler()).await.unwrap_or(Ok(()))
    }

    pub fn state(&self) -> PoolState {
        self.pool.state()
    }

    /// Returns the time since the database last answered on a pooled connection.
    pub fn last_answer(&self) -> Duration {
        self.pool.last_answer()
    }
}
