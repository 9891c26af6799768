//! Analyzes tables soon after they have filled. Autovacuum does too, usually a minute later; until then the planner
//! expects empty tables. The API's queries work without statistics (`resource/select.rs`), and faster with them.

use std::time::Duration;

use diesel::connection::SimpleConnection;

use super::task::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::db::{Db, Statement};

/// Tables that have changed ten times as many rows as their statistics count, and that this role may analyze: others
/// are left to autovacuum. An empty table is left without statistics, which is better than statistics of an empty
/// table: the planner then expects some pages.
const OUTGROWN: &str = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid \
     WHERE c.relkind = 'r' AND s.n_live_tup > 0 AND s.n_mod_since_analyze > 10 * greatest(c.reltuples, 50) \
     AND pg_has_role(c.relowner, 'USAGE') \
     AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'businesses'::regclass)";

/// The task that analyzes the tables that have outgrown their statistics.
pub fn task(db: Db) -> BackgroundTask {
    BackgroundTask::new("planner statistics", Duration::from_secs(5), move || analyze(db.clone()))
}

async fn analyze(db: Db) -> Result<TaskOutcome> {
    let outgrown =
        db.unscoped().read("outgrown_tables", |conn| Ok(Statement::new(OUTGROWN).scalars::<String>(conn)?)).await?;
    for table in outgrown {
        // Skipped where another process is doing it. PostgreSQL has quoted the name.
        let sql = format!("ANALYZE (SKIP_LOCKED) {table}");
        db.unscoped().read("analyze", move |conn| Ok(conn.batch_execute(&sql)?)).await?;
        tracing::debug!(table, "has new statistics");
    }
    Ok(TaskOutcome::Rest)
}
