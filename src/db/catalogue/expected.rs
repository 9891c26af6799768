//! The objects that this release's migrations create, read once from a freshly migrated database and stored in
//! `expected.json`. `RAPPORT_WRITE_SCHEMA=1 cargo test --test it schema` writes the file; without the variable the same
//! test fails where the file differs from the migrations.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::objects::Object;

/// One object on each line, in the order of [`super::objects::describe`].
#[expect(clippy::expect_used, reason = "the file is part of the binary, and a test reads it")]
pub static OBJECTS: LazyLock<Vec<Object>> =
    LazyLock::new(|| serde_json::from_str(include_str!("expected.json")).expect("a test writes and reads this file"));

/// The objects of [`OBJECTS`], by kind and name.
pub static BY_NAME: LazyLock<HashMap<(&'static str, &'static str), &'static Object>> =
    LazyLock::new(|| OBJECTS.iter().map(|object| ((object.kind.as_str(), object.name.as_str()), object)).collect());

/// Returns the tables whose changes are logged for the cache.
pub fn cached_tables() -> Vec<&'static str> {
    let mut tables: Vec<&str> = OBJECTS
        .iter()
        .filter(|object| object.kind == "trigger")
        .filter_map(|object| object.name.split_once('.'))
        .filter(|(_, trigger)| trigger.starts_with("log_"))
        .map(|(table, _)| table)
        .collect();
    tables.dedup();
    tables
}
