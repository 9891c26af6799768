//! Metrics of the database that are read off the state of the pool, its connections and the catalogue check.

use metrics::{describe_counter, describe_gauge, gauge};

use super::Db;
use super::prepared::{PREPARED_RESETS, PREPARED_STATEMENTS};

const FAULTS: &str = "rapport_catalogue_faults";
const UNKNOWN: &str = "rapport_catalogue_unknown_migrations";

/// Describes the metrics to the recorder.
fn describe() {
    describe_gauge!("rapport_db_connections", "Database connections, by state");
    describe_gauge!("rapport_db_queue_depth", "Jobs that wait for a database thread");
    describe_gauge!(FAULTS, "Objects that the database's catalogue lacks, by how bad that is");
    describe_gauge!(UNKNOWN, "Migrations in the database that this release does not know");
    describe_gauge!(PREPARED_STATEMENTS, "Prepared statements that the database connections keep");
    describe_counter!(
        PREPARED_RESETS,
        "Times that a connection gave up its prepared statements, because there was no place for another"
    );
}

impl Db {
    /// Sets the gauges of the pool, and those of the last catalogue check: what stops the service, what makes it
    /// slower, and migrations of a newer release.
    pub fn publish_metrics(&self) {
        describe();
        let pool = self.state();
        gauge!("rapport_db_connections", "state" => "idle").set(pool.idle);
        gauge!("rapport_db_connections", "state" => "used").set(pool.open.saturating_sub(pool.idle));
        gauge!("rapport_db_connections", "state" => "allowed").set(pool.size);
        gauge!("rapport_db_queue_depth").set(pool.waiting as f64);
        if let Some(report) = self.guard().report() {
            gauge!(FAULTS, "severity" => "fault").set(report.faults.len() as f64);
            gauge!(FAULTS, "severity" => "advice").set(report.advice.len() as f64);
            gauge!(UNKNOWN).set(report.unknown_migrations.len() as f64);
        }
    }
}
