//! `rapport seed`: fills the database with a demo business, or with the dataset of the benchmarks.

use crate::app::seed;
use crate::base::error::BoxError;
use crate::db::database_target::DatabaseTarget;
use crate::db::embedded::Absent;
use crate::db::{DatabaseArgs, migrate};

/// Migrates and fills the database; `scale`: with the dataset of the benchmarks in this size.
pub fn run(database: &DatabaseArgs, scale: Option<f64>) -> Result<(), BoxError> {
    let target = DatabaseTarget::open_beside(database, Absent::Refuse)?;
    migrate::run(&target.url)?;
    let mut conn = target.connect()?;
    let made = match scale {
        Some(scale) if !(scale > 0.0 && scale <= 100.0) => {
            return Err("--scale is a number above 0, at most 100".into());
        }
        Some(scale) => seed::scale(&mut conn, scale, |step| println!("{step}"))?,
        None => seed::demo(&mut conn)?,
    };
    println!("{}", if made { "Done." } else { "The data is there already; nothing was changed." });
    Ok(())
}
