//! The sequencer: enters committed changes into the audit log and the events, and makes the deliveries of these to webhooks.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool};

use super::event_types::EventRegistry;
use crate::background::{BackgroundTask, TaskOutcome, Waker};
use crate::base::error::{Error, Result};
use crate::db::{Db, Statement, Tx};

/// Changes entered in one transaction: a fraction of a second's work, so that it ends well within the statement timeout and
/// early changes become visible soon.
const MAX_ENTERED: i64 = 5_000;
/// Deliveries to webhooks made in one transaction, likewise.
const MAX_DELIVERIES: i64 = 5_000;
/// Pause after each pass, unless there is more to do: changes gather, and passes cost a process at most a hundred transactions
/// a second.
const GATHERING: Duration = Duration::from_millis(10);
/// How much longer than the pass the pause is, so that passes take at most a thirtieth of a core, however slow the database is: a
/// pass costs about the same for one change as for twenty.
const PAUSE_FACTOR: u32 = 30;
/// The longest pause, which delays events.
const MAX_GATHERING: Duration = Duration::from_millis(200);

/// The task that enters committed changes; afterwards it wakes those who follow new events.
pub fn task(db: Db, registry: EventRegistry, followers: Vec<Waker>) -> BackgroundTask {
    let committed = Waker::from(db.committed());
    let sequencer = Rc::new(Sequencer { db, registry, followers, most: Cell::new(MAX_ENTERED) });
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
    /// Changes that the next pass enters: fewer after one that failed, as when it took too long.
    most: Cell<i64>,
}

/// What `rapport_sequence_changes` or `rapport_add_deliveries` has done.
#[derive(QueryableByName)]
struct Pass {
    #[diesel(sql_type = BigInt)]
    done: i64,
    #[diesel(sql_type = Bool)]
    has_more: bool,
}

impl Sequencer {
    async fn run(&self) -> Result<TaskOutcome> {
        let began = Instant::now();
        let rest = || tokio::time::sleep((began.elapsed() * PAUSE_FACTOR).clamp(GATHERING, MAX_GATHERING));
        let db = || self.db.unscoped();
        let is_behind = Statement::new("SELECT rapport_is_sequencer_behind()");
        if db().read("events_wait", move |conn| Ok(is_behind.scalar::<bool>(conn)?)).await? != Some(true) {
            rest().await;
            return Ok(TaskOutcome::Rest);
        }
        let most = self.most.get();
        self.most.set((most / 2).max(1));
        let entered = db().write("events_sequence", move |tx| enter(tx, most)).await?;
        self.most.set((most * 2).min(MAX_ENTERED));
        // The numbers of events need no lock of a business, their deliveries do: so these are another transaction.
        let registry = self.registry;
        let added = db().write("events_deliver", move |tx| add_deliveries(tx, registry)).await?;
        // Nothing is done while another process holds the lock.
        if entered.done > 0 || added.done > 0 {
            self.followers.iter().for_each(Waker::wake);
        }
        if entered.has_more || added.has_more {
            return Ok(TaskOutcome::Again);
        }
        rest().await;
        Ok(TaskOutcome::Rest)
    }
}

fn enter(tx: &mut Tx<'_>, most: i64) -> Result<Pass> {
    let mut sql = Statement::new("SELECT entered::bigint AS done, has_more FROM rapport_sequence_changes(");
    pass(tx, sql.bind(most).sql("::integer)"))
}

fn add_deliveries(tx: &mut Tx<'_>, registry: EventRegistry) -> Result<Pass> {
    let mut sql = Statement::new("SELECT events AS done, has_more FROM rapport_add_deliveries(");
    pass(tx, sql.number(MAX_DELIVERIES).sql(", ").bind(registry.sent()).sql(")"))
}

fn pass(tx: &mut Tx<'_>, sql: &Statement) -> Result<Pass> {
    sql.first::<Pass>(tx)?.ok_or_else(|| Error::Internal("a pass of the sequencer answered nothing".into()))
}
