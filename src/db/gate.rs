//! The database gate: admits work only once the database is known to be migrated and intact, and otherwise rejects it
//! with a reason that a client can act on. Holds the last catalogue check's report and triggers the next check.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;
use tokio::sync::Notify;

use super::catalogue::Report;
use super::pooler::PoolerGate;
use crate::base::error::{Error, Result};

/// `Retry-After` in seconds of rejected requests: about the duration of a migration or a repair.
const RETRY_AFTER: u32 = 5;

/// Why work is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedReason {
    /// The database was not checked yet.
    Starting,
    /// The database cannot be reached.
    Unreachable,
    /// The migrations of this release have not run.
    NotMigrated,
    /// Objects that this release needs are missing or changed.
    Damaged,
}

impl ClosedReason {
    fn error(self) -> Error {
        let (code, detail) = match self {
            Self::Starting => ("starting", "The service is starting. Try again shortly."),
            Self::Unreachable => {
                ("database_unavailable", "The database is not reachable right now. Try again shortly.")
            }
            Self::NotMigrated => (
                "database_not_migrated",
                "The database does not have this release's tables. The operator runs `rapport migrate`; then the service \
                 goes on by itself.",
            ),
            Self::Damaged => (
                "database_damaged",
                "The database lacks what this release needs. The operator runs `rapport migrate`, which repairs it or says \
                 how; then the service goes on by itself.",
            ),
        };
        Error::Unavailable { code, detail: detail.into(), after: RETRY_AFTER }
    }
}

#[derive(Debug, Default)]
pub struct DatabaseGate {
    refuses: AtomicBool,
    refusal: RwLock<Option<ClosedReason>>,
    /// The last check found the database not intact.
    damaged: AtomicBool,
    report: RwLock<Option<Arc<Report>>>,
    suspicion: Notify,
    gate: PoolerGate,
    commits: AtomicU64,
}

impl DatabaseGate {
    /// Admits all work, or rejects it with `refusal`.
    pub fn set(&self, refusal: Option<ClosedReason>) {
        *self.refusal.write() = refusal;
        self.refuses.store(refusal.is_some(), Ordering::Release);
    }

    /// Returns the gate that closes while a pooler shares connections.
    pub fn gate(&self) -> &PoolerGate {
        &self.gate
    }

    /// Returns how many transactions of businesses this process has committed.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    /// Counts a transaction that was committed.
    pub(super) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Release);
    }

    /// Errors: 503, with the reason and the remedy.
    pub fn check(&self) -> Result<()> {
        if !self.refuses.load(Ordering::Acquire) {
            return Ok(());
        }
        self.refusal.read().map_or(Ok(()), |refusal| Err(refusal.error()))
    }

    pub fn checked(&self, report: Report) {
        self.damaged.store(!report.is_intact(), Ordering::Release);
        *self.report.write() = Some(Arc::new(report));
    }

    /// Returns the last check's report; `None` before the first check.
    pub fn report(&self) -> Option<Arc<Report>> {
        self.report.read().clone()
    }

    /// Requests a catalogue check: a connection is new, or PostgreSQL returned an error that an intact database does
    /// not.
    pub fn suspect(&self) {
        self.suspicion.notify_one();
    }

    pub async fn suspected(&self) {
        self.suspicion.notified().await;
    }

    /// Returns `error`, or 503 with the remedy in place of 500 if the last check found damage that probably explains
    /// it.
    pub(super) fn explain(&self, error: Error) -> Error {
        if !error.is_unexpected_of_database() {
            return error;
        }
        self.suspect();
        if self.damaged.load(Ordering::Acquire) { ClosedReason::Damaged.error() } else { error }
    }
}
