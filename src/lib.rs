//! Rapport: a CRM back end. This page is the map of the house.
//!
//! ```text
//! main, cli              what can be asked of the binary
//! server, routes, duties the service's life; every path on one page, and all that is done beside requests
//! openapi, ops/          the document; probes, and what operators see of the cache
//! bulk/                  many rows changed by what they are like, as jobs
//! seed/                  data to try things with
//! webhooks/              events that are sent to others
//! events/                what happened, in order, page by page or as it comes
//! resources                  every resource of the API
//! import/                rows from elsewhere: files that are tried, imported and taken back
//! crm/, identity/        the resources: customers and their business; people and API keys
//! resource/                  what a resource is: one description gives grammar, SQL, JSON, validation, operations, document
//! http/                  callers, bodies, replies, what every request passes
//! jobs/                  what is done beside requests
//! app                    what every request shares
//! auth/                  verified keys, roles, the tenant
//! limits/                how often one may ask
//! outbound/              requests to addresses that others have chosen
//! mail                   letters to people, off the path of requests
//! cache/                 versions, validation rounds, the local tier, the Redis tier, single-flight
//! db/                    reads and writes, transactions, migrations, the embedded server
//! error/, ops/, config   one error shape; metrics and logs; configuration
//! hint                   what was probably meant by an unknown name
//! context                what a request carries with it
//! ```
//!
//! Arrows point down this list. docs/ARCHITECTURE.md follows one read and one write through it.

pub mod auth;
pub mod background;
pub mod background_tasks;
pub mod bulk;
pub mod cache;
pub mod cli;
pub mod config;
pub mod crm;
pub mod db;
pub mod egress;
pub mod email;
pub mod error;
pub mod events;
pub mod http;
pub mod identity;
pub mod import;
pub mod openapi;
pub mod ops;
pub mod rate_limit;
pub mod registry;
pub mod request_context;
pub mod resource;
pub mod routes;
pub mod schema;
pub mod seed;
pub mod server;
pub mod state;
pub mod suggest;
pub mod webhooks;
