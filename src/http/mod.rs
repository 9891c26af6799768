//! The HTTP layer that all routes share.
//!
//! [`connections`] accepts requests, and [`middleware`] wraps the handling of each: [`request_id`], [`request_timeout`],
//! [`cors`], [`response_headers`], [`access_log`]. [`routing`] registers handlers ([`direct_routes`] finds the most frequent ones without actix's router), whose extractors are [`caller`],
//! [`payload`] and [`rate_limit`]; [`client_ip`] says whom an anonymous request counts for. [`idempotency`] makes writes
//! repeatable, [`file_store`] and [`file_writer`] keep files, [`file_upload`] receives them, [`precondition`] and [`response`] handle entity tags. [`openapi_responses`] has what all operations
//! document, [`problem_schema`] what errors look like, [`openapi_problems`] which an operation returns. [`settings`] is
//! what the operator configures.

pub mod access_log;
pub mod args;
pub mod cache_control;
pub mod caller;
pub mod client_ip;
pub mod connections;
pub mod cors;
pub mod direct_routes;
pub mod file_store;
pub mod file_upload;
pub mod file_writer;
pub mod idempotency;
pub mod middleware;
pub mod openapi_problems;
pub mod openapi_responses;
pub mod origin;
pub mod payload;
pub mod precondition;
pub mod problem_schema;
pub mod rate_limit;
pub mod request_id;
pub mod request_timeout;
pub mod response;
pub mod response_headers;
pub mod routing;
pub mod settings;
