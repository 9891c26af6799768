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
    let made = match scale {
        Some(scale) => seed::scale(|| target.connect(), scale, |business| println!("{business}"))?,
        None => seed::demo(&mut target.connect()?)?,
    };
    println!("{}", if made { "Done." } else { "The data is there already; nothing was changed." });
    Ok(())
}
