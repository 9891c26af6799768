//! Starts, watches, restarts and stops the embedded server's process.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use diesel::{Connection, PgConnection};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::binaries::Binaries;
use super::error::Error;
use super::orphans;
use super::os_user::OsUser;
use crate::base::supervisor::{Lifecycle, Outcome, Supervisor, Task};

/// How durable commits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// PostgreSQL's defaults: commits survive a power failure.
    Full,
    /// No fsync, for tests.
    None,
}

/// Time limit for a start of a server that does not report recovery.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How often the process is checked; the longest delay of a restart.
const LOOKS_EVERY: Duration = Duration::from_millis(50);
/// Pause before the first restart; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Consecutive failed restarts before the service gives up: another try would probably fail the same way, and operators
/// notice a process that exits, but not one that keeps trying.
const MAX_FAILURES: u32 = 6;
/// A server that ran for this long has recovered: its next failure is the first in a row.
const STEADY_AFTER: Duration = Duration::from_secs(60);
/// Pause between attempts while processes of the previous server prevent the start.
const ORPHAN_PAUSE: Duration = Duration::from_millis(250);
/// Lines of the log that are reported when the server exits.
const TAIL: usize = 8;
/// Bytes of the log that are read for them.
const TAIL_BYTES: u64 = 16 * 1024;
/// Name in `/health/readiness`.
const COMPONENT: &str = "embedded PostgreSQL";

/// Parameters of a start.
pub(super) struct Launch {
    pub binaries: Binaries,
    pub data: PathBuf,
    pub socket: PathBuf,
    pub owner: OsUser,
    pub log: PathBuf,
    pub durability: Durability,
    /// URL to test that the server accepts connections.
    pub url: String,
}

/// The running server. Dropping it stops the server (fast shutdown) and waits for it.
///
/// On Linux the server is signalled to stop when the *thread* that started it ends, so that `kill -9` of the service
/// stops it too. So one thread starts, watches and restarts it for as long as this value lives.
pub(super) struct Postmaster {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Result of the first start.
    started: Option<Result<(), String>>,
    stopping: bool,
    service: Option<Service>,
}

/// The service that runs on this server.
struct Service {
    life: Arc<Lifecycle>,
    /// Receives the reason when restarts have failed too often.
    given_up: Option<oneshot::Sender<String>>,
}

impl Postmaster {
    /// Starts the server and waits until it accepts connections.
    pub(super) fn start(launch: Launch) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let mut watch = Watch { shared: shared.clone(), launch, child: None, failures: 0, up_since: None };
        let failed = |detail: String| Error::Program { program: "postgres", detail };
        let thread = Supervisor::of_process()
            .spawn_thread(Task::named(COMPONENT), "postgres", move |pulse| watch.run(&|| pulse.succeeded()))
            .map_err(|error| failed(error.to_string()))?;
        let server = Self { shared, thread: Some(thread) };
        let mut state = server.shared.state.lock();
        while state.started.is_none() {
            server.shared.changed.wait(&mut state);
        }
        let started = state.started.clone().unwrap_or(Ok(()));
        drop(state);
        started.map(|()| server).map_err(failed)
    }

    /// From now on restarts the server when it exits; readiness of `life` fails meanwhile. The returned receiver gets
    /// the reason when restarting is given up.
    pub(super) fn serve(&self, life: Arc<Lifecycle>) -> oneshot::Receiver<String> {
        let (given_up, told) = oneshot::channel();
        self.shared.state.lock().service = Some(Service { life, given_up: Some(given_up) });
        told
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        self.shared.state.lock().stopping = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

struct Watch {
    shared: Arc<Shared>,
    launch: Launch,
    child: Option<Child>,
    /// Consecutive failures.
    failures: u32,
    up_since: Option<Instant>,
}

impl Watch {
    fn run(&mut self, alive: &dyn Fn()) -> Outcome {
        // A panic interrupted the first start: another one reports its result to the waiting caller.
        if self.shared.state.lock().started.is_none() {
            self.stop();
        }
        loop {
            if self.is_stopping() {
                self.stop();
                return Ok(());
            }
            match &mut self.child {
                None => {
                    if !self.begin() {
                        return Ok(());
                    }
                }
                Some(child) => match child.try_wait() {
                    Ok(None) => {
                        alive();
                        self.rest(LOOKS_EVERY);
                    }
                    ended => {
                        self.child = None;
                        if !self.ended(ended.ok().flatten()) {
                            return Ok(());
                        }
                    }
                },
            }
        }
    }

    /// Starts the server and reports the result. `false`: the start failed for good.
    fn begin(&mut self) -> bool {
        let mut outcome = self.attempt();
        let mut held_up: Option<Instant> = None;
        while let Err(reason) = &outcome
            && let Some(limit) = orphans::hold_up(reason)
            && !self.is_stopping()
        {
            let began = *held_up.get_or_insert_with(Instant::now);
            if began.elapsed() > limit {
                break;
            }
            self.stop();
            let ended = orphans::end(&self.launch.data, began);
            if began.elapsed() < ORPHAN_PAUSE {
                tracing::warn!(ended, "the PostgreSQL before has not ended yet; waiting for it");
            }
            self.rest(ORPHAN_PAUSE);
            outcome = self.attempt();
        }
        let mut state = self.shared.state.lock();
        let first = state.started.is_none();
        if first {
            state.started = Some(outcome.clone());
            self.shared.changed.notify_all();
        }
        let life = state.service.as_ref().map(|service| service.life.clone());
        drop(state);
        match outcome {
            Ok(()) => {
                self.up_since = Some(Instant::now());
                if let Some(life) = life {
                    life.recovered(COMPONENT);
                }
                true
            }
            Err(reason) => {
                self.stop();
                !first && self.failed(reason)
            }
        }
    }

    /// Starts the server and waits until it accepts connections. Errors: why it does not.
    fn attempt(&mut self) -> Result<(), String> {
        let child = self.launch.spawn().map_err(|error| error.to_string())?;
        let child = self.child.insert(child);
        until_up(child, &self.launch, &self.shared)
    }

    /// Handles an exit of the server. `false`: it is not restarted.
    fn ended(&mut self, status: Option<ExitStatus>) -> bool {
        if self.up_since.take().is_some_and(|since| since.elapsed() >= STEADY_AFTER) {
            self.failures = 0;
        }
        let how = match status.map(|status| (status.code(), status.signal())) {
            Some((Some(code), _)) => format!("exited with status {code}"),
            Some((None, Some(signal))) => format!("was ended by signal {signal}"),
            _ => "ended".into(),
        };
        self.failed(format!("PostgreSQL {how}. The end of its log:\n{}", tail(&self.launch.log)))
    }

    /// Logs `reason`, marks the service as impaired and pauses before the next attempt. `false`: there is none.
    fn failed(&mut self, reason: String) -> bool {
        tracing::error!(failures = self.failures, reason, "the embedded PostgreSQL is down");
        let mut state = self.shared.state.lock();
        // Without a service: an operator's command fails by itself, with its connection.
        let Some(service) = &mut state.service else { return false };
        service
            .life
            .impair(COMPONENT, "The embedded PostgreSQL has ended and is being restarted. The log has the reason.");
        if self.failures >= MAX_FAILURES {
            if let Some(given_up) = service.given_up.take() {
                let _ = given_up.send(format!("{MAX_FAILURES} restarts in a row have failed. {reason}"));
            }
            return false;
        }
        drop(state);
        self.rest(FIRST_PAUSE * 2_u32.pow(self.failures));
        self.failures += 1;
        true
    }

    fn is_stopping(&self) -> bool {
        self.shared.state.lock().stopping
    }

    /// Sleeps for `pause`, or until the server is to stop.
    fn rest(&self, pause: Duration) {
        let mut state = self.shared.state.lock();
        if !state.stopping {
            self.shared.changed.wait_for(&mut state, pause);
        }
    }

    /// Ends the process, if there is one: fast shutdown, or SIGKILL after [`STOP_LIMIT`].
    fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // SAFETY: a signal to a child that was not waited for yet, so its id cannot have been reused.
        unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
        let began = Instant::now();
        while matches!(child.try_wait(), Ok(None)) {
            if began.elapsed() > STOP_LIMIT {
                let _ = child.kill();
                let _ = child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Waits until the server accepts connections. Errors: why it does not.
fn until_up(child: &mut Child, launch: &Launch, shared: &Shared) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let refused = match PgConnection::establish(&launch.url) {
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        };
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return Err(tail(&launch.log));
        }
        // Recovery has no time limit.
        let recovering = refused.contains("the database system is");
        if began.elapsed() > START_LIMIT && !recovering {
            return Err(format!("it does not accept connections: {refused}\n{}", tail(&launch.log)));
        }
        if shared.state.lock().stopping {
            return Err("it was told to stop".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the last lines of the log.
fn tail(log: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(mut log) = File::open(log) {
        let from = log.metadata().map_or(0, |metadata| metadata.len().saturating_sub(TAIL_BYTES));
        let _ = log.seek(SeekFrom::Start(from)).and_then(|_| log.read_to_end(&mut text));
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

impl Launch {
    fn spawn(&self) -> std::io::Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut settings = vec![
            "listen_addresses=".to_owned(),
            // A list of names, in which quotes keep spaces and commas together.
            format!("unix_socket_directories=\"{}\"", self.socket.display().to_string().replace('"', "\"\"")),
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
        if self.durability == Durability::None {
            settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
        }
        let mut command = Command::new(self.binaries.folder.join("postgres"));
        command.arg("-D").arg(&self.data);
        for setting in settings {
            command.arg("-c").arg(setting);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir(&self.data);
        self.owner.apply(&mut command);
        // SAFETY: prctl and setpgid are async-signal-safe. The process group keeps the terminal's Ctrl-C from reaching
        // the server before the service has drained.
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
}
