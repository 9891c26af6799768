//! One binary for all integration tests: against real servers, through HTTP, each test with a database of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test's threads and connections are its own")]

mod support;

mod audit;
mod backup;
mod bad_input;
mod batch;
mod bookings;
mod bulk;
mod cache;
mod catalogue;
mod catalogue_check;
mod configuration;
mod contract;
mod conversations;
mod cors;
mod database_outage;
mod derived;
mod document;
mod duplicates;
mod embedded;
mod events;
mod export;
mod history;
mod idempotency;
mod import;
mod import_files;
mod import_links;
mod import_round_trip;
mod imports;
mod isolation;
mod jobs;
mod leads;
mod life;
mod limits;
mod lists;
mod locked;
mod mail;
mod merges;
mod metrics;
mod migrations;
mod model;
mod nouns;
mod oidc;
mod operations;
mod overload;
mod people;
mod plans;
mod pooler;
mod privacy;
mod queries;
mod schema;
mod secrets;
mod sign_in;
mod slow_clients;
mod statements;
mod supervisor;
#[cfg(feature = "tls")]
mod tls;
mod tokens;
mod transactions;
mod values;
mod visibility;
#[cfg(feature = "mutants")]
mod walls;
mod webhooks;
