//! Detects a connection pooler that shares one PostgreSQL connection between several clients.
//!
//! Such a pooler (transaction or statement mode) may execute the prepared statement that another process created under
//! the same name, and loses session settings and session-level locks. It is detected by behaviour, not by product: two
//! sessions open at once never have the same backend, and a session never changes its own, unless a pooler shares them.

use std::ffi::{CStr, CString};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::base::error::Error;

/// The error for a pooler that shares connections, with its remedy.
#[derive(Debug, thiserror::Error)]
#[error(
    "DATABASE_URL leads to a connection pooler that shares PostgreSQL connections between transactions (transaction or \
     statement mode). Rapport keeps prepared statements, settings and locks on its connections, so it would get answers to \
     statements of other processes. Let the pooler use session mode for this database (PgBouncer: pool_mode=session, with at \
     least RAPPORT_DB_CONNECTIONS + 4 server connections for each process), or point DATABASE_URL to PostgreSQL itself."
)]
pub struct PoolerSharesConnections;

/// Time limit for the check. A pooler in session mode without a second free connection blocks it; that is not the
/// condition to detect.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Attempts before a pooler is assumed to keep each session on its own backend. An idle one is detected at the first
/// attempt; a busy one switches connections now and then.
const ATTEMPTS: usize = 25;
/// Time limit for all attempts.
const MAX_TOTAL_TIME: Duration = Duration::from_secs(2);

/// Opens two sessions at `url` and compares their backends. Errors: [`PoolerSharesConnections`]. An unreachable or slow
/// database is not an error.
pub fn check(url: &str) -> Result<(), PoolerSharesConnections> {
    if examine(url) == Some(true) { Err(PoolerSharesConnections) } else { Ok(()) }
}

/// Whether sessions at `url` share backends. `None`: unknown, because the database is unreachable or slow.
#[expect(
    clippy::disallowed_methods,
    reason = "for one question; a panic leaves it without an answer, and it is asked again"
)]
fn examine(url: &str) -> Option<bool> {
    let (url, (send, receive)) = (CString::new(url).ok()?, mpsc::channel());
    // libpq may block forever: then the thread is abandoned.
    let probe = move || {
        let _ = send.send(is_shared(&url));
    };
    std::thread::Builder::new().name("pooler".into()).spawn(probe).ok()?;
    receive.recv_timeout(TIMEOUT).ok()?
}

fn is_shared(url: &CStr) -> Option<bool> {
    let (one, other) = (Session::open(url)?, Session::open(url)?);
    let (mine, theirs) = (one.backend()?, other.backend()?);
    if mine == theirs {
        return Some(true);
    }
    // PostgreSQL announces the backend when a session starts; a pooler invents a number.
    if one.announced() == mine && other.announced() == theirs {
        return Some(false);
    }
    let began = Instant::now();
    for _ in 0..ATTEMPTS {
        // A pooler that hands out connections in turn changes a session's backend.
        if one.backend()? != mine || one.backend()? != mine || other.backend()? != theirs {
            return Some(true);
        }
        // A transaction keeps its connection: perhaps the one of the other session, which then gets another.
        if other.ask(c"BEGIN").is_none() {
            // Statement mode has no transactions.
            return one.backend().map(|_| true);
        }
        let held = other.backend()?;
        if held == mine || held != theirs || one.backend()? != mine {
            return Some(true);
        }
        other.ask(c"ROLLBACK")?;
        if began.elapsed() > MAX_TOTAL_TIME {
            break;
        }
    }
    Some(false)
}

/// A session through libpq itself: diesel does not expose the backend that the server has announced.
struct Session(NonNull<pq_sys::PGconn>);

impl Session {
    /// Returns `None` where no connection can be made.
    fn open(url: &CStr) -> Option<Self> {
        // SAFETY: libpq reads a NUL-terminated string. What it returns is closed by `drop`, whether it is connected or
        // not.
        let session = Self(NonNull::new(unsafe { pq_sys::PQconnectdb(url.as_ptr()) })?);
        // SAFETY: the pointer is libpq's and not closed.
        let status = unsafe { pq_sys::PQstatus(session.0.as_ptr()) };
        (status == pq_sys::ConnStatusType::CONNECTION_OK).then_some(session)
    }

    /// Returns the backend that was announced when the session was opened.
    fn announced(&self) -> i32 {
        // SAFETY: the pointer is libpq's and not closed.
        unsafe { pq_sys::PQbackendPID(self.0.as_ptr()) }
    }

    /// Returns the backend that answers now.
    fn backend(&self) -> Option<i32> {
        self.ask(c"SELECT pg_backend_pid()")?.parse().ok()
    }

    /// Returns the first cell of the result of `sql`; empty where it has no rows. `None`: it failed.
    fn ask(&self, sql: &'static CStr) -> Option<String> {
        use pq_sys::ExecStatusType::{PGRES_COMMAND_OK, PGRES_TUPLES_OK};
        // SAFETY: the pointers are libpq's; a result is read before it is cleared, and a cell only where there is one.
        unsafe {
            let result = NonNull::new(pq_sys::PQexec(self.0.as_ptr(), sql.as_ptr()))?.as_ptr();
            let status = pq_sys::PQresultStatus(result);
            let cell = match pq_sys::PQntuples(result) {
                1.. => CStr::from_ptr(pq_sys::PQgetvalue(result, 0, 0)).to_string_lossy().into_owned(),
                _ => String::new(),
            };
            pq_sys::PQclear(result);
            (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK).then_some(cell)
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: once, and nothing uses it afterwards.
        unsafe { pq_sys::PQfinish(self.0.as_ptr()) };
    }
}

impl PoolerSharesConnections {
    /// Returns the error for clients while such a pooler is detected.
    pub fn refusal() -> Error {
        Error::Unavailable {
            code: "database_pooler",
            detail: "The database is reached through a connection pooler that mixes up sessions. An operator finds what to do \
                     about it in /health/readiness."
                .into(),
            after: 30,
        }
    }
}

/// When a pooled connection was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// Counts connections from 1.
    number: u64,
    epoch: u64,
}

/// Keeps a process from a database that turns out to be behind such a pooler. A statement that reaches another backend
/// ([`super::backend_id`]) or a check closes it; only a check opens it.
#[derive(Debug, Default)]
pub struct PoolerGate {
    closed: AtomicBool,
    /// Number of connections that the pool has made, and that number when the last check began.
    made: AtomicU64,
    checked: AtomicU64,
    /// How often the gate was reopened. Connections of an earlier epoch are no longer used.
    epoch: AtomicU64,
    due: Notify,
}

impl PoolerGate {
    /// Records that the pool has made a connection, which it began to make in `epoch`, and requests a check.
    pub(super) fn connected(&self, epoch: u64) -> Made {
        let number = self.made.fetch_add(1, Ordering::AcqRel) + 1;
        self.due.notify_one();
        Made { number, epoch }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether a check that began after this connection was made has found that connections are not shared.
    pub(super) fn has_checked(&self, made: Made) -> bool {
        !self.is_closed() && !self.is_stale(made) && self.checked.load(Ordering::Acquire) >= made.number
    }

    pub(super) fn is_stale(&self, made: Made) -> bool {
        made.epoch != self.epoch()
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Errors: 503 while the gate is closed.
    pub fn pass(&self) -> Result<(), Error> {
        if self.is_closed() { Err(PoolerSharesConnections::refusal()) } else { Ok(()) }
    }

    /// Closes the gate until a check explains why a statement has reached another backend than its connection's.
    pub fn close(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                "a statement has reached another backend than its connection's; work stops until that is understood"
            );
        }
        self.due.notify_one();
    }

    /// Waits until a check is requested ahead of schedule.
    pub async fn due(&self) {
        self.due.notified().await;
    }

    /// Checks `url` if the pool has made connections since the last check, and always while the gate is closed. Before
    /// the gate opens, `renew` drops the connections made through the pooler. Blocks.
    pub(super) fn check(&self, url: &str, renew: impl FnOnce()) -> Result<(), PoolerSharesConnections> {
        let made = self.made.load(Ordering::Acquire);
        let due = self.is_closed() || self.checked.load(Ordering::Acquire) != made;
        if due && let Some(shared) = examine(url) {
            if shared {
                self.closed.store(true, Ordering::Release);
            } else {
                if self.is_closed() {
                    self.epoch.fetch_add(1, Ordering::AcqRel);
                    renew();
                }
                self.checked.store(made, Ordering::Release);
                self.closed.store(false, Ordering::Release);
            }
        }
        if self.is_closed() { Err(PoolerSharesConnections) } else { Ok(()) }
    }
}
