//! How far the fold is behind. Every process looks, so that it is known where no process folds: statistics are right all the same, and
//! become slower.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Double};
use metrics::{describe_gauge, gauge};
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::db::{Db, Statement};

const CHANGES: &str = "rapport_statistics_deltas";
const AGE: &str = "rapport_statistics_delta_age_seconds";
const PERIOD: Duration = Duration::from_secs(10);
/// The age, in seconds, at which no process can be folding any more: the fold pauses for less than one.
const BEHIND: f64 = 60.0;

/// What of the statistics is not folded yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema, QueryableByName)]
#[schema(examples(json!({ "deltas": 12, "oldest_seconds": 0.3 })))]
pub struct StatisticsBacklog {
    /// Changes that are not folded; 100000 at most are counted.
    #[diesel(sql_type = BigInt)]
    pub deltas: i64,
    /// The age of the oldest of them; more than a minute: no process folds, or it fails.
    #[diesel(sql_type = Double)]
    pub oldest_seconds: f64,
}

static LAST: Mutex<Option<StatisticsBacklog>> = Mutex::new(None);

/// Returns what the last look of this process found; `None` before the first.
pub fn backlog() -> Option<StatisticsBacklog> {
    *LAST.lock()
}

/// The task that looks, and warns.
pub fn task(db: Db) -> BackgroundTask {
    describe_gauge!(CHANGES, "Changes that are not folded into the statistics yet");
    describe_gauge!(AGE, "Age of the oldest change that is not folded into the statistics yet");
    BackgroundTask::new("statistics age", PERIOD, move || look(db.clone()))
}

async fn look(db: Db) -> Result<TaskOutcome> {
    let found =
        db.unscoped().read("statistics_age", |conn| Ok(Statement::new(SQL).first::<StatisticsBacklog>(conn)?)).await?;
    let found = found.unwrap_or_default();
    gauge!(CHANGES).set(found.deltas as f64);
    gauge!(AGE).set(found.oldest_seconds);
    let was_behind = LAST.lock().replace(found).is_some_and(|last| last.oldest_seconds > BEHIND);
    if found.oldest_seconds > BEHIND && !was_behind {
        let (deltas, seconds) = (found.deltas, found.oldest_seconds.round());
        tracing::warn!(
            deltas,
            seconds,
            "statistics are not folded: does a process run background tasks, and what does it log?"
        );
    }
    Ok(TaskOutcome::Rest)
}

const SQL: &str = "SELECT count(*) AS deltas, coalesce(extract(epoch FROM clock_timestamp() - min(added_at)), 0)::double precision \
     AS oldest_seconds FROM (SELECT added_at FROM stat_deltas LIMIT 100000) d";
