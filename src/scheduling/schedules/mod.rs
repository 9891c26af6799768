//! When members of staff work: the hours of a week, in their own time zone.
//!
//! `clock` reads times of a day, `weekly_hours` the hours of a week from a body, both without the database. `store` replaces and reads
//! them, `dto` and `http` are the operations `/staff/{id}/schedule`.

mod clock;
mod dto;
pub mod http;
mod store;
mod weekly_hours;

pub use self::clock::TimeSpan;
