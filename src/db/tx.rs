//! Transactions: isolation levels, number of attempts, backoff, and which errors may be retried.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::pg::PgConnection;
use diesel::result::DatabaseErrorKind as Kind;

use uuid::Uuid;

use super::{Actor, SessionContext, SqlValue, Statement, prepared};
use crate::base::error::{Result, is_deadlock, is_shutdown};

type Manager = AnsiTransactionManager;

/// A connection inside a transaction. A function that takes `&mut Tx` writes.
pub struct Tx<'c>(&'c mut PgConnection);

impl Tx<'_> {
    /// Sets the business and actor that triggers record for the rest of the transaction, where they were unknown at its
    /// begin.
    pub fn set_context(&mut self, business: Uuid, actor: Option<Actor>) -> Result<()> {
        let actor = actor.map(Actor::parts).map(|(kind, id)| format!("{kind} {id}")).unwrap_or_default();
        let mut sql = Statement::new("SELECT set_config('rapport.business', ");
        sql.bind(SqlValue::Text(Some(business.to_string()))).push(", true), set_config('rapport.actor', ");
        sql.bind(SqlValue::Text(Some(actor))).push(", true)").run(self)?;
        Ok(())
    }
}

impl Tx<'_> {
    /// Whether one snapshot holds for the whole transaction: above read committed.
    pub fn has_snapshot(&mut self) -> Result<bool> {
        let level = Statement::new("SELECT current_setting('transaction_isolation')").row(self)?;
        Ok(level.is_some_and(|level| level.text(0) != Some("read committed")))
    }

    /// Runs `f` in a savepoint, so that its failure undoes only its own changes. Errors: those of `f`.
    pub fn savepoint<T>(&mut self, f: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
        Manager::begin_transaction(self.0)?;
        match f(self) {
            Ok(done) => {
                Manager::commit_transaction(self.0)?;
                Ok(done)
            }
            Err(failed) => match Manager::rollback_transaction(self.0) {
                Ok(()) | Err(diesel::result::Error::BrokenTransactionManager) => Err(failed),
                Err(error) => Err(error.into()),
            },
        }
    }
}

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
    /// Total number of attempts.
    pub attempts: usize,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { isolation: Isolation::default(), attempts: 6 }
    }
}

impl WriteOptions {
    /// Returns the pauses between attempts: 5 ms doubling to 320 ms, each with jitter, so that colliding transactions
    /// separate.
    pub(super) fn backoff(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(5))
            .with_max_delay(Duration::from_millis(320))
            .with_jitter()
            .with_max_times(self.attempts.saturating_sub(1))
            .build()
    }
}

impl Isolation {
    /// Names of the levels in the configuration.
    pub const LEVELS: [(&'static str, Self); 3] = [
        ("read-committed", Self::ReadCommitted),
        ("repeatable-read", Self::RepeatableRead),
        ("serializable", Self::Serializable),
    ];

    /// Returns what follows `BEGIN`.
    pub(super) fn mode(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "ISOLATION LEVEL READ COMMITTED",
            Isolation::RepeatableRead => "ISOLATION LEVEL REPEATABLE READ",
            Isolation::Serializable => "ISOLATION LEVEL SERIALIZABLE",
        }
    }
}

/// Runs `f` in the transaction that `begin` begins.
pub(super) fn transact<T>(conn: &mut PgConnection, begin: &str, f: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
    // In the same message: the transaction runs on the connection's own backend, or not at all.
    let begin = match prepared::backend(conn) {
        Some(backend) => Cow::Owned(format!("{begin}; {}", backend.assertion())),
        None => Cow::Borrowed(begin),
    };
    if let Err(error) = Manager::begin_transaction_sql(conn, &begin) {
        // `BEGIN` itself may have succeeded, which diesel does not know.
        let _ = conn.batch_execute("ROLLBACK");
        return Err(error.into());
    }
    match f(&mut Tx(conn)) {
        Ok(done) => {
            Manager::commit_transaction(conn)?;
            Ok(done)
        }
        Err(failed) => match Manager::rollback_transaction(conn) {
            Ok(()) | Err(diesel::result::Error::BrokenTransactionManager) => Err(failed),
            Err(error) => Err(error.into()),
        },
    }
}

/// Runs `f`, which only reads, in a transaction with the context `bounds`.
pub(super) fn read_transaction<T>(
    conn: &mut PgConnection,
    bounds: &SessionContext,
    request: &str,
    f: impl FnOnce(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    transact(conn, &bounds.begin_sql("ISOLATION LEVEL READ COMMITTED, READ ONLY", true, request, None), |tx| f(tx))
}

/// Whether the same transaction, run again as a whole, can succeed: after 40001, 40P01, and the violation of an
/// exclusion constraint by a lost race (the second attempt sees the winner and can report it).
pub(super) fn is_retryable(error: &diesel::result::Error) -> bool {
    use diesel::result::Error::DatabaseError;
    matches!(error, DatabaseError(Kind::SerializationFailure | Kind::ExclusionViolation, _)) || is_deadlock(error)
}

/// Whether the connection is gone: a read may be retried on another.
pub(super) fn is_broken(error: &diesel::result::Error) -> bool {
    use diesel::result::Error::{BrokenTransactionManager, DatabaseError};
    match error {
        BrokenTransactionManager | DatabaseError(Kind::ClosedConnection | Kind::UnableToSendCommand, _) => true,
        // The first statement on a connection that PostgreSQL has closed gets this message.
        DatabaseError(_, info) => is_shutdown(info.message()),
        _ => false,
    }
}
