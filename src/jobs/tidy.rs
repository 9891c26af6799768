//! What keeps the table of jobs small, and counts those that have not ended.

use actix_web::web::Data;

use super::Pace;
use super::kind::Kind;
use crate::app::App;
use crate::db::{Statement, Value};
use crate::error::Result;
use crate::ops::metrics;

/// Jobs that are cleared away in one transaction.
const MOST_CLEARED: usize = 500;
const STATES: [&str; 2] = ["queued", "running"];

/// Clears away jobs that ended long ago, and counts the others for `/metrics`. Across all businesses.
pub async fn tidy(app: Data<App>, kinds: &'static [&'static Kind]) -> Result<Pace> {
    let days = app.config.jobs_days;
    let (cleared, counts) = app
        .db
        .across()
        .write("job_tidy", move |tx| {
            let mut old = Statement::new(
                "DELETE FROM jobs WHERE (business_id, id) IN (SELECT business_id, id FROM jobs WHERE finished_at < now() - ",
            );
            old.bind(Value::Int(Some(days.into()))).push(" * interval '1 day' ORDER BY finished_at ");
            let cleared = old.push(&format!("LIMIT {MOST_CLEARED} FOR UPDATE SKIP LOCKED)")).run(tx)?;
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
    Ok(if cleared == MOST_CLEARED { Pace::Again } else { Pace::Rest })
}
