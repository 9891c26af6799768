//! Every duty on one page: what a process does beside requests.

use actix_web::web::Data;

use std::time::Duration;

use crate::app::App;
use crate::http::once;
use crate::jobs::Duty;

static DUTIES: [Duty; 1] = [Duty { name: "answers", rest: Duration::from_secs(600), woken_by: None, run: once::clear }];

/// Takes them all up, on this thread.
pub fn take_up(app: &Data<App>) {
    DUTIES.iter().for_each(|duty| drop(actix_web::rt::spawn(duty.keep(app.clone()))));
}
