//! [`Validator`]: what readers call. They join the next round that has not been sent.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use super::node::Node;
use super::queue::{PendingValidation, Reply, Shared};
use super::round::Round;
use super::round_thread::RoundThread;
use crate::base::error::{Error, Result};
use crate::base::supervisor::{Supervisor, Task};
use crate::cache::last_changes::{ChangesOfNodes, LastChanges};
use crate::db::{DatabaseGate, ReplyBatcher, pooler};

/// Name of the thread that sends rounds, as a background task: without it no response can come from the cache.
const VALIDATOR: &str = "validator";
/// Readers that may wait for the next round; others get 503.
const MAX_WAITING: usize = 20_000;

thread_local! {
    static REPLIES: RefCell<Option<ReplyBatcher<Reply>>> = const { RefCell::new(None) };
}

/// Number and duration of validation rounds.
#[derive(Clone, Copy, Debug, serde::Serialize, utoipa::ToSchema)]
#[schema(as = ValidationRounds)]
pub struct ValidatorStats {
    pub rounds: u64,
    pub failed: u64,
    /// Mean time from sending to response, in milliseconds.
    pub mean_ms: f64,
}

/// Finds out what has changed: readers join its next round.
pub struct Validator {
    shared: Arc<Shared>,
    changes: ChangesOfNodes,
    deadline: Duration,
    guard: Arc<DatabaseGate>,
}

impl Drop for Validator {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

impl Validator {
    /// Starts the thread, which connects when the first reader joins. `nodes` are the URLs of all database nodes that have rows:
    /// each logs its own changes. `deadline` bounds a reader's wait. `guard` is notified of each new connection. Errors: 500 without a node, or
    /// when the thread cannot be started.
    pub fn start(
        nodes: &[String],
        deadline: Duration,
        supervisor: &Supervisor,
        guard: Arc<DatabaseGate>,
    ) -> Result<Self> {
        if nodes.is_empty() {
            return Err(Error::Internal("the cache has no database to ask".into()));
        }
        let shared = Arc::new(Shared::default());
        let changes: Vec<Arc<LastChanges>> = nodes.iter().map(|_| Arc::default()).collect();
        let node = |(url, changes): (&String, &Arc<LastChanges>)| {
            Node::new(url.clone(), changes.clone(), guard.clone(), deadline)
        };
        let mut thread =
            RoundThread::new(shared.clone(), nodes.iter().zip(&changes).map(node).collect(), guard.clone());
        supervisor.spawn_thread(Task::required(VALIDATOR), "rounds", move |pulse| {
            thread.run(pulse);
            Ok(())
        })?;
        Ok(Self { shared, changes: ChangesOfNodes(changes), deadline, guard })
    }

    /// Returns the next round, whose statement is sent after this call began. What it has found is in
    /// [`Validator::changes`] by then. Errors: 503 when the round fails or is late, too many readers wait, or the database
    /// is behind a pooler that shares connections.
    pub async fn round(&self) -> Result<Arc<Round>> {
        self.guard.gate().pass()?;
        let (reply, replied) = oneshot::channel();
        let replies = REPLIES.with(ReplyBatcher::open);
        let is_due = {
            let mut queue = self.shared.queue.lock();
            if queue.waiting.len() >= MAX_WAITING {
                return Err(Error::busy());
            }
            queue.waiting.push(PendingValidation { reply, replies });
            queue.waiting.len() == queue.wanted
        };
        if is_due {
            self.shared.wake.notify_one();
        }
        match tokio::time::timeout(self.deadline, replied).await {
            Ok(Ok(Some(found))) => Ok(found),
            _ if self.guard.gate().is_closed() => Err(pooler::PoolerSharesConnections::refusal()),
            _ => Err(Error::Unavailable {
                code: "validation_unavailable",
                detail: "The database could not be asked whether the answer is still good. Try again shortly.".into(),
                after: 1,
            }),
        }
    }

    /// Returns the last round, if it was sent within `age`, and how long ago that was.
    pub fn recent_round(&self, age: Duration) -> Option<(Arc<Round>, Duration)> {
        let latest = self.shared.latest.lock();
        let latest = latest.as_ref()?;
        let ago = latest.sent.elapsed();
        (ago <= age).then(|| (latest.round.clone(), ago))
    }

    /// Returns the last round as the base of a computation that begins now: if it was sent within `age`, and this process has
    /// committed nothing since. Changes after it that the computation sees would still outdate what it computes.
    pub fn recent_base(&self, age: Duration) -> Option<Arc<Round>> {
        let latest = self.shared.latest.lock();
        let latest = latest.as_ref()?;
        (latest.sent.elapsed() <= age && latest.commits == self.guard.commits()).then(|| latest.round.clone())
    }

    /// What the rounds have found so far.
    pub fn changes(&self) -> &ChangesOfNodes {
        &self.changes
    }

    /// Returns the time since the database last answered a round.
    pub fn last_answer(&self) -> Duration {
        self.shared.answered.age()
    }

    /// Has the next round reconnect and identify the database again.
    pub fn reconnect(&self) {
        self.shared.reconnect.store(true, Ordering::Release);
        *self.shared.latest.lock() = None;
    }

    pub fn counts(&self) -> ValidatorStats {
        let rounds = self.shared.rounds.load(Ordering::Relaxed);
        let micros = self.shared.micros.load(Ordering::Relaxed);
        ValidatorStats {
            rounds,
            failed: self.shared.failed.load(Ordering::Relaxed),
            mean_ms: micros as f64 / 1000.0 / rounds.max(1) as f64,
        }
    }
}
