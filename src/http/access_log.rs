//! The access log: one line for each request.
//!
//! JSON is written by hand into the log's buffer: every request has a line, and the general way (a dispatched event, a
//! visitor, a serializer, a formatted time) took a microsecond of HTTP time for each; see docs/PERFORMANCE.md. Text,
//! for people, takes the general way.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::Level;

use crate::base::telemetry::log_writer::LogWriter;

/// What is logged of a request: its route, never its path, which may contain personal input.
#[derive(Debug)]
pub struct Line<'r> {
    /// Plain characters only.
    pub request_id: &'r str,
    pub method: &'r str,
    pub route: &'r str,
    pub status: u16,
    pub took: Duration,
    pub in_database: Duration,
    pub queries: u64,
}

static JSON: OnceLock<LogWriter> = OnceLock::new();

/// Switches to JSON lines, written to `writer`.
pub fn write_json_to(writer: LogWriter) {
    // The first writer stays: a process starts logging once.
    let _ = JSON.set(writer);
}

pub fn log(line: &Line<'_>) {
    if !tracing::enabled!(target: "rapport::access", Level::INFO) {
        return;
    }
    match JSON.get() {
        Some(writer) => TEXT.with_borrow_mut(|text| {
            text.clear();
            write(text, line, Utc::now());
            // The writer counts the lines that it drops.
            let _ = { writer }.write_all(text.as_bytes());
        }),
        None => tracing::info!(
            target: "rapport::access",
            request_id = line.request_id,
            method = line.method,
            route = line.route,
            status = line.status,
            ms = line.took.as_micros() as f64 / 1000.0,
            db_ms = line.in_database.as_micros() as f64 / 1000.0,
            queries = line.queries,
            "served"
        ),
    }
}

thread_local! {
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
    /// The second that was formatted last, and its text.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// Appends the line as the subscriber would write the event.
fn write(out: &mut String, line: &Line<'_>, now: DateTime<Utc>) {
    let mut digits = itoa::Buffer::new();
    out.push_str("{\"timestamp\":\"");
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != now.timestamp() {
            *second = now.timestamp();
            *text = now.format("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        out.push_str(text);
    });
    padded(out, now.timestamp_subsec_micros().into(), 6);
    out.push_str("Z\",\"level\":\"INFO\",\"message\":\"served\",\"target\":\"rapport::access\",\"request_id\":\"");
    out.push_str(line.request_id);
    out.push_str("\",\"method\":\"");
    // A method may be any token (RFC 9110, section 9.1): no quotes, no control characters.
    out.push_str(line.method);
    let _ = match line.route.contains(['"', '\\']) {
        false => write!(out, "\",\"route\":\"{}\"", line.route),
        true => write!(out, "\",\"route\":{}", serde_json::Value::from(line.route)),
    };
    out.push_str(",\"status\":");
    out.push_str(digits.format(line.status));
    for (name, time) in [(",\"ms\":", line.took), (",\"db_ms\":", line.in_database)] {
        out.push_str(name);
        push_millis(out, time);
    }
    out.push_str(",\"queries\":");
    out.push_str(digits.format(line.queries));
    out.push_str("}\n");
}

/// Appends `time` in milliseconds, with three decimals.
pub fn push_millis(out: &mut String, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    out.push_str(itoa::Buffer::new().format(micros / 1000));
    out.push('.');
    padded(out, micros % 1000, 3);
}

fn padded(out: &mut String, number: u64, width: usize) {
    let mut digits = itoa::Buffer::new();
    let text = digits.format(number);
    (text.len()..width).for_each(|_| out.push('0'));
    out.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_log_line_is_json_with_all_fields() {
        let line = Line {
            request_id: "a-1",
            method: "GET",
            route: "/odd\"route\\{id}",
            status: 200,
            took: Duration::from_micros(1_042),
            in_database: Duration::from_micros(7),
            queries: 2,
        };
        let now = DateTime::from_timestamp_micros(1_763_688_680_000_123).unwrap_or_default();
        for _ in 0..2 {
            let mut text = String::new();
            write(&mut text, &line, now);
            assert!(text.ends_with("}\n"));
            let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let expected = serde_json::json!({
                "timestamp": "2025-11-21T01:31:20.000123Z", "level": "INFO", "message": "served", "target": "rapport::access",
                "request_id": "a-1", "method": "GET", "route": "/odd\"route\\{id}", "status": 200, "ms": 1.042,
                "db_ms": 0.007, "queries": 2,
            });
            assert_eq!(json, expected, "{text}");
        }
    }
}
