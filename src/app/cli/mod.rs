//! The command line of the binary: `args` has the commands and options, `run` runs one of them; the others are one command
//! each, and `demo` the access to the demo business.

mod api_key;
mod args;
mod demo;
mod health;
mod migrate;
mod run;
mod seed;
mod serve;
mod statistics;
mod user;

pub use self::run::run;
