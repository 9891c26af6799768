//! One binary for all integration tests: through HTTP against real servers, each test with its own database.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test's threads and connections are its own")]

mod support;

mod architecture;
mod audit;
mod backup;
mod bad_input;
mod batch;
mod bookings;
mod bulk;
mod cache;
mod cache_consistency;
mod cache_dependencies;
mod cache_model;
mod cache_nodes;
mod catalogue;
mod catalogue_check;
mod channels;
mod configuration;
mod contract;
mod conversation_context;
mod conversation_counters;
mod conversations;
mod cors;
mod crm;
mod dashboards;
mod database_outage;
mod document;
mod duplicates;
mod embedded;
mod error_codes;
mod events;
mod export;
mod http_middleware;
mod idempotency;
mod import_api;
mod import_cli;
mod import_files;
mod import_links;
mod import_round_trip;
mod inbox;
mod isolation;
mod jobs;
mod lifecycle;
mod limits;
mod lists;
mod locked;
mod mail;
mod merges;
mod metrics;
mod migrations;
mod oidc;
mod overload;
mod pooler;
mod privacy;
mod queries;
mod query_plans;
mod resources;
#[cfg(feature = "mutants")]
mod row_level_security;
mod schema;
mod secrets;
mod seed;
mod sending;
mod sequencer;
mod sign_in;
mod slow_clients;
mod statements;
mod statistics;
mod statistics_consistency;
mod statistics_members;
mod statistics_peers;
mod supervisor;
#[cfg(feature = "tls")]
mod tls;
mod tokens;
mod transactions;
mod users;
mod values;
mod visibility;
mod webhooks;
mod whatsapp;
mod worker_tasks;
mod write_path;
