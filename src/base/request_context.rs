//! The context of the request being served: its id, its rate limit, and its time in database and cache.
//!
//! A task-local, set by the outermost middleware, so that the error type can name the request and the database can
//! charge it without every function passing both along.

use std::cell::Cell;
use std::time::Duration;

use crate::base::egress::EgressPolicy;

tokio::task_local! {
    pub static CONTEXT: RequestContext;
}

pub struct RequestContext {
    pub request_id: Box<str>,
    pub database: Cell<Duration>,
    pub statements: Cell<u64>,
    /// Time spent waiting for validation rounds.
    pub cache: Cell<Duration>,
    pub quota: Cell<Option<Quota>>,
    /// The route, where it was found without the router.
    pub route: Cell<Option<&'static str>>,
    /// Where this service may send requests.
    egress_policy: EgressPolicy,
    /// Number of unknown names that were compared with known ones.
    guesses: Cell<u32>,
    /// Whether the time limit of requests does not apply.
    pub unhurried: Cell<bool>,
}

/// What requests are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimitKind {
    Key,
    Session,
    /// The client's network, without a valid credential.
    Address,
}

impl RateLimitKind {
    pub const ALL: [Self; 3] = [Self::Key, Self::Session, Self::Address];

    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Session => "session",
            Self::Address => "address",
        }
    }
}

/// What remains of a rate limit.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    pub of: RateLimitKind,
    /// Requests that remain.
    pub left: u64,
    /// Nanoseconds until all of them are available again.
    pub full_in: u64,
}

impl RequestContext {
    pub fn new(request_id: Box<str>) -> Self {
        Self {
            request_id,
            database: Cell::default(),
            statements: Cell::default(),
            cache: Cell::default(),
            quota: Cell::default(),
            route: Cell::default(),
            egress_policy: EgressPolicy::default(),
            guesses: Cell::default(),
            unhurried: Cell::default(),
        }
    }

    pub fn with_egress_policy(self, egress_policy: &EgressPolicy) -> Self {
        Self { egress_policy: egress_policy.clone(), ..self }
    }
}

/// Whether another unknown name may be compared with known ones for the request being served: a response reports no
/// more errors than this.
pub fn may_guess() -> bool {
    const MAX_GUESSES: u32 = 200;
    let guessed = CONTEXT.try_with(|context| context.guesses.replace(context.guesses.get().saturating_add(1)));
    guessed.unwrap_or_default() < MAX_GUESSES
}

/// Returns the id of the request being served, or `-` outside of one.
pub fn request_id() -> String {
    CONTEXT.try_with(|context| context.request_id.to_string()).unwrap_or_else(|_| "-".to_owned())
}

/// Returns the egress policy of the service that serves this request; outside of a request the default policy.
pub fn egress_policy() -> EgressPolicy {
    CONTEXT.try_with(|context| context.egress_policy.clone()).unwrap_or_default()
}

/// Adds `time` to the cache time of the request being served, if any.
pub fn spent_in_cache(time: Duration) {
    let _ = CONTEXT.try_with(|context| context.cache.set(context.cache.get() + time));
}

/// Records the remaining quota of the request being served, if any.
pub fn counted(quota: Quota) {
    let _ = CONTEXT.try_with(|context| context.quota.set(Some(quota)));
}

/// Lifts the time limit of the request being served: something else bounds it.
pub fn no_timeout() {
    let _ = CONTEXT.try_with(|context| context.unhurried.set(true));
}

/// Returns the database time and the number of statements of the request being served.
pub fn spent() -> (Duration, u64) {
    CONTEXT.try_with(|context| (context.database.get(), context.statements.get())).unwrap_or_default()
}

/// Adds to the database time and the statements of the request being served, if any.
pub fn spent_in_database(time: Duration, statements: u64) {
    let _ = CONTEXT.try_with(|context| {
        context.database.set(context.database.get() + time);
        context.statements.set(context.statements.get() + statements);
    });
}
