//! The settings of each new connection of the pool.

use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::r2d2::CustomizeConnection;

use super::connect::{self, REFUSE_UNFIT};
use super::gate::DatabaseGate;
use super::{Statement, prepared};

/// Sets up each new connection.
#[derive(Debug)]
pub(super) struct SessionSetup {
    pub(super) statement_timeout_ms: u64,
    /// Lock timeout of reads outside of a transaction; transactions set their own.
    pub(super) lock_timeout_ms: u64,
    /// Notified of each new connection, which may lead to another database.
    pub(super) guard: Arc<DatabaseGate>,
    /// Number of statements that a connection keeps prepared.
    pub(super) prepared: usize,
}

impl CustomizeConnection<PgConnection, diesel::r2d2::Error> for SessionSetup {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), diesel::r2d2::Error> {
        let epoch = self.guard.gate().epoch();
        let backend = connect::begin(conn).map_err(diesel::r2d2::Error::QueryError)?;
        // force_generic_plan: statements that need different plans have different texts, and occasional replanning
        // costs a list query some 7 % (docs/PERFORMANCE.md). random_page_cost: the plans that the tests assert are made
        // for storage without seeks. No parallel workers: one request must not take the cores of the others. No
        // memoize: the rows of a page usually refer to different rows, and caching each costs a list query a seventh of
        // its time. Not on a standby: it may show older rows under current versions.
        conn.batch_execute(REFUSE_UNFIT).map_err(diesel::r2d2::Error::QueryError)?;
        conn.batch_execute(&format!(
            "SET statement_timeout = {0}; SET idle_in_transaction_session_timeout = {0}; SET lock_timeout = {1};
             SET plan_cache_mode = force_generic_plan; SET random_page_cost = 1.1; SET TIME ZONE 'UTC';
             SET jit = off; SET enable_memoize = off; SET max_parallel_workers_per_gather = 0;
             SET application_name = 'rapport';",
            self.statement_timeout_ms, self.lock_timeout_ms
        ))
        .map_err(diesel::r2d2::Error::QueryError)?;
        self.guard.suspect();
        // See `error::is_deadlock`. Only superusers may set it; elsewhere messages are English unless configured
        // otherwise.
        if let Err(error) = conn.batch_execute("SET lc_messages = 'C'") {
            tracing::debug!(%error, "the language of the server's messages stays as it is");
            warn_of_language(conn);
        }
        let made = self.guard.gate().connected(epoch);
        prepared::limit_of_pool(conn, self.prepared, backend, made, self.guard.clone());
        Ok(())
    }
}

/// Warns, once, where the server's messages are in a language in which deadlocks and lock timeouts are not recognised.
fn warn_of_language(conn: &mut PgConnection) {
    static WARNED: std::sync::Once = std::sync::Once::new();
    let language = Statement::new("SELECT current_setting('lc_messages')").scalar::<String>(conn);
    let Ok(Some(language)) = language else { return };
    // Empty means the server's environment, which usually sets no other language.
    if !["", "C", "POSIX"].contains(&language.as_str()) && !language.starts_with("en") && !language.starts_with("C.") {
        WARNED.call_once(|| {
            tracing::warn!(
                language,
                "PostgreSQL's messages are in another language: deadlocks and lock time-outs are not recognised and answered \
                 as 500. As a superuser: ALTER DATABASE … SET lc_messages = 'C'"
            );
        });
    }
}
