//! Conversations with customers and the channels that they run through. `secrets/` keeps the secrets of channels, `directory`
//! finds a channel by what names it from outside, `whatsapp/` speaks with WhatsApp, `inbound/` applies what it delivers, and `sending/` hands messages to it. The resources `channels.rs`, `conversations.rs` and `messages.rs`, and the processing of
//! leads (`lead_processing/`), which writes conversations and messages.

pub mod args;
pub mod channels;
pub mod conversations;
pub mod directory;
pub mod inbound;
pub mod inbound_updates;
pub mod lead_processing;
mod limits;
pub mod message_reactions;
pub mod messages;
pub mod secrets;
pub mod sending;
pub mod whatsapp;
