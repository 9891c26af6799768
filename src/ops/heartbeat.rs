//! The heartbeat: asks the database each second, on each way to it, and fails readiness when none has answered for
//! `RAPPORT_READINESS_AFTER_SECONDS`. So a replica that is cut off says so, idle or not, and comes back by itself.
//!
//! A database that is only busy still answers now and then, which counts: taking a busy replica away from the balancer
//! would send its load to the others.

use std::time::{Duration, Instant};

use actix_web::web::Data;
use futures_util::future::LocalBoxFuture;

use crate::app::App;
use crate::error::{Error, Result};
use crate::jobs::{Outcome, Pulse};

/// How often it asks, and how long it waits before it looks at what is known; a question may take longer.
const EVERY: Duration = Duration::from_secs(1);
/// What a statement may take beyond its timeout until its refusal is here.
const MARGIN: Duration = Duration::from_secs(1);

/// The pool, as `/health/readiness` names it.
pub const POOL: &str = "database";
/// The connection of validation rounds, likewise.
pub const ROUNDS: &str = "cache validation";

/// One way to the database.
struct Way {
    component: &'static str,
    reason: String,
    ask: fn(&App) -> LocalBoxFuture<'static, Result<()>>,
    age: fn(&App) -> Duration,
    /// A question that has not been answered: there is never a second one beside it.
    asking: Option<LocalBoxFuture<'static, Result<()>>>,
    /// Why the last question failed.
    failed: Option<Failure>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// There is no connection.
    Away,
    /// No answer yet, or no place in the queue.
    Late,
}

/// Asks from when the service has started, as long as the process lives.
pub async fn keep_asking(app: Data<App>, pulse: Pulse) -> Outcome {
    while !app.life.is_started() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = app.config.readiness_after_seconds;
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
                        // While it is bypassed there are no rounds, for a reason that readiness names already.
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
    async fn look(&mut self, app: &App, began: Instant) {
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
        let Some(failure) = self.failed else { return app.life.recovered(self.component) };
        // Silence from before it asked proves nothing.
        let silent = (self.age)(app).min(began.elapsed());
        if silent >= patience(app, self.component, failure) {
            app.life.impair(self.component, self.reason.clone());
        }
    }
}

/// How long silence may last. Every connection may be busy with a statement up to its timeout, without being away.
fn patience(app: &App, component: &str, failure: Failure) -> Duration {
    let after = Duration::from_secs(app.config.readiness_after_seconds);
    match failure {
        Failure::Late if component == POOL => {
            after.max(Duration::from_millis(app.config.statement_timeout_ms) + MARGIN)
        }
        _ => after,
    }
}

fn is_busy(error: &Error) -> bool {
    matches!(error, Error::Unavailable { code: "busy", .. })
}
