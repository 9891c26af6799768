//! The thread that sends the validation rounds, one at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::node::Node;
use super::pace::Pace;
use super::queue::{LatestRound, Shared};
use super::round::Round;
use crate::base::error::BoxError;
use crate::base::supervisor::Pulse;
use crate::base::telemetry::metrics;
use crate::db::{DatabaseGate, ReplyBatcher};

/// Sends one round after the other to the database nodes.
pub(super) struct RoundThread {
    shared: Arc<Shared>,
    nodes: Vec<Node>,
    guard: Arc<DatabaseGate>,
    /// Of the last round that was tried.
    number: u64,
    pace: Pace,
}

impl RoundThread {
    pub(super) fn new(shared: Arc<Shared>, nodes: Vec<Node>, guard: Arc<DatabaseGate>) -> Self {
        Self { shared, nodes, guard, number: 0, pace: Pace::default() }
    }

    /// Sends rounds until the service stops.
    pub(super) fn run(&mut self, pulse: &Pulse) {
        // After a panic the state of the sessions is unknown.
        self.nodes.iter_mut().for_each(Node::disconnect);
        while let Some(round) = self.shared.next_round(self.pace.gathering()) {
            if round.is_empty() {
                continue;
            }
            self.pace.sends(round.len());
            let (began, commits) = (Instant::now(), self.guard.commits());
            // A broken connection says nothing about the versions: the round is tried once more on a new one.
            let asked = self.ask().or_else(|_| self.ask());
            #[cfg(feature = "mutants")]
            let round = self.late_comers(round);
            self.shared.rounds.fetch_add(1, Ordering::Relaxed);
            let took = began.elapsed();
            self.shared.micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
            metrics::validated(took);
            let found = match asked {
                Ok(found) => {
                    *self.shared.latest.lock() = Some(LatestRound { sent: began, commits, round: found.clone() });
                    self.succeeded(pulse);
                    Some(found)
                }
                Err(error) => {
                    self.failed(&error, pulse);
                    None
                }
            };
            ReplyBatcher::deliver(round.into_iter().map(|waiting| (waiting.replies, (waiting.reply, found.clone()))));
        }
    }

    fn succeeded(&self, pulse: &Pulse) {
        self.shared.answered.note();
        if let Some(over) = self.shared.failures.recovered() {
            let seconds = over.lasted.as_secs();
            tracing::info!(seconds, suppressed = over.suppressed, "validation rounds succeed again");
        }
        pulse.succeeded();
    }

    fn failed(&self, error: &BoxError, pulse: &Pulse) {
        pulse.failed(error.to_string());
        self.shared.failed.fetch_add(1, Ordering::Relaxed);
        if let Some(suppressed) = self.shared.failures.failed() {
            tracing::error!(%error, suppressed, "a validation round failed; this is logged once a minute");
        }
    }

    /// After the statement has run: a random delay, and with the mutant, readers that joined too late for this round.
    #[cfg(feature = "mutants")]
    fn late_comers(&self, mut round: Vec<super::queue::PendingValidation>) -> Vec<super::queue::PendingValidation> {
        use crate::base::mutants::{Mutant, is, stall};
        stall();
        if is(Mutant::JoinInFlight) {
            round.append(&mut self.shared.queue.lock().waiting);
        }
        round
    }

    /// Asks each node, one after the other. Where one fails, the round does: what the others found stays recorded.
    fn ask(&mut self) -> Result<Arc<Round>, BoxError> {
        if self.shared.reconnect.swap(false, Ordering::AcqRel) {
            self.nodes.iter_mut().for_each(Node::disconnect);
        }
        self.number += 1;
        let nodes: Result<_, _> = self.nodes.iter_mut().map(|node| node.ask(self.number)).collect();
        Ok(Arc::new(Round { number: self.number, nodes: nodes? }))
    }
}
