//! The event sequencer: numbers committed changes.

use std::rc::Rc;
use std::time::Duration;

use super::event_types::EventRegistry;
use crate::background::{BackgroundTask, TaskOutcome, Waker};
use crate::base::error::Result;
use crate::db::{Db, Statement, Tx};

/// Changes numbered in one transaction: a fraction of a second's work, so that it ends well within the statement
/// timeout and early changes become visible soon. Divided by the number of webhooks, since each change is a delivery to
/// each of them.
const MAX_SEQUENCED: i64 = 5_000;
/// Pause after each poll, unless there is more to do: changes gather, and polling and numbering cost a process at most
/// a hundred transactions a second each.
const GATHERING: Duration = Duration::from_millis(10);

/// The task that numbers committed changes; afterwards it wakes those who follow new events.
pub fn task(db: Db, registry: EventRegistry, followers: Vec<Waker>) -> BackgroundTask {
    let committed = Waker::from(db.committed());
    let sequencer = Rc::new(Sequencer { db, registry, followers });
    let run = move || {
        let sequencer = sequencer.clone();
        async move { sequencer.run().await }
    };
    BackgroundTask::new("events", Duration::from_millis(200), run).woken_by(committed)
}

struct Sequencer {
    db: Db,
    registry: EventRegistry,
    followers: Vec<Waker>,
}

impl Sequencer {
    async fn run(&self) -> Result<TaskOutcome> {
        // NULL when the outbox is empty; otherwise the largest number of webhooks that a business in it has.
        let mut waiting = Statement::new(
            "SELECT max((SELECT count(*) FROM webhooks w WHERE w.business_id = q.business_id)) FROM (SELECT DISTINCT business_id \
             FROM (SELECT business_id FROM event_outbox ORDER BY place LIMIT ",
        );
        waiting.number(MAX_SEQUENCED).sql(") first) q");
        let db = self.db.unscoped();
        let waiting = db.read("events_wait", move |conn| Ok(waiting.scalar::<Option<i64>>(conn)?)).await?;
        let Some(webhooks) = waiting.flatten() else {
            tokio::time::sleep(GATHERING).await;
            return Ok(TaskOutcome::Rest);
        };
        let (most, registry) = (MAX_SEQUENCED / webhooks.max(1), self.registry);
        let sequenced = self.db.unscoped().write("events_sequence", move |tx| sequence(tx, registry, most)).await?;
        // Zero when another process holds the lock.
        if sequenced > 0 {
            self.followers.iter().for_each(Waker::wake);
        }
        if sequenced >= most {
            return Ok(TaskOutcome::Again);
        }
        tokio::time::sleep(GATHERING).await;
        Ok(TaskOutcome::Rest)
    }
}

/// Numbers up to `most` changes. Returns how many.
fn sequence(tx: &mut Tx<'_>, registry: EventRegistry, most: i64) -> Result<i64> {
    let mut sql = Statement::new("SELECT rapport_sequence_events(");
    sql.bind(most).sql("::integer, ").bind(registry.sent()).sql(")");
    Ok(sql.scalar::<i32>(tx)?.unwrap_or_default().into())
}
