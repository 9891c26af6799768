//! The page that Prometheus scrapes: every component sets its metrics, then all are rendered.

use metrics::{describe_gauge, gauge};

use crate::base::telemetry;
use crate::cache::Cache;
use crate::db::Db;

const READY: &str = "rapport_ready";

/// Renders the page in Prometheus' text format (version 0.0.4); `ready`: whether readiness succeeds.
pub fn render(db: &Db, cache: Option<&Cache>, ready: bool) -> String {
    describe_gauge!(READY, "Whether readiness succeeds");
    gauge!(READY).set(f64::from(u8::from(ready)));
    db.publish_metrics();
    if let Some(cache) = cache {
        cache.publish_metrics();
    }
    telemetry::metrics::render()
}
