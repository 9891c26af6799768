//! Sending. `http` takes a message (its `dto`, with what is `interactive`, a `location`, or `contact_cards`), `compose` writes it with its attempt (`attempts`) and its `attached_file`, unless the customer takes no such messages (`opt_outs`), `retry` queues another one, and `approval` that of a draft. The task
//! `sender` claims (`claim`) what is due as fast as channels take it (`pace`), hands it to an adapter (`outbound`: WhatsApp's Cloud API, or
//! the `loopback`), and records what came of it (`record`, `failures`, `pause`). `settle` applies what statuses say of attempts; the task `settlement` gives up what none has settled, and `removal` what a deleted channel leaves.
//!
//! What may have reached a channel is never sent again by itself, and never lost.

mod approval;
mod attached_file;
pub mod attempts;
pub mod claim;
mod compose;
mod contact_cards;
mod dto;
mod failures;
pub mod http;
pub mod interactive;
mod location;
pub mod loopback;
mod opt_outs;
pub mod outbound;
mod pace;
pub mod pause;
mod record;
pub mod removal;
mod retry;
mod send_limits;
pub mod sender;
pub mod settle;
pub mod settlement;
