//! Rows from elsewhere, through the validation of the API: `rapport import` ([`cli`]), and `POST /imports`, whose files are kept
//! in the database ([`file`]) and imported by a job ([`run`]) that can be taken back ([`reversion`]).
//!
//! A file is read as a stream ([`csv_reader`], [`rows`]), its columns find their fields by a mapping or by their names
//! ([`mapping`]), and it is written in chunks with a fixed number of statements each ([`writer`]). A refused row is reported with every
//! fault; the others arrive all the same. A second import finds its rows again and changes only what differs, so the same
//! file twice changes nothing.

mod bodies;
pub mod cli;
mod csv_reader;
mod csv_split;
pub mod describe;
mod diff;
mod errors;
mod file;
mod header;
pub mod http;
mod json_members;
mod mapping;
mod matching;
mod notes;
mod noun;
mod record;
mod report;
pub mod reversion;
mod rows;
pub mod run;
mod set;
pub mod tidy;
mod writer;

pub use self::noun::{IMPORTED, IMPORTS};
