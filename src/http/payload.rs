//! Extractors for request bodies that enforce media type, content coding, size and time limits.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::{Method, header};
use actix_web::web::{Bytes, BytesMut, Data};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_util::StreamExt;
use futures_util::future::Either;

use crate::base::error::{Error, Result};

/// The body of a request; empty for methods that carry none.
pub struct Body(Bytes);

impl Body {
    pub fn into_inner(self) -> Bytes {
        self.0
    }
}

impl FromRequest for Body {
    type Error = Error;
    // Methods without a body need no boxed future: this runs on every request.
    type Future = Either<Ready<Result<Self>>, Pin<Box<dyn Future<Output = Result<Self>>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::DELETE) {
            return Either::Left(ready(Ok(Self(Bytes::new()))));
        }
        let checked = check(request);
        let limits = limits(request);
        let payload = payload.take();
        Either::Right(Box::pin(async move {
            checked?;
            let BodyLimits { max_bytes, timeout, .. } = limits?;
            tokio::time::timeout(timeout, collect(payload, max_bytes))
                .await
                .map_err(|_| Error::RequestTimeout)?
                .map(Self)
        }))
    }
}

/// A whole body of any media type, as its bytes were sent: for a signature over them.
pub struct RawBody(Bytes);

/// Maximum size of a [`RawBody`] in bytes, of a route.
#[derive(Clone, Copy, Debug)]
pub struct RawLimit(pub usize);

impl RawBody {
    pub fn into_inner(self) -> Bytes {
        self.0
    }
}

impl FromRequest for RawBody {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (limits, payload) = (limits(request), payload.take());
        let max_bytes = request.app_data::<RawLimit>().map(|limit| limit.0);
        let is_encoded = request.headers().contains_key(header::CONTENT_ENCODING);
        Box::pin(async move {
            if is_encoded {
                return Err(Error::Unsupported("Send the body without Content-Encoding.".into()));
            }
            let max_bytes = max_bytes.ok_or_else(|| Error::Internal("no limit".into()))?;
            let body = tokio::time::timeout(limits?.timeout, collect(payload, max_bytes)).await;
            body.map_err(|_| Error::RequestTimeout)?.map(Self)
        })
    }
}

/// The length in bytes that a request announces for its body.
pub fn announced_length(request: &HttpRequest) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A large body, read chunk by chunk, each within the time limit, and never held in memory as a whole.
pub struct BodyStream {
    payload: Payload,
    /// Longest wait for a chunk.
    timeout: Duration,
}

impl BodyStream {
    /// Returns the next chunk; `None` at the end. Errors: 408; 400 when the body ends early.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let piece = tokio::time::timeout(self.timeout, self.payload.next()).await.map_err(|_| Error::RequestTimeout)?;
        piece.transpose().map_err(|_| Error::malformed("incomplete_body", "The body did not arrive whole."))
    }
}

impl FromRequest for BodyStream {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if request.headers().contains_key(header::CONTENT_ENCODING) {
            return ready(Err(Error::Unsupported("Send the body without Content-Encoding.".into())));
        }
        let payload = payload.take();
        ready(limits(request).map(|BodyLimits { timeout, .. }| Self { payload, timeout }))
    }
}

/// Limits of a request body; shared with all requests as `Data<BodyLimits>`.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    pub max_bytes: usize,
    /// Maximum size of a batch, in bytes.
    pub max_batch_bytes: usize,
    /// Maximum nesting depth of JSON.
    pub max_depth: usize,
    /// Longest wait for the body.
    pub timeout: Duration,
}

/// Marks routes that take batches of rows.
#[derive(Clone, Copy, Debug)]
pub struct LargeBody;

fn limits(request: &HttpRequest) -> Result<BodyLimits> {
    let limits = request.app_data::<Data<BodyLimits>>().map(|limits| ***limits);
    let limits = limits.ok_or_else(|| Error::Internal("no limits".into()))?;
    Ok(match request.app_data::<LargeBody>() {
        Some(_) => BodyLimits { max_bytes: limits.max_batch_bytes, ..limits },
        None => limits,
    })
}

fn check(request: &HttpRequest) -> Result<()> {
    // A decoder would have no limit on the decompressed size.
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return Err(Error::Unsupported("Send the body without Content-Encoding.".into()));
    }
    let kind = request.content_type();
    let has_body = request.headers().get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
        || request.headers().contains_key(header::TRANSFER_ENCODING);
    if has_body && !matches!(kind, "application/json" | "application/merge-patch+json") {
        return Err(Error::Unsupported("Send the body as `Content-Type: application/json`.".into()));
    }
    Ok(())
}

async fn collect(mut payload: Payload, max_bytes: usize) -> Result<Bytes> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Error::malformed("incomplete_body", "The body did not arrive whole."))?;
        if body.len() + chunk.len() > max_bytes {
            return Err(Error::TooLarge(format!("A body may have at most {max_bytes} bytes.")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
