//! Recognises a connection pooler that gives one PostgreSQL connection to several clients in turn.
//!
//! Such a pooler (transaction or statement mode) executes the prepared statement that another process has made under the
//! same name, loses settings and lets go of locks that belong to a session. What it does is recognised, not what it is: two
//! sessions that are open at once never have the same backend, and none changes its own, unless a pooler shares them.

use std::ffi::{CStr, CString};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::error::Error;

/// What to do about a pooler that shares connections.
#[derive(Debug, thiserror::Error)]
#[error(
    "DATABASE_URL leads to a connection pooler that shares PostgreSQL connections between transactions (transaction or \
     statement mode). Rapport keeps prepared statements, settings and locks on its connections, so it would get answers to \
     statements of other processes. Let the pooler use session mode for this database (PgBouncer: pool_mode=session, with at \
     least RAPPORT_DB_CONNECTIONS + 4 server connections for each process), or point DATABASE_URL to PostgreSQL itself."
)]
pub struct Shared;

/// Longest wait for the two sessions of the check. A pooler in session mode that has no second connection to give keeps
/// them waiting; that is not what is looked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a pooler is tried before it is taken to keep each session on its own backend. An idle one is caught at the
/// first attempt; a busy one gives other connections now and then.
const ATTEMPTS: usize = 25;
/// And for how long at most.
const LONGEST: Duration = Duration::from_secs(2);

/// Opens two sessions at `url` and compares their backends. Errors: [`Shared`]. A database that is away, or slow, is none.
pub fn check(url: &str) -> Result<(), Shared> {
    if examine(url) == Some(true) { Err(Shared) } else { Ok(()) }
}

/// Whether sessions at `url` share backends. `None`: it cannot be told, because the database is away or slow.
#[expect(
    clippy::disallowed_methods,
    reason = "for one question; a panic leaves it without an answer, and it is asked again"
)]
fn examine(url: &str) -> Option<bool> {
    let (url, (send, receive)) = (CString::new(url).ok()?, mpsc::channel());
    // libpq may wait for ever: the thread is left to it then.
    let probe = move || {
        let _ = send.send(is_shared(&url));
    };
    std::thread::Builder::new().name("pooler".into()).spawn(probe).ok()?;
    receive.recv_timeout(PATIENCE).ok()?
}

fn is_shared(url: &CStr) -> Option<bool> {
    let (one, other) = (Session::open(url)?, Session::open(url)?);
    let (mine, theirs) = (one.backend()?, other.backend()?);
    if mine == theirs {
        return Some(true);
    }
    // PostgreSQL names the backend when it lets a session in; a pooler makes a number up.
    if one.announced() == mine && other.announced() == theirs {
        return Some(false);
    }
    let began = Instant::now();
    for _ in 0..ATTEMPTS {
        // Connections that are handed out in turn.
        if one.backend()? != mine || one.backend()? != mine || other.backend()? != theirs {
            return Some(true);
        }
        // A transaction holds the connection that it has got: perhaps that of the other session, which then gets another.
        if other.ask("BEGIN").is_none() {
            // In statement mode there are no transactions.
            return one.backend().map(|_| true);
        }
        let held = other.backend()?;
        if held == mine || held != theirs || one.backend()? != mine {
            return Some(true);
        }
        other.ask("ROLLBACK")?;
        if began.elapsed() > LONGEST {
            break;
        }
    }
    Some(false)
}

/// A session through libpq itself: diesel does not show which backend the server has announced.
struct Session(NonNull<pq_sys::PGconn>);

impl Session {
    /// `None` where there is no connection to be had.
    fn open(url: &CStr) -> Option<Self> {
        // SAFETY: libpq reads a text that ends. What it returns is closed by `drop`, whether it is connected or not.
        let session = Self(NonNull::new(unsafe { pq_sys::PQconnectdb(url.as_ptr()) })?);
        // SAFETY: the pointer is libpq's and not closed.
        let status = unsafe { pq_sys::PQstatus(session.0.as_ptr()) };
        (status == pq_sys::ConnStatusType::CONNECTION_OK).then_some(session)
    }

    /// The backend that was announced when the session was opened.
    fn announced(&self) -> i32 {
        // SAFETY: the pointer is libpq's and not closed.
        unsafe { pq_sys::PQbackendPID(self.0.as_ptr()) }
    }

    /// The backend that answers now.
    fn backend(&self) -> Option<i32> {
        self.ask("SELECT pg_backend_pid()")?.parse().ok()
    }

    /// The first cell of what `sql` answers; empty where it answers no rows. `None`: it failed.
    fn ask(&self, sql: &str) -> Option<String> {
        use pq_sys::ExecStatusType::{PGRES_COMMAND_OK, PGRES_TUPLES_OK};
        let sql = CString::new(sql).ok()?;
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

impl Shared {
    /// As clients are answered meanwhile.
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

/// When a connection was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// The first is 1.
    number: u64,
    epoch: u64,
}

/// Keeps a process from a database that turns out to be behind such a pooler while it runs. It is closed by what a statement meets
/// ([`super::backend_id`]) or by a check, and opened by a check only.
#[derive(Debug, Default)]
pub struct Gate {
    closed: AtomicBool,
    /// Connections that the pool has made, and how many it had made before the last check began.
    made: AtomicU64,
    checked: AtomicU64,
    /// How often it was opened again. What was connected in an earlier epoch is not used any more.
    epoch: AtomicU64,
    due: Notify,
}

impl Gate {
    /// The pool has made a connection, and began to in `epoch`.
    pub(super) fn connected(&self, epoch: u64) -> Made {
        let number = self.made.fetch_add(1, Ordering::AcqRel) + 1;
        self.due.notify_one();
        Made { number, epoch }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether connections were found to be shared with nobody after this one was made.
    pub(super) fn has_checked(&self, made: Made) -> bool {
        !self.is_closed() && !self.is_stale(made) && self.checked.load(Ordering::Acquire) >= made.number
    }

    pub(super) fn is_stale(&self, made: Made) -> bool {
        made.epoch != self.epoch()
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Errors: 503 while it is closed.
    pub fn pass(&self) -> Result<(), Error> {
        if self.is_closed() { Err(Shared::refusal()) } else { Ok(()) }
    }

    /// A statement has met another backend than that of its connection: nothing passes until a check finds why.
    pub fn close(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                "a statement has reached another backend than its connection's; work stops until that is understood"
            );
        }
        self.due.notify_one();
    }

    /// Waits until a check should not wait for its time.
    pub async fn due(&self) {
        self.due.notified().await;
    }

    /// Checks `url`, if connections were made since it was last known what they lead to, and always while it is closed. Before it
    /// opens, `renew` gives up the connections that were made through the pooler. Blocks.
    pub(super) fn check(&self, url: &str, renew: impl FnOnce()) -> Result<(), Shared> {
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
        if self.is_closed() { Err(Shared) } else { Ok(()) }
    }
}
