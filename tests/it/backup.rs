//! Runs every procedure of docs/BACKUP.md as documented, with PostgreSQL's own programs.

use std::path::PathBuf;
use std::process::Command;

use rapport::auth::Role;
use rapport::db::embedded::Binaries;
use rapport::db::migrate;
use serde_json::{Value, json};

use crate::lifecycle::{Process, State};
use crate::support::receiver::Receiver;
use crate::support::{
    Client, Database, OwnServer, Program, Service, give_to_server, make_business, make_key, postgres_program, redis,
    scratch, until,
};

/// The block of docs/BACKUP.md that is marked `<!-- tried: name -->`.
fn block(name: &str) -> String {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/BACKUP.md"));
    let after = page.split(&format!("<!-- tried: {name} -->\n")).nth(1).unwrap_or_else(|| panic!("no block {name}"));
    let inside = after.split("```").nth(1).expect("a block");
    inside.split_once('\n').expect("a language").1.to_owned()
}

/// Runs a block with the shell; `None` where the programs are not installed.
fn run(name: &str, variables: &[(&str, &str)]) -> Option<String> {
    for program in ["pg_dump", "pg_restore", "pg_basebackup", "psql"] {
        postgres_program(program)?;
    }
    let bin = postgres_program("pg_dump")?.parent().expect("a folder").to_path_buf();
    let ours = PathBuf::from(env!("CARGO_BIN_EXE_rapport")).parent().expect("a folder").to_path_buf();
    let path = format!("{}:{}:{}", bin.display(), ours.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh")
        .args(["-euc", &block(name)])
        .env("PATH", path)
        .envs(variables.iter().copied())
        .output()
        .expect("a shell");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {said}");
    Some(said)
}

/// A business with a lead, and a dump of its database.
fn dumped(name: &str) -> Option<(Service, Value, String)> {
    let service = Service::start();
    let lead = service.client.create("leads", json!({ "title": "Roof", "score": 7 }));
    let dump = scratch(name).join("dump").display().to_string();
    run("dump", &[("DATABASE_URL", &service.database.url), ("DUMP", &dump)])?;
    Some((service, lead, dump))
}

fn id(row: &Value) -> &str {
    row["id"].as_str().expect("an id")
}

/// A service on `database` for the business of `of`.
fn service_on(database: &Database, of: &Service, settings: &[&str]) -> Service {
    let key = make_key(database, of.business, Role::Owner);
    Service::on(database.clone(), of.business, &key, settings)
}

#[test]
fn dump_restored_on_another_server_serves_as_before() {
    let Some((origin, lead, dump)) = dumped("backup-restore") else { return };
    let server = OwnServer::start("restore");
    let admin = server.database("postgres");
    let restored = server.database("restored");
    let variables = [("ADMIN_URL", admin.url.as_str()), ("RESTORED_URL", &restored.url), ("DUMP", &dump)];
    let said = run("restore", &variables).expect("the programs");
    assert!(said.contains("up to date"), "{said}");
    assert_ne!(restored.cell("SELECT count(*)::text FROM pg_stats WHERE tablename = 'leads'"), "0", "no statistics");
    let service = service_on(&restored, &origin, &[]);
    assert_eq!(service.client.get(&format!("leads/{}", id(&lead))).expect(200).json, lead);
    service.client.create("leads", json!({ "title": "Door" }));
}

#[test]
fn dump_restored_without_role_owners_and_privileges_is_repaired() {
    let Some((origin, lead, dump)) = dumped("backup-bare") else { return };
    let server = OwnServer::start("bare");
    let restored = server.create("restored", "TEMPLATE template0 ENCODING 'UTF8'");
    let restore = postgres_program("pg_restore").expect("it was there");
    let output = Command::new(restore).args(["-x", "-O", "-d", &restored.url, &dump]).output().expect("pg_restore");
    assert!(!output.status.success(), "policies for a role that is not there cannot be made");
    let settings = [("DATABASE_URL", restored.url.as_str())];
    let serve = ["serve", "--bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0"];
    let (started, said) = Program::run(&serve, &settings);
    assert!(!started && said.contains("role rapport_tenant is missing"), "{said}");
    let (done, said) = Program::run(&["migrate"], &settings);
    assert!(done && said.contains("Repaired"), "{said}");
    for sentence in
        ["policy leads.tenant_isolation is missing", "grant leads INSERT is missing", "may be called by public"]
    {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    let service = service_on(&restored, &origin, &[]);
    assert_eq!(service.client.get(&format!("leads/{}", id(&lead))).expect(200).json, lead);
    service.client.create("leads", json!({ "title": "Door" }));
}

#[test]
fn restore_rows_of_one_table_visible_at_once_and_audited() {
    let Some((service, lead, dump)) = dumped("backup-table") else { return };
    let api = &service.client;
    let path = format!("leads/{}", id(&lead));
    let other = api.make("leads", json!({ "title": "Made after the dump" }));
    api.patch(&format!("leads/{other}"), json!({ "title": "Changed after the dump" })).expect(200);
    service.database.run(&format!("DELETE FROM leads WHERE id = '{}'", id(&lead)));
    api.get(&path).expect(404);
    let server = OwnServer::start("side");
    let side = server.database("restored");
    let admin = server.database("postgres");
    run("restore", &[("ADMIN_URL", &admin.url), ("RESTORED_URL", &side.url), ("DUMP", &dump)]).expect("the programs");
    run("table", &[("SIDE_URL", &side.url), ("DATABASE_URL", &service.database.url)]).expect("the programs");
    assert_eq!(api.get(&path).expect(200).json["title"], "Roof");
    assert_eq!(api.get("leads").expect(200).rows().len(), 2);
    assert_eq!(api.get(&format!("leads/{other}")).expect(200).json["title"], "Changed after the dump");
    let history = api.get(&format!("{path}/history")).expect(200);
    assert!(history.rows().iter().filter(|entry| entry["action"] == "created").count() == 2, "{}", history.text);
    let (_, said) = Program::run(&["migrate"], &[("DATABASE_URL", &service.database.url)]);
    assert!(said.contains("up to date"), "{said}");
}

#[test]
fn table_restored_without_triggers_refused_then_repaired() {
    let Some((service, lead, dump)) = dumped("backup-bad-table") else { return };
    let database = service.database.clone();
    drop(service);
    // As operators do it: with CASCADE, because DROP fails without it.
    database.run("DROP TABLE leads CASCADE");
    let restore = postgres_program("pg_restore").expect("it was there");
    let output =
        Command::new(restore).args(["--table=leads", "-d", &database.url, &dump]).output().expect("pg_restore");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let settings = [("DATABASE_URL", database.url.as_str())];
    let serve = ["serve", "--bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0"];
    let (started, said) = Program::run(&serve, &settings);
    assert!(!started && said.contains("trigger leads.log_change is missing"), "{said}");
    let (done, said) = Program::run(&["migrate"], &settings);
    assert!(!done && said.contains("Repaired: trigger leads.log_change"), "{said}");
    assert!(
        said.contains("ALTER TABLE leads DROP CONSTRAINT IF EXISTS leads_pkey, ADD CONSTRAINT leads_pkey PRIMARY KEY"),
        "{said}"
    );
    for command in said.lines().filter_map(|line| line.strip_prefix("    ")).flat_map(|line| line.split("; ")) {
        database.run(command);
    }
    // The missing indexes only make reads slower.
    let (done, said) = Program::run(&["migrate"], &settings);
    assert!(done && said.contains("CREATE INDEX CONCURRENTLY leads_created_at_idx"), "{said}");
    for command in said.lines().filter_map(|line| line.strip_prefix("    ")).flat_map(|line| line.split("; ")) {
        database.run(command);
    }
    let (done, said) = Program::run(&["migrate"], &settings);
    assert!(done && said.contains("up to date") && !said.contains("index"), "{said}");
    let business = lead_business(&database);
    let key = make_key(&database, business, Role::Owner);
    let service = Service::on(database, business, &key, &[]);
    let path = format!("leads/{}", id(&lead));
    service.client.get(&path).expect(200);
    service.client.patch(&path, json!({ "title": "Door" })).expect(200);
    assert_eq!(service.client.get(&path).expect(200).json["title"], "Door");
}

#[test]
fn embedded_server_dump_restore_and_swap_while_serving() {
    let state = State::new();
    let service = Process::start(&state.0);
    let api = service.client();
    let lead = api.make("leads", json!({ "title": "Roof" }));
    let folder = state.0.display().to_string();
    let dump = scratch("backup-private").join("dump").display().to_string();
    let Some(said) = run("private", &[("STATE", &folder), ("DUMP", &dump)]) else { return };
    assert!(said.contains("demo"), "{said}");
    api.delete(&format!("leads/{lead}")).expect(204);
    let server = format!("postgres://rapport@{}", format!("{folder}/run").replace('/', "%2F"));
    let [admin, restored] = ["postgres", "restored"].map(|name| format!("{server}/{name}"));
    let said = run("restore", &[("ADMIN_URL", &admin), ("RESTORED_URL", &restored), ("DUMP", &dump)]);
    assert!(said.expect("the programs").contains("up to date"));
    run("swap", &[("SERVER", &server)]).expect("the programs");
    until("the restored database serves", || api.get(&format!("leads/{lead}")).status == 200);
    api.patch(&format!("leads/{lead}"), json!({ "title": "Door" })).expect(200);
    assert_eq!(api.get(&format!("leads/{lead}")).expect(200).json["title"], "Door");
    until("the service is ready", || service.probe("/health/readiness") == 200);
}

fn lead_business(database: &Database) -> uuid::Uuid {
    database.cell("SELECT business_id::text FROM leads LIMIT 1").parse().expect("an id")
}

#[test]
fn clone_sharing_redis_shares_no_cache_and_sends_no_webhooks() {
    let Some(redis) = redis() else { return };
    let receiver = Receiver::content();
    let sends = ["--redis-url", redis.as_str(), "--webhook-allowed-networks", "127.0.0.0/8,::1/128"];
    let origin = Service::with(&sends);
    let hook = json!({ "url": receiver.url(), "types": ["*"] });
    origin.client.create("webhooks", hook);
    let lead = origin.client.create("leads", json!({ "title": "Roof" }));
    let path = format!("leads/{}", id(&lead));
    // The database is a copy of another, which the first pass finds out.
    origin.database.run("SELECT rapport_check_sequencer()");
    origin
        .database
        .run("SELECT rapport_sequence_changes(1000); SELECT rapport_add_deliveries(1000, '{\"leads\": \"lead\"}')");
    assert_ne!(origin.database.cell("SELECT count(*)::text FROM webhook_deliveries WHERE status = 'pending'"), "0");
    origin.client.get(&path).expect(200);
    origin.client.get(&path).expect(200);

    let dump = scratch("backup-clone").join("dump").display().to_string();
    let name = format!("clone_of_{}", origin.database.url.rsplit('/').next().expect("a name"));
    let clone = Database::at(format!("{}/{name}", origin.database.url.rsplit_once('/').expect("a name").0));
    let Some(_) = run("dump", &[("DATABASE_URL", &origin.database.url), ("DUMP", &dump)]) else { return };
    origin.database.run(&format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"));
    let restore = postgres_program("pg_restore").expect("it was there");
    let output = Command::new(restore).args(["--no-owner", "-d", &clone.url, &dump]).output().expect("pg_restore");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    migrate::run(&clone.url).expect("a check");
    clone.run(&block("quiet"));

    // The same Redis and versions, another row.
    clone.run("SET session_replication_role = replica; UPDATE leads SET title = 'Copy'");
    let settings: Vec<&str> = sends.iter().copied().chain(["--background-tasks", "on"]).collect();
    let copy = service_on(&clone, &origin, &settings);
    assert_eq!(copy.client.get(&path).expect(200).json["title"], "Copy");
    assert_eq!(origin.client.get(&path).expect(200).json["title"], "Roof");
    let made = copy.client.make("leads", json!({ "title": "Made in the copy" }));
    until("the copy orders its events", || {
        copy.client
            .get("events?resource=leads")
            .expect(200)
            .rows()
            .iter()
            .any(|event| event["data"]["row_id"] == made.as_str() || event["row_id"] == made.as_str())
    });
    assert!(receiver.got().is_empty(), "a clone sends nothing");
}

#[test]
fn point_in_time_restore_ignores_newer_cache_in_redis() {
    let (Some(redis), Some(_)) = (redis(), postgres_program("pg_basebackup")) else { return };
    let wal = scratch("backup-wal").display().to_string();
    let server = OwnServer::start("original");
    let admin = server.database("postgres");
    run("archive", &[("ADMIN_URL", &admin.url), ("WAL", &wal)]);
    drop(server);
    let server = OwnServer::start("original");
    let database = server.create("crm", "TEMPLATE template0 ENCODING 'UTF8'");
    migrate::run(&database.url).expect("migrations");
    let business = make_business(&database, "acme");
    let key = make_key(&database, business, Role::Owner);
    let service = Service::on(database.clone(), business, &key, &["--redis-url", &redis]);
    let path = format!("leads/{}", service.client.make("leads", json!({ "title": "Roof" })));

    let major = Binaries::find(postgres_program("postgres").expect("it").parent()).expect("PostgreSQL").major;
    let state = scratch("recovered");
    let base = state.join(format!("postgres-{major}")).display().to_string();
    run("base", &[("ADMIN_URL", &admin.url), ("BASE", &base)]).expect("the programs");
    service.client.patch(&path, json!({ "title": "Door" })).expect(200);
    let time = database.cell("SELECT clock_timestamp()::text");
    service.client.patch(&path, json!({ "title": "Too late" })).expect(200);
    assert_eq!(service.client.get(&path).expect(200).json["title"], "Too late");
    let last = database.cell("SELECT pg_walfile_name(pg_switch_wal())");
    let archived = PathBuf::from(&wal).join(last);
    until("the log is archived", || archived.exists());

    run("recover", &[("BASE", &base), ("WAL", &wal), ("TIME", &time)]).expect("the programs");
    give_to_server(&server.state, base.as_ref());
    let recovered = OwnServer::start("recovered");
    let database = recovered.database("crm");
    until("recovery has ended", || database.cell("SELECT pg_is_in_recovery()::text") == "false");
    migrate::run(&database.url).expect("a check");
    let restored = Service::on(database, business, &key, &["--redis-url", &redis]);
    assert_eq!(restored.client.get(&path).expect(200).json["title"], "Door");
    assert_eq!(service.client.get(&path).expect(200).json["title"], "Too late");
    restored.client.patch(&path, json!({ "title": "Window" })).expect(200);
    assert_eq!(restored.client.get(&path).expect(200).json["title"], "Window");
    assert_eq!(Client::new(service.address, &key).get(&path).expect(200).json["title"], "Too late");
}
