//! Lead processing: `POST /leads/{id}/processing` changes a lead, continues a conversation and records a decision, in
//! one transaction. `processing.rs` does it, `http.rs` has the route, `dto.rs` its body and response.

mod dto;
pub mod http;
mod processing;
