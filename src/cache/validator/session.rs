//! The connection of the validation rounds, and the versions that hold while nothing is committed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use diesel::PgConnection;
use diesel::connection::SimpleConnection;

use super::queue::PendingValidation;
use super::versions::{SnapshotId, database_identity, versions};
use crate::base::error::BoxError;
use crate::cache::tags::{CacheTag, VersionStamp};

/// Versions remembered under one snapshot; beyond that, all are dropped.
const MAX_KNOWN_VERSIONS: usize = 100_000;

/// A connection, and the result of its last round.
pub(super) struct Session {
    conn: PgConnection,
    /// The pooler gate's epoch when the connection was made.
    pub(super) gate_epoch: u64,
    identity: u64,
    snapshot_id: SnapshotId,
    known: HashMap<CacheTag, i64, xxhash_rust::xxh3::Xxh3DefaultBuilder>,
    /// Whether the last round saw the same snapshot as the one before; then the next probably does, too.
    quiet: bool,
}

impl Session {
    /// Prepares `conn` for rounds, each bounded by `timeout`, and identifies its database.
    pub(super) fn begin(mut conn: PgConnection, gate_epoch: u64, timeout: Duration) -> Result<Self, BoxError> {
        conn.batch_execute(&format!(
            "SET statement_timeout = {0}; SET lock_timeout = {0}; SET jit = off; SET application_name = 'rapport rounds';
             SET enable_seqscan = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan;",
            timeout.as_millis()
        ))?;
        let identity = database_identity(&mut conn)?;
        Ok(Self {
            conn,
            gate_epoch,
            identity,
            snapshot_id: SnapshotId::default(),
            known: HashMap::default(),
            quiet: false,
        })
    }

    /// Reads the versions that `round` needs; `generation` is that of the last round. Returns whether anything was
    /// committed since.
    pub(super) fn ask(&mut self, round: &[PendingValidation], generation: u64) -> Result<bool, BoxError> {
        if self.known.len() > MAX_KNOWN_VERSIONS {
            self.known.clear();
        }
        if self.quiet {
            let changed = round.iter().filter(|waiting| waiting.since != generation);
            let unknown = changed.flat_map(|waiting| waiting.tags.iter()).filter(|s| !self.known.contains_key(s));
            let unknown = deduplicate(unknown);
            let (snapshot, versions) = versions(&mut self.conn, &unknown)?;
            if self.is_unchanged(&snapshot) {
                self.known.extend(unknown.into_iter().zip(versions));
                return Ok(false);
            }
        }
        let all = deduplicate(round.iter().flat_map(|waiting| waiting.tags.iter()));
        let (snapshot, versions) = versions(&mut self.conn, &all)?;
        self.quiet = self.is_unchanged(&snapshot);
        if !self.quiet {
            self.snapshot_id = snapshot;
            self.known.clear();
        }
        self.known.extend(all.into_iter().zip(versions));
        Ok(!self.quiet)
    }

    /// Whether nothing was committed between the last known snapshot and `snapshot`.
    fn is_unchanged(&self, snapshot: &SnapshotId) -> bool {
        #[cfg(feature = "mutants")]
        if crate::base::mutants::is(crate::base::mutants::Mutant::KnownForever) {
            return self.snapshot_id.epoch == snapshot.epoch;
        }
        *snapshot == self.snapshot_id
    }

    pub(super) fn stamp(&self, tags: &[CacheTag]) -> Option<VersionStamp> {
        let epoch = xxhash_rust::xxh3::xxh3_64_with_seed(self.snapshot_id.epoch.as_bytes(), self.identity);
        let versions: Option<_> = tags.iter().map(|tag| self.known.get(tag).copied()).collect();
        Some(VersionStamp { epoch, versions: versions? })
    }
}

fn deduplicate<'s>(tags: impl Iterator<Item = &'s CacheTag>) -> Vec<CacheTag> {
    let mut seen = HashSet::<CacheTag, xxhash_rust::xxh3::Xxh3DefaultBuilder>::default();
    tags.filter(|tag| seen.insert(**tag)).copied().collect()
}
