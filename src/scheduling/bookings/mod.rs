//! Bookings: who comes when, for what service, to which member of staff. Bookings of one member of staff do not
//! overlap.
//!
//! `resource.rs` has the definition, `booking_rules.rs` what holds for a booking, `overlap.rs` finds times that are
//! taken, `staff_lock.rs` serializes the bookings of one member of staff, `time_slot.rs` and `stored_booking.rs` are what
//! these share, `service_terms.rs` has what follows from a service, `booking_code.rs` makes codes, `booking_days.rs` corrects the days of stored bookings. `state.rs` cancels, confirms,
//! moves and ends bookings, `http.rs` and `dto.rs` are the operations.

mod booking_code;
mod booking_days;
mod booking_rules;
mod dto;
pub mod http;
mod overlap;
mod resource;
mod service_terms;
mod staff_lock;
mod state;
mod stored_booking;
mod time_slot;

pub use self::booking_days::task as booking_days_task;
pub use self::booking_rules::restore;
pub use self::resource::{BOOKINGS, REMINDER};
