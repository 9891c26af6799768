//! The time limit of a request as a whole.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use crate::base::error::Error;
use crate::base::request_context::CONTEXT;

/// Awaits `serving` for at most `limit`, or without limit if the request lifted it
/// ([`no_timeout`](crate::base::request_context::no_timeout)). Errors: 503 when it took too long.
pub async fn within<T>(limit: Duration, serving: impl Future<Output = T>) -> Result<T, Error> {
    let mut serving = pin!(serving);
    match tokio::time::timeout(limit, &mut serving).await {
        Ok(served) => Ok(served),
        Err(_) if CONTEXT.try_with(|context| context.unhurried.get()).unwrap_or_default() => Ok(serving.await),
        Err(_) => Err(Error::Unavailable {
            code: "request_timeout",
            detail: "The request took too long. Narrow it or try again.".into(),
            after: 2,
        }),
    }
}
