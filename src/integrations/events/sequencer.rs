//! The event sequencer: numbers committed changes, and purges old events.

use std::time::Duration;

use actix_web::web::Data;
use futures_util::future::LocalBoxFuture;

use super::event_types;
use crate::app::state::AppState;
use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::db::{SqlValue, Statement, Tx};

/// Changes numbered in one transaction: a fraction of a second's work, so that it ends well within the statement
/// timeout and early changes become visible soon. Divided by the number of webhooks, since each change is a delivery to
/// each of them.
const MAX_SEQUENCED: i64 = 5_000;
/// Pause after each poll, unless there is more to do: changes gather, and polling and numbering cost a process at most
/// a hundred transactions a second each.
const GATHERING: Duration = Duration::from_millis(10);
/// Events purged in one transaction.
const MAX_PURGED: i64 = 5_000;

pub static SEQUENCER: BackgroundTask = BackgroundTask {
    name: "events",
    idle_pause: Duration::from_millis(200),
    waker: Some(|app| app.db.committed()),
    run: sequence,
};

pub static PURGE: BackgroundTask =
    BackgroundTask { name: "old events", idle_pause: Duration::from_secs(60), waker: None, run: purge };

fn sequence(app: Data<AppState>) -> LocalBoxFuture<'static, Result<TaskOutcome>> {
    Box::pin(async move {
        // NULL when the outbox is empty; otherwise the largest number of webhooks that a business in it has.
        let waits = Statement::new(format!(
            "SELECT max((SELECT count(*) FROM webhooks w WHERE w.business_id = q.business_id)) FROM (SELECT DISTINCT business_id \
             FROM (SELECT business_id FROM event_outbox ORDER BY place LIMIT {MAX_SEQUENCED}) first) q"
        ));
        let waits = app.db.unscoped().read("events_wait", move |conn| Ok(waits.row(conn)?)).await?;
        let Some(webhooks) = waits.and_then(|row| row.int(0)) else {
            tokio::time::sleep(GATHERING).await;
            return Ok(TaskOutcome::Rest);
        };
        let most = MAX_SEQUENCED / webhooks.max(1);
        let ordered = app.db.unscoped().write("events_order", move |tx| some(tx, most)).await?;
        // Zero when another process holds the lock.
        if ordered > 0 {
            app.wakers.events.notify_one();
            app.wakers.deliveries.notify_one();
        }
        if ordered >= most {
            return Ok(TaskOutcome::Again);
        }
        tokio::time::sleep(GATHERING).await;
        Ok(TaskOutcome::Rest)
    })
}

/// Numbers up to `most` changes. Returns how many.
pub fn some(tx: &mut Tx<'_>, most: i64) -> Result<i64> {
    let mut sql = Statement::new("SELECT rapport_sequence_events(");
    let row = sql
        .bind(SqlValue::Int(Some(most)))
        .push("::integer, ")
        .bind(SqlValue::Json(Some(event_types::sent())))
        .push(")")
        .row(tx)?;
    Ok(row.and_then(|row| row.int(0)).unwrap_or_default())
}

fn purge(app: Data<AppState>) -> LocalBoxFuture<'static, Result<TaskOutcome>> {
    Box::pin(async move {
        let days = app.config.events.events_retention_days;
        let forgotten = app.db.unscoped().write("events_forget", move |tx| {
            let mut sql = Statement::new(format!("SELECT rapport_purge_events(now() - interval '{days} days', "));
            let row = sql.bind(SqlValue::Int(Some(MAX_PURGED))).push("::integer)").row(tx)?;
            Ok(row.and_then(|row| row.int(0)).unwrap_or_default())
        });
        Ok(if forgotten.await? > 0 { TaskOutcome::Again } else { TaskOutcome::Rest })
    })
}
