//! A private PostgreSQL for those who have not configured one: found on the machine, initialised once under the state
//! folder, reachable through a Unix socket only, and gone when the service is gone.

mod binaries;
mod owner;

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};

pub use binaries::Binaries;
use owner::Owner;

/// The longest path that fits into `sockaddr_un` on Linux and macOS, less the socket's own name.
const LONGEST_SOCKET_FOLDER: usize = 85;
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "no PostgreSQL found. Looked for `initdb` and `postgres` in:\n{0}\n\
         Set DATABASE_URL to a server of yours, or install one (Debian: apt-get install postgresql; macOS: brew install \
         postgresql@18), or set RAPPORT_POSTGRES_BIN to the folder that holds the two programs."
    )]
    NotFound(String),
    #[error(
        "{0} is in use by another Rapport. Stop it, or give this one a folder of its own: RAPPORT_STATE_DIR=/some/folder"
    )]
    InUse(PathBuf),
    #[error("cannot use the state folder {0}: {1}. Choose another with RAPPORT_STATE_DIR.")]
    Folder(PathBuf, std::io::Error),
    #[error("{program} failed: {detail}")]
    Program { program: &'static str, detail: String },
    #[error("the embedded PostgreSQL cannot be reached: {0}")]
    Connect(String),
}

/// How durable the server has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As PostgreSQL ships: what was committed survives a power cut.
    Full,
    /// For tests: no fsync.
    None,
}

/// A running private server. Dropping it stops the server (fast shutdown) and waits for it.
#[derive(Debug)]
pub struct Embedded {
    child: Child,
    socket: PathBuf,
    /// Held for as long as the server runs: one service per state folder.
    _lock: File,
}

impl Embedded {
    /// Starts the server whose files are under `state`, initialising them at the first start.
    ///
    /// Call it from the process' main thread: on Linux the server is told to stop when the *thread* that started it
    /// ends, so that `kill -9` of the service stops it too.
    pub fn start(state: &Path, bin: Option<&Path>, durability: Durability) -> Result<Self, Error> {
        let binaries = Binaries::find(bin)?;
        let owner = Owner::of_server();
        let folder = |error| Error::Folder(state.to_path_buf(), error);
        owner.make_folder(state, 0o755).map_err(folder)?;
        let lock = lock(state)?;
        let data = state.join(format!("postgres-{}", binaries.major));
        if !data.join("PG_VERSION").exists() {
            // A first start that was cut off leaves a folder that initdb refuses.
            let _ = fs::remove_dir_all(&data);
            owner.make_folder(&data, 0o700).map_err(folder)?;
            binaries.initdb(&data, &owner)?;
        }
        let socket = socket_folder(state);
        owner.make_folder(&socket, 0o700).map_err(folder)?;
        let log_path = state.join("postgres.log");
        let log = OpenOptions::new().create(true).append(true).open(&log_path).map_err(folder)?;
        let child = spawn(&binaries, &data, &socket, &owner, log, durability)
            .map_err(|error| Error::Program { program: "postgres", detail: error.to_string() })?;
        let mut server = Self { child, socket, _lock: lock };
        server.wait_until_ready(&log_path)?;
        Ok(server)
    }

    /// The URL of `database` on this server.
    pub fn url(&self, database: &str) -> String {
        let host = url::form_urlencoded::byte_serialize(self.socket.as_os_str().as_encoded_bytes()).collect::<String>();
        format!("postgres://rapport@{host}/{database}")
    }

    /// Creates `database` if it is not there; `true` if it was created.
    pub fn ensure_database(&self, database: &str) -> Result<bool, Error> {
        let mut conn = self.connect("postgres")?;
        match conn.batch_execute(&format!("CREATE DATABASE \"{database}\"")) {
            Ok(()) => Ok(true),
            Err(error) if error.to_string().contains("already exists") => Ok(false),
            Err(error) => Err(Error::Connect(error.to_string())),
        }
    }

    fn connect(&self, database: &str) -> Result<PgConnection, Error> {
        PgConnection::establish(&self.url(database)).map_err(|error| Error::Connect(error.to_string()))
    }

    fn wait_until_ready(&mut self, log: &Path) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            if self.connect("postgres").is_ok() {
                return Ok(());
            }
            let exited = self.child.try_wait().ok().flatten();
            if exited.is_some() || began.elapsed() > START_LIMIT {
                let log = fs::read_to_string(log).unwrap_or_default();
                let tail = log.lines().rev().take(8).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>();
                return Err(Error::Program { program: "postgres", detail: tail.join("\n") });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // SAFETY: a signal to a child that we have not yet waited for, so the id cannot have been reused.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGINT) };
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if began.elapsed() > STOP_LIMIT {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn lock(state: &Path) -> Result<File, Error> {
    let folder = |error| Error::Folder(state.to_path_buf(), error);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(state.join("lock")).map_err(folder)?;
    // SAFETY: flock on a descriptor that `file` owns.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(file),
        _ => Err(Error::InUse(state.to_path_buf())),
    }
}

/// `<state>/run`, or a short name under the temporary folder where that would not fit into a socket address.
fn socket_folder(state: &Path) -> PathBuf {
    let run = state.join("run");
    if run.as_os_str().len() <= LONGEST_SOCKET_FOLDER {
        return run;
    }
    let name = xxhash_rust::xxh3::xxh3_64(run.as_os_str().as_encoded_bytes());
    std::env::temp_dir().join(format!("rapport-{name:016x}"))
}

fn spawn(
    binaries: &Binaries,
    data: &Path,
    socket: &Path,
    owner: &Owner,
    log: File,
    durability: Durability,
) -> std::io::Result<Child> {
    let mut settings = vec![
        "listen_addresses=".to_owned(),
        format!("unix_socket_directories={}", socket.display()),
        "unix_socket_permissions=0700".to_owned(),
        "max_connections=100".to_owned(),
        "shared_buffers=256MB".to_owned(),
        "effective_cache_size=1GB".to_owned(),
        "work_mem=16MB".to_owned(),
        "random_page_cost=1.1".to_owned(),
        "max_wal_size=2GB".to_owned(),
        "lc_messages=C".to_owned(),
        "timezone=UTC".to_owned(),
    ];
    if durability == Durability::None {
        settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
    }
    let mut command = Command::new(binaries.folder.join("postgres"));
    command.arg("-D").arg(data);
    for setting in settings {
        command.arg("-c").arg(setting);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir(data);
    owner.apply(&mut command);
    // SAFETY: prctl and setpgid are async-signal-safe. The group keeps Ctrl-C of the terminal from reaching the
    // server before the service has drained.
    unsafe {
        command.pre_exec(|| {
            libc::setpgid(0, 0);
            #[cfg(target_os = "linux")]
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGINT);
            Ok(())
        });
    }
    command.spawn()
}

/// Writes `content` to `path`, readable by its owner only.
pub fn write_secret(path: &Path, content: &str) -> std::io::Result<()> {
    fs::write(path, content)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))
}
