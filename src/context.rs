//! What a request carries with it while it is served: its id, and what it spent in the database.
//!
//! A task-local, set by the outermost middleware, so that the error type can name the request and the database can
//! charge it without every function handing both along.

use std::cell::Cell;
use std::time::Duration;

use crate::outbound::Bounds;

tokio::task_local! {
    pub static CONTEXT: Context;
}

pub struct Context {
    pub request_id: Box<str>,
    pub database: Cell<Duration>,
    pub statements: Cell<u64>,
    /// Time spent waiting for a validation round.
    pub cache: Cell<Duration>,
    pub quota: Cell<Option<Quota>>,
    /// Whereto this service sends.
    bounds: Bounds,
    /// Names that were guessed at for it.
    guesses: Cell<u32>,
    /// Whether the time limit of requests does not count for this one.
    pub unhurried: Cell<bool>,
}

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Key,
    Session,
    /// Whoever has no good credential.
    Address,
}

impl Counted {
    pub const ALL: [Self; 3] = [Self::Key, Self::Session, Self::Address];

    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Session => "session",
            Self::Address => "address",
        }
    }
}

/// What is left of a quota.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    pub of: Counted,
    /// Requests.
    pub left: u64,
    /// Nanoseconds until all of it is there again.
    pub full_in: u64,
}

impl Context {
    pub fn new(request_id: Box<str>) -> Self {
        Self {
            request_id,
            database: Cell::default(),
            statements: Cell::default(),
            cache: Cell::default(),
            quota: Cell::default(),
            bounds: Bounds::default(),
            guesses: Cell::default(),
            unhurried: Cell::default(),
        }
    }

    pub fn with_bounds(self, bounds: &Bounds) -> Self {
        Self { bounds: bounds.clone(), ..self }
    }
}

/// Whether another unknown name may be compared with those that are known, for the request being served: an answer names no
/// more faults than this.
pub fn may_guess() -> bool {
    const MOST: u32 = 200;
    let guessed = CONTEXT.try_with(|context| context.guesses.replace(context.guesses.get().saturating_add(1)));
    guessed.unwrap_or_default() < MOST
}

/// The id of the request being served, or `-` outside of one.
pub fn request_id() -> String {
    CONTEXT.try_with(|context| context.request_id.to_string()).unwrap_or_else(|_| "-".to_owned())
}

/// Whereto the service sends that serves this request; outside of one only to where anyone may.
pub fn bounds() -> Bounds {
    CONTEXT.try_with(|context| context.bounds.clone()).unwrap_or_default()
}

/// Charges the request being served, if any.
pub fn spent_in_cache(time: Duration) {
    let _ = CONTEXT.try_with(|context| context.cache.set(context.cache.get() + time));
}

/// Notes what is left of the quota that the request being served counts against, if any.
pub fn counted(quota: Quota) {
    let _ = CONTEXT.try_with(|context| context.quota.set(Some(quota)));
}

/// The request being served takes as long as it takes: something else bounds it.
pub fn takes_its_time() {
    let _ = CONTEXT.try_with(|context| context.unhurried.set(true));
}

/// What the request being served has spent in the database.
pub fn spent() -> (Duration, u64) {
    CONTEXT.try_with(|context| (context.database.get(), context.statements.get())).unwrap_or_default()
}

/// Charges the request being served, if any.
pub fn spent_in_database(time: Duration, statements: u64) {
    let _ = CONTEXT.try_with(|context| {
        context.database.set(context.database.get() + time);
        context.statements.set(context.statements.get() + statements);
    });
}
