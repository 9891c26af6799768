//! The thread that sends the validation rounds, one at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::pace::Pace;
use super::queue::{PendingValidation, Reply, Shared, ValidationResult};
use super::session::Session;
use crate::base::error::BoxError;
use crate::base::supervisor::Pulse;
use crate::base::telemetry::metrics;
use crate::db::backend_id::is_of_another_backend;
use crate::db::{DatabaseGate, ReplyBatcher, connect, pooler};

/// Minimum time between attempts to connect. Rounds that are due before that fail at once.
const RECONNECT: Duration = Duration::from_millis(100);

/// Sends one round after the other on a connection of its own.
pub(super) struct RoundThread {
    shared: Arc<Shared>,
    url: String,
    guard: Arc<DatabaseGate>,
    timeout: Duration,
    session: Option<Session>,
    connected_at: Option<Instant>,
    generation: u64,
    pace: Pace,
}

impl RoundThread {
    /// Does not connect yet. `timeout` bounds each round.
    pub(super) fn new(shared: Arc<Shared>, url: &str, guard: Arc<DatabaseGate>, timeout: Duration) -> Self {
        Self {
            shared,
            url: url.to_owned(),
            guard,
            timeout,
            session: None,
            connected_at: None,
            generation: 0,
            pace: Pace::default(),
        }
    }

    /// Sends rounds until the service stops.
    pub(super) fn run(&mut self, pulse: &Pulse) {
        // After a panic the state of the session is unknown.
        self.session = None;
        while let Some(round) = self.shared.next_round() {
            if round.is_empty() {
                continue;
            }
            self.pace.sends(round.len());
            let began = Instant::now();
            // A broken connection says nothing about the versions: the round is tried once more on a new one.
            let asked = self.ask(&round).or_else(|_| self.ask(&round));
            #[cfg(feature = "mutants")]
            let round = self.late_comers(round);
            self.shared.rounds.fetch_add(1, Ordering::Relaxed);
            let took = began.elapsed();
            self.shared.micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
            metrics::validated(took);
            match asked {
                Ok(()) => self.succeeded(pulse),
                Err(error) => self.failed(&error, pulse),
            }
            ReplyBatcher::deliver(round.into_iter().map(|waiting| {
                let found = self.found(&waiting);
                (waiting.replies, (waiting.reply, found))
            }));
            self.pace.gather();
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

    /// Returns the last round's result for one reader; `None` when the round failed.
    fn found(&self, waiting: &PendingValidation) -> Reply {
        let (session, generation) = (self.session.as_ref()?, self.generation);
        let stamp = if waiting.since == generation { None } else { Some(session.stamp(&waiting.tags)?) };
        Some(ValidationResult { generation, stamp })
    }

    /// After the statement has run: a random delay, and with the mutant, readers that joined too late for this round.
    #[cfg(feature = "mutants")]
    fn late_comers(&self, mut round: Vec<PendingValidation>) -> Vec<PendingValidation> {
        use crate::base::mutants::{Mutant, is, stall};
        stall();
        if is(Mutant::JoinInFlight) {
            let mut queue = self.shared.queue.lock();
            let known = |waiting: &PendingValidation| self.found(waiting).is_some();
            let (late, other) = queue.waiting.drain(..).partition(|waiting| known(waiting));
            queue.waiting = other;
            round.extend::<Vec<PendingValidation>>(late);
        }
        round
    }

    fn ask(&mut self, round: &[PendingValidation]) -> Result<(), BoxError> {
        let asked = self.try_to_ask(round);
        if let Err(error) = &asked
            && (error.is::<pooler::PoolerSharesConnections>()
                || error.downcast_ref().is_some_and(is_of_another_backend))
        {
            self.guard.gate().close();
        }
        asked
    }

    fn try_to_ask(&mut self, round: &[PendingValidation]) -> Result<(), BoxError> {
        let session = self.session.take().filter(|_| !self.shared.reconnect.swap(false, Ordering::AcqRel));
        let session = session.filter(|session| session.gate_epoch == self.guard.gate().epoch());
        let mut session = match session {
            Some(session) => session,
            None => self.connect()?,
        };
        if session.ask(round, self.generation)? {
            self.generation += 1;
        }
        // Stored only on success: a session that failed is dropped.
        self.session = Some(session);
        Ok(())
    }

    fn connect(&mut self) -> Result<Session, BoxError> {
        if self.connected_at.is_some_and(|at| at.elapsed() < RECONNECT) {
            return Err("the connection was lost a moment ago".into());
        }
        self.connected_at = Some(Instant::now());
        let epoch = self.guard.gate().epoch();
        let conn = connect(&self.url)?;
        // The first connection goes to the database that startup has checked.
        if self.generation > 0 {
            self.guard.suspect();
        }
        pooler::check(&self.url)?;
        let session = Session::begin(conn, epoch, self.timeout)?;
        self.connected_at = None;
        Ok(session)
    }
}
