//! PostgreSQL and Redis servers of the tests, started once per process and stopped with it.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, mpsc};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use parking_lot::Mutex;
use rapport::db::embedded::{self, Absent, Durability, Embedded};
use rapport::db::{RawRow, migrate};

/// Databases are copied from this one, which is migrated once.
const TEMPLATE: &str = "rapport_template";

static POSTGRES: LazyLock<Embedded> = LazyLock::new(|| {
    let (send, receive) = mpsc::channel();
    // In a thread that never ends: on Linux the server stops with the thread that started it.
    std::thread::spawn(move || {
        let started = Embedded::start(&folder(), postgres_bin().as_deref(), Durability::None, Absent::Create);
        send.send(started).expect("the harness waits");
        loop {
            std::thread::park();
        }
    });
    let server = receive.recv().expect("the thread answers").unwrap_or_else(|error| panic!("{error}"));
    server.ensure_database(TEMPLATE).expect("a template");
    let migrated = migrate::run(&server.url(TEMPLATE));
    // The expected catalogue cannot be checked while it is being regenerated.
    if std::env::var_os("RAPPORT_WRITE_SCHEMA").is_none() {
        migrated.expect("migrations");
    }
    server
});

static REDIS: OnceLock<Option<(String, Child)>> = OnceLock::new();

/// In memory if there is room: hundreds of databases are created and dropped.
const MEMORY: &str = "/dev/shm";
const DISK: &str = "/var/tmp";

/// The maximum that a run uses of [`MEMORY`], with some to spare.
const ROOM: u64 = 4 << 30;

/// The folder of this run's servers: accessible to the OS user that they run as, and removed with the process.
pub fn folder() -> PathBuf {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        forget_earlier_runs();
        // SAFETY: the function is part of this program, and does not unwind.
        unsafe { libc::atexit(forget_this_run) };
        let place = if has_room(MEMORY) { MEMORY } else { DISK };
        Path::new(place).join(format!("{PREFIX}{}", std::process::id()))
    });
    FOLDER.clone()
}

const PREFIX: &str = "rapport-test-";

fn has_room(place: &str) -> bool {
    let place = std::ffi::CString::new(place).expect("no NUL");
    // SAFETY: a struct of numbers, for which zero is valid.
    let mut told: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid during the call.
    let answered = unsafe { libc::statvfs(place.as_ptr(), &mut told) } == 0;
    answered && told.f_bavail as u64 * told.f_frsize as u64 >= ROOM
}

extern "C" fn forget_this_run() {
    let _ = std::fs::remove_dir_all(folder());
}

/// Removes the folders of runs whose process is gone, such as killed ones.
fn forget_earlier_runs() {
    for entry in [MEMORY, DISK].iter().flat_map(std::fs::read_dir).flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(process) = name.strip_prefix(PREFIX).and_then(|id| id.parse::<i32>().ok()) else {
            continue;
        };
        // SAFETY: signal 0 only checks that the process exists.
        if unsafe { libc::kill(process, 0) } != 0 {
            // In the background.
            std::thread::spawn(move || std::fs::remove_dir_all(entry.path()));
        }
    }
}

thread_local! {
    /// The database that this thread queried last, and the connection.
    static ASKED_BY: Cell<Option<(String, PgConnection)>> = const { Cell::new(None) };
}

/// Connections that make and drop databases, each used again: a connection is a process of the server.
static ADMINS: Admins = Admins(Mutex::new(Vec::new()));

struct Admins(Mutex<Vec<PgConnection>>);

impl Admins {
    /// Runs `sql` on a connection that nobody uses. One that failed is not used again.
    fn run(&self, sql: &str) -> Result<(), String> {
        let free = self.0.lock().pop();
        let mut admin = match free {
            Some(admin) => admin,
            None => PgConnection::establish(&POSTGRES.url("postgres")).map_err(|error| error.to_string())?,
        };
        admin.batch_execute(sql).map_err(|error| error.to_string())?;
        self.0.lock().push(admin);
        Ok(())
    }
}

/// A database of one test, migrated and empty. One from [`Database::create`] is dropped with its last clone.
#[derive(Clone)]
pub struct Database {
    pub url: String,
    _made: Option<Arc<Made>>,
}

/// The name of a database created for a test.
struct Made(String);

impl Drop for Made {
    fn drop(&mut self) {
        // FORCE closes connections that are still open, such as those of a killed program. Errors are ignored: a test may have broken the
        // server itself.
        ADMINS.run(&format!("DROP DATABASE {} WITH (FORCE)", self.0)).unwrap_or_default();
    }
}

impl Database {
    pub fn create() -> Self {
        // Tests use definitions without a service, too.
        rapport::app::registry::install();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        ADMINS.run(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}")).expect("a database");
        Self { url: POSTGRES.url(&name), _made: Some(Arc::new(Made(name))) }
    }

    /// An existing database, which is kept.
    pub fn at(url: String) -> Self {
        Self { url, _made: None }
    }

    /// A database without a schema.
    pub fn create_empty() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("empty_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        POSTGRES.ensure_database(&name).expect("a database");
        Self::at(POSTGRES.url(&name))
    }

    pub fn name(&self) -> &str {
        self.url.rsplit('/').next().expect("a name")
    }

    /// The folder of the server's socket.
    pub fn socket(&self) -> PathBuf {
        folder().join("run")
    }

    pub fn connect(&self) -> PgConnection {
        PgConnection::establish(&self.url).expect("the database")
    }

    /// The single text that `sql` returns.
    pub fn ask(&self, sql: &str) -> String {
        let rows = self.query(sql);
        rows.first().expect("a row").text(0).unwrap_or_default().to_owned()
    }

    /// The rows of `sql`, over this thread's last connection: tests poll until something holds, and each connection is
    /// a process of the server. A failed connection is replaced.
    fn query(&self, sql: &str) -> Vec<RawRow> {
        if let Some((url, mut conn)) = ASKED_BY.take().filter(|(url, _)| *url == self.url)
            && let Ok(rows) = crate::support::statement(sql).rows(&mut conn)
        {
            ASKED_BY.set(Some((url, conn)));
            return rows;
        }
        let mut conn = self.connect();
        let rows = crate::support::statement(sql).rows(&mut conn).unwrap_or_else(|error| panic!("{sql}: {error}"));
        ASKED_BY.set(Some((self.url.clone(), conn)));
        rows
    }

    /// Runs `sql`, which may be several statements.
    pub fn run(&self, sql: &str) {
        self.lend(|conn| conn.batch_execute(sql)).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Lends this thread's last connection, and leaves nothing of the session behind.
    pub fn lend<T, E>(&self, with: impl FnOnce(&mut PgConnection) -> Result<T, E>) -> Result<T, E> {
        let known = ASKED_BY.take().filter(|(url, _)| *url == self.url).map(|(_, conn)| conn);
        // The server may have been restarted.
        let alive = known.and_then(|mut conn| conn.batch_execute("SELECT").is_ok().then_some(conn));
        let mut conn = alive.unwrap_or_else(|| self.connect());
        let done = with(&mut conn)?;
        if conn.batch_execute("DISCARD ALL").is_ok() {
            ASKED_BY.set(Some((self.url.clone(), conn)));
        }
        Ok(done)
    }

    /// The error of `sql`, which must fail.
    pub fn fails(&self, sql: &str) -> String {
        let failed = self.connect().batch_execute(sql);
        failed.expect_err("it should have failed").to_string()
    }

    /// The rows of a query whose cells are all text; NULL is the empty text.
    pub fn rows<const N: usize>(&self, sql: &str) -> Vec<[String; N]> {
        self.query(sql)
            .iter()
            .map(|row| std::array::from_fn(|index| row.text(index).unwrap_or_default().to_owned()))
            .collect()
    }

    /// The one cell of a query, as text.
    pub fn cell(&self, sql: &str) -> String {
        let [[cell]] = <[[String; 1]; 1]>::try_from(self.rows::<1>(sql)).expect("one row");
        cell
    }
}

/// URL of a Redis of this run, or `None` if there is no `redis-server` (`make test` installs one).
pub fn redis() -> Option<String> {
    let started = REDIS.get_or_init(|| {
        let program = std::env::var("RAPPORT_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
        let socket = std::env::temp_dir().join(format!("rapport-test-redis-{}.sock", std::process::id()));
        let mut command = Command::new(program);
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(&socket);
        command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
        die_with_us(&mut command);
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            send.send(command.spawn().ok()).expect("the harness waits");
            loop {
                std::thread::park();
            }
        });
        let child = receive.recv().ok()??;
        let began = Instant::now();
        while !socket.exists() && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(10));
        }
        Some((format!("unix://{}", socket.display()), child))
    });
    started.as_ref().map(|(url, _)| url.clone())
}

#[cfg(target_os = "linux")]
fn die_with_us(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: prctl is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_us(_: &mut Command) {}

/// A PostgreSQL server of one test, for server-wide settings: roles, encodings, files. Stopped on drop; its files stay
/// for [`OwnServer::start`] with the same name, until the next run of the harness.
pub struct OwnServer {
    pub state: PathBuf,
    socket: String,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl OwnServer {
    pub fn start(name: &str) -> Self {
        Self::begin(name, false)
    }

    /// As [`OwnServer::start`]; a server that ends is started again.
    pub fn start_restarting(name: &str) -> Self {
        Self::begin(name, true)
    }

    fn begin(name: &str, restarts: bool) -> Self {
        let state = folder().join(name);
        let (send, receive) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let folder = state.clone();
        // On Linux the server stops with the thread that started it, so the thread waits as long as it is needed.
        let thread = std::thread::spawn(move || {
            let server = start_when_free(&folder);
            let _restarts = restarts.then(|| server.serve(Arc::default()));
            send.send(server.url("")).expect("the test waits");
            let _ = stopped.recv();
            drop(server);
        });
        let socket = receive.recv().expect("a server");
        Self { state, socket, stop: Some(stop), thread: Some(thread) }
    }

    /// An existing database of this server.
    pub fn database(&self, name: &str) -> Database {
        Database::at(format!("{}{name}", self.socket))
    }

    /// A new database, without a schema; `options` follow `CREATE DATABASE name`.
    pub fn create(&self, name: &str, options: &str) -> Database {
        self.database("postgres").run(&format!("CREATE DATABASE {name} {options}"));
        self.database(name)
    }
}

/// Starts a server in `folder`. A program that another test starts has the files of this process open, and so the lock of a
/// server that ended just now, until it executes.
fn start_when_free(folder: &Path) -> Embedded {
    let began = Instant::now();
    loop {
        match Embedded::start(folder, postgres_bin().as_deref(), Durability::None, Absent::Create) {
            Ok(server) => return server,
            Err(embedded::Error::InUse(_)) if began.elapsed() < Duration::from_secs(2) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn postgres_bin() -> Option<PathBuf> {
    ["RAPPORT_TEST_POSTGRES_BIN", "RAPPORT_POSTGRES_BIN"].iter().find_map(std::env::var_os).map(PathBuf::from)
}

/// A program that ships beside `postgres`, such as `pg_dump`; prints a notice and returns `None` if the distribution
/// lacks it.
pub fn postgres_program(name: &str) -> Option<PathBuf> {
    let found = rapport::db::embedded::Binaries::find(postgres_bin().as_deref()).expect("PostgreSQL");
    let program = found.folder.join(name);
    if !program.is_file() {
        eprintln!("SKIPPED: there is no {name} in {}", found.folder.display());
        return None;
    }
    Some(program)
}

/// A folder of this run that the server may read and write, emptied.
pub fn scratch(name: &str) -> PathBuf {
    let path = folder().join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a folder");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("a folder for all");
    path
}

/// Gives the files to the OS user that runs the test servers.
pub fn give_to_server(like: &Path, folder: &Path) {
    let owner = format!("--reference={}", like.join("run").display());
    let output = Command::new("chown").args(["-R", &owner]).arg(folder).output().expect("chown");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
