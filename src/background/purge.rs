//! Purges old jobs, and counts those that have not ended.

use actix_web::web::Data;

use super::TaskOutcome;
use super::job_type::JobType;
use crate::app::state::AppState;
use crate::base::error::Result;
use crate::base::telemetry::metrics;
use crate::db::{SqlValue, Statement};

/// Maximum number of jobs purged in one transaction.
const MAX_PURGED: usize = 500;
const STATES: [&str; 2] = ["queued", "running"];

/// Deletes jobs past their retention, and counts unfinished ones for `/metrics`. Across all businesses.
pub async fn purge(app: Data<AppState>, kinds: &'static [&'static JobType]) -> Result<TaskOutcome> {
    let days = app.config.background.jobs_retention_days;
    let (cleared, counts) = app
        .db
        .unscoped()
        .write("job_tidy", move |tx| {
            let mut old = Statement::new(
                "DELETE FROM jobs WHERE (business_id, id) IN (SELECT business_id, id FROM jobs WHERE finished_at < now() - ",
            );
            old.bind(SqlValue::Int(Some(days.into()))).push(" * interval '1 day' ORDER BY finished_at ");
            let cleared = old.push(&format!("LIMIT {MAX_PURGED} FOR UPDATE SKIP LOCKED)")).run(tx)?;
            let counts = Statement::new(
                "SELECT r.kind, j.state, count(*) FROM job_runs r JOIN jobs j ON j.business_id = r.business_id AND j.id = r.id \
                 GROUP BY r.kind, j.state",
            );
            Ok((cleared, counts.rows(tx)?))
        })
        .await?;
    for (kind, state) in kinds.iter().flat_map(|kind| STATES.map(|state| (kind.name, state))) {
        let same = counts.iter().find(|row| row.text(0) == Some(kind) && row.text(1) == Some(state));
        metrics::jobs(kind, state, same.and_then(|row| row.int(2)).unwrap_or_default());
    }
    Ok(if cleared == MAX_PURGED { TaskOutcome::Again } else { TaskOutcome::Rest })
}
