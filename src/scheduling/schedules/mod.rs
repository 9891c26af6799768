//! When members of staff work, in their own time zone: the hours of a week, days with other hours, holidays.
//!
//! `clock` reads times of a day, `weekly_hours` the hours of a week from a body, both without the database. `store` replaces and reads
//! them, `dto` and `http` are the operations `/staff/{id}/schedule`. `overrides` and `holidays` are resources.

mod clock;
mod dto;
mod holidays;
pub mod http;
mod overrides;
mod store;
mod weekly_hours;

pub use self::clock::TimeSpan;
pub use self::holidays::HOLIDAYS;
pub use self::overrides::{SCHEDULE_OVERRIDES, spans_of};
