//! Purges old jobs, and counts those that have not ended.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::BigInt;

use super::job_type::JobType;
use super::task::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::base::telemetry::metrics;
use crate::db::schema::jobs;
use crate::db::{Db, Statement};

/// Maximum number of jobs purged in one transaction.
const MAX_PURGED: u32 = 500;
const STATES: [&str; 2] = ["queued", "running"];

/// How many unfinished jobs of a type are in a state.
#[derive(QueryableByName)]
#[diesel(table_name = jobs)]
struct UnfinishedJobs {
    kind: String,
    state: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// The task that runs [`purge`].
pub fn task(db: Db, retention_days: u32, job_types: &'static [&'static JobType]) -> BackgroundTask {
    BackgroundTask::new("old jobs", Duration::from_secs(30), move || purge(db.clone(), retention_days, job_types))
}

/// Deletes jobs that ended more than `retention_days` ago, and counts unfinished ones of `job_types` for `/metrics`.
/// Across all businesses.
pub async fn purge(db: Db, retention_days: u32, job_types: &'static [&'static JobType]) -> Result<TaskOutcome> {
    let (purged, counts) = db
        .unscoped()
        .write("purge_jobs", move |tx| {
            let mut old = Statement::new(
                "DELETE FROM jobs WHERE (business_id, id) IN (SELECT business_id, id FROM jobs WHERE finished_at < now() - ",
            );
            old.bind(retention_days).sql(" * interval '1 day' ORDER BY finished_at LIMIT ");
            let purged = old.number(MAX_PURGED).sql(" FOR UPDATE SKIP LOCKED)").run(tx)?;
            let counts = Statement::new(
                "SELECT r.kind, j.state, count(*) FROM job_runs r JOIN jobs j ON j.business_id = r.business_id AND j.id = r.id \
                 GROUP BY r.kind, j.state",
            );
            Ok((purged, counts.load::<UnfinishedJobs>(tx)?))
        })
        .await?;
    for (kind, state) in job_types.iter().flat_map(|job_type| STATES.map(|state| (job_type.name, state))) {
        let same = counts.iter().find(|jobs| jobs.kind == kind && jobs.state == state);
        metrics::jobs(kind, state, same.map_or(0, |jobs| jobs.count));
    }
    Ok(if purged == MAX_PURGED as usize { TaskOutcome::Again } else { TaskOutcome::Rest })
}
