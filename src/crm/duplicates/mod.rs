//! Duplicates: finds rows that could be the same person or company, with a score and the reasons.
//!
//! A row is scored by what it has in common with another ([`score`]). Candidates come from indexes only ([`search`]).
//! Creating a probable duplicate is refused ([`check`]). Bodies and responses are in `dto.rs`.

pub mod check;
mod dto;
pub mod http;
mod score;
pub mod search;

pub use self::search::{Prospect, question};
