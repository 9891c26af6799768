//! The environment of the consistency test: a PostgreSQL that can crash, restart and become unreachable, a Redis that can be
//! killed and rolled back, three replicas that can be killed.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use diesel::{Connection, PgConnection};
use parking_lot::Mutex;
use rapport::auth::Role;
use rapport::db::migrate;

use crate::support::proxy::Proxy;
use crate::support::{Client, Database, OwnServer, make_business, make_key};

pub const REPLICAS: usize = 3;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// Waits until `ready` returns true.
fn until(what: &str, ready: impl Fn() -> bool) {
    let began = Instant::now();
    while !ready() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what} does not come up");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A Redis server of this test.
pub struct Redis {
    pub port: u16,
    folder: tempfile::TempDir,
    child: Mutex<Option<Child>>,
}

impl Redis {
    fn start() -> Self {
        let redis = Self { port: free_port(), folder: tempfile::tempdir().expect("a folder"), child: Mutex::new(None) };
        redis.up();
        redis
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    fn dump(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn up(&self) {
        let program = std::env::var("RAPPORT_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
        let child = Command::new(program)
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a Redis");
        *self.child.lock() = Some(child);
        until("Redis", || self.command(&["PING"]));
    }

    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends SIGSTOP or SIGCONT.
    pub fn signal(&self, signal: i32) {
        if let Some(child) = self.child.lock().as_ref() {
            // SAFETY: the child is ours and not yet waited for.
            unsafe { libc::kill(child.id() as i32, signal) };
        }
    }

    fn command(&self, words: &[&str]) -> bool {
        let asked = || -> Result<(), deadpool_redis::redis::RedisError> {
            let client = deadpool_redis::redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
            let mut command = deadpool_redis::redis::cmd(words[0]);
            words[1..].iter().for_each(|word| {
                command.arg(word);
            });
            command.query::<deadpool_redis::redis::Value>(
                &mut client.get_connection_with_timeout(Duration::from_secs(2))?,
            )?;
            Ok(())
        };
        asked().is_ok()
    }

    /// Saves a snapshot of its data for [`Redis::set_back`].
    pub fn remember(&self) {
        if self.command(&["SAVE"]) {
            let _ = std::fs::copy(self.dump("dump.rdb"), self.dump("old.rdb"));
        }
    }

    /// Restarts with the last saved snapshot, or empty.
    pub fn restart(&self, with_old: bool) {
        self.kill();
        let _ = std::fs::remove_file(self.dump("dump.rdb"));
        if with_old {
            let _ = std::fs::copy(self.dump("old.rdb"), self.dump("dump.rdb"));
        }
        self.up();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.signal(libc::SIGCONT);
        self.kill();
    }
}

/// One replica: its own process with its own Redis connection.
pub struct Replica {
    pub client: Client,
    /// To Redis.
    pub proxy: Proxy,
    /// To PostgreSQL.
    pub database: Proxy,
    port: u16,
    child: Mutex<Option<Child>>,
}

impl Replica {
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The same replica with another credential.
    pub fn client_with(&self, key: &str) -> Client {
        Client::new(([127, 0, 0, 1], self.port).into(), key)
    }

    pub fn up(&self, database: &Database, mutant: Option<&str>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
        command
            .arg("serve")
            .env_clear()
            .envs(mutant.map(|name| ("RAPPORT_MUTANT", name)))
            .env("DATABASE_URL", self.database.url(&database.url))
            .env("REDIS_URL", format!("redis://127.0.0.1:{}", self.proxy.port))
            .env("RAPPORT_BIND", format!("127.0.0.1:{}", self.port))
            .env("RAPPORT_METRICS_BIND", "off")
            .env("RAPPORT_HTTP_WORKERS", "1")
            .env("RAPPORT_DB_CONNECTIONS", "3")
            .env("RAPPORT_CACHE_SAMPLE", "20")
            .env("RAPPORT_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        *self.child.lock() = Some(command.spawn().expect("a replica"));
        let command = Mutex::new(command);
        until("a replica", || {
            // Without its database it ends, as while that is started again.
            let mut child = self.child.lock();
            if child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|ended| ended.is_some())) {
                *child = Some(command.lock().spawn().expect("a replica"));
            }
            drop(child);
            self.client.try_get("/health/readiness").is_some_and(|answer| answer.status == 200)
        });
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server of all histories of this process, since some faults are the whole server's.
static SERVER: LazyLock<OwnServer> = LazyLock::new(|| OwnServer::start_restarting("history"));

/// A new database, whose acknowledged commits survive a crash of the server.
fn create_database() -> Database {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("history_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let admin = SERVER.database("postgres");
    until("the server", || PgConnection::establish(&admin.url).is_ok());
    let database = SERVER.create(&name, "TEMPLATE template0 ENCODING 'UTF8'");
    database.run(&format!("ALTER DATABASE {name} SET synchronous_commit = on"));
    migrate::run(&database.url).expect("migrations");
    database
}

/// Kills a backend, so that the server recovers from a crash.
pub fn crash_server(conn: &mut PgConnection) {
    let pid = crate::support::statement("SELECT pg_backend_pid()").row(conn).ok().flatten().and_then(|row| row.int(0));
    if let Some(pid) = pid {
        // SAFETY: a process of our server.
        unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    }
}

/// Ends the server as in an emergency; what started it starts it again. Returns whether it did: a server that ends more often
/// than once a minute is given up.
pub fn restart_server() -> bool {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = LAST.lock();
    if last.is_some_and(|at| at.elapsed() < Duration::from_secs(65)) {
        return false;
    }
    *last = Some(Instant::now());
    let folders = std::fs::read_dir(&SERVER.state).into_iter().flatten().flatten();
    let files = folders.filter_map(|folder| std::fs::read_to_string(folder.path().join("postmaster.pid")).ok());
    let pids = files.filter_map(|text| text.lines().next()?.trim().parse::<i32>().ok());
    for pid in pids {
        // SAFETY: the server is ours.
        unsafe { libc::kill(pid, libc::SIGQUIT) };
    }
    true
}

pub struct World {
    pub database: Database,
    pub redis: Redis,
    pub replicas: Vec<Replica>,
    pub mutant: Option<&'static str>,
}

impl World {
    pub fn begin(mutant: Option<&'static str>) -> Self {
        rapport::app::registry::install();
        let database = create_database();
        let business = make_business(&database, "acme");
        let key = make_key(&database, business, Role::Owner);
        let redis = Redis::start();
        let replicas: Vec<Replica> = (0..REPLICAS)
            .map(|_| {
                let port = free_port();
                let proxy = Proxy::to(redis.address());
                Replica {
                    client: Client::new(([127, 0, 0, 1], port).into(), &key),
                    proxy,
                    database: Proxy::to_postgres(&database.url),
                    port,
                    child: Mutex::new(None),
                }
            })
            .collect();
        replicas.iter().for_each(|replica| replica.up(&database, mutant));
        Self { database, redis, replicas, mutant }
    }

    /// A connection past the service, unless the server is away.
    pub fn connect(&self) -> Option<PgConnection> {
        PgConnection::establish(&self.database.url).ok()
    }
}
