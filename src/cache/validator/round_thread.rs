//! The thread that sends the validation rounds, one at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::changes::{Change, Seen};
use super::pace::Pace;
use super::queue::Shared;
use super::round::Round;
use super::session::Session;
use crate::base::error::BoxError;
use crate::base::supervisor::Pulse;
use crate::base::telemetry::metrics;
use crate::cache::last_changes::LastChanges;
use crate::cache::tags::CacheTag;
use crate::db::backend_id::is_of_another_backend;
use crate::db::{DatabaseGate, ReplyBatcher, connect, pooler};

/// Minimum time between attempts to connect. Rounds that are due before that fail at once.
const RECONNECT: Duration = Duration::from_millis(100);

/// Sends one round after the other on a connection of its own.
pub(super) struct RoundThread {
    shared: Arc<Shared>,
    changes: Arc<LastChanges>,
    url: String,
    guard: Arc<DatabaseGate>,
    timeout: Duration,
    session: Option<Session>,
    connected_at: Option<Instant>,
    /// The last round that succeeded, on whichever connection.
    last: Option<Arc<Round>>,
    /// How many rounds have succeeded.
    numbered: u64,
    pace: Pace,
}

impl RoundThread {
    /// Does not connect yet. `timeout` bounds each round.
    pub(super) fn new(
        shared: Arc<Shared>,
        changes: Arc<LastChanges>,
        url: &str,
        guard: Arc<DatabaseGate>,
        timeout: Duration,
    ) -> Self {
        Self {
            shared,
            changes,
            url: url.to_owned(),
            guard,
            timeout,
            session: None,
            connected_at: None,
            last: None,
            numbered: 0,
            pace: Pace::default(),
        }
    }

    /// Sends rounds until the service stops.
    pub(super) fn run(&mut self, pulse: &Pulse) {
        // After a panic the state of the session is unknown.
        self.session = None;
        while let Some(round) = self.shared.next_round(self.pace.gathering()) {
            if round.is_empty() {
                continue;
            }
            self.pace.sends(round.len());
            let began = Instant::now();
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
                    *self.shared.latest.lock() = Some((began, found.clone()));
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

    fn ask(&mut self) -> Result<Arc<Round>, BoxError> {
        let asked = self.try_to_ask();
        if let Err(error) = &asked
            && (error.is::<pooler::PoolerSharesConnections>()
                || error.downcast_ref().is_some_and(is_of_another_backend))
        {
            self.guard.gate().close();
        }
        asked
    }

    fn try_to_ask(&mut self) -> Result<Arc<Round>, BoxError> {
        let session = self.session.take().filter(|_| !self.shared.reconnect.swap(false, Ordering::AcqRel));
        let session = session.filter(|session| session.gate_epoch == self.guard.gate().epoch());
        let mut session = match session {
            Some(session) => session,
            None => self.connect()?,
        };
        let (mut epoch, mut seen) = session.ask(self.last.as_ref().map(|last| &last.snapshot))?;
        if self.last.as_ref().is_some_and(|last| last.epoch != epoch) {
            // Another history: what is known of the one before says nothing.
            self.last = None;
            (epoch, seen) = session.ask(None)?;
        }
        // Stored only on success: a session that failed is dropped.
        self.session = Some(session);
        let round = Arc::new(self.record(epoch, seen));
        self.last = Some(round.clone());
        Ok(round)
    }

    /// Records the changes that a round found, before its readers get their reply.
    fn record(&mut self, epoch: u64, seen: Seen) -> Round {
        let Seen { snapshot, mark, changes, is_partial, .. } = seen;
        self.numbered += 1;
        let number = self.numbered;
        // A change of all businesses has no tag of its own.
        let is_of_all =
            |change: &Change| change.touched.is_none() && change.business.is_nil() && change.table != "users";
        let is_of_all = is_partial || changes.iter().any(is_of_all);
        let misses_some = |last: &Arc<Round>| mark.as_ref().is_some_and(|mark| !last.snapshot.includes(mark));
        let known_since = match &self.last {
            Some(last) if !is_of_all && !misses_some(last) => last.known_since.clone(),
            // Or changes since the last round were removed from the log before this one could read them.
            Some(_) => {
                self.changes.forget_before(number);
                Arc::new(snapshot.clone())
            }
            None => {
                self.changes.clear(number);
                Arc::new(if is_of_all { snapshot.clone() } else { mark.unwrap_or_default() })
            }
        };
        changes.iter().for_each(|change| self.record_change(change, number));
        Round { number, epoch, snapshot, known_since }
    }

    fn record_change(&self, change: &Change, number: u64) {
        let Change { xid, is_several, business, table, touched } = change;
        let record = |tag| self.changes.record(tag, number, *xid, *is_several);
        match touched {
            Some(ids) => ids.iter().for_each(|id| record(CacheTag::row(*business, table, *id))),
            None => record(CacheTag::whole(*business, table)),
        }
        record(CacheTag::table(*business, table));
    }

    fn connect(&mut self) -> Result<Session, BoxError> {
        if self.connected_at.is_some_and(|at| at.elapsed() < RECONNECT) {
            return Err("the connection was lost a moment ago".into());
        }
        self.connected_at = Some(Instant::now());
        let epoch = self.guard.gate().epoch();
        let conn = connect(&self.url)?;
        // The first connection goes to the database that startup has checked.
        if self.last.is_some() {
            self.guard.suspect();
        }
        pooler::check(&self.url)?;
        let session = Session::begin(conn, epoch, self.timeout)?;
        self.connected_at = None;
        Ok(session)
    }
}
