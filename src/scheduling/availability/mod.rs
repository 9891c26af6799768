//! When something can be booked: one function decides ([`fits`]), for what is offered and for what is booked.
//!
//! [`working_time`] turns local hours into instants, [`calendar`] is all that is known of one member of staff within a range, [`fits`] judges
//! one start, [`offers`] asks it about each start of the grid. They are pure: nothing here reads the database or the clock.

pub mod calendar;
pub mod fits;
pub mod http;
pub mod interval;
pub mod load;
pub mod offers;
pub mod parameters;
mod read;
pub mod working_time;
