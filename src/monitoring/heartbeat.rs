//! The heartbeat: queries the database each second on each path to it, and fails readiness when a path had no response
//! for `RAPPORT_READINESS_AFTER_SECONDS`. So an isolated replica says so, idle or not, and recovers by itself.
//!
//! A database that is only busy still responds now and then, which counts: removing a busy replica from the load
//! balancer would send its load to the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;

use crate::background::{Lifecycle, Outcome, Pulse};
use crate::base::error::{Error, Result};
use crate::cache::Cache;
use crate::db::Db;

/// How often it queries, and how long it waits before it evaluates the state; a query may take longer.
const EVERY: Duration = Duration::from_secs(1);
/// How long the error of a statement may take to arrive after its timeout.
const MARGIN: Duration = Duration::from_secs(1);

/// The pool's name in `/health/readiness`.
pub const POOL: &str = "database";
/// The name of the connection of validation rounds.
pub const ROUNDS: &str = "cache validation";

/// The heartbeat of a process.
#[derive(Clone)]
pub struct Heartbeat {
    pub db: Db,
    /// `None` when the cache is off.
    pub cache: Option<Arc<Cache>>,
    pub lifecycle: Arc<Lifecycle>,
    /// How long the database may not respond until readiness fails, in seconds.
    pub readiness_after_seconds: u64,
    /// Longest that a statement may run.
    pub statement_timeout: Duration,
}

/// One path to the database.
struct Path {
    component: &'static str,
    reason: String,
    ask: fn(&Heartbeat) -> LocalBoxFuture<'static, Result<()>>,
    age: fn(&Heartbeat) -> Duration,
    /// A query without a response yet: there is never a second one beside it.
    pending: Option<LocalBoxFuture<'static, Result<()>>>,
    /// Why the last query failed.
    failed: Option<Failure>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// There is no connection.
    Disconnected,
    /// No response yet, or no place in the queue.
    Late,
}

impl Heartbeat {
    /// Queries the database from when the service has started until the process ends.
    pub async fn run(self, pulse: Pulse) -> Outcome {
        while !self.lifecycle.is_started() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let after = self.readiness_after_seconds;
        let mut paths = vec![Path {
            component: POOL,
            reason: format!("No connection to the database has worked for {after} s. It is tried every second."),
            ask: |heartbeat| {
                let db = heartbeat.db.clone();
                Box::pin(async move { db.latency().await.map(drop) })
            },
            age: |heartbeat| heartbeat.db.last_answer(),
            pending: None,
            failed: None,
        }];
        if self.cache.is_some() {
            paths.push(Path {
                component: ROUNDS,
                reason: format!(
                    "No validation round has been answered by the database for {after} s. It is tried every second."
                ),
                ask: |heartbeat| {
                    let cache = heartbeat.cache.clone();
                    Box::pin(async move {
                        match cache {
                            // While the cache is bypassed there are no rounds, for a reason that readiness reports already.
                            Some(cache) if !cache.is_bypassed() => cache.round().await.map(drop),
                            _ => Ok(()),
                        }
                    })
                },
                age: |heartbeat| heartbeat.cache.as_ref().map_or(Duration::ZERO, |cache| cache.last_answer()),
                pending: None,
                failed: None,
            });
        }
        let began = Instant::now();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            futures_util::future::join_all(paths.iter_mut().map(|path| path.check(&self, began))).await;
            pulse.succeeded();
        }
    }

    /// How long silence may last. Every connection may be busy with a statement up to its timeout, without an outage.
    fn allowed_silence(&self, component: &str, failure: Failure) -> Duration {
        let after = Duration::from_secs(self.readiness_after_seconds);
        match failure {
            Failure::Late if component == POOL => after.max(self.statement_timeout + MARGIN),
            _ => after,
        }
    }
}

impl Path {
    async fn check(&mut self, heartbeat: &Heartbeat, began: Instant) {
        let pending = self.pending.get_or_insert_with(|| (self.ask)(heartbeat));
        self.failed = match tokio::time::timeout(EVERY, pending).await {
            Err(_) => Some(Failure::Late),
            Ok(answer) => {
                self.pending = None;
                match answer {
                    Ok(()) => None,
                    Err(error) if is_busy(&error) => Some(Failure::Late),
                    Err(_) => Some(Failure::Disconnected),
                }
            }
        };
        let Some(failure) = self.failed else { return heartbeat.lifecycle.recovered(self.component) };
        // Silence from before the first query proves nothing.
        let silent = (self.age)(heartbeat).min(began.elapsed());
        if silent >= heartbeat.allowed_silence(self.component, failure) {
            heartbeat.lifecycle.impair(self.component, self.reason.clone());
        }
    }
}

fn is_busy(error: &Error) -> bool {
    matches!(error, Error::Unavailable { code: "busy", .. })
}
