//! The environment of the consistency test: a PostgreSQL that can crash or fail over and become unreachable, a Redis that can be
//! killed and rolled back, three replicas that can be killed.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use parking_lot::Mutex;
use rapport::auth::Role;

use super::primary::Primary;
use crate::support::proxy::Proxy;
use crate::support::{Client, Database, make_business, make_key, until};

pub const REPLICAS: usize = 3;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
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

pub struct World {
    pub primary: Primary,
    pub redis: Redis,
    pub replicas: Vec<Replica>,
    pub mutant: Option<&'static str>,
}

impl World {
    pub fn begin(mutant: Option<&'static str>, primary: Primary) -> Self {
        rapport::app::registry::install();
        let database = primary.database();
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
                    database: Proxy::to_primary(primary.url.clone()),
                    port,
                    child: Mutex::new(None),
                }
            })
            .collect();
        replicas.iter().for_each(|replica| replica.up(&database, mutant));
        Self { primary, redis, replicas, mutant }
    }
}
