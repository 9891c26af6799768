//! Limits of connections: how long clients may take, and how many threads serve them.

use std::time::Duration;

/// Time limits for clients.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From a request's first byte (for the first request, from the connection) to the end of its head.
    pub head: Duration,
    /// While a response waits and the client reads none of it. The kernel accepts more only after a third of its buffer
    /// has been read, so a client that reads a few bytes now and then counts as not reading.
    pub write: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
}

/// Number of worker threads, and how long requests in flight may take after a stop.
#[derive(Clone, Copy, Debug)]
pub struct Workers {
    pub threads: usize,
    pub shutdown_grace_seconds: u64,
}
