//! What every request passes: who is calling, how bodies arrive, how answers leave.

pub mod caller;
pub mod client;
pub mod connections;
pub mod cors;
pub mod document;
pub mod observe;
pub mod once;
pub mod payload;
pub mod precondition;
pub mod quota;
pub mod reply;
pub mod routing;
