//! Every background task and every job type of a process, on one page.

use std::time::Duration;

use actix_web::web::Data;

use crate::app::state::AppState;
use crate::background::{self, BackgroundTask, JobType, Task};
use crate::http::idempotency;
use crate::integrations::bulk;
use crate::integrations::events::sequencer;
use crate::integrations::import::cleanup;
use crate::integrations::import::job::IMPORT;
use crate::integrations::import::revert::REVERT;
use crate::integrations::webhooks::dispatcher;
use crate::scheduling::reminders;

/// All job types.
static JOB_TYPES: [&JobType; 3] = [&bulk::BULK, &IMPORT, &REVERT];

static TASKS: [&BackgroundTask; 10] = [
    &sequencer::SEQUENCER,
    &sequencer::PURGE,
    &dispatcher::DISPATCHER,
    &dispatcher::PURGE,
    &BackgroundTask { name: "answers", idle_pause: Duration::from_secs(600), waker: None, run: idempotency::purge },
    &BackgroundTask {
        name: "jobs",
        idle_pause: Duration::from_secs(1),
        waker: Some(|app| &app.wakers.jobs),
        run: |app| Box::pin(background::work(app, &JOB_TYPES)),
    },
    &BackgroundTask {
        name: "tidy jobs",
        idle_pause: Duration::from_secs(30),
        waker: None,
        run: |app| Box::pin(background::purge(app, &JOB_TYPES)),
    },
    &BackgroundTask {
        name: "tidy imports",
        idle_pause: Duration::from_secs(60),
        waker: None,
        run: |app| Box::pin(cleanup::cleanup(app)),
    },
    &BackgroundTask {
        name: "statistics",
        idle_pause: Duration::from_secs(5),
        waker: None,
        run: |app| Box::pin(background::analyze_tables::renew(app)),
    },
    &BackgroundTask {
        name: "reminders",
        idle_pause: Duration::from_secs(10),
        waker: None,
        run: |app| Box::pin(reminders::remind(app)),
    },
];

/// Spawns all background tasks on this thread.
pub fn spawn_all(app: &Data<AppState>) {
    for duty in TASKS {
        let app_of_duty = app.clone();
        app.supervisor.spawn(Task::named(duty.name), move |pulse| duty.run_until_drained(app_of_duty.clone(), pulse));
    }
}
