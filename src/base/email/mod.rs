//! Email over SMTP: the mailer, the sender, and their options.

mod args;
mod mailer;
mod sender;

pub use self::args::EmailArgs;
pub use self::mailer::{Email, Mailer, Place, is_reachable};
pub use self::sender::Sender;
