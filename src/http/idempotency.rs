//! Makes writes idempotent by the `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header).
//!
//! A key identifies a request among those of its caller to its route. The response is stored for [`RETENTION`] in the
//! transaction of the write, so that both exist or neither, wherever a process or a connection ends. Error responses
//! have no effect and are not stored: the same request is simply tried again.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use diesel::QueryableByName;
use diesel::sql_types::{Binary, Bool, Integer, Nullable, Text};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::auth::Tenant;
use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::{Error, Result};
use crate::db::{Actor, Db, Statement, Tx};

pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// How long a response is stored.
pub const RETENTION: Duration = Duration::from_secs(RETENTION_SECONDS as u64);
const RETENTION_SECONDS: u32 = 24 * 3600;
/// Maximum length of a key in characters; a UUID has 36.
pub const MAX_KEY_LEN: usize = 255;
/// Maximum number of responses purged in one transaction.
const MAX_PURGED: u32 = 5_000;

/// The response of a write, as it is sent and stored.
#[derive(Clone, Debug)]
pub struct ApiResponse {
    pub status: StatusCode,
    pub location: Option<String>,
    pub etag: Option<String>,
    /// JSON; empty when the response has no body.
    pub body: Vec<u8>,
    /// Whether it contains a secret, which is shown once and not stored.
    pub secret: bool,
}

impl ApiResponse {
    pub fn new(status: StatusCode, body: Vec<u8>) -> Self {
        Self { status, location: None, etag: None, body, secret: false }
    }

    /// A response whose body is `body` as JSON. Errors: 500.
    pub fn of(status: StatusCode, body: &impl Serialize) -> Result<Self> {
        let json = serde_json::to_vec(body).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Self::new(status, json))
    }

    pub fn location(mut self, path: String) -> Self {
        self.location = Some(path);
        self
    }

    pub fn etag(mut self, etag: String) -> Self {
        self.etag = Some(etag);
        self
    }

    /// Marks the response as containing a secret.
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub fn reply(self) -> HttpResponse {
        let mut reply = HttpResponse::build(self.status);
        if let Some(location) = self.location {
            reply.insert_header((header::LOCATION, location));
        }
        if let Some(etag) = self.etag {
            reply.insert_header((header::ETAG, etag));
        }
        if self.secret {
            // No cache may store it (RFC 6749, section 5.1).
            reply.insert_header((header::CACHE_CONTROL, "no-store"));
        }
        match self.body.is_empty() {
            true => reply.finish(),
            false => {
                reply.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
                reply.body(self.body)
            }
        }
    }
}

/// The idempotency key of a request, with a fingerprint of its query string and body.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    id: Uuid,
    fingerprint: [u8; 32],
}

impl IdempotencyKey {
    /// Reads the request's `Idempotency-Key`; `None` without one or without an actor. Errors: 400 when it is invalid.
    pub fn from_request(tenant: &Tenant, request: &HttpRequest, body: &[u8]) -> Result<Option<Self>> {
        let mut keys = request.headers().get_all(IDEMPOTENCY_KEY);
        let Some(key) = keys.next() else { return Ok(None) };
        let text = key.to_str().unwrap_or_default().trim();
        // Visible ASCII; a structured field value has quotes, which then are part of the key.
        let good = (1..=MAX_KEY_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !good || keys.next().is_some() {
            let detail = format!(
                "`Idempotency-Key` is one text of 1 to {MAX_KEY_LEN} visible ASCII characters without spaces; a UUID is best."
            );
            return Err(Error::malformed("invalid_idempotency_key", detail));
        }
        let Some((kind, principal)) = tenant.actor().map(Actor::parts) else { return Ok(None) };
        let route = format!("{kind} {principal} {} {}\n{text}", request.method(), request.path());
        let [named, fingerprint] = [
            Sha256::new_with_prefix(route),
            Sha256::new_with_prefix(request.query_string()).chain_update(b"\n").chain_update(body),
        ]
        .map(|hash| <[u8; 32]>::from(hash.finalize()));
        let mut id = [0; 16];
        id.copy_from_slice(&named[..16]);
        Ok(Some(Self { id: uuid::Builder::from_custom_bytes(id).into_uuid(), fingerprint }))
    }

    /// Looks up the stored response. Errors: 409 while another transaction holds the key, or when the response must not
    /// be shown again; 422 when the key was used for another request.
    pub fn lookup(&self, tx: &mut Tx<'_>) -> Result<Option<ApiResponse>> {
        let mut sql =
            Statement::new("SELECT free, fingerprint, status, location, etag, body FROM rapport_idempotency_lookup(");
        let found = sql.bind(self.id).sql(")").first::<KeyState>(tx)?;
        let found = found.ok_or_else(|| Error::Internal("no word on an idempotency key".into()))?;
        if !found.free {
            let detail =
                "A request with this `Idempotency-Key` is being served. Ask again shortly: then it is answered.";
            return Err(Error::conflict("idempotency_in_progress", detail));
        }
        let Some(fingerprint) = &found.fingerprint else { return Ok(None) };
        if *fingerprint != self.fingerprint {
            let detail = "This `Idempotency-Key` has stood for another request. Choose a new one for each.";
            return Err(Error::Unprocessable {
                code: "idempotency_key_reused",
                detail: detail.into(),
                faults: Vec::new(),
            });
        }
        found.response().map(Some)
    }

    /// Stores `answer` in the transaction of the write.
    pub fn store(&self, tx: &mut Tx<'_>, tenant: &Tenant, answer: &ApiResponse) -> Result<()> {
        let mut sql = Statement::new(
            "INSERT INTO idempotency_keys (business_id, id, fingerprint, status, location, etag, body) VALUES (",
        );
        sql.bind(tenant.id()).sql(", ").bind(self.id).sql(", ");
        sql.bind(self.fingerprint.to_vec()).sql(", ");
        sql.bind(answer.status.as_u16()).sql(", ");
        sql.bind(answer.location.clone()).sql(", ").bind(answer.etag.clone()).sql(", ");
        match answer.secret {
            true => sql.sql("NULL"),
            false => sql.bind(answer.body.clone()),
        };
        // A transaction-wide snapshot may hide an existing row: the transaction is then retried (40001).
        let kept = sql.sql(") ON CONFLICT DO NOTHING").run(tx)?;
        if kept == 1 { Ok(()) } else { Err(Error::Internal("an idempotency key was used under its lock".into())) }
    }
}

/// What the database says of a key: whether another transaction holds it, and the response that is stored under it.
#[derive(QueryableByName)]
struct KeyState {
    #[diesel(sql_type = Bool)]
    free: bool,
    /// `None`: the key is new.
    #[diesel(sql_type = Nullable<Binary>)]
    fingerprint: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Integer>)]
    status: Option<i32>,
    #[diesel(sql_type = Nullable<Text>)]
    location: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    etag: Option<String>,
    /// `None`: it must not be shown again.
    #[diesel(sql_type = Nullable<Binary>)]
    body: Option<Vec<u8>>,
}

impl KeyState {
    fn response(self) -> Result<ApiResponse> {
        let Some(body) = self.body else {
            let detail = "This was done before. Its answer is not shown again: it held a secret, or someone who was forgotten since.";
            return Err(Error::conflict("idempotency_not_replayable", detail));
        };
        let status = self.status.and_then(|status| StatusCode::from_u16(status.try_into().ok()?).ok());
        let status = status.ok_or_else(|| Error::Internal("an answer was kept without a status".into()))?;
        Ok(ApiResponse { status, location: self.location, etag: self.etag, body, secret: false })
    }
}

/// Runs `f` in one transaction called `name` and returns its response, or the stored one if the request was done
/// before. Errors: those of [`IdempotencyKey`] and of `f`.
pub async fn write<F>(
    db: &Db,
    tenant: &Tenant,
    request: &HttpRequest,
    body: &[u8],
    name: &'static str,
    f: F,
) -> Result<HttpResponse>
where
    F: Fn(&mut Tx<'_>) -> Result<ApiResponse> + Send + Sync + 'static,
{
    Ok(write_or_replay(db, tenant, request, body, name, f).await?.0)
}

/// As [`write`](fn@write); also returns whether the response was replayed, for further work that is due only when it was
/// not.
pub async fn write_or_replay<F>(
    db: &Db,
    tenant: &Tenant,
    request: &HttpRequest,
    body: &[u8],
    name: &'static str,
    f: F,
) -> Result<(HttpResponse, bool)>
where
    F: Fn(&mut Tx<'_>) -> Result<ApiResponse> + Send + Sync + 'static,
{
    let written = write_if(db, tenant, request, body, name, move |tx| f(tx).map(Some)).await?;
    written.ok_or_else(|| Error::Internal("a write without a response".into()))
}

/// As [`write_or_replay`], of a write that may turn out to have nothing to do: it returns `None` then, of which nothing is stored.
pub async fn write_if<F>(
    db: &Db,
    tenant: &Tenant,
    request: &HttpRequest,
    body: &[u8],
    name: &'static str,
    f: F,
) -> Result<Option<(HttpResponse, bool)>>
where
    F: Fn(&mut Tx<'_>) -> Result<Option<ApiResponse>> + Send + Sync + 'static,
{
    let Some(once) = IdempotencyKey::from_request(tenant, request, body)? else {
        let answer = db.for_tenant(tenant).write(name, f).await?;
        return Ok(answer.map(|answer| (answer.reply(), false)));
    };
    let own = tenant.clone();
    let done = db.for_tenant(tenant).write(name, move |tx| match once.lookup(tx)? {
        Some(before) => Ok(Some((before, true))),
        None => {
            let Some(answer) = f(tx)? else { return Ok(None) };
            once.store(tx, &own, &answer)?;
            Ok(Some((answer, false)))
        }
    });
    let Some((answer, replayed)) = done.await? else { return Ok(None) };
    let mut reply = answer.reply();
    if replayed {
        reply.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(Some((reply, replayed)))
}

/// Blanks the tenant's stored responses, except that of `own`: they may contain data of a person who is being erased.
pub fn forget(tx: &mut Tx<'_>, tenant: &Tenant, own: Option<&IdempotencyKey>) -> Result<()> {
    // Covers all of a busy business's last day, which may exceed the usual statement timeout.
    Statement::new("SET LOCAL statement_timeout = '60s'").run(tx)?;
    let mut sql = Statement::new(
        "UPDATE idempotency_keys SET body = NULL, location = NULL, etag = NULL WHERE body IS NOT NULL AND business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND id <> ");
    sql.bind(own.map(|own| own.id).unwrap_or_default()).run(tx)?;
    Ok(())
}

/// The task that deletes responses past their retention.
pub fn purge_task(db: Db) -> BackgroundTask {
    BackgroundTask::new("idempotency keys", Duration::from_secs(600), move || purge(db.clone()))
}

async fn purge(db: Db) -> Result<TaskOutcome> {
    let purged = db.unscoped().write("purge_idempotency_keys", |tx| {
        let mut sql = Statement::new(
            "DELETE FROM idempotency_keys WHERE (business_id, id) IN (SELECT business_id, id FROM idempotency_keys \
             WHERE created_at < now() - interval '",
        );
        sql.number(RETENTION_SECONDS).sql(" seconds' ORDER BY created_at LIMIT ").number(MAX_PURGED).sql(")");
        Ok(sql.run(tx)?)
    });
    Ok(if purged.await? >= MAX_PURGED as usize { TaskOutcome::Again } else { TaskOutcome::Rest })
}
