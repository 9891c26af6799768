//! Claims that wait for a task. They hold neither a connection nor a thread: one reader in each process looks for all of them, a few
//! times a second, so that they see tasks of every process, also such as become due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use super::claims::superseded;
use crate::background::{Lifecycle, LogLimiter, Outcome, Pulse};
use crate::base::error::{Error, Result};
use crate::db::{Db, Statement};

/// Pause between looks: a task waits for half of it on average.
const PERIOD: Duration = Duration::from_millis(200);
/// How much longer than a look the pause is at least, so that looking takes at most a twentieth of a connection.
const PAUSE_FACTOR: u32 = 20;
/// The longest pause.
const MAX_PERIOD: Duration = Duration::from_millis(800);
/// Claims that wait in one process: each holds a connection of a client, and a few kilobytes.
const MAX_WAITING: usize = 2_000;
/// Claims of one business that wait in one process: more workers than that claim several tasks at once.
const MAX_WAITING_PER_BUSINESS: usize = 200;

/// The claims that wait in this process.
pub struct ClaimWaiters {
    db: Db,
    state: Mutex<State>,
    /// Notified when the first claim begins to wait.
    begun: Notify,
}

#[derive(Default)]
struct State {
    /// By number, so those that have waited longest come first.
    waiting: BTreeMap<u64, Waiter>,
    next: u64,
    /// Set when the process drains: claims wait no more.
    closed: bool,
}

struct Waiter {
    business: Uuid,
    kinds: Vec<String>,
    woken: Arc<Notify>,
}

/// A claim that waits, until it is dropped.
pub struct Waiting {
    waiters: Arc<ClaimWaiters>,
    number: u64,
    woken: Arc<Notify>,
}

/// How many tasks of a kind can be claimed.
#[derive(QueryableByName)]
struct Due {
    #[diesel(sql_type = SqlUuid)]
    business_id: Uuid,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = BigInt)]
    tasks: i64,
}

impl ClaimWaiters {
    pub fn new(db: Db) -> Self {
        Self { db, state: Mutex::default(), begun: Notify::new() }
    }

    /// Registers a claim. Errors: 429 when the business has too many that wait, 503 when the process has.
    pub fn wait(self: &Arc<Self>, business: Uuid, kinds: Vec<String>) -> Result<Waiting> {
        let mut state = self.state.lock();
        if state.waiting.len() >= MAX_WAITING {
            let detail = format!("{MAX_WAITING} claims wait already, which is all that this process keeps.");
            return Err(Error::Unavailable { code: "claims_full", detail, after: 5 });
        }
        if state.waiting.values().filter(|waiter| waiter.business == business).count() >= MAX_WAITING_PER_BUSINESS {
            let detail = format!(
                "{MAX_WAITING_PER_BUSINESS} claims of the business wait already. Claim several tasks at once with `limit`."
            );
            return Err(Error::TooMany { code: "too_many_claims", detail, after: 5 });
        }
        let (number, woken) = (state.next, Arc::new(Notify::new()));
        state.next += 1;
        if state.closed {
            woken.notify_one();
        }
        state.waiting.insert(number, Waiter { business, kinds, woken: woken.clone() });
        drop(state);
        self.begun.notify_one();
        Ok(Waiting { waiters: self.clone(), number, woken })
    }

    /// Looks for tasks until the process drains, then ends all waiting.
    pub async fn run(self: Arc<Self>, lifecycle: Arc<Lifecycle>, pulse: Pulse) -> Outcome {
        let failures = LogLimiter::new();
        while !lifecycle.is_draining() {
            let began = Instant::now();
            match self.look().await {
                Ok(()) => {
                    pulse.succeeded();
                    failures.recovered();
                }
                Err(error) => {
                    pulse.failed(error.to_string());
                    if let Some(suppressed) = failures.failed_with(&error) {
                        tracing::warn!(%error, suppressed, "tasks for waiting claims could not be looked for");
                    }
                }
            }
            tokio::time::sleep((began.elapsed() * PAUSE_FACTOR).clamp(PERIOD, MAX_PERIOD)).await;
            if self.state.lock().waiting.is_empty() {
                let _ = tokio::time::timeout(MAX_PERIOD, self.begun.notified()).await;
            }
        }
        let mut state = self.state.lock();
        state.closed = true;
        state.waiting.values().for_each(|waiter| waiter.woken.notify_one());
        Ok(())
    }

    /// Wakes as many claims as there are tasks for them. Queries: one, or none where no claim waits.
    async fn look(&self) -> Result<()> {
        let wanted: BTreeSet<(Uuid, String)> = {
            let state = self.state.lock();
            let kinds =
                |waiter: &Waiter| waiter.kinds.clone().into_iter().map(|kind| (waiter.business, kind)).collect();
            state.waiting.values().flat_map::<Vec<_>, _>(kinds).collect()
        };
        if wanted.is_empty() {
            return Ok(());
        }
        let sql = statement(wanted);
        let due = self.db.unscoped().read("worker_tasks_due", move |conn| Ok(sql.load::<Due>(conn)?)).await?;
        let state = self.state.lock();
        for Due { business_id, kind, tasks } in due {
            let concerned =
                state.waiting.values().filter(|waiter| waiter.business == business_id && waiter.kinds.contains(&kind));
            concerned.take(usize::try_from(tasks).unwrap_or_default()).for_each(|waiter| waiter.woken.notify_one());
        }
        Ok(())
    }
}

/// Counts the tasks of each kind that can be claimed, as far as there may be claims for them.
pub fn statement(wanted: BTreeSet<(Uuid, String)>) -> Statement {
    let (businesses, kinds): (Vec<Uuid>, Vec<String>) = wanted.into_iter().unzip();
    let mut sql = Statement::new("SELECT k.business_id, k.kind, d.tasks FROM unnest(");
    sql.bind(businesses).sql(", ").bind(kinds).sql(
        ") k (business_id, kind) CROSS JOIN LATERAL (SELECT count(*) AS tasks FROM (\
         (SELECT FROM worker_tasks t WHERE t.business_id = k.business_id AND t.status = 'open' AND t.kind = k.kind AND t.run_at <= now() LIMIT ",
    );
    sql.number(MAX_WAITING_PER_BUSINESS as u32).sql(
        ") UNION ALL (SELECT FROM worker_tasks t WHERE t.business_id = k.business_id AND t.status = 'claimed' AND t.kind = k.kind \
         AND t.lease_until <= now() AND t.attempts < t.max_attempts AND NOT ",
    );
    sql.append(superseded()).sql(" LIMIT ");
    sql.number(MAX_WAITING_PER_BUSINESS as u32).sql(")) found) d WHERE d.tasks > 0");
    sql
}

impl Waiting {
    /// Completes when there may be a task, or none will be waited for any more; at `end` at the latest. Returns whether to wait on
    /// where another worker was faster.
    pub async fn woken(&self, end: Instant) -> bool {
        let woken = tokio::time::timeout_at(end.into(), self.woken.notified()).await;
        woken.is_ok() && !self.waiters.state.lock().closed
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waiters.state.lock().waiting.remove(&self.number);
    }
}
