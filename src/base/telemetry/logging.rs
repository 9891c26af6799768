//! Structured logging to standard output that never waits for its reader.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::log_filter::log_filter_faults;
use super::log_writer::{self, Guard, LogWriter};
use crate::base::options::OptionErrors;

/// What is logged, and in which form.
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// What is logged, as a tracing filter: `info`, `rapport=debug,warn`, …
    #[arg(long, env = "RAPPORT_LOG", default_value = "info")]
    pub log: String,
    /// `text` for people, `json` for collectors [default: text on a terminal, else json]
    #[arg(long, env = "RAPPORT_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}

impl LogArgs {
    pub fn validate(&self, errors: &mut OptionErrors) {
        errors.extend(log_filter_faults(&self.log));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Logging that has been started. Dropping it writes what is buffered.
pub struct Logs {
    /// Where lines of JSON may be written directly; only with [`LogFormat::Json`].
    pub json: Option<LogWriter>,
    _guard: Guard,
}

/// Starts logging.
/// Errors: the filter, explained.
pub fn start(args: &LogArgs) -> Result<Logs, String> {
    // Before the log writer runs, so that its restarts are counted from the first line on.
    super::metrics::install();
    let filter = EnvFilter::try_new(&args.log).map_err(|error| format!("RAPPORT_LOG: {error}"))?;
    let (writer, guard) = log_writer::start(std::io::stdout()).map_err(|error| error.to_string())?;
    let terminal = std::io::stdout().is_terminal();
    let format = args.log_format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let direct = writer.clone();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match format {
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(false).finish().with(ClientFaults).try_init()
        }
        LogFormat::Text => builder.with_ansi(terminal).finish().with(ClientFaults).try_init(),
    };
    started.map_err(|error| error.to_string())?;
    Ok(Logs { json: (format == LogFormat::Json).then_some(direct), _guard: guard })
}

/// Leaves out what actix-http logs as an error although it is the client's: a request that cannot be parsed.
/// `http::connections` counts it and logs it at debug level.
struct ClientFaults;

impl<S: Subscriber> Layer<S> for ClientFaults {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        match event.metadata().target() {
            "actix_http::h1::decoder" => false,
            "actix_http::h1::dispatcher" => !begins(event, &STREAM_ERRORS),
            _ => true,
        }
    }
}

/// The dispatcher's messages for a request that cannot be parsed and for a connection that broke in the middle of one.
/// Its other errors are the service's.
const STREAM_ERRORS: [&str; 2] = ["stream error: request parse error", "stream error: I/O error"];

/// Whether the message of `event` begins with one of `texts`.
fn begins(event: &Event<'_>, texts: &'static [&'static str]) -> bool {
    struct Message(&'static [&'static str], bool);
    impl tracing::field::Visit for Message {
        fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                let message = format!("{value:?}");
                self.1 = self.0.iter().any(|text| message.starts_with(text));
            }
        }
    }
    let mut message = Message(texts, false);
    event.record(&mut message);
    message.1
}
