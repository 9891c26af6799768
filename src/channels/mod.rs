//! Conversations with customers and the channels that they run through. `secrets/` keeps the secrets of channels, `directory`
//! finds a channel by what names it from outside, `whatsapp/` speaks with WhatsApp, `inbound/` applies what it delivers, and `sending/` hands messages to it.
//! `receipts/` show customers that their messages are read and answered.
//! `costs/` knows what messages cost, by the rates of `message_rates.rs`. `inbox/` is what members do with conversations, `conversation_context/` what they look at. The resources `channels.rs`, `conversations.rs`, `messages.rs`, `labels.rs`, `templates.rs`,
//! `read_positions.rs` and `canned_responses.rs`, and the processing of
//! leads (`lead_processing/`), which writes conversations and messages. `worker_tasks/` are tasks for programs, such as
//! answering a customer.

pub mod args;
pub mod attachments;
pub mod canned_responses;
pub mod channels;
pub mod conversation_context;
pub mod conversations;
pub mod costs;
pub mod directory;
pub mod inbound;
pub mod inbound_updates;
pub mod inbox;
pub mod labels;
pub mod lead_processing;
mod limits;
pub mod media;
pub mod message_rates;
pub mod message_reactions;
pub mod messages;
pub mod read_positions;
pub mod receipts;
pub mod secrets;
pub mod sending;
pub mod templates;
pub mod unsaid;
pub mod whatsapp;
pub mod worker_tasks;
