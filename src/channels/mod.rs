//! Conversations with customers, and their messages: the resources `conversations.rs` and `messages.rs`, and the
//! processing of leads (`lead_processing/`), which writes both.

pub mod conversations;
pub mod lead_processing;
pub mod messages;
