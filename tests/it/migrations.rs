//! Tests of migrations: up, down, repeated and concurrent; readiness waits for them.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use diesel_migrations::MigrationHarness;
use rapport::db::{migrate, migrations};
use uuid::Uuid;

use crate::support::{Database, Service};

/// Everything that migrations create, as text that is independent of the order of creation.
fn catalogue(database: &Database) -> Vec<String> {
    let all = database.rows::<1>(
        "SELECT 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' '
                || a.attnotnull || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || ' ' || a.attgenerated::text
         FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'v')
         UNION ALL
         SELECT 'constraint ' || conrelid::regclass || '.' || conname || ' ' || pg_get_constraintdef(oid)
         FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
         UNION ALL
         SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
         UNION ALL
         SELECT 'view ' || viewname || ' ' || definition FROM pg_views WHERE schemaname = 'public'
         UNION ALL
         SELECT 'trigger ' || tgname || ' ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
         UNION ALL
         SELECT 'function ' || oid::regprocedure || ' ' || md5(prosrc) FROM pg_proc p
         WHERE pronamespace = 'public'::regnamespace
         UNION ALL
         SELECT 'type ' || typname || ' ' || typtype::text FROM pg_type
         WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
         UNION ALL
         SELECT 'sequence ' || sequencename FROM pg_sequences WHERE schemaname = 'public'
         UNION ALL
         SELECT 'extension ' || extname FROM pg_extension
         ORDER BY 1",
    );
    all.into_iter().map(|[line]| line).collect()
}

#[test]
fn migrate_down_leaves_nothing_and_up_again_is_identical() {
    let database = Database::create_empty();
    let ran = migrate::run(&database.url).expect("up").ran;
    assert!(ran.len() >= 5, "{ran:?}");
    let first = catalogue(&database);

    let mut conn = database.connect();
    conn.revert_all_migrations(migrations::MIGRATIONS).expect("all the way down");
    let left: Vec<String> = catalogue(&database)
        .into_iter()
        .filter(|line| !line.contains("__diesel_schema_migrations") && line != "extension plpgsql")
        .collect();
    assert_eq!(left, Vec::<String>::new(), "what down.sql forgot");

    assert_eq!(migrate::run(&database.url).expect("up again").ran, ran);
    assert_eq!(catalogue(&database), first);
    assert_eq!(migrate::run(&database.url).expect("nothing to do").ran, Vec::<String>::new());
}

#[test]
fn concurrent_migrate_processes_one_runs_the_migrations() {
    let database = Database::create_empty();
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
        command.arg("migrate").env_clear().env("DATABASE_URL", &database.url);
        std::thread::spawn(move || command.output().expect("rapport migrate"))
    };
    let outputs: Vec<Output> = [start(), start(), start()].map(|run| run.join().expect("a process")).into();
    let said: Vec<String> = outputs.iter().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).collect();
    assert!(outputs.iter().all(|output| output.status.success()), "{outputs:?}");
    assert_eq!(said.iter().filter(|text| text.starts_with("Ran ")).count(), 1, "{said:?}");
    assert_eq!(said.iter().filter(|text| text.contains("up to date")).count(), 2, "{said:?}");
}

#[test]
fn readiness_before_migrations_503_after_them_200() {
    let service = Service::on(Database::create_empty(), Uuid::now_v7(), "", &[]);
    let api = service.stranger();
    assert_eq!(api.get("/health/readiness").expect(503).json["status"], "starting");
    assert_eq!(api.get("/health/startup").expect(503).json["status"], "starting");
    api.get("/health/liveness").expect(200);

    migrate::run(&service.database.url).expect("migrations");
    let began = Instant::now();
    while api.get("/health/readiness").status != 200 {
        assert!(began.elapsed() < Duration::from_secs(10), "not noticed within 10 s");
        std::thread::sleep(Duration::from_millis(20));
    }
    api.get("/health/startup").expect(200);
}

#[test]
fn migrate_database_of_an_older_chain_refused_and_unchanged() {
    let database = Database::create_empty();
    database.run(
        "CREATE TABLE __diesel_schema_migrations (version text PRIMARY KEY, run_on timestamp NOT NULL DEFAULT now());
         INSERT INTO __diesel_schema_migrations VALUES ('20261120000001'), ('20261121000003')",
    );
    let before = catalogue(&database);
    let error = migrate::run(&database.url).expect_err("a database of an older chain").to_string();
    assert!(error.contains("cannot be migrated; nothing was changed"), "{error}");
    assert_eq!(catalogue(&database), before);
}
