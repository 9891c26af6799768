//! What the operations of every noun work with.

use std::time::Duration;

use super::coalesce::Coalescer;
use crate::config::Config;
use crate::db::Db;

pub struct Engine {
    pub db: Db,
    pub coalescer: Coalescer,
    /// Deepest nesting of a JSON body.
    pub body_depth: usize,
}

impl Engine {
    pub fn new(db: Db, config: &Config) -> Self {
        let wait = Duration::from_millis(config.db_wait_ms);
        // Single reads wait for a round, not for a connection each, so more of them may.
        let coalescer = Coalescer::new(db.clone(), wait, config.db_queue * 4);
        Self { db, coalescer, body_depth: config.body_depth }
    }
}
