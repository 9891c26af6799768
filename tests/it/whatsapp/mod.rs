//! What WhatsApp delivers, through its webhook: real bodies, in any order, twice, at once, and what must come of each.

use crate::support::whatsapp::post;
use crate::support::{Service, until};

mod calls;
mod cases;
mod changed_names;
mod costs;
mod identity;
mod peers;
mod races;
mod templates;
mod webhook;
mod windows;

/// Delivers a body, and waits until it is applied: on a busy machine that takes longer than the acknowledgement waits.
fn deliver(service: &Service, body: &[u8]) {
    post(&service.stranger(), body).expect(200);
    until_applied(service);
}

/// Waits until what was acknowledged is applied.
fn until_applied(service: &Service) {
    until("it is applied", || {
        service.database.ask("SELECT count(*)::text FROM inbound_bodies WHERE state = 'new'") == "0"
    });
}
