//! Bounds how long a repair waits for locked tables, and names the lock holders.
//!
//! Transactions that arrive after a waiting repair queue behind it. So the first attempts are short, shorter than
//! PostgreSQL's deadlock check (`deadlock_timeout`, 1 s): the repair gives up first, and no writer is cancelled for it.
//! Later attempts are longer, because an unbroken sequence of readers leaves no other way. Between attempts no locks
//! are held.

use std::time::{Duration, Instant};

use diesel::PgConnection;

use crate::base::error::{Error, Result, is_deadlock};
use crate::db::Statement;

/// Total time for all attempts, unless the session's `lock_timeout` is shorter (`PGOPTIONS="-c lock_timeout=2s"`).
const LIMIT: Duration = Duration::from_secs(10);
/// Time limit of the first attempt; it doubles with each further one.
const FIRST: Duration = Duration::from_millis(500);
/// Pause between attempts, in which transactions queued behind the last one proceed.
const PAUSE: Duration = Duration::from_millis(200);
/// Attempts shorter than this are not made.
const MIN_ATTEMPT: Duration = Duration::from_millis(50);

/// The attempts of one repair.
pub struct Attempts {
    pub limit: Duration,
    until: Instant,
    next: Duration,
}

impl Attempts {
    pub fn begin(conn: &mut PgConnection) -> Result<Self> {
        let setting = Statement::new("SELECT setting::bigint FROM pg_settings WHERE name = 'lock_timeout'");
        let own = setting.scalar::<i64>(conn)?.and_then(|milliseconds| u64::try_from(milliseconds).ok());
        let limit = match own {
            // No limit of its own.
            None | Some(0) => LIMIT,
            Some(milliseconds) => LIMIT.min(Duration::from_millis(milliseconds)),
        };
        Ok(Self { limit, until: Instant::now() + limit, next: FIRST })
    }

    /// Returns how long the next attempt may wait; `None` when the time is used up.
    pub fn next(&mut self) -> Option<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        let patience = self.next.min(left);
        self.next *= 2;
        (patience >= MIN_ATTEMPT).then_some(patience)
    }

    /// Sleeps after an attempt that failed.
    pub fn pause(&self) {
        std::thread::sleep(PAUSE.min(self.until.saturating_duration_since(Instant::now())));
    }
}

/// Whether the error means that another session held a required lock.
pub fn is_wait(error: &Error) -> bool {
    let Error::Database(error) = error else { return false };
    let cancelled = |message: &str| message.starts_with("canceling statement due to");
    is_deadlock(error) || matches!(error, diesel::result::Error::DatabaseError(_, info) if cancelled(info.message()))
}

/// As [`holders_of`], for the tables that the service works on.
pub fn holders(conn: &mut PgConnection) -> Result<String> {
    let tables: Vec<String> = super::expected::cached_tables().into_iter().map(str::to_owned).collect();
    holders_of(conn, &tables)
}

/// Describes the sessions that hold locks on `tables`, the longest transaction first; at most three.
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
    sql.bind(tables.to_vec());
    sql.sql(") GROUP BY a.pid, a.usename, a.application_name, a.state, a.xact_start ORDER BY a.xact_start NULLS LAST LIMIT 3) h");
    let held = sql.scalar::<Option<String>>(conn)?.flatten().filter(|held| !held.is_empty());
    Ok(held.unwrap_or_else(|| "who held them is gone".to_owned()))
}
