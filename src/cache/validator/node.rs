//! A database node: what a round asks of it, and records of its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::changes::{Change, Seen};
use super::round::NodeRound;
use super::session::Session;
use crate::base::error::BoxError;
use crate::cache::last_changes::LastChanges;
use crate::cache::tags::CacheTag;
use crate::db::backend_id::is_of_another_backend;
use crate::db::{DatabaseGate, connect, pooler};

/// Minimum time between attempts to connect. Rounds that are due before that fail at once.
const RECONNECT: Duration = Duration::from_millis(100);

/// A node, on a connection of its own.
pub(super) struct Node {
    url: String,
    changes: Arc<LastChanges>,
    guard: Arc<DatabaseGate>,
    /// Bounds each round.
    timeout: Duration,
    session: Option<Session>,
    connected_at: Option<Instant>,
    /// What the last round found that succeeded here, on whichever connection.
    last: Option<NodeRound>,
}

impl Node {
    /// Does not connect yet.
    pub(super) fn new(url: String, changes: Arc<LastChanges>, guard: Arc<DatabaseGate>, timeout: Duration) -> Self {
        Self { url, changes, guard, timeout, session: None, connected_at: None, last: None }
    }

    /// Drops the connection.
    pub(super) fn disconnect(&mut self) {
        self.session = None;
    }

    /// Asks what has changed since the last round, and records it as found in the round `number`.
    pub(super) fn ask(&mut self, number: u64) -> Result<NodeRound, BoxError> {
        let asked = self.try_to_ask(number);
        if let Err(error) = &asked
            && (error.is::<pooler::PoolerSharesConnections>()
                || error.downcast_ref().is_some_and(is_of_another_backend))
        {
            self.guard.gate().close();
        }
        asked
    }

    fn try_to_ask(&mut self, number: u64) -> Result<NodeRound, BoxError> {
        let session = self.session.take().filter(|session| session.gate_epoch == self.guard.gate().epoch());
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
        let found = self.record(number, epoch, seen);
        self.last = Some(found.clone());
        Ok(found)
    }

    /// Records the changes that a round found, before its readers get their reply.
    fn record(&self, number: u64, epoch: u64, seen: Seen) -> NodeRound {
        let Seen { snapshot, mark, changes, is_partial, .. } = seen;
        // A change of all businesses has no tag of its own.
        let is_of_all =
            |change: &Change| change.touched.is_none() && change.business.is_nil() && change.table != "users";
        let is_of_all = is_partial || changes.iter().any(is_of_all);
        let misses_some = |last: &NodeRound| mark.as_ref().is_some_and(|mark| !last.snapshot.includes(mark));
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
        NodeRound { epoch, snapshot, known_since }
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
