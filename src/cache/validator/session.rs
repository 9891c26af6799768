//! The connection of the validation rounds.

use std::time::Duration;

use diesel::PgConnection;
use diesel::connection::SimpleConnection;

use super::changes::{Seen, changes_since, database_identity};
use crate::base::error::BoxError;
use crate::cache::snapshot::Snapshot;

/// A connection, and which database it leads to.
pub(super) struct Session {
    conn: PgConnection,
    /// The pooler gate's epoch when the connection was made.
    pub(super) gate_epoch: u64,
    identity: u64,
}

impl Session {
    /// Prepares `conn` for rounds, each bounded by `timeout`, and identifies its database.
    pub(super) fn begin(mut conn: PgConnection, gate_epoch: u64, timeout: Duration) -> Result<Self, BoxError> {
        conn.batch_execute(&format!(
            "SET statement_timeout = {0}; SET lock_timeout = {0}; SET jit = off; SET application_name = 'rapport rounds';
             SET enable_seqscan = off; SET enable_bitmapscan = off; SET max_parallel_workers_per_gather = 0;
             SET plan_cache_mode = force_generic_plan;",
            timeout.as_millis()
        ))?;
        let identity = database_identity(&mut conn)?;
        Ok(Self { conn, gate_epoch, identity })
    }

    /// Asks what has changed since the snapshot `since`, and returns it with the database's epoch.
    pub(super) fn ask(&mut self, since: Option<&Snapshot>) -> Result<(u64, Seen), BoxError> {
        let seen = changes_since(&mut self.conn, since)?;
        let (id, log) = seen.epoch;
        let seed = xxhash_rust::xxh3::xxh3_64_with_seed(&log.to_le_bytes(), self.identity);
        Ok((xxhash_rust::xxh3::xxh3_64_with_seed(id.as_bytes(), seed), seen))
    }
}
