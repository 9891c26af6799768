//! HTTP server connections with limits on how long a client may take to send the head of a request and to read its
//! response, for every request of a connection. actix-web limits only the first request's head, and reading not at all.
//!
//! [`serve`] (`server`) builds the server; `stream` is a connection that enforces the time limits of `limits`;
//! `socket_options` sets those that only the kernel can enforce.

mod limits;
mod server;
mod socket_options;
mod stream;

pub use self::limits::{Timeouts, Workers};
pub use self::server::serve;
pub use self::stream::{Activity, InFlight};
