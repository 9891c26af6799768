//! Tests of connection poolers: PgBouncer in session mode works; one that shares connections between transactions is
//! refused.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use parking_lot::Mutex;
use rapport::auth::Role;
use rapport::db::pooler;
use serde_json::json;

use crate::support::{Client, Database, Program, make_business, make_key, until};

/// The fix in the error about such a pooler.
const REMEDY: &str = "pool_mode=session";

/// A PgBouncer in front of the tests' PostgreSQL, stopped on drop.
struct Bouncer {
    child: Child,
    folder: PathBuf,
    /// The folder of the server's socket.
    socket: PathBuf,
    port: u16,
}

/// The name of its configuration file.
const FILE: &str = "pgbouncer.ini";

fn configure(folder: &Path, socket: &Path, port: u16, options: &[(&str, &str)]) {
    let options: String = options.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    let text = format!(
        "[databases]\n* = host={} user=rapport\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         auth_type = any\nunix_socket_dir =\nmax_client_conn = 200\ndefault_pool_size = 20\n{options}",
        socket.display()
    );
    std::fs::write(folder.join(FILE), text).expect("its file");
}

impl Bouncer {
    /// `None` if PgBouncer is not installed: the test is skipped then.
    fn start(database: &Database, port: u16, options: &[(&str, &str)]) -> Option<Self> {
        if Command::new("pgbouncer").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("skipped: there is no pgbouncer (Debian: apt-get install pgbouncer)");
            return None;
        }
        let socket = database.socket();
        let folder = crate::support::folder().join(format!("bouncer-{port}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        configure(&folder, &socket, port, options);
        let owner = std::fs::metadata(&socket).expect("the server's folder");
        let mut command = Command::new("pgbouncer");
        command.arg("--quiet").arg(folder.join(FILE)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: geteuid has no preconditions. PgBouncer does not run as root.
        if unsafe { libc::geteuid() } == 0 {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let child = command.spawn().expect("pgbouncer");
        let bouncer = Self { child, folder, socket, port };
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "pgbouncer does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(bouncer)
    }

    fn url(&self, database: &Database) -> String {
        url(self.port, database)
    }

    /// Changes its options while it runs; it keeps its connections.
    fn reload(&self, options: &[(&str, &str)]) {
        configure(&self.folder, &self.socket, self.port, options);
        // SAFETY: sends a signal to a child that has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGHUP) };
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn url(port: u16, database: &Database) -> String {
    format!("postgres://rapport@127.0.0.1:{port}/{}", database.name())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// Calls `check` while eight clients keep the pooler busy.
fn while_busy(url: &str, check: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut conn = PgConnection::establish(url).expect("a connection");
                while !over.load(Ordering::Relaxed) {
                    conn.batch_execute("SELECT pg_sleep(0.002)").expect("an answer");
                }
            });
        }
        std::thread::sleep(Duration::from_millis(100));
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
        over.store(true, Ordering::Relaxed);
        checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn start_behind_transaction_pooler_refused_with_remedy() {
    let database = Database::create();
    for mode in ["transaction", "statement"] {
        let Some(bouncer) = Bouncer::start(&database, free_port(), &[("pool_mode", mode)]) else { return };
        let url = bouncer.url(&database);
        for command in
            [&["serve", "--bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0"][..], &["worker"], &["migrate"]]
        {
            let (good, said) = Program::run(command, &[("DATABASE_URL", &url)]);
            assert!(!good && said.contains(REMEDY), "{mode}, {command:?}: {said}");
        }
    }
}

#[test]
fn check_pooler_transaction_mode_always_detected() {
    let database = Database::create();
    for options in [
        &[("pool_mode", "transaction")][..],
        &[("pool_mode", "transaction"), ("server_round_robin", "1")],
        &[("pool_mode", "transaction"), ("default_pool_size", "3")],
        &[("pool_mode", "statement"), ("server_round_robin", "1")],
    ] {
        let Some(bouncer) = Bouncer::start(&database, free_port(), options) else { return };
        let url = bouncer.url(&database);
        let recognised = || (0..10).filter(|_| pooler::check(&url).is_err()).count();
        assert_eq!(recognised(), 10, "idle, {options:?}");
        while_busy(&url, || assert_eq!(recognised(), 10, "busy, {options:?}"));
        assert_eq!(recognised(), 10, "idle with several server connections, {options:?}");
    }
}

#[test]
fn check_pooler_session_mode_or_direct_passes() {
    let database = Database::create();
    let passes = |url: &str| (0..5).filter(|_| pooler::check(url).is_ok()).count();
    assert_eq!(passes(&database.url), 5, "PostgreSQL itself");
    assert_eq!(passes(&url(free_port(), &database)), 5, "nothing listens there");
    for options in [&[("pool_mode", "session")][..], &[("pool_mode", "session"), ("server_round_robin", "1")]] {
        let Some(bouncer) = Bouncer::start(&database, free_port(), options) else { return };
        let url = bouncer.url(&database);
        assert_eq!(passes(&url), 5, "idle, {options:?}");
        while_busy(&url, || assert_eq!(passes(&url), 5, "busy, {options:?}"));
    }
}

#[test]
fn serve_behind_session_pooler_works() {
    let database = Database::create();
    let key = make_key(&database, make_business(&database, "acme"), Role::Owner);
    let Some(bouncer) = Bouncer::start(&database, free_port(), &[("pool_mode", "session")]) else { return };
    let program = Program::serve(&[("DATABASE_URL", &bouncer.url(&database)), ("RAPPORT_DB_CONNECTIONS", "2")]);
    program.until_ready();
    let client = program.client(&key);
    let lead = client.make("leads", serde_json::json!({ "title": "Roof" }));
    for _ in 0..5 {
        assert_eq!(client.get(&format!("leads/{lead}")).expect(200).json["title"], "Roof");
        assert_eq!(client.get("leads?limit=11").expect(200).rows().len(), 1);
    }
}

#[test]
fn readiness_transaction_pooler_503_until_replaced() {
    let database = Database::create();
    let key = make_key(&database, make_business(&database, "acme"), Role::Owner);
    let port = free_port();
    // The pooler is down when the service starts.
    let settings = [("DATABASE_URL", &*url(port, &database)), ("RAPPORT_DB_CONNECTIONS", "2")];
    let program = Program::serve(&settings);
    let client = program.client(&key);
    for _ in 0..2 {
        let Some(sharing) = Bouncer::start(&database, port, &[("pool_mode", "transaction")]) else { return };
        until("the reason is shown", || client.get("/health/readiness").text.contains(REMEDY));
        assert_eq!(client.get("/health/readiness").status, 503);
        assert_eq!(client.get("leads").status, 503);
        drop(sharing);
        let own = Bouncer::start(&database, port, &[("pool_mode", "session")]);
        program.until_ready();
        until("it serves", || client.get("leads").status == 200);
        drop(own);
    }
}

const SESSION: &[(&str, &str)] = &[("pool_mode", "session")];
const TRANSACTION: &[(&str, &str)] = &[("pool_mode", "transaction")];

/// Leads and contacts with their expected texts.
struct Known {
    leads: Vec<(String, String)>,
    contacts: Vec<(String, String)>,
}

impl Known {
    fn make(client: &Client) -> Self {
        let leads = (0..12).map(|number| format!("Roof {number}"));
        let leads = leads.map(|title| (client.make("leads", json!({ "title": title })), title)).collect();
        let contacts = (0..12).map(|number| format!("c{number}@example.com"));
        let contacts = contacts.map(|email| (client.make("contacts", json!({ "email": email })), email)).collect();
        Self { leads, contacts }
    }

    /// Reads and writes of several shapes; `number` chooses one. Returns the status and code of the response, and what
    /// is wrong with a successful one.
    fn ask(&self, client: &Client, number: usize) -> ((u16, String), Option<String>) {
        let (lead, title) = &self.leads[number % self.leads.len()];
        let (contact, email) = &self.contacts[number % self.contacts.len()];
        let row = |answer: &serde_json::Value, field: &str, value: &str| answer[field] == value;
        type Right<'a> = Box<dyn Fn(&serde_json::Value) -> bool + 'a>;
        let (answer, right): (_, Right<'_>) = match number % 6 {
            0 => (client.get(&format!("leads/{lead}")), Box::new(|json| row(json, "title", title))),
            1 => (
                client.get(&format!("contacts?email={email}")),
                Box::new(|json| json["data"].as_array().is_some_and(|d| d.len() == 1 && row(&d[0], "email", email))),
            ),
            2 => (client.get(&format!("contacts/{contact}")), Box::new(|json| row(json, "email", email))),
            3 => (
                client.get("leads?limit=50&include=company&sort=created_at"),
                Box::new(|json| json["data"].as_array().is_some_and(|data| data.len() == self.leads.len())),
            ),
            4 => (
                client.patch(&format!("leads/{lead}"), json!({ "external_id": format!("x{number}") })),
                Box::new(|json| row(json, "title", title) && row(json, "external_id", &format!("x{number}"))),
            ),
            _ => (
                client.patch(&format!("contacts/{contact}"), json!({ "title": format!("T{number}") })),
                Box::new(|json| row(json, "email", email) && row(json, "title", &format!("T{number}"))),
            ),
        };
        let wrong = answer.status != 503 && (answer.status != 200 || !right(&answer.json));
        (
            (answer.status, answer.code().to_owned()),
            wrong.then(|| format!("{number}: {} {}", answer.status, answer.text)),
        )
    }

    /// Asserts, in the database itself, that every row has its original content.
    fn assert_untouched(&self, database: &Database) {
        for (table, column, rows) in [("leads", "title", &self.leads), ("contacts", "email", &self.contacts)] {
            assert_eq!(database.cell(&format!("SELECT count(*)::text FROM {table}")), rows.len().to_string());
            for (id, text) in rows {
                assert_eq!(&database.cell(&format!("SELECT {column} FROM {table} WHERE id = '{id}'")), text);
            }
        }
    }
}

#[test]
fn pooler_mode_switch_under_load_503_and_no_wrong_response() {
    let database = Database::create();
    let key = make_key(&database, make_business(&database, "acme"), Role::Owner);
    let Some(bouncer) = Bouncer::start(&database, free_port(), SESSION) else { return };
    for cache in ["on", "off"] {
        let settings = [
            ("DATABASE_URL", &*bouncer.url(&database)),
            ("RAPPORT_DB_CONNECTIONS", "5"),
            ("RAPPORT_CACHE", cache),
            ("RAPPORT_RATE_LIMIT", "0"),
        ];
        let program = Program::serve(&settings);
        program.until_ready();
        let client = program.client(&key);
        database.run("DELETE FROM contacts; DELETE FROM leads");
        let known = Known::make(&client);
        let (over, wrong, tally) = (AtomicBool::new(false), Mutex::new(Vec::new()), Mutex::new(BTreeMap::new()));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (known, over, wrong, tally, client) = (&known, &over, &wrong, &tally, program.client(&key));
                scope.spawn(move || {
                    let mut number = thread * 1_000;
                    while !over.load(Ordering::Relaxed) {
                        number += 1;
                        let (kind, fault) = known.ask(&client, number);
                        *tally.lock().entry(kind.clone()).or_insert(0) += 1;
                        wrong.lock().extend(fault);
                        if kind.0 == 503 {
                            std::thread::sleep(Duration::from_millis(5));
                        }
                    }
                });
            }
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for round in 0..2 {
                    // Long enough for every connection to prepare its statements.
                    std::thread::sleep(Duration::from_millis(1_500));
                    bouncer.reload(TRANSACTION);
                    let switched = Instant::now();
                    until("the reason is shown", || client.get("/health/readiness").text.contains(REMEDY));
                    println!("cache {cache}, round {round}: noticed after {:?}", switched.elapsed());
                    assert!(switched.elapsed() < Duration::from_secs(3));
                    for _ in 0..20 {
                        let readiness = client.get("/health/readiness");
                        assert_eq!(readiness.status, 503);
                        assert!(readiness.text.contains(REMEDY) && !readiness.text.contains("rapport migrate"));
                        let refused = client.get("leads?limit=3");
                        assert_eq!((refused.status, refused.code()), (503, "database_pooler"), "{}", refused.text);
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    bouncer.reload(SESSION);
                    program.until_ready();
                    until("it serves", || client.get("leads?limit=3").status == 200);
                }
                std::thread::sleep(Duration::from_millis(1_000));
                assert!(program.is_ready());
            }));
            over.store(true, Ordering::Relaxed);
            checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        let wrong = wrong.into_inner();
        println!("cache {cache}: {:?}", tally.into_inner());
        assert!(wrong.is_empty(), "{} wrong, the first: {:?}", wrong.len(), wrong.iter().take(5).collect::<Vec<_>>());
        known.assert_untouched(&database);
    }
}

#[test]
fn pooler_mode_switch_while_idle_detected() {
    let database = Database::create();
    let Some(bouncer) = Bouncer::start(&database, free_port(), SESSION) else { return };
    for connections in ["1", "4"] {
        let settings = [("DATABASE_URL", &*bouncer.url(&database)), ("RAPPORT_DB_CONNECTIONS", connections)];
        let program = Program::serve(&settings);
        program.until_ready();
        let client = program.client("");
        std::thread::sleep(Duration::from_millis(1_500));
        assert!(program.is_ready());
        bouncer.reload(TRANSACTION);
        let switched = Instant::now();
        until("the reason is shown", || client.get("/health/readiness").text.contains(REMEDY));
        println!("{connections} connections: noticed after {:?}", switched.elapsed());
        assert!(switched.elapsed() < Duration::from_secs(8));
        bouncer.reload(SESSION);
        program.until_ready();
    }
}
