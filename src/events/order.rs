//! Gives committed changes their numbers, and forgets what is old.

use std::time::Duration;

use actix_web::web::Data;
use futures_util::future::LocalBoxFuture;

use super::kinds;
use crate::app::App;
use crate::db::{Statement, Tx, Value};
use crate::error::Result;
use crate::jobs::{Duty, Pace};

/// Changes that are ordered in one transaction: a fraction of a second's work, so that it ends well within the statement
/// timeout and what came first is soon seen. Fewer where each is a delivery to several webhooks: as many deliveries.
const MOST_ORDERED: i64 = 5_000;
/// While changes keep coming they are gathered for so long, so that ordering costs a hundred transactions a second at most,
/// whoever does it, and so do those that look and find nothing to do.
const GATHERING: Duration = Duration::from_millis(10);
/// Events that are forgotten in one transaction.
const MOST_FORGOTTEN: i64 = 5_000;

pub static ORDERING: Duty =
    Duty { name: "events", rest: Duration::from_millis(200), woken_by: Some(|app| app.db.committed()), run: order };

pub static FORGETTING: Duty = Duty { name: "old events", rest: Duration::from_secs(60), woken_by: None, run: forget };

fn order(app: Data<App>) -> LocalBoxFuture<'static, Result<Pace>> {
    Box::pin(async move {
        // Nothing waits; or else the most webhooks that one of those that wait has.
        let waits = Statement::new(format!(
            "SELECT max((SELECT count(*) FROM webhooks w WHERE w.business_id = q.business_id)) FROM (SELECT DISTINCT business_id \
             FROM (SELECT business_id FROM event_queue ORDER BY place LIMIT {MOST_ORDERED}) first) q"
        ));
        let waits = app.db.across().read("events_wait", move |conn| Ok(waits.row(conn)?)).await?;
        let Some(webhooks) = waits.and_then(|row| row.int(0)) else {
            tokio::time::sleep(GATHERING).await;
            return Ok(Pace::Rest);
        };
        let most = MOST_ORDERED / webhooks.max(1);
        let ordered = app.db.across().write("events_order", move |tx| some(tx, most)).await?;
        // None: somebody else does it.
        if ordered > 0 {
            app.bells.events.notify_one();
            app.bells.deliveries.notify_one();
        }
        if ordered >= most {
            return Ok(Pace::Again);
        }
        tokio::time::sleep(GATHERING).await;
        Ok(Pace::Rest)
    })
}

/// Orders up to `most` changes, and says how many.
pub fn some(tx: &mut Tx<'_>, most: i64) -> Result<i64> {
    let mut sql = Statement::new("SELECT rapport_order_events(");
    let row = sql
        .bind(Value::Int(Some(most)))
        .push("::integer, ")
        .bind(Value::Json(Some(kinds::sent())))
        .push(")")
        .row(tx)?;
    Ok(row.and_then(|row| row.int(0)).unwrap_or_default())
}

fn forget(app: Data<App>) -> LocalBoxFuture<'static, Result<Pace>> {
    Box::pin(async move {
        let days = app.config.events_days;
        let forgotten = app.db.across().write("events_forget", move |tx| {
            let mut sql = Statement::new(format!("SELECT rapport_trim_events(now() - interval '{days} days', "));
            let row = sql.bind(Value::Int(Some(MOST_FORGOTTEN))).push("::integer)").row(tx)?;
            Ok(row.and_then(|row| row.int(0)).unwrap_or_default())
        });
        Ok(if forgotten.await? > 0 { Pace::Again } else { Pace::Rest })
    })
}
