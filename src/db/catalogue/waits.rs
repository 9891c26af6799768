//! How long a repair waits for tables that others hold, and for whom.
//!
//! Transactions that come after a waiting repair wait behind it. So the first attempts are short, shorter than PostgreSQL
//! takes to look for a deadlock (`deadlock_timeout`, 1 s): there the repair gives way, and no writer is ended for it. Later
//! ones are longer, because readers that follow each other without a gap leave no other way. Between attempts it holds nothing.

use std::time::{Duration, Instant};

use diesel::PgConnection;

use crate::db::{Statement, Value};
use crate::error::{Error, Result, is_deadlock};

/// How long a repair tries in all, unless the session's `lock_timeout` is shorter (`PGOPTIONS="-c lock_timeout=2s"`).
const LIMIT: Duration = Duration::from_secs(10);
/// How long the first attempt waits; each further one twice as long.
const FIRST: Duration = Duration::from_millis(500);
/// In which those who have waited behind an attempt go on.
const PAUSE: Duration = Duration::from_millis(200);
/// An attempt that is shorter is not worth it.
const SHORTEST: Duration = Duration::from_millis(50);

/// The attempts of one repair.
pub struct Attempts {
    pub limit: Duration,
    until: Instant,
    next: Duration,
}

impl Attempts {
    pub fn begin(conn: &mut PgConnection) -> Result<Self> {
        let row = Statement::new("SELECT setting FROM pg_settings WHERE name = 'lock_timeout'").row(conn)?;
        let own = row.and_then(|row| row.text(0)?.parse().ok()).filter(|milliseconds| *milliseconds > 0);
        let limit = own.map_or(LIMIT, |milliseconds| LIMIT.min(Duration::from_millis(milliseconds)));
        Ok(Self { limit, until: Instant::now() + limit, next: FIRST })
    }

    /// How long the next attempt may wait; `None`: there is none left.
    pub fn next(&mut self) -> Option<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        let patience = self.next.min(left);
        self.next *= 2;
        (patience >= SHORTEST).then_some(patience)
    }

    /// The pause after an attempt that failed.
    pub fn pause(&self) {
        std::thread::sleep(PAUSE.min(self.until.saturating_duration_since(Instant::now())));
    }
}

/// Whether it is that others held what was needed.
pub fn is_wait(error: &Error) -> bool {
    let Error::Database(error) = error else { return false };
    let cancelled = |message: &str| message.starts_with("canceling statement due to");
    is_deadlock(error) || matches!(error, diesel::result::Error::DatabaseError(_, info) if cancelled(info.message()))
}

/// As [`holders_of`] the tables that the service works on.
pub fn holders(conn: &mut PgConnection) -> Result<String> {
    let tables: Vec<String> = super::expected::cached_tables().into_iter().map(str::to_owned).collect();
    holders_of(conn, &tables)
}

/// Who holds one of `tables` now, the longest transaction first, in words: what the session is called, where it may be seen.
pub fn holders_of(conn: &mut PgConnection, tables: &[String]) -> Result<String> {
    let mut sql = Statement::new(
        "SELECT string_agg(format('%s has held %s%s%s', who, held, ' for ' || seconds || ' s', ', ' || state), '; ')
         FROM (SELECT format('process %s (%s)', a.pid, concat_ws(', ', a.usename, nullif(a.application_name, ''))) AS who, a.state,
                      string_agg(DISTINCT c.relname, ' and ') AS held, extract(epoch FROM now() - a.xact_start)::int AS seconds
               FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid
               WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
                 AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                 AND c.relnamespace = 'public'::regnamespace AND c.relname = ANY(",
    );
    sql.bind(Value::Texts(tables.to_vec()));
    sql.push(") GROUP BY a.pid, a.usename, a.application_name, a.state, a.xact_start ORDER BY a.xact_start NULLS LAST LIMIT 3) h");
    let row = sql.row(conn)?;
    let held = row.as_ref().and_then(|row| row.text(0)).filter(|held| !held.is_empty());
    Ok(held.unwrap_or("who held them is gone").to_owned())
}
