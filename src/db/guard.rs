//! Whether work may reach the database: not before it is known to be migrated and intact, and with a reason a client can
//! act on. Holds the result of the last check of the catalogue, and rings for the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use tokio::sync::Notify;

use super::catalogue::Report;
use super::pooler::Gate;
use crate::error::{Error, Result};

/// Seconds after which a refused client may try again: a migration or a repair takes about as long.
const RETRY_AFTER: u32 = 5;

/// Why work is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It was not looked at yet.
    Starting,
    /// It cannot be reached.
    Unreachable,
    /// The migrations of this release have not run.
    NotMigrated,
    /// Something that this release needs is missing.
    Damaged,
}

impl Refusal {
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
pub struct Guard {
    refuses: AtomicBool,
    refusal: RwLock<Option<Refusal>>,
    /// The last check found faults.
    damaged: AtomicBool,
    report: RwLock<Option<Arc<Report>>>,
    suspicion: Notify,
    gate: Gate,
}

impl Guard {
    /// Lets work through, or refuses all of it.
    pub fn set(&self, refusal: Option<Refusal>) {
        *self.refusal.write() = refusal;
        self.refuses.store(refusal.is_some(), Ordering::Release);
    }

    /// What keeps work from a pooler that shares connections.
    pub fn gate(&self) -> &Gate {
        &self.gate
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

    /// What the last check found; `None`: there was none yet.
    pub fn report(&self) -> Option<Arc<Report>> {
        self.report.read().clone()
    }

    /// The catalogue should be looked at: a connection is new, or PostgreSQL said what it never says of an intact one.
    pub fn suspect(&self) {
        self.suspicion.notify_one();
    }

    pub async fn suspected(&self) {
        self.suspicion.notified().await;
    }

    /// The same error, unless nothing but the damage explains it: then 503 with the remedy in place of 500.
    pub(super) fn explain(&self, error: Error) -> Error {
        if !error.is_unexpected_of_database() {
            return error;
        }
        self.suspect();
        if self.damaged.load(Ordering::Acquire) { Refusal::Damaged.error() } else { error }
    }
}
