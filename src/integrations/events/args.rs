//! Command-line options of events.

use clap::Args;

use crate::base::options::OptionErrors;

/// Options of the event log and of event streams.
#[derive(Args, Clone, Debug)]
pub struct EventArgs {
    /// How long events are kept, in days
    #[arg(long, env = "RAPPORT_EVENTS_RETENTION_DAYS", default_value_t = 30)]
    pub events_retention_days: u32,
    /// Streams of events that this process keeps at most
    #[arg(long, env = "RAPPORT_MAX_EVENT_STREAMS", default_value_t = 4_000)]
    pub max_event_streams: usize,
    /// Of these, those of one business
    #[arg(long, env = "RAPPORT_MAX_EVENT_STREAMS_PER_BUSINESS", default_value_t = 500)]
    pub max_event_streams_per_business: usize,
    /// Events that a stream may be behind before it is ended; who followed it goes on from where they were
    #[arg(long, env = "RAPPORT_STREAM_BUFFER", default_value_t = 1_000)]
    pub stream_buffer: usize,
    /// How often a stream says that it is alive, and its credential is looked at again, in seconds
    #[arg(long, env = "RAPPORT_STREAM_HEARTBEAT_SECONDS", default_value_t = 15)]
    pub stream_heartbeat_seconds: u64,
    /// How long a stream lasts at most, in minutes
    #[arg(long, env = "RAPPORT_STREAM_MINUTES", default_value_t = 60)]
    pub stream_minutes: u64,
    /// How often streams look for events that other processes have ordered, in milliseconds
    #[arg(long, env = "RAPPORT_STREAM_POLL_MS", default_value_t = 200)]
    pub stream_poll_ms: u64,
}

impl EventArgs {
    pub fn validate(&self, errors: &mut OptionErrors) {
        errors
            .check((1..=3650).contains(&self.events_retention_days), "RAPPORT_EVENTS_RETENTION_DAYS must be 1 to 3650");
        errors.check(
            self.max_event_streams_per_business >= 1 && self.max_event_streams_per_business <= self.max_event_streams,
            "RAPPORT_MAX_EVENT_STREAMS_PER_BUSINESS must be at least 1 and not above RAPPORT_MAX_EVENT_STREAMS",
        );
        errors.check(
            (1..=300).contains(&self.stream_heartbeat_seconds),
            "RAPPORT_STREAM_HEARTBEAT_SECONDS must be 1 to 300",
        );
        errors.check((1..=1440).contains(&self.stream_minutes), "RAPPORT_STREAM_MINUTES must be 1 to 1440");
        errors.check((10..=10_000).contains(&self.stream_poll_ms), "RAPPORT_STREAM_POLL_MS must be 10 to 10000");
    }
}
