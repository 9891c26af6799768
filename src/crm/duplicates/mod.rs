//! Duplicates: rows that could be the same person or the same company, with how likely that is and why.
//!
//! A row is rated by what it has in common with another ([`rate`]). What is looked at comes from indexes only ([`search`]);
//! whoever makes a row that is there already, as far as one can tell, is told so ([`guard`]).

pub mod guard;
pub mod http;
mod rate;
pub mod search;

pub use self::search::{Prospect, question};
