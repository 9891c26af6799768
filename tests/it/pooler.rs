//! Connection poolers: PgBouncer in session mode works; one that shares connections between transactions is refused.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use rapport::auth::Role;
use rapport::db::pooler;

use crate::support::{Database, Program, make_business, make_key, until};

/// What an operator reads who has named such a pooler.
const REMEDY: &str = "pool_mode=session";

/// A PgBouncer in front of the tests' PostgreSQL, stopped when the test is over.
struct Bouncer {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Bouncer {
    /// `None` where there is no PgBouncer: the test is skipped then.
    fn start(database: &Database, port: u16, options: &[(&str, &str)]) -> Option<Self> {
        if Command::new("pgbouncer").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("skipped: there is no pgbouncer (Debian: apt-get install pgbouncer)");
            return None;
        }
        let (socket, user) = (database.socket(), "rapport");
        let folder = crate::support::folder().join(format!("bouncer-{port}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("pgbouncer.ini");
        let options: String = options.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        let text = format!(
            "[databases]\n* = host={} user={user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = any\nunix_socket_dir =\nmax_client_conn = 200\ndefault_pool_size = 20\n{options}",
            socket.display()
        );
        std::fs::write(&file, text).expect("its file");
        let owner = std::fs::metadata(&socket).expect("the server's folder");
        let mut command = Command::new("pgbouncer");
        command.arg("--quiet").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: geteuid has no preconditions. PgBouncer does not run as root.
        if unsafe { libc::geteuid() } == 0 {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let child = command.spawn().expect("pgbouncer");
        let bouncer = Self { child, folder, port };
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

/// Calls `check` while eight clients of the pooler are busy.
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
fn serve_worker_and_migrate_behind_a_sharing_pooler_are_refused_with_the_remedy() {
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
fn check_of_a_sharing_pooler_recognises_it_idle_and_busy_however_it_hands_out_connections() {
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
fn check_of_session_mode_and_of_postgresql_itself_passes() {
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
fn service_behind_session_mode_serves() {
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
fn service_whose_address_comes_to_mean_a_sharing_pooler_is_not_ready_until_it_means_another() {
    let database = Database::create();
    let key = make_key(&database, make_business(&database, "acme"), Role::Owner);
    let port = free_port();
    // Nothing is there when it starts.
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
