//! Checks the database's catalogue: before the process is ready, then periodically, when connections are new, and when
//! PostgreSQL reports what it never reports of an intact database.
//!
//! While something is missing, readiness fails with the reason and the cache is bypassed, because versions may not
//! move. Recovery is automatic; then every response cached before is dropped.

use std::sync::Arc;
use std::time::Duration;

use crate::background::{Lifecycle, Outcome, Pulse};
use crate::base::error::{Error, Result};
use crate::cache::Cache;
use crate::db::catalogue::{self, Report};
use crate::db::{ClosedReason, Db, ScopedDb};

/// The component's name in `/health/readiness`.
const COMPONENT: &str = "catalogue";

/// How often a database that is unreachable, not migrated or damaged is checked again at start.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Least pause between checks, however many connections are new; a repair goes unnoticed for up to twice that.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// The result of a check, and the fingerprint of the triggers that it saw.
type Checked = (Report, String);

/// The check of a process.
#[derive(Clone)]
pub struct CatalogueCheck {
    pub db: Db,
    /// `None` when the cache is off.
    pub cache: Option<Arc<Cache>>,
    pub lifecycle: Arc<Lifecycle>,
    /// How often the catalogue is checked while the service runs.
    pub period: Duration,
}

impl CatalogueCheck {
    /// Waits until the database is there, migrated and intact; requests are refused until then. Returns the fingerprint.
    pub async fn until_intact(&self) -> String {
        let mut reported = None;
        loop {
            let checked = inspect(self.db.ungated()).await;
            let refusal = match &checked {
                Ok((report, _)) if report.is_intact() => None,
                Ok((report, _)) if report.is_migrated() => Some(ClosedReason::Damaged),
                Ok(_) => Some(ClosedReason::NotMigrated),
                Err(_) => Some(ClosedReason::Unreachable),
            };
            self.db.guard().set(refusal);
            if reported != refusal {
                match &checked {
                    Ok((report, _)) if report.is_migrated() => {}
                    Ok((report, _)) => tracing::warn!("the database is not migrated: {}", report.summary()),
                    Err(error) => tracing::warn!(%error, "waiting for the database"),
                }
                reported = refusal;
            }
            if let Ok((report, fingerprint)) = checked {
                let intact = report.is_intact();
                if refusal == Some(ClosedReason::Damaged) {
                    self.lifecycle.impair(COMPONENT, report.summary());
                } else {
                    self.lifecycle.recovered(COMPONENT);
                }
                self.log_newer(&report);
                self.db.guard().checked(report);
                if intact {
                    return fingerprint;
                }
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Checks every `RAPPORT_CATALOGUE_CHECK_SECONDS`, and on suspicion. `fingerprint` is that of the last check.
    pub async fn watch(&self, mut fingerprint: String, pulse: Pulse) -> Outcome {
        let period = self.period;
        // The pool's first connections lead to the database that was checked at start.
        tokio::time::sleep(LEAST_PAUSE).await;
        let _ = tokio::time::timeout(Duration::ZERO, self.db.guard().suspected()).await;
        let mut damaged = false;
        loop {
            tokio::time::sleep(LEAST_PAUSE).await;
            // While damaged, a load balancer sends it no requests: a repair must be noticed at once.
            let rest = if damaged { LEAST_PAUSE } else { period.saturating_sub(LEAST_PAUSE) };
            let _ = tokio::time::timeout(rest, self.db.guard().suspected()).await;
            // Other components report an unreachable database; the last result stays.
            if let Ok((report, now)) = inspect(self.db.ungated()).await {
                self.log_newer(&report);
                if let Err(error) = self.apply(&report, fingerprint != now).await {
                    tracing::warn!(%error, "the cache stays bypassed");
                    continue;
                }
                fingerprint = now;
                damaged = !report.is_intact();
                self.db.guard().checked(report);
                pulse.succeeded();
            }
        }
    }

    /// Applies `report`; `remade`: the triggers differ from those of the last check. Errors: a new epoch cannot be
    /// started.
    async fn apply(&self, report: &Report, remade: bool) -> Result<()> {
        if !report.is_intact() {
            self.cache.iter().for_each(|cache| cache.bypass());
            self.db.guard().set((!report.is_migrated()).then_some(ClosedReason::NotMigrated));
            self.lifecycle.impair(COMPONENT, report.summary());
            return Ok(());
        }
        if let Some(cache) = &self.cache
            && (cache.is_bypassed() || remade)
        {
            self.db
                .ungated()
                .write("cache_epoch", catalogue::renew_cache_epoch)
                .await
                .map_err(|error| Error::Internal(format!("a new epoch of the cache cannot be begun: {error}")))?;
            cache.trust();
            tracing::warn!("the database's triggers were made again or repaired; every cached answer was dropped");
        }
        self.db.guard().set(None);
        self.lifecycle.recovered(COMPONENT);
        Ok(())
    }

    /// Logs once that a newer release has migrated the database.
    fn log_newer(&self, report: &Report) {
        let known =
            self.db.guard().report().is_some_and(|before| before.unknown_migrations == report.unknown_migrations);
        if report.is_newer() && !known {
            tracing::warn!(
                migrations = report.unknown_migrations.join(", "),
                "a newer release has migrated the database; this one serves it as long as what it needs is there"
            );
        }
    }
}

async fn inspect(database: ScopedDb) -> Result<Checked> {
    database.read("catalogue", |conn| Ok((catalogue::inspect(conn)?, catalogue::fingerprint(conn)?))).await
}
