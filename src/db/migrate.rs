//! Migrations, embedded in the binary and run under a lock.

use std::collections::HashSet;

use diesel::connection::SimpleConnection;
use diesel::migration::MigrationSource;
use diesel::pg::{Pg, PgConnection};
use diesel::sql_types::Integer;
use diesel::{Connection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::Statement;

pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// PostgreSQL releases with `ON DELETE SET NULL (column)`, which the composite foreign keys need.
const OLDEST_SERVER: i32 = 150_000;

/// Any number that nothing else locks: "rapport" in base 36, cut to 31 bits.
const LOCK: i64 = 1_652_440_517;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Brings the database at `url` to this binary's schema and returns the names of the migrations it ran. Several processes
/// may call it at once: diesel takes no lock, so one session-level advisory lock is held around the run.
pub fn run(url: &str) -> Result<Vec<String>, BoxError> {
    let mut conn = PgConnection::establish(url)?;
    let version = diesel::select(diesel::dsl::sql::<Integer>("current_setting('server_version_num')::int"))
        .get_result::<i32>(&mut conn)?;
    if version < OLDEST_SERVER {
        return Err(format!("PostgreSQL {} is too old; Rapport needs 15 or newer", version / 10_000).into());
    }
    conn.batch_execute(&format!("SELECT pg_advisory_lock({LOCK})"))?;
    let ran = conn.run_pending_migrations(MIGRATIONS)?.iter().map(ToString::to_string).collect();
    conn.batch_execute(&format!("SELECT pg_advisory_unlock({LOCK})"))?;
    Ok(ran)
}

/// Whether the database has exactly this binary's migrations, or more (a newer replica has run its own already).
///
/// Only reads. Diesel's own question creates its table where there is none, without a lock: asked at the wrong moment it
/// makes another process' first migration fail.
pub fn is_current(conn: &mut PgConnection) -> Result<bool, BoxError> {
    let made = Statement::new("SELECT to_regclass('__diesel_schema_migrations')::text").row(conn)?;
    if made.is_none_or(|row| row.text(0).is_none()) {
        return Ok(false);
    }
    let rows = Statement::new("SELECT version FROM __diesel_schema_migrations").rows(conn)?;
    let applied: HashSet<&str> = rows.iter().filter_map(|row| row.text(0)).collect();
    let ours = MigrationSource::<Pg>::migrations(&MIGRATIONS)?;
    Ok(ours.iter().all(|migration| applied.contains(migration.name().version().to_string().as_str())))
}
