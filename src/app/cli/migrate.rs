//! `rapport migrate`: brings the database to this release's schema.

use crate::base::error::BoxError;
use crate::db::database_target::DatabaseTarget;
use crate::db::embedded::Absent;
use crate::db::{DatabaseArgs, migrate};

/// Migrates and repairs the database, and prints what was done.
pub fn run(database: &DatabaseArgs) -> Result<(), BoxError> {
    let target = DatabaseTarget::open_beside(database, Absent::Create)?;
    println!("{}", migrate::run_telling(&target.url, &mut |sentence| eprintln!("{sentence}"))?);
    Ok(())
}
