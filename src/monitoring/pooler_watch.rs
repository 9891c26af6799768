//! Checks that the pool's connections have kept their backends; readiness fails while one shares its backend.

use std::sync::Arc;
use std::time::Duration;

use crate::background::{Lifecycle, Outcome, Pulse};
use crate::db::Db;

/// The component's name in `/health/readiness`.
const COMPONENT: &str = "pooler";
const PERIOD: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct PoolerWatch {
    pub db: Db,
    pub lifecycle: Arc<Lifecycle>,
}

impl PoolerWatch {
    /// Checks every second, and at once when new connections were opened or a statement met another backend: the
    /// address may now lead to another server than at start, or the pooler have another mode.
    pub async fn run(self, pulse: Pulse) -> Outcome {
        loop {
            let _ = tokio::time::timeout(PERIOD, self.db.guard().gate().due()).await;
            self.check().await;
            pulse.succeeded();
        }
    }

    pub async fn check(&self) {
        match self.db.check_pooler().await {
            Ok(()) => self.lifecycle.recovered(COMPONENT),
            Err(shared) => self.lifecycle.impair(COMPONENT, shared.to_string()),
        }
    }
}
