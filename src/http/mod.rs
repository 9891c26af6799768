//! What every request passes: who is calling, how bodies arrive, how answers leave.

pub mod caller;
pub mod document;
pub mod observe;
pub mod payload;
pub mod reply;
pub mod routing;
