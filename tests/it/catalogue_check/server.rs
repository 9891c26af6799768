//! Tests of server-wide settings: roles, owners and their privileges, encodings, search paths. Each test starts its own
//! server.

use rapport::auth::Role;
use rapport::db::catalogue::inspect;
use rapport::db::{self, migrate};
use serde_json::json;

use crate::support::{Database, OwnServer, Program, Service, make_business, make_key, until};

fn migrate_as(database: &Database) -> (bool, String) {
    Program::run(&["migrate"], &[("DATABASE_URL", &database.url)])
}

fn serve(database: &Database) -> (bool, String) {
    Program::run(
        &["serve", "--bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0"],
        &[("DATABASE_URL", &database.url)],
    )
}

/// The same database with another role.
fn as_role(role: &str, database: &Database) -> Database {
    Database::at(database.url.replace("//rapport@", &format!("//{role}@")))
}

#[test]
fn missing_role_detected_and_repaired_wrong_encoding_refused() {
    let server = OwnServer::start("missing-role");
    encoding_is_refused(&server);
    let database = server.create("crm", "");
    migrate::run(&database.url).expect("migrations");
    let drop_role = "DROP OWNED BY rapport_tenant; DROP ROLE rapport_tenant";
    database.run(drop_role);
    let (started, said) = serve(&database);
    assert!(!started && said.contains("role rapport_tenant is missing"), "{said}");
    assert!(!said.contains("grant leads"), "one sentence for one fault: {said}");
    let command = ["api-key", "create", "--business", "acme", "--role", "owner", "--create-business"];
    let (made, said) = Program::run(&command, &[("DATABASE_URL", &database.url)]);
    assert!(!made && said.contains("role rapport_tenant is missing"), "{said}");
    assert_eq!(database.cell("SELECT count(*)::text FROM businesses"), "0");
    let (done, said) = migrate_as(&database);
    assert!(
        done && said.contains("role rapport_tenant is missing") && said.contains("policy leads.tenant_isolation"),
        "{said}"
    );

    let business = make_business(&database, "acme");
    let key = make_key(&database, business, Role::Owner);
    let url = database.url.clone();
    // The next check is an hour away: the role's error from PostgreSQL triggers one, and the repair is detected all the
    // same.
    let service = Service::on(database, business, &key, &["--catalogue-check-seconds", "3600"]);
    service.client.create("leads", json!({ "title": "Roof" }));
    Database::at(url.clone()).run(drop_role);
    until("readiness fails", || {
        service.client.post("leads", json!({ "title": "Door" }));
        service.client.get("/health/readiness").status == 503
    });
    let answer = service.client.post("leads", json!({ "title": "Door" }));
    assert_eq!((answer.status, answer.code()), (503, "database_damaged"), "{}", answer.text);
    service.client.get("leads").expect(200);
    migrate::run(&url).expect("a repair");
    until("ready again", || service.client.get("/health/readiness").status == 200);
    service.client.create("leads", json!({ "title": "Door" }));
}

#[test]
fn role_owner_and_grant_faults_repaired_or_reported() {
    let server = OwnServer::start("roles");
    server
        .database("postgres")
        .run("CREATE ROLE crm LOGIN CREATEROLE; CREATE ROLE second LOGIN; CREATE ROLE other LOGIN");
    let first = as_role("crm", &server.create("first", "OWNER crm"));
    let (done, said) = migrate_as(&first);
    assert!(done, "{said}");
    // Other objects in the database may have any owner.
    server
        .database("first")
        .run("CREATE TABLE op_audit (x int); CREATE FUNCTION op_note() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    let (done, said) = migrate_as(&first);
    assert!(done, "{said}");
    // CREATEROLE is needed only once per server.
    server.database("postgres").run("ALTER ROLE crm NOCREATEROLE");
    schema_before_public_is_passed_over(&server);
    revoked_privileges_are_repaired(&server, &first);
    settings_are_named_where_they_are_set(&server, &first);

    // Another owner needs one command, which PostgreSQL gives as a hint.
    let second = as_role("second", &server.create("second", "OWNER second"));
    let (done, said) = migrate_as(&second);
    assert!(!done && said.contains("HINT:") && said.contains("GRANT rapport_tenant TO second"), "{said}");
    server.database("postgres").run("GRANT rapport_tenant TO second");
    let (done, said) = migrate_as(&second);
    assert!(done, "{said}");
    server.database("postgres").run("REVOKE rapport_tenant FROM second");
    let (started, said) = serve(&second);
    assert!(!started && said.contains("role second may not take on the role rapport_tenant"), "{said}");
    let (done, said) = migrate_as(&second);
    assert!(!done && said.contains("GRANT rapport_tenant TO second;"), "{said}");

    server.database("postgres").run("ALTER ROLE rapport_tenant BYPASSRLS");
    let (started, said) = serve(&first);
    assert!(!started && said.contains("role rapport_tenant is not held by row level security"), "{said}");
    let (done, said) = migrate_as(&first);
    assert!(!done && said.contains("ALTER ROLE rapport_tenant NOSUPERUSER NOBYPASSRLS;"), "{said}");
    let (done, said) = migrate_as(&server.database("first"));
    assert!(done && said.contains("Repaired"), "{said}");

    // Tables of another owner: the service's role must own them.
    let other = as_role("other", &server.database("first"));
    server.database("postgres").run("GRANT rapport_tenant TO other; GRANT CONNECT ON DATABASE first TO other");
    let (started, said) = serve(&other);
    assert!(!started && said.contains("owner TABLE __diesel_schema_migrations is crm"), "{said}");
    server.database("first").run("GRANT SELECT, INSERT ON __diesel_schema_migrations TO other");
    let (started, said) = serve(&other);
    assert!(!started && said.contains("owner TABLE leads is crm"), "{said}");
}

/// With the setting on a role, and on a database. The role cannot create roles any more: what it needs exists.
fn schema_before_public_is_passed_over(server: &OwnServer) {
    let by_role = server.create("by_role", "OWNER crm");
    server.database("postgres").run("ALTER ROLE crm IN DATABASE by_role SET search_path = app, public");
    server.database("postgres").run("ALTER DATABASE first SET search_path = app, public");
    // With a table of the same name in another schema.
    let tables = "CREATE SCHEMA app AUTHORIZATION crm; CREATE TABLE app.leads (id int)";
    by_role.run(tables);
    server.database("first").run(tables);
    let (done, said) = migrate_as(&as_role("crm", &by_role));
    assert!(done, "{said}");
    assert_eq!(by_role.cell("SELECT count(*)::text FROM pg_class WHERE relnamespace = 'app'::regnamespace"), "1");
    for database in [by_role, server.database("first")] {
        let database = as_role("crm", &database);
        let (done, said) = migrate_as(&database);
        assert!(done && said.contains("up to date"), "{said}");
        let (done, said) = Program::run(
            &["api-key", "create", "--business", "acme", "--role", "owner", "--create-business"],
            &[("DATABASE_URL", &database.url)],
        );
        assert!(done, "{said}");
        let key = said.split_whitespace().last().expect("a key");
        let program = Program::serve(&[("DATABASE_URL", &database.url)]);
        program.until_ready();
        let api = program.client(key);
        let lead = api.make("leads", json!({ "title": "Roof" }));
        for _ in 0..2 {
            assert_eq!(api.get(&format!("leads/{lead}")).expect(200).json["title"], "Roof");
        }
        api.patch(&format!("leads/{lead}"), json!({ "title": "Door" })).expect(200);
        assert_eq!(api.get("leads").expect(200).rows()[0]["title"], "Door");
    }
    server.database("postgres").run("ALTER DATABASE first RESET search_path");
}

/// An owner that is no superuser needs the owner's default privileges, which can be revoked.
fn revoked_privileges_are_repaired(server: &OwnServer, owned: &Database) {
    let faults = || inspect(&mut db::connect(&owned.url).expect("a session")).expect("a report").faults;
    assert_eq!(faults(), []);
    // It still has the privilege as a member of rapport_tenant.
    server.database("first").run("REVOKE INSERT ON leads FROM crm");
    assert_eq!(faults(), []);
    for (damage, sentence) in [
        ("REVOKE INSERT ON audit_log FROM crm", "privileges audit_log are revoked from the owner crm: INSERT"),
        (
            "REVOKE SELECT, USAGE ON change_log_place_seq FROM crm",
            "privileges change_log_place_seq are revoked from the owner crm: SELECT, USAGE",
        ),
        (
            "REVOKE ALL ON passwords FROM crm",
            "privileges passwords are revoked from the owner crm: SELECT, INSERT, UPDATE, DELETE, REFERENCES, TRIGGER",
        ),
    ] {
        server.database("first").run(damage);
        let found = faults();
        assert_eq!(found.iter().map(|fault| fault.sentence()).collect::<Vec<_>>(), [sentence]);
        owned.run(&found[0].remedy);
        assert_eq!(faults(), []);
    }
    // Operators may revoke this permanently.
    server.database("first").run("REVOKE TRUNCATE ON audit_log FROM crm");
    // All privileges, also on diesel's table, and a trigger besides.
    server.database("first").run(
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM crm; REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM crm;
         DROP TRIGGER log_change ON leads",
    );
    let (started, said) = serve(owned);
    assert!(
        !started && said.contains("privileges __diesel_schema_migrations are revoked from the owner crm"),
        "{said}"
    );
    let (done, said) = migrate_as(owned);
    assert!(done && said.contains("Repaired") && said.contains("trigger leads.log_change is missing"), "{said}");
    for sentence in
        ["privileges __diesel_schema_migrations are", "privileges audit_log are revoked from the owner crm: INSERT"]
    {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    assert_eq!(faults(), []);
    let (done, said) = Program::run(
        &["api-key", "create", "--business", "acme", "--role", "owner", "--create-business"],
        &[("DATABASE_URL", &owned.url)],
    );
    assert!(done, "{said}");
}

/// With the command for the level it was set at; settings of another role or database are ignored.
fn settings_are_named_where_they_are_set(server: &OwnServer, owned: &Database) {
    let admin = server.database("postgres");
    let faults = || inspect(&mut db::connect(&owned.url).expect("a session")).expect("a report").faults;
    for place in ["ROLE second", "DATABASE postgres", "ROLE rapport_tenant"] {
        admin.run(&format!("ALTER {place} SET session_replication_role = replica"));
        assert_eq!(faults(), [], "{place}");
        admin.run(&format!("ALTER {place} RESET session_replication_role"));
    }
    for place in ["SYSTEM", "ROLE ALL", "DATABASE first", "ROLE crm", "ROLE crm IN DATABASE first"] {
        admin.run(&format!("ALTER {place} SET session_replication_role = replica"));
        admin.run("SELECT pg_reload_conf()");
        until(place, || !faults().is_empty());
        let found = faults();
        let command = format!("ALTER {place} RESET session_replication_role;");
        assert!(found.len() == 1 && found[0].remedy.starts_with(&command), "{place}: {found:?}");
        // The setting that PostgreSQL prefers counts.
        if place == "ROLE ALL" {
            admin.run("ALTER ROLE crm SET session_replication_role = origin");
            assert_eq!(faults(), []);
            admin.run("ALTER ROLE crm RESET session_replication_role");
        }
        admin.run(&command);
        admin.run("SELECT pg_reload_conf()");
        until(place, || faults().is_empty());
    }
}

fn encoding_is_refused(server: &OwnServer) {
    let database = server.create("ascii", "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'");
    for (done, said) in [migrate_as(&database), serve(&database)] {
        assert!(!done && said.contains("database ascii is encoded in SQL_ASCII"), "{said}");
        assert!(said.contains("TEMPLATE template0 ENCODING 'UTF8'"), "{said}");
    }
    assert_eq!(database.cell("SELECT count(*)::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"), "0");
}
