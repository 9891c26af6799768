//! What the command-line options of all components are built from: secrets, parsers of values, and the list of errors.
//! Each component keeps its own options in `args.rs` beside the code that reads them.

mod errors;
mod parsers;
mod secret;

pub use self::errors::OptionErrors;
pub use self::parsers::{cores, is_page_url, network, switch};
pub use self::secret::Secret;
