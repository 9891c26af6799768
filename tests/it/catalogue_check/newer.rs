//! Databases of another release: those of a newer one are served, those of an older one are waited for.

use diesel_migrations::MigrationHarness;
use rapport::auth::Role;
use rapport::db::{migrate, migrations};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Database, Program, Service, make_business, make_key, until};

/// Changes that a newer release's migration may make.
const NEWER: &str = "
    INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000001');
    ALTER TABLE leads ADD COLUMN invented text, DROP CONSTRAINT leads_status_check;
    DROP INDEX leads_created_at_idx;
    CREATE OR REPLACE FUNCTION rapport_business() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
        $$ SELECT nullif(nullif(current_setting('rapport.business', true), ''), '-')::uuid $$";

#[test]
fn newer_database_is_served_with_a_warning() {
    let database = Database::create();
    let key = make_key(&database, make_business(&database, "acme"), Role::Owner);
    database.run(NEWER);
    let program = Program::serve(&[("DATABASE_URL", &database.url), ("RAPPORT_CATALOGUE_CHECK_SECONDS", "1")]);
    program.until_ready();
    program.until_said("a newer release has migrated the database");
    let (done, said) = Program::run(&["migrate"], &[("DATABASE_URL", &database.url)]);
    assert!(done && said.contains("20990101000001"), "{said}");
    let body = database.cell("SELECT prosrc FROM pg_proc WHERE proname = 'rapport_business'");
    assert!(body.contains("'-'"), "an older release sets nothing back");
    let api = program.client(&key);
    api.create("leads", json!({ "title": "Roof" }));
    assert_eq!(api.get("/health/detailed").expect(200).json["catalogue"]["status"], "newer");

    // A migration that is applied while the service runs.
    database.run("INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000002')");
    program.until_said("20990101000002");
    let metrics = crate::support::Client::new(program.metrics, "").get("/metrics").expect(200).text;
    assert!(metrics.contains("rapport_catalogue_unknown_migrations 2"), "{metrics}");
    assert_eq!(api.get("/health/readiness").expect(200).json["status"], "ready");
}

#[test]
fn newer_database_without_what_this_release_needs_is_refused() {
    let damage = [
        ("DROP TRIGGER log_change ON leads", "trigger leads.log_change is missing"),
        ("ALTER TABLE contacts DISABLE TRIGGER log_change", "trigger contacts.log_change is disabled"),
        ("ALTER TABLE leads RENAME COLUMN title TO name", "column leads.title is missing"),
    ];
    let database = Database::create();
    database.run(NEWER);
    damage.iter().for_each(|(sql, _)| database.run(sql));
    // Objects that may belong to the newer release.
    database.run(
        "CREATE TRIGGER newer BEFORE INSERT ON leads FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
         CREATE TABLE newer () INHERITS (leads)",
    );
    let serve = ["serve", "--bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0"];
    for command in [&serve[..], &["migrate"]] {
        let (done, said) = Program::run(command, &[("DATABASE_URL", &database.url)]);
        assert!(!done && !said.contains("Repaired"), "{said}");
        assert_eq!(said.matches("\n  - ").count(), damage.len(), "{said}");
        damage.iter().for_each(|(sql, sentence)| assert!(said.contains(sentence), "{sql}: {said}"));
    }
}

#[test]
fn unmigrated_database_503_names_migrate_until_migrated() {
    let service = Service::on(Database::create_empty(), Uuid::now_v7(), "rk_nothing", &[]);
    let person = json!({ "email": "a@example.com", "password": "a long password" });
    let asked = || {
        let api = &service.client;
        [
            api.get("leads"),
            api.get(&format!("leads/{}", Uuid::nil())),
            api.post("leads", json!({ "title": "Roof" })),
            api.get("/health/detailed"),
            api.post("auth/sessions", person.clone()),
        ]
    };
    until("the database was looked at", || service.client.get("leads").code() != "starting");
    for answer in asked() {
        assert_eq!((answer.status, answer.code()), (503, "database_not_migrated"), "{}", answer.text);
        assert!(answer.json["detail"].as_str().is_some_and(|detail| detail.contains("`rapport migrate`")));
        assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    }
    service.client.get("/health/liveness").expect(200);
    migrate::run(&service.database.url).expect("migrations");
    until("ready", || service.client.get("/health/readiness").status == 200);
    for answer in asked() {
        assert_eq!(answer.status, 401, "{}", answer.text);
    }
}

#[test]
fn outdated_database_503_until_migrated() {
    let database = Database::create();
    database.connect().revert_last_migration(migrations::MIGRATIONS).expect("down");
    let program = Program::serve(&[("DATABASE_URL", &database.url)]);
    program.until_said("the database is not migrated");
    let answer = program.client("rk_nothing").get("leads");
    assert_eq!((answer.status, answer.code()), (503, "database_not_migrated"), "{}", answer.text);
    let (done, said) = Program::run(&["migrate"], &[("DATABASE_URL", &database.url)]);
    assert!(done && said.contains("Ran 1 migrations"), "{said}");
    program.until_ready();
}

#[test]
fn migrate_repaired_database_analyses_tables_with_rows_only() {
    let database = Database::create();
    migrate::run(&database.url).expect("nothing to do");
    let known =
        |table: &str| database.cell(&format!("SELECT reltuples::int::text FROM pg_class WHERE relname = '{table}'"));
    // A table analysed while empty would be planned for as if it stayed empty.
    assert_eq!([known("businesses"), known("leads")], ["-1", "-1"]);
    make_business(&database, "acme");
    database.run("ALTER TABLE leads DISABLE TRIGGER USER");
    migrate::run(&database.url).expect("a repair");
    assert_eq!([known("businesses"), known("leads")], ["1", "-1"]);
}
