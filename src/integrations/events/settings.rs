//! Settings of event streams.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct StreamSettings {
    /// Streams that this process keeps at most.
    pub max_streams: usize,
    pub max_streams_per_business: usize,
    /// Events that a stream may be behind before it is ended.
    pub max_queued_events: usize,
    /// How often a stream shows that it is alive, and its credential is revalidated.
    pub heartbeat: Duration,
    /// How long a stream lasts at most.
    pub max_age: Duration,
    /// How often new events of other processes are looked for.
    pub poll_period: Duration,
}
