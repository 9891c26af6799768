//! [`Round`]: what a validation round found out.

use std::sync::Arc;

use crate::cache::snapshot::Snapshot;

/// A successful validation round: its readers see whatever was committed before it, and what they compute after it is at least
/// as new.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// Greater than that of every round before it in this process; 0 is before all.
    pub number: u64,
    /// What each database node answered.
    pub nodes: Box<[NodeRound]>,
}

/// What a round found out on one database node.
#[derive(Clone, Debug, Default)]
pub struct NodeRound {
    /// Identifies the database and its epoch: snapshots of different epochs cannot be compared.
    pub epoch: u64,
    pub snapshot: Snapshot,
    /// All changes that this snapshot did not see are known to the process.
    pub known_since: Arc<Snapshot>,
}
