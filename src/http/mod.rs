//! The HTTP layer that all routes share: extractors, middleware, connections, idempotency, rate limits, responses.

pub mod access_log;
pub mod args;
pub mod caller;
pub mod client_ip;
pub mod connections;
pub mod cors;
pub mod idempotency;
pub mod middleware;
pub mod openapi_responses;
pub mod origin;
pub mod payload;
pub mod precondition;
pub mod rate_limit;
pub mod request_id;
pub mod request_timeout;
pub mod response;
pub mod response_headers;
pub mod routing;
pub mod settings;
