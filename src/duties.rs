//! Every duty, and every kind of job, on one page: what a process does beside requests.

use std::time::Duration;

use actix_web::web::Data;

use crate::app::App;
use crate::bulk;
use crate::crm::reminders;
use crate::events::order;
use crate::http::once;
use crate::import::reversion::REVERSION;
use crate::import::run::IMPORT;
use crate::import::tidy;
use crate::jobs::{self, Duty, Kind, Task};
use crate::webhooks::sending;

/// What jobs there are.
static KINDS: [&Kind; 3] = [&bulk::BULK, &IMPORT, &REVERSION];

static DUTIES: [&Duty; 10] = [
    &order::ORDERING,
    &order::FORGETTING,
    &sending::SENDING,
    &sending::FORGETTING,
    &Duty { name: "answers", rest: Duration::from_secs(600), woken_by: None, run: once::clear },
    &Duty {
        name: "jobs",
        rest: Duration::from_secs(1),
        woken_by: Some(|app| &app.bells.jobs),
        run: |app| Box::pin(jobs::work(app, &KINDS)),
    },
    &Duty {
        name: "tidy jobs",
        rest: Duration::from_secs(30),
        woken_by: None,
        run: |app| Box::pin(jobs::tidy(app, &KINDS)),
    },
    &Duty { name: "tidy imports", rest: Duration::from_secs(60), woken_by: None, run: |app| Box::pin(tidy::tidy(app)) },
    &Duty {
        name: "statistics",
        rest: Duration::from_secs(5),
        woken_by: None,
        run: |app| Box::pin(jobs::statistics::renew(app)),
    },
    &Duty {
        name: "reminders",
        rest: Duration::from_secs(10),
        woken_by: None,
        run: |app| Box::pin(reminders::remind(app)),
    },
];

/// Takes them all up, on this thread.
pub fn take_up(app: &Data<App>) {
    for duty in DUTIES {
        let app_of_duty = app.clone();
        app.supervisor.spawn(Task::named(duty.name), move |pulse| duty.keep(app_of_duty.clone(), pulse));
    }
}
