//! Every duty on one page: what a process does beside requests.

use actix_web::web::Data;

use crate::app::App;
use crate::jobs::Duty;

static DUTIES: [Duty; 0] = [];

/// Takes them all up, on this thread.
pub fn take_up(app: &Data<App>) {
    DUTIES.iter().for_each(|duty| drop(actix_web::rt::spawn(duty.keep(app.clone()))));
}
