//! Conversations with customers, and their messages.

pub mod conversations;
pub mod messages;
