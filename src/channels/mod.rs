//! Conversations with customers and the channels that they run through.
//!
//! | files | subject |
//! |---|---|
//! | `channels`, `secrets`, `directory` | channels, what proves who they are, and which one something from outside is for |
//! | `conversations`, `messages`, `message_reactions`, `attachments`, `labels`, `read_positions`, `canned_responses`, `unsaid` | the resources of the inbox |
//! | `whatsapp` | what WhatsApp says, and how it is spoken to |
//! | `inbound`, `inbound_updates` | applies what channels deliver |
//! | `sending`, `templates`, `receipts` | hands messages to channels, those that WhatsApp has approved, too, and shows customers that theirs are read |
//! | `media` | files: fetched, uploaded and sent |
//! | `channel_queue`, `backlog` | how processes share what is due by channel, and how much that is |
//! | `costs`, `message_rates` | what messages cost |
//! | `inbox`, `conversation_context` | what members do with conversations, and what they look at |
//! | `worker_tasks` | tasks for programs, such as answering a customer |
//! | `lead_processing` | a lead together with the message that it came from |

pub mod args;
pub mod attachments;
pub mod backlog;
pub mod canned_responses;
pub mod channel_queue;
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
