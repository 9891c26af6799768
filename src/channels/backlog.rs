//! What waits to be applied, sent and fetched, for `/metrics`.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Double, Text};

use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::base::telemetry::metrics;
use crate::db::{Db, Statement};

/// Rows that are looked at at most: more says no more.
const MAX_COUNTED: u32 = 100_000;

/// The task that counts, in every process that runs background tasks.
pub fn task(db: Db) -> BackgroundTask {
    BackgroundTask::new("channel backlog", Duration::from_secs(15), move || measure(db.clone()))
}

#[derive(QueryableByName)]
struct Backlog {
    #[diesel(sql_type = Text)]
    queue: String,
    #[diesel(sql_type = BigInt)]
    waiting: i64,
    #[diesel(sql_type = Double)]
    age: f64,
}

/// Counts what is due in the database as a whole, and how long the oldest of it has been. Queries: one.
pub async fn measure(db: Db) -> Result<TaskOutcome> {
    let queues = [
        ("inbound", "inbound_bodies WHERE state = 'new'"),
        ("outbound", "message_attempts WHERE state IN ('queued', 'sending') AND state || '' = 'queued'"),
        ("media", "media_fetches WHERE true"),
    ];
    let mut sql = Statement::default();
    for (place, (queue, rows)) in queues.into_iter().enumerate() {
        sql.sql(if place == 0 { "" } else { " UNION ALL " }).sql("SELECT ").bind(queue);
        sql.sql("::text AS queue, count(*) AS waiting, coalesce(greatest(extract(epoch FROM clock_timestamp() - min(due_at)), 0), 0)::float8 AS age FROM (SELECT due_at FROM ");
        sql.sql(rows).sql(" AND due_at <= now() LIMIT ").number(MAX_COUNTED).sql(") due");
    }
    let backlogs = db.unscoped().read("channel_backlog", move |conn| Ok(sql.load::<Backlog>(conn)?)).await?;
    for Backlog { queue, waiting, age } in backlogs {
        metrics::channel_backlog(queue, waiting, age);
    }
    Ok(TaskOutcome::Rest)
}
