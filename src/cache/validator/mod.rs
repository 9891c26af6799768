//! Validation rounds: one statement reads what has changed since the last one.
//!
//! A thread with its own connection sends one round at a time. A reader joins the next round that has not been sent,
//! never one in flight, whose statement may have its snapshot from before the write that the reader must see. While a
//! round is in flight, readers queue for the next, so rounds grow with the load and each costs the database the same.
//!
//! A round reads the changes that its snapshot sees and that of the round before did not, records them
//! ([`LastChanges`](super::last_changes::LastChanges)), and then replies to its readers.
//!
//! `validator` is what readers call, `queue` holds them, `round_thread` sends their rounds, when `pace` says, to each `node` of
//! the database; `session` is the connection to it, `changes` has the statements, `round` is what the readers get.

mod changes;
mod node;
mod pace;
mod queue;
mod round;
mod round_thread;
mod session;
mod validator;

#[cfg(test)]
pub use self::round::NodeRound;
pub use self::round::Round;
pub use self::validator::{Validator, ValidatorStats};
