//! Import of CSV and NDJSON files through the API's validation: by the command `rapport import` ([`cli`]), and over
//! HTTP, where a file is uploaded, imported by a job and can be reverted.
//!
//! A refused row is reported with every validation error; the others are imported. A repeated import finds its rows
//! again and changes only what differs, so importing a file twice changes nothing.
//!
//! | files | subject |
//! |---|---|
//! | `resource`, `stored_import`, `update` | the resource `imports`: its definition, an import as it is stored, its settings |
//! | `http`, `upload`, `upload_parameters`, `dto`, `openapi` | operations over HTTP |
//! | `file_store`, `cleanup` | uploaded files in the database, and their deletion |
//! | `csv_delimiter`, `csv_header`, `csv_split`, `csv_reader` | from the bytes of a CSV file to records |
//! | `column_target`, `guess_headers`, `mapping` | which field a column is: what is possible, guessed, given |
//! | `row_mapper`, `json_duplicates`, `row_parser`, `row`, `row_errors` | from a record to a validated row, or its errors |
//! | `match_keys`, `matching`, `linked_companies` | which existing row a row of the file is |
//! | `row_diff`, `writer` | what a row changes, and the writes of a chunk of rows |
//! | `start_job`, `job`, `chunk_reader`, `row_results`, `revert` | the jobs: import or dry run, and undo by the results of each row |
//! | `preview`, `preview_notes` | what a dry run shows |
//! | `report_format`, `error_report`, `cli_report` | the report of refused rows: its format, over HTTP, of the command |

pub mod args;
mod chunk_reader;
pub mod cleanup;
pub mod cli;
mod cli_report;
mod column_target;
mod csv_delimiter;
mod csv_header;
mod csv_reader;
mod csv_split;
mod dto;
mod error_report;
mod file_store;
mod guess_headers;
pub mod http;
pub mod job;
mod json_duplicates;
mod linked_companies;
mod mapping;
mod match_keys;
mod matching;
pub mod openapi;
mod preview;
mod preview_notes;
mod report_format;
mod resource;
pub mod revert;
mod row;
mod row_diff;
mod row_errors;
mod row_mapper;
mod row_parser;
mod row_results;
mod settings;
mod start_job;
mod stored_import;
mod update;
mod upload;
mod upload_parameters;
mod writer;

pub use self::resource::{IMPORTED, IMPORTS};
pub use self::settings::ImportSettings;
pub use self::update::WRITES;
