//! What members do with the conversations of a shared inbox: assign, snooze, close and label them, note how far each has read, and see how many
//! there are. `http.rs` has the routes that change a conversation and `state.rs` changes it; `labels_http.rs` and `labeling.rs` label it, `reading_http.rs`
//! and `reading.rs` note what was read;
//! `counts.rs` counts for the tabs, `counts_http.rs` has its route; `dto.rs` has bodies and responses.

pub mod counts;
pub mod counts_http;
mod dto;
pub mod http;
pub(super) mod labeling;
pub mod labels_http;
mod reading;
pub mod reading_http;
mod state;
