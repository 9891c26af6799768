//! The PostgreSQL of a history: one that crashes and is started again, or one whose standby takes over.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use parking_lot::Mutex;
use rapport::db::embedded::Binaries;
use rapport::db::migrate;

use crate::support::{Database, OwnServer, give_to_server, postgres_program, scratch, statement, until};

/// The server of all histories of this process that need no other, since its faults are the whole server's.
static SERVER: LazyLock<OwnServer> = LazyLock::new(|| OwnServer::start_restarting("history"));

/// The primary server, with the database of one history.
pub struct Primary {
    /// `None`: [`SERVER`].
    own: Option<Mutex<OwnServer>>,
    /// The database on the server that is the primary now.
    pub url: Arc<Mutex<String>>,
}

impl Primary {
    /// A server that crashes.
    pub fn crashing() -> Self {
        Self { own: None, url: Arc::new(Mutex::new(create_database(&SERVER).url.clone())) }
    }

    /// A server of which standbys are made.
    pub fn failing_over() -> Self {
        let own = OwnServer::start(&name());
        Self { url: Arc::new(Mutex::new(create_database(&own).url.clone())), own: Some(Mutex::new(own)) }
    }

    pub fn database(&self) -> Database {
        Database::at(self.url.lock().clone())
    }

    /// A connection to it, unless the server is away.
    pub fn connect(&self) -> Option<PgConnection> {
        PgConnection::establish(&self.url.lock().clone()).ok()
    }

    /// Runs `sql` past the service, unless the server is away. A failure of it does not matter.
    pub fn try_to_run(&self, sql: &str) {
        let _ = self.connect().map(|mut conn| conn.batch_execute(sql));
    }

    /// Whether the server can crash, and sessions be ended: where commits wait for a standby, both would show changes that are
    /// lost with the server.
    pub fn can_crash(&self) -> bool {
        self.own.is_none()
    }

    /// Kills a backend, so that the server recovers from a crash; or ends the server as in an emergency, and what started it
    /// starts it again: at most once a minute, or it would be given up.
    pub fn crash(&self, restart: bool) {
        static LAST: Mutex<Option<Instant>> = Mutex::new(None);
        let mut last = LAST.lock();
        if restart && last.is_none_or(|at| at.elapsed() > Duration::from_secs(65)) {
            *last = Some(Instant::now());
            return end(&SERVER);
        }
        let Some(mut conn) = self.connect() else { return };
        let pid = statement("SELECT pg_backend_pid()").row(&mut conn).ok().flatten().and_then(|row| row.int(0));
        if let Some(pid) = pid {
            // SAFETY: a process of our server.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        }
    }

    /// Makes a standby that has all that is acknowledged from then on, ends the primary as in an emergency, and promotes the
    /// standby. Returns whether it did: not without `pg_basebackup`.
    pub fn fail_over(&self) -> bool {
        let (Some(own), Some(base_backup)) = (&self.own, postgres_program("pg_basebackup")) else {
            return false;
        };
        let mut primary = own.lock();
        let admin = primary.database("postgres");
        let (name, major) = (name(), Binaries::find(base_backup.parent()).expect("PostgreSQL").major);
        let data = scratch(&name).join(format!("postgres-{major}"));
        let copied = Command::new(base_backup)
            .args(["--checkpoint=fast", "--write-recovery-conf", "--dbname", &admin.url, "--pgdata"])
            .arg(&data)
            .output()
            .expect("pg_basebackup");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        give_to_server(&primary.state, &data);
        let standby = OwnServer::start(&name);
        admin.run("ALTER SYSTEM SET synchronous_standby_names = '*'");
        admin.run("SELECT pg_reload_conf()");
        let synchronous = "SELECT (count(*) > 0)::text FROM pg_stat_replication WHERE sync_state = 'sync'";
        until("the standby", || admin.ask(synchronous) == "true");
        // Waits for all that was committed before.
        admin.run("SET synchronous_commit = on; SELECT pg_logical_emit_message(true, 'rapport', '')");
        std::thread::sleep(Duration::from_millis(500));
        end(&primary);
        until("the primary's end", || PgConnection::establish(&admin.url).is_err());
        let admin = standby.database("postgres");
        admin.run("SELECT pg_promote()");
        until("the promotion", || admin.ask("SELECT pg_is_in_recovery()::text") == "false");
        let database = self.database();
        *self.url.lock() = standby.database(database.name()).url.clone();
        *primary = standby;
        true
    }
}

fn name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("primary-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A new database, whose acknowledged commits survive a crash of the server.
fn create_database(server: &OwnServer) -> Database {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("history_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let admin = server.database("postgres");
    until("the server", || PgConnection::establish(&admin.url).is_ok());
    let database = server.create(&name, "TEMPLATE template0 ENCODING 'UTF8'");
    database.run(&format!("ALTER DATABASE {name} SET synchronous_commit = on"));
    migrate::run(&database.url).expect("migrations");
    database
}

/// Ends a server at once.
fn end(server: &OwnServer) {
    let folders = std::fs::read_dir(&server.state).into_iter().flatten().flatten();
    let files = folders.filter_map(|folder| std::fs::read_to_string(folder.path().join("postmaster.pid")).ok());
    let pids = files.filter_map(|text| text.lines().next()?.trim().parse::<i32>().ok());
    for pid in pids {
        // SAFETY: the server is ours.
        unsafe { libc::kill(pid, libc::SIGQUIT) };
    }
}
