//! What who answers a conversation wants to know, in one request: `context.rs` computes it, `dto.rs` has the response, `http.rs` the route.

mod context;
mod dto;
pub mod http;
