//! Transactions: what may be retried, how often, and at which isolation.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use diesel::pg::PgConnection;
use diesel::result::DatabaseErrorKind as Kind;

use crate::error::{Result, is_deadlock, is_shutdown};

/// A connection inside a transaction. A function that takes `&mut Tx` writes.
pub struct Tx<'c>(&'c mut PgConnection);

impl Deref for Tx<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.0
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.0
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    #[default]
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

#[derive(Clone, Copy, Debug)]
pub struct WriteOptions {
    pub isolation: Isolation,
    /// How often the transaction is tried in all.
    pub attempts: usize,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { isolation: Isolation::default(), attempts: 6 }
    }
}

impl WriteOptions {
    /// The pauses between attempts: 5 ms doubling to 320 ms, each with jitter, so that those who collided part ways.
    pub(super) fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(5))
            .with_max_delay(Duration::from_millis(320))
            .with_jitter()
            .with_max_times(self.attempts.saturating_sub(1))
            .build()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that opens transactions")]
pub(super) fn transact<T>(
    conn: &mut PgConnection,
    isolation: Isolation,
    f: impl FnOnce(&mut Tx<'_>) -> Result<T>,
) -> Result<T> {
    let transaction = conn.build_transaction();
    match isolation {
        Isolation::ReadCommitted => transaction.read_committed(),
        Isolation::RepeatableRead => transaction.repeatable_read(),
        Isolation::Serializable => transaction.serializable(),
    }
    .run(|conn| f(&mut Tx(conn)))
}

/// Errors after which the same transaction, run again as a whole, can succeed: 40001, 40P01, and an exclusion
/// constraint that lost a race (the second attempt sees the winner and can name it).
pub(super) fn is_retryable(error: &diesel::result::Error) -> bool {
    use diesel::result::Error::DatabaseError;
    matches!(error, DatabaseError(Kind::SerializationFailure | Kind::ExclusionViolation, _)) || is_deadlock(error)
}

/// The connection is gone: a read may be tried on another.
pub(super) fn is_broken(error: &diesel::result::Error) -> bool {
    use diesel::result::Error::{BrokenTransactionManager, DatabaseError};
    match error {
        BrokenTransactionManager | DatabaseError(Kind::ClosedConnection | Kind::UnableToSendCommand, _) => true,
        // The first to use a connection that PostgreSQL has ended is told so in words.
        DatabaseError(_, info) => is_shutdown(info.message()),
        _ => false,
    }
}
