//! Retries of reads and transactions: which errors allow another attempt, how many there are, and the pauses between them.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use diesel::result::DatabaseErrorKind as Kind;

use super::fair_queue::TenantKey;
use super::lock_wait::{LockQueues, Turn};
use super::tx::WriteOptions;
use crate::base::error::{Error, Result, is_deadlock, is_shutdown};
use crate::base::telemetry::metrics;

/// Runs `attempt`, which only reads, and retries it on its turn in the lock queue while it fails at a lock.
/// Errors: 503 `locked` when the time to wait for locks is over, and those of `attempt`.
pub(super) async fn retry_read<T, W>(
    locks: &LockQueues,
    name: &'static str,
    tenant: TenantKey,
    mut attempt: impl FnMut() -> W,
) -> Result<T>
where
    W: Future<Output = Result<T>>,
{
    let mut locks = locks.begin(tenant);
    let mut turn = None;
    loop {
        let outcome = attempt().await;
        drop(turn.take());
        match outcome {
            Err(error) if error.is_locked() => {
                metrics::lock_timed_out(name);
                turn = Some(locks.turn().await.ok_or_else(Error::locked)?);
            }
            done => return done,
        }
    }
}

/// Runs `attempt`, a whole transaction with the lock timeout that it is given (`None`: the connection's own). Retries it
/// after a pause where it lost a race, and on its turn in the lock queue where it fails at a lock; between attempts it
/// holds nothing. Errors: 503 `locked` when the time to wait for locks is over, and those of the last attempt.
pub(super) async fn retry_write<T, W>(
    locks: &LockQueues,
    name: &'static str,
    tenant: TenantKey,
    options: WriteOptions,
    mut attempt: impl FnMut(Option<Duration>) -> W,
) -> Result<T>
where
    W: Future<Output = Result<T>>,
{
    let mut pauses = backoff(options.attempts);
    let mut locks = locks.begin(tenant);
    let mut turn: Option<Turn> = None;
    loop {
        let lock_timeout = turn.as_ref().map_or_else(|| locks.first(), |turn| Some(turn.timeout));
        let outcome = attempt(lock_timeout).await;
        drop(turn.take());
        match outcome {
            Err(error) if error.is_locked() => {
                metrics::lock_timed_out(name);
                turn = Some(locks.turn().await.ok_or_else(Error::locked)?);
                metrics::retried(name);
            }
            Err(Error::Database(error)) if is_retryable(&error) => match pauses.next() {
                Some(pause) => {
                    locks.reset();
                    metrics::retried(name);
                    tokio::time::sleep(pause).await;
                }
                None => return Err(Error::Database(error)),
            },
            done => return done,
        }
    }
}

/// Returns the pauses between `attempts`: 5 ms doubling to 320 ms, each with jitter, so that colliding transactions
/// separate.
fn backoff(attempts: usize) -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(5))
        .with_max_delay(Duration::from_millis(320))
        .with_jitter()
        .with_max_times(attempts.saturating_sub(1))
        .build()
}

/// Whether the same transaction, run again as a whole, can succeed: after 40001, 40P01, and the violation of an
/// exclusion constraint by a lost race (the second attempt sees the winner and can report it).
fn is_retryable(error: &diesel::result::Error) -> bool {
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
