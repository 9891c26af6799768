//! What channels deliver. `receiver` stores a body (`bodies`) before it is acknowledged, and applies its updates (`update`), each in a
//! transaction of its own (`apply`, of what is `delivered`): `new_message` writes a message, with who wrote it (`peers`, by their `profile_names`), the conversation (`threads`)
//! and the lead (`leads`); `statuses` and `changes` apply what channels tell of messages, `opt_outs` who wants no marketing. What is about a message that is not there is `parked`
//! and `waiting` for it. `locks` are those of what has no row yet, `proposals` are of contacts that may be one, `reapply` applies
//! again what is parked or kept (`http`, with its `dto`), `purge` deletes what is old.
//!
//! In whatever order updates come, and however often, the rows end the same.

pub mod apply;
pub mod bodies;
mod changed_names;
pub mod changes;
mod delivered;
mod dto;
pub mod http;
mod leads;
pub mod locks;
mod new_message;
mod opt_outs;
pub mod parked;
mod peers;
mod profile_names;
mod proposals;
pub mod purge;
mod reapply;
pub mod receiver;
pub mod statuses;
mod threads;
pub mod update;
pub mod waiting;
