//! The heartbeat: queries the database each second on each path to it, and fails readiness when a path had no response
//! for `RAPPORT_READINESS_AFTER_SECONDS`. So an isolated replica says so, idle or not, and recovers by itself.
//!
//! A database that is only busy still responds now and then, which counts: removing a busy replica from the load
//! balancer would send its load to the others.

use std::time::{Duration, Instant};

use actix_web::web::Data;
use futures_util::future::LocalBoxFuture;

use crate::app::state::AppState;
use crate::background::{Outcome, Pulse};
use crate::base::error::{Error, Result};

/// How often it queries, and how long it waits before it evaluates the state; a query may take longer.
const EVERY: Duration = Duration::from_secs(1);
/// How long the error of a statement may take to arrive after its timeout.
const MARGIN: Duration = Duration::from_secs(1);

/// The pool's name in `/health/readiness`.
pub const POOL: &str = "database";
/// The name of the connection of validation rounds.
pub const ROUNDS: &str = "cache validation";

/// One path to the database.
struct Way {
    component: &'static str,
    reason: String,
    ask: fn(&AppState) -> LocalBoxFuture<'static, Result<()>>,
    age: fn(&AppState) -> Duration,
    /// A query without a response yet: there is never a second one beside it.
    asking: Option<LocalBoxFuture<'static, Result<()>>>,
    /// Why the last query failed.
    failed: Option<Failure>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// There is no connection.
    Away,
    /// No response yet, or no place in the queue.
    Late,
}

/// Queries the database from when the service has started until the process ends.
pub async fn keep_asking(app: Data<AppState>, pulse: Pulse) -> Outcome {
    while !app.lifecycle.is_started() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = app.config.monitoring.readiness_after_seconds;
    let mut ways = vec![Way {
        component: POOL,
        reason: format!("No connection to the database has worked for {after} s. It is tried every second."),
        ask: |app| {
            let db = app.db.clone();
            Box::pin(async move { db.latency().await.map(drop) })
        },
        age: |app| app.db.last_answer(),
        asking: None,
        failed: None,
    }];
    if app.cache.is_some() {
        ways.push(Way {
            component: ROUNDS,
            reason: format!(
                "No validation round has been answered by the database for {after} s. It is tried every second."
            ),
            ask: |app| {
                let cache = app.cache.clone();
                Box::pin(async move {
                    match cache {
                        // While the cache is bypassed there are no rounds, for a reason that readiness reports already.
                        Some(cache) if !cache.is_bypassed() => cache.validate(&[].into()).await.map(drop),
                        _ => Ok(()),
                    }
                })
            },
            age: |app| app.cache.as_ref().map_or(Duration::ZERO, |cache| cache.last_answer()),
            asking: None,
            failed: None,
        });
    }
    let began = Instant::now();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        futures_util::future::join_all(ways.iter_mut().map(|way| way.look(&app, began))).await;
        pulse.succeeded();
    }
}

impl Way {
    async fn look(&mut self, app: &AppState, began: Instant) {
        let asking = self.asking.get_or_insert_with(|| (self.ask)(app));
        self.failed = match tokio::time::timeout(EVERY, asking).await {
            Err(_) => Some(Failure::Late),
            Ok(answer) => {
                self.asking = None;
                match answer {
                    Ok(()) => None,
                    Err(error) if is_busy(&error) => Some(Failure::Late),
                    Err(_) => Some(Failure::Away),
                }
            }
        };
        let Some(failure) = self.failed else { return app.lifecycle.recovered(self.component) };
        // Silence from before the first query proves nothing.
        let silent = (self.age)(app).min(began.elapsed());
        if silent >= patience(app, self.component, failure) {
            app.lifecycle.impair(self.component, self.reason.clone());
        }
    }
}

/// How long silence may last. Every connection may be busy with a statement up to its timeout, without an outage.
fn patience(app: &AppState, component: &str, failure: Failure) -> Duration {
    let after = Duration::from_secs(app.config.monitoring.readiness_after_seconds);
    match failure {
        Failure::Late if component == POOL => {
            after.max(Duration::from_millis(app.config.pool.statement_timeout_ms) + MARGIN)
        }
        _ => after,
    }
}

fn is_busy(error: &Error) -> bool {
    matches!(error, Error::Unavailable { code: "busy", .. })
}
