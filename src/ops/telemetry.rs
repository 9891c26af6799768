//! Logs: structured, to standard output, without waiting for whoever reads them.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use super::access;
use super::log_writer::{self, Guard};
use crate::config::LogFormat;

/// Starts logging by `filter`. Keep the guard: dropping it writes what is buffered.
/// Errors: the filter, explained.
pub fn start(filter: &str, format: Option<LogFormat>) -> Result<Guard, String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("RAPPORT_LOG: {error}"))?;
    let (writer, guard) = log_writer::start(std::io::stdout()).map_err(|error| error.to_string())?;
    let terminal = std::io::stdout().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let direct = writer.clone();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match format {
        LogFormat::Json => {
            access::write_json_to(direct);
            builder.json().flatten_event(true).with_current_span(false).finish().try_init()
        }
        LogFormat::Text => builder.with_ansi(terminal).finish().try_init(),
    };
    started.map_err(|error| error.to_string())?;
    Ok(guard)
}
