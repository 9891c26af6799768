//! Prometheus metrics: the recorder, and what is counted as it happens. Metrics that are read off a component's state
//! are set by that component when the page is scraped (`publish_metrics`).
//!
//! Handles are kept per thread, so that counting costs a lookup in a small map and an atomic add.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::base::supervisor::PANICS;
use crate::base::supervisor::RESTARTS;
use crate::base::supervisor::{Outcome, Pulse};

const REQUESTS: &str = "rapport_http_request_duration_seconds";
const QUERIES: &str = "rapport_db_operation_duration_seconds";
const STATEMENTS: &str = "rapport_db_statements_total";
const FAILURES: &str = "rapport_db_failures_total";
const REFUSED: &str = "rapport_rate_limited_total";
const RETRIES: &str = "rapport_db_retries_total";
const LOCK_TIMEOUTS: &str = "rapport_db_lock_timeouts_total";
const STEPS: &str = "rapport_job_step_duration_seconds";
const JOBS_ENDED: &str = "rapport_jobs_ended_total";
const JOBS: &str = "rapport_jobs";
const BACKLOG: &str = "rapport_channel_backlog";
const BACKLOG_AGE: &str = "rapport_channel_backlog_age_seconds";
const HANDED_OVER: &str = "rapport_messages_handed_over_total";
const MEDIA: &str = "rapport_media_fetches_total";
const MAILS: &str = "rapport_emails_total";
const CONNECTIONS_ENDED: &str = "rapport_http_connections_ended_total";
const VALIDATION: &str = "rapport_cache_validation_seconds";

/// Bounds of the histograms in seconds: from a cached read to a request at its time limit.
const BUCKETS: [f64; 14] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder, once for the process.
pub fn install() {
    HANDLE.get_or_init(|| {
        let builder = [REQUESTS, QUERIES, STEPS, VALIDATION].into_iter().try_fold(PrometheusBuilder::new(), |builder, name| {
            builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &BUCKETS)
        });
        let recorder = builder.ok()?.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).ok()?;
        describe_histogram!(REQUESTS, "Time to answer, by method, route and status");
        describe_histogram!(QUERIES, "Time on a database thread, by name of the work");
        describe_counter!(STATEMENTS, "Statements sent, by name of the work");
        describe_counter!(FAILURES, "Work that failed, by name; refusals such as 404 are none");
        describe_counter!(REFUSED, "Requests answered with 429, by what there was too much of");
        describe_counter!(RETRIES, "Transactions tried again after a conflict, by name");
        describe_counter!(
            LOCK_TIMEOUTS,
            "Waits for a lock that were given up, by name of the work; it may be tried again"
        );
        describe_histogram!(STEPS, "Time of a job's step, its wait for a connection included, by kind");
        describe_counter!(JOBS_ENDED, "Jobs that ended in this process, by kind and state");
        describe_gauge!(JOBS, "Jobs that have not ended, by kind and state, in the database as a whole");
        describe_gauge!(BACKLOG, "What is due to be applied, sent and fetched, by queue, in the database as a whole");
        describe_gauge!(BACKLOG_AGE, "How long the oldest of it has been due");
        describe_counter!(HANDED_OVER, "Messages that this process handed to channels, by what came of it");
        describe_counter!(MEDIA, "Files of customers that this process fetched, by what came of it");
        describe_counter!(MAILS, "Mails, by what became of them");
        describe_counter!(
            CONNECTIONS_ENDED,
            "Connections ended because of their client, by reason: a malformed request, or a head or a reader that took too \
             long"
        );
        describe_histogram!(VALIDATION, "Time of a validation round of the cache");
        describe_counter!(RESTARTS, "Restarts of background tasks that panicked or ended unexpectedly, by task");
        describe_counter!(PANICS, "Panics in background work that is not restarted, by name of the work");
        Some(handle)
    });
}

/// Folds recorded samples into the histograms, every second. Until then the recorder keeps each sample, so without this
/// a service that is not scraped would grow with every request.
pub async fn keep_up(pulse: Pulse) -> Outcome {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        if let Some(handle) = HANDLE.get().and_then(Option::as_ref) {
            handle.run_upkeep();
        }
        pulse.succeeded();
    }
}

/// Renders all metrics as Prometheus scrapes them; empty without a recorder.
pub fn render() -> String {
    let Some(handle) = HANDLE.get().and_then(Option::as_ref) else {
        return String::new();
    };
    handle.run_upkeep();
    handle.render()
}

struct Work {
    time: Histogram,
    statements: Counter,
    failures: Counter,
}

thread_local! {
    static SERVED: RefCell<HashMap<u64, Histogram>> = RefCell::default();
    static WORK: RefCell<HashMap<&'static str, Work>> = RefCell::default();
}

/// Counts a response. `route` is a pattern, so there are few.
pub fn served(method: &str, route: &str, status: u16, took: Duration) {
    let key = xxhash_rust::xxh3::xxh3_64_with_seed(route.as_bytes(), u64::from(status) << 32 | method.len() as u64)
        ^ xxhash_rust::xxh3::xxh3_64(method.as_bytes());
    SERVED.with_borrow_mut(|known| {
        known
            .entry(key)
            .or_insert_with(|| {
                // A method is client input: only known ones become labels.
                let method = match method {
                    "GET" | "HEAD" | "POST" | "PATCH" | "PUT" | "DELETE" | "OPTIONS" => method.to_owned(),
                    _ => "other".to_owned(),
                };
                histogram!(REQUESTS, "method" => method, "route" => route.to_owned(), "status" => status.to_string())
            })
            .record(took);
    });
}

/// Counts an operation on a database thread.
pub fn queried(name: &'static str, took: Duration, statements: u64, good: bool) {
    WORK.with_borrow_mut(|known| {
        let work = known.entry(name).or_insert_with(|| Work {
            time: histogram!(QUERIES, "name" => name),
            statements: counter!(STATEMENTS, "name" => name),
            failures: counter!(FAILURES, "name" => name),
        });
        work.time.record(took);
        work.statements.increment(statements);
        work.failures.increment(u64::from(!good));
    });
}

/// Counts a transaction that is retried.
pub fn retried(name: &'static str) {
    counter!(RETRIES, "name" => name).increment(1);
}

/// Counts a wait for a lock that was given up, in a transaction or read called `name`.
pub fn lock_timed_out(name: &'static str) {
    counter!(LOCK_TIMEOUTS, "name" => name).increment(1);
}

/// Counts a 429: too many requests of one `key`, `session` or `address`, or too many wrong passwords.
pub fn refused(kind: &'static str) {
    counter!(REFUSED, "kind" => kind).increment(1);
}

/// Counts an email that was `sent` or `failed`.
pub fn mailed(outcome: &'static str) {
    counter!(MAILS, "outcome" => outcome).increment(1);
}

/// Counts a step of a job.
pub fn job_stepped(kind: &'static str, took: Duration) {
    histogram!(STEPS, "kind" => kind).record(took);
}

/// Counts a job that has `succeeded` or `failed`.
pub fn job_ended(kind: &'static str, state: &'static str) {
    counter!(JOBS_ENDED, "kind" => kind, "state" => state).increment(1);
}

/// Sets how many jobs of `kind` are `queued` or `running`.
pub fn jobs(kind: &'static str, state: &'static str, count: i64) {
    gauge!(JOBS, "kind" => kind, "state" => state).set(count as f64);
}

/// Sets how much is due in a queue of channels, and how long the oldest has been, in seconds.
pub fn channel_backlog(queue: String, waiting: i64, age: f64) {
    gauge!(BACKLOG, "queue" => queue.clone()).set(waiting as f64);
    gauge!(BACKLOG_AGE, "queue" => queue).set(age);
}

/// Counts a message that was handed to a channel.
pub fn handed_over(outcome: &'static str) {
    counter!(HANDED_OVER, "outcome" => outcome).increment(1);
}

/// Counts a try to fetch a file.
pub fn media_fetched(outcome: &'static str) {
    counter!(MEDIA, "outcome" => outcome).increment(1);
}

/// Counts a connection that was ended because of its client.
pub fn connection_ended(reason: &'static str) {
    counter!(CONNECTIONS_ENDED, "reason" => reason).increment(1);
}

/// Counts a validation round of the cache.
pub fn validated(took: Duration) {
    histogram!(VALIDATION).record(took);
}
