//! The migrations embedded in the binary, and which of them the database has.

use std::collections::HashSet;

use diesel::migration::MigrationSource;
use diesel::pg::{Pg, PgConnection};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use super::statement::Statement;
use crate::base::error::{Error, Result};

/// All migrations of this release.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Returns the migrations of this binary that the database lacks, and those it has that this binary does not know: a
/// newer release has run them.
pub fn missing_and_unknown(conn: &mut PgConnection) -> Result<(Vec<String>, Vec<String>)> {
    let applied = applied(conn)?;
    let ours = MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(|error| Error::Internal(error.to_string()))?;
    let ours: Vec<(String, String)> =
        ours.iter().map(|migration| (migration.name().version().to_string(), migration.name().to_string())).collect();
    let missing = ours.iter().filter(|(version, _)| !applied.contains(version)).map(|(_, name)| name.clone()).collect();
    let known: HashSet<&str> = ours.iter().map(|(version, _)| version.as_str()).collect();
    let mut unknown: Vec<String> = applied.into_iter().filter(|version| !known.contains(version.as_str())).collect();
    unknown.sort();
    Ok((missing, unknown))
}

/// Returns the versions that have been applied.
///
/// Only reads. diesel's own query creates its table if there is none, without a lock, which can make another process's
/// first migration fail.
pub fn applied(conn: &mut PgConnection) -> Result<HashSet<String>> {
    let made = Statement::new("SELECT to_regclass('public.__diesel_schema_migrations') IS NOT NULL");
    if made.scalar::<bool>(conn)? != Some(true) {
        return Ok(HashSet::new());
    }
    let versions = Statement::new("SELECT version FROM public.__diesel_schema_migrations").scalars(conn)?;
    Ok(versions.into_iter().collect())
}
