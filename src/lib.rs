//! Rapport, a CRM back end: the rooms of the house, from the top floor down. A file uses its own room and those below it,
//! which `tests/it/architecture.rs` holds. docs/ARCHITECTURE.md is the tour.
//!
//! ```text
//! app            the binary's work: command line, server, routes, the registry of all resources, configuration
//! monitoring     health probes, checks of the database, endpoints for operators
//! analytics      statistics, and the sums that they are read from
//! integrations   events, webhooks, imports, bulk operations, and the jobs that these start
//! channels       conversations and their messages
//! scheduling     services, staff, bookings, reminders
//! crm            companies, contacts, leads and the work on them; merges, duplicates, privacy
//! identity       businesses, users, memberships, API keys, signing in
//! resource       what a resource is: one definition gives list queries, SQL, JSON, validation, HTTP and OpenAPI
//! http           extractors, middleware, responses, idempotency keys, rate limits
//! background     background tasks and jobs
//! auth           credentials, roles, tenants
//! cache          cache tags, validation rounds, the local tier, the Redis tier, single-flight
//! db             pool, transactions, statements, row-level security, migrations, the embedded server
//! base           errors, telemetry, supervision, e-mail, egress, and what else needs no other room
//! ```

pub mod analytics;
pub mod app;
pub mod auth;
pub mod background;
pub mod base;
pub mod cache;
pub mod channels;
pub mod crm;
pub mod db;
pub mod http;
pub mod identity;
pub mod integrations;
pub mod monitoring;
pub mod resource;
pub mod scheduling;
