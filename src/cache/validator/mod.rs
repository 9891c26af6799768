//! Validation rounds: one statement reads the versions that all waiting readers depend on.
//!
//! A thread with its own connection sends one round at a time. A reader joins the next round that has not been sent,
//! never one in flight, whose statement may have read the versions before a write that the reader must see. While a
//! round is in flight, readers queue for the next, so rounds grow with the load and each costs the database about the
//! same.
//!
//! A transaction's snapshot alone decides what it sees. So each round also reads its snapshot: while that equals the
//! previous round's, nothing was committed in between and the known versions still hold. Such rounds are of one
//! *generation*: a reader whose data was confirmed in it need not compare versions again.
//!
//! `validator` is what readers call, `queue` holds them, `round_thread` sends their rounds, when `pace` says; `session` is
//! its connection, `versions` has the statements.

mod pace;
mod queue;
mod round_thread;
mod session;
mod validator;
mod versions;

pub use self::queue::ValidationResult;
pub use self::validator::{Validator, ValidatorStats};
