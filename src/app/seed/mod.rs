//! Seed data: a demo business ([`demo()`]), and a large data set for benchmarks ([`scale()`]).
//!
//! Both are SQL, because the database itself makes a million rows fastest. Random-looking values are computed from row
//! numbers, so everything but the clock is the same at every run; all dates are relative to now.

mod demo;
mod local_time;
mod scale;

pub use self::demo::demo;
pub use self::scale::scale;
