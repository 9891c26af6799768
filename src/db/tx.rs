//! One run of a transaction: isolation levels, savepoints, and the `BEGIN` on the connection's own backend. Retries are in
//! [`super::retry`].

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::pg::PgConnection;
use uuid::Uuid;

use super::backend_assertion::assertion;
use super::prepared;
use super::session_context::{Actor, SessionContext};
use super::statement::Statement;
use crate::base::error::Result;

type Manager = AnsiTransactionManager;

/// A connection inside a transaction. A function that takes `&mut Tx` writes.
pub struct Tx<'c>(&'c mut PgConnection);

impl Tx<'_> {
    /// Sets the business and actor that triggers record for the rest of the transaction, where they were unknown at its
    /// begin.
    pub fn set_context(&mut self, business: Uuid, actor: Option<Actor>) -> Result<()> {
        let actor = actor.map(Actor::parts).map(|(kind, id)| format!("{kind} {id}")).unwrap_or_default();
        let mut sql = Statement::new("SELECT set_config('rapport.business', ");
        sql.bind(business.to_string()).sql(", true), set_config('rapport.actor', ");
        sql.bind(actor).sql(", true)").run(self)?;
        Ok(())
    }

    /// Whether one snapshot holds for the whole transaction: above read committed.
    /// Has what follows wake nobody: no entries of the audit log, so no events, until `false` or the end of the transaction.
    pub fn set_silent(&mut self, is_silent: bool) -> Result<()> {
        let mut sql = Statement::new("SELECT set_config('rapport.silent', ");
        sql.sql(if is_silent { "'on'" } else { "'off'" }).sql(", true)").run(self)?;
        Ok(())
    }

    pub fn has_snapshot(&mut self) -> Result<bool> {
        let sql = Statement::new("SELECT current_setting('transaction_isolation') <> 'read committed'");
        Ok(sql.scalar(self)?.unwrap_or(false))
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
pub(super) fn transact<T>(
    conn: &mut PgConnection,
    begin: &Statement,
    f: impl FnOnce(&mut Tx<'_>) -> Result<T>,
) -> Result<T> {
    // In the same message: the transaction runs on the connection's own backend, or not at all.
    let begin = match prepared::backend(conn) {
        Some(backend) => {
            let mut begin = begin.clone();
            begin.sql("; ").append(assertion(backend));
            Cow::Owned(begin)
        }
        None => Cow::Borrowed(begin),
    };
    if let Err(error) = Manager::begin_transaction_sql(conn, begin.text()) {
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

/// Runs `f`, which only reads, in a transaction with the session context `context`.
pub(super) fn read_transaction<T>(
    conn: &mut PgConnection,
    context: &SessionContext,
    request: &str,
    f: impl FnOnce(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    transact(conn, &context.begin("ISOLATION LEVEL READ COMMITTED, READ ONLY", true, request, None), |tx| f(tx))
}

/// Runs `f` in one transaction on the caller's own connection, without retries: for the command line.
pub fn in_transaction<T>(conn: &mut PgConnection, f: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
    transact(conn, &SessionContext::default().begin(Isolation::default().mode(), false, "-", None), f)
}
