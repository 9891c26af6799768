//! Import of CSV and NDJSON files through the API's validation: by the command `rapport import` ([`cli`]), and over HTTP
//! ([`http`]), where files are stored in the database ([`file_store`]), imported by a job ([`job`]) and can be reverted
//! ([`revert`]).
//!
//! A file is read as a stream ([`csv_reader`], [`row_parser`]), its columns map to fields by a mapping or by their
//! names ([`mapping`]), and its rows are written in chunks with a fixed number of statements each ([`writer`]). A
//! refused row is reported with every validation error; the others are imported. A repeated import finds its rows again
//! and changes only what differs, so importing a file twice changes nothing.

pub mod args;
pub mod cleanup;
pub mod cli;
mod cli_report;
mod csv_header;
mod csv_reader;
mod csv_split;
mod diff;
mod error_report;
mod file_store;
pub mod http;
pub mod job;
mod json_members;
mod mapping;
mod matching;
mod notes;
pub mod openapi;
mod resource;
pub mod revert;
mod row_mapper;
mod row_parser;
mod row_results;
mod set;
mod settings;
mod writer;

pub use self::resource::{IMPORTED, IMPORTS, WRITES};
pub use self::settings::ImportSettings;
