//! What work in the database is confined to, and on whose behalf it is done.

use std::time::Duration;

use uuid::Uuid;

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A program, by the id of its API key.
    Key(Uuid),
    /// A person.
    User(Uuid),
}

impl Actor {
    /// `user` or `api_key`, as the audit log names it, and the id.
    pub fn parts(self) -> (&'static str, Uuid) {
        match self {
            Actor::Key(id) => ("api_key", id),
            Actor::User(id) => ("user", id),
        }
    }
}

/// One business and whoever acts in it; by default neither.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    pub business: Option<Uuid>,
    pub actor: Option<Actor>,
}

/// Where row-level security holds beside the predicates of the statements themselves (docs/SECURITY.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RowSecurity {
    Off,
    /// In whatever changes rows.
    Writes,
    /// In reads as well, which then take a transaction each.
    All,
}

impl Bounds {
    /// Begins a transaction that is confined to them: one message, so it costs no round trip. What it sets is forgotten
    /// with the transaction. `mode` is what follows `BEGIN`, `request` the id of the request that it is for; `lock` how long it
    /// waits for a lock, where that is not as the connection has it.
    pub(super) fn begin(&self, mode: &str, walled: bool, request: &str, lock: Option<Duration>) -> String {
        let mut sql = format!("BEGIN {mode}");
        if let Some(lock) = lock {
            // Zero would be without an end.
            sql.push_str(&format!("; SET LOCAL lock_timeout = {}", lock.as_millis().max(1)));
        }
        // UUIDs, names of ours and an id of plain characters: nothing here needs to be quoted.
        if let Some(business) = self.business {
            if walled {
                sql.push_str("; SET LOCAL ROLE rapport_tenant");
            }
            sql.push_str(&format!("; SET LOCAL rapport.business = '{business}'"));
        }
        if let Some((kind, id)) = self.actor.map(Actor::parts) {
            sql.push_str(&format!("; SET LOCAL rapport.actor = '{kind} {id}'"));
        }
        if request.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
            sql.push_str(&format!("; SET LOCAL rapport.request = '{request}'"));
        }
        sql
    }
}
