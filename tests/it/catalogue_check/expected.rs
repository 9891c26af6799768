//! Checks that `src/db/catalogue/expected.json` is what the migrations create. `RAPPORT_WRITE_SCHEMA=1 cargo test
//! --test it schema` regenerates it.

use diesel_migrations::MigrationHarness;
use rapport::db::catalogue::{inspect, objects};
use rapport::db::migrations::MIGRATIONS;

use crate::support::Database;

#[test]
fn expected_catalogue_equals_the_schema_that_migrations_make() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/db/catalogue/expected.json");
    // Not `migrate::run`, which repairs what differs from the file: a function that a migration replaces would be set back.
    let mut conn = Database::create_empty().connect();
    conn.run_pending_migrations(MIGRATIONS).expect("migrations");
    let objects = objects::describe(&mut conn).expect("the catalogue");
    for kind in &objects::KINDS {
        assert!(objects.iter().any(|object| object.kind == kind.name), "the query finds no {}", kind.name);
    }
    let lines: Vec<String> = objects.iter().map(|object| serde_json::to_string(object).expect("JSON")).collect();
    let given = format!("[\n{}\n]\n", lines.join(",\n"));
    if std::env::var_os("RAPPORT_WRITE_SCHEMA").is_some() {
        std::fs::write(path, &given).expect("src/db/catalogue/expected.json");
    }
    let known = std::fs::read_to_string(path).expect("src/db/catalogue/expected.json");
    assert!(
        known == given,
        "src/db/catalogue/expected.json is not what the migrations make; write it with RAPPORT_WRITE_SCHEMA=1 cargo test --test it schema"
    );
}

#[test]
fn inspect_of_a_migrated_database_finds_nothing() {
    let report = inspect(&mut Database::create().connect()).expect("a report");
    assert!(report.is_intact() && report.advice.is_empty() && !report.is_newer(), "{report:?}");
}
