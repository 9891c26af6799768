//! Decides what becomes of a job whose step has failed.

use crate::base::error::Error;

/// Attempts at a failing step, with pauses of 1, 4, 16 and 64 seconds between them.
const MAX_ATTEMPTS: i64 = 5;
/// Claims without a successful step, after which the job itself is taken to be what ends its processes.
pub const MAX_CLAIMS: i64 = 20;

/// What follows a failed step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// The job fails with the error.
    Fail,
    /// The step is tried again after so many seconds.
    Retry { pause_seconds: i64 },
    /// The step is tried again, and this attempt does not count.
    Release,
}

/// Decides by the error and by how many attempts there were, this one included.
pub fn after_failure(error: &Error, attempts: i64) -> AfterFailure {
    match error {
        error if is_permanent(error) => AfterFailure::Fail,
        // The service is overloaded, or its database unreachable: no fault of the job. (That a step takes too long, or
        // conflicts with others each time, is its own.)
        Error::Unavailable { code, .. } if !["statement_timeout", "contended"].contains(code) => AfterFailure::Release,
        _ if attempts >= MAX_ATTEMPTS => AfterFailure::Fail,
        _ => AfterFailure::Retry { pause_seconds: 4_i64.pow(u32::try_from(attempts - 1).unwrap_or_default()) },
    }
}

/// Whether a retry would fail in the same way.
fn is_permanent(error: &Error) -> bool {
    match error {
        Error::Malformed { .. }
        | Error::Forbidden(_)
        | Error::NotFound(_)
        | Error::Conflict { .. }
        | Error::Gone { .. }
        | Error::Unprocessable { .. }
        | Error::PreconditionFailed
        | Error::TooLarge(_)
        | Error::Unsupported(_)
        | Error::Invalid(_)
        | Error::BatchRejected { .. } => true,
        Error::Unauthenticated
        | Error::AuthRejected { .. }
        | Error::MethodNotAllowed { .. }
        | Error::RequestTimeout
        | Error::TooMany { .. }
        | Error::Unavailable { .. }
        | Error::Database(_)
        | Error::CrossOrigin { .. }
        | Error::Internal(_) => false,
    }
}
