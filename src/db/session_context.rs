//! The session context of database work: its business, its actor, and the `BEGIN` that sets both.

use std::time::Duration;

use uuid::Uuid;

use super::statement::Statement;

/// The API key or user that a change is attributed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// An API key, by its id.
    Key(Uuid),
    /// A user, by their id.
    User(Uuid),
}

impl Actor {
    /// Returns the kind as the audit log names it (`user` or `api_key`), and the id.
    pub fn parts(self) -> (&'static str, Uuid) {
        match self {
            Actor::Key(id) => ("api_key", id),
            Actor::User(id) => ("user", id),
        }
    }
}

/// One business and the actor in it; by default neither.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionContext {
    pub business: Option<Uuid>,
    pub actor: Option<Actor>,
}

/// Where row-level security applies in addition to the statements' own predicates (docs/SECURITY.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RowSecurity {
    Off,
    /// In transactions that change rows.
    Writes,
    /// In reads as well, each of which then takes a transaction.
    All,
}

impl SessionContext {
    /// Returns the commands that begin a transaction in this context: one message, so it costs no extra round trip. Its
    /// settings end with the transaction. `mode` follows `BEGIN`, `request` is the request id, and `lock` overrides the
    /// connection's lock timeout.
    pub(super) fn begin(
        &self,
        mode: &'static str,
        with_row_security: bool,
        request: &str,
        lock: Option<Duration>,
    ) -> Statement {
        let mut sql = Statement::new("BEGIN ");
        sql.sql(mode);
        if let Some(lock) = lock {
            // Zero would mean no limit.
            let milliseconds = u32::try_from(lock.as_millis().max(1)).unwrap_or(u32::MAX);
            sql.sql("; SET LOCAL lock_timeout = ").number(milliseconds);
        }
        if let Some(business) = self.business {
            if with_row_security {
                sql.sql("; SET LOCAL ROLE rapport_tenant");
            }
            sql.sql("; SET LOCAL rapport.business = ").literal(&business.to_string());
        }
        if let Some((kind, id)) = self.actor.map(Actor::parts) {
            sql.sql("; SET LOCAL rapport.actor = ").literal(&format!("{kind} {id}"));
        }
        if request.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
            sql.sql("; SET LOCAL rapport.request = ").literal(request);
        }
        sql
    }
}
