//! Writes that are done once, however often they are asked for (draft-ietf-httpapi-idempotency-key-header).
//!
//! `Idempotency-Key` names a request among those of its caller to its route. What it is answered is kept for
//! [`KEPT`] in the transaction of its effect: so either both are there or neither, wherever a process or a
//! connection ends. Refusals have no effect and are not kept: the same request is then simply tried again.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::LocalBoxFuture;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::app::App;
use crate::auth::Tenant;
use crate::db::{Actor, Cells, Db, Statement, Tx, Value};
use crate::error::{Error, Result};
use crate::jobs::Pace;

pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// How long an answer is kept.
pub const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Characters of a key; a UUID has 36.
pub const LONGEST_KEY: usize = 255;
/// Answers that are cleared away in one transaction.
const CLEARED_AT_ONCE: u32 = 5_000;

/// What a write answers, as it is sent and kept.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub location: Option<String>,
    pub etag: Option<String>,
    /// JSON; nothing where nothing is answered.
    pub body: Vec<u8>,
    /// Whether it holds a secret, which is shown once and kept nowhere.
    pub secret: bool,
}

impl Answer {
    pub fn new(status: StatusCode, body: Vec<u8>) -> Self {
        Self { status, location: None, etag: None, body, secret: false }
    }

    pub fn location(mut self, path: String) -> Self {
        self.location = Some(path);
        self
    }

    pub fn etag(mut self, etag: String) -> Self {
        self.etag = Some(etag);
        self
    }

    /// It holds a secret.
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
            // Nobody may keep it (RFC 6749, section 5.1).
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

/// A request that is done once.
#[derive(Clone, Debug)]
pub struct Once {
    id: Uuid,
    fingerprint: [u8; 32],
}

impl Once {
    /// What the request's `Idempotency-Key` says; `None` without one. Errors: 400 for a key that is none.
    pub fn asked(tenant: &Tenant, request: &HttpRequest, body: &[u8]) -> Result<Option<Self>> {
        let mut keys = request.headers().get_all(IDEMPOTENCY_KEY);
        let Some(key) = keys.next() else { return Ok(None) };
        let text = key.to_str().unwrap_or_default().trim();
        // Graphic ASCII; as a structured field it comes in quotes, which are then part of it.
        let good = (1..=LONGEST_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !good || keys.next().is_some() {
            let detail = format!(
                "`Idempotency-Key` is one text of 1 to {LONGEST_KEY} visible ASCII characters without spaces; a UUID is best."
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

    /// The answer that was given before. Errors: 409 while another transaction is at it, or the answer is not to be shown
    /// again; 422 when the key stood for another request.
    pub fn before(&self, tx: &mut Tx<'_>) -> Result<Option<Answer>> {
        let mut sql =
            Statement::new("SELECT free::int, fingerprint, status, location, etag, body FROM rapport_answered(");
        let row = sql.bind(Value::Uuid(Some(self.id))).push(")").row(tx)?;
        let row = row.ok_or_else(|| Error::Internal("no word on an idempotency key".into()))?;
        if row.int(0) != Some(1) {
            let detail =
                "A request with this `Idempotency-Key` is being served. Ask again shortly: then it is answered.";
            return Err(Error::conflict("idempotency_in_progress", detail));
        }
        let Some(fingerprint) = row.get(1) else { return Ok(None) };
        if fingerprint != self.fingerprint {
            let detail = "This `Idempotency-Key` has stood for another request. Choose a new one for each.";
            return Err(Error::Unprocessable { code: "idempotency_key_reused", detail: detail.into() });
        }
        answer(&row).map(Some)
    }

    /// Keeps `answer`, in the transaction of its effect.
    pub fn keep(&self, tx: &mut Tx<'_>, tenant: &Tenant, answer: &Answer) -> Result<()> {
        let mut sql = Statement::new(
            "INSERT INTO idempotency_keys (business_id, id, fingerprint, status, location, etag, body) VALUES (",
        );
        sql.bind(Value::Uuid(Some(tenant.id()))).push(", ").bind(Value::Uuid(Some(self.id))).push(", ");
        sql.bind(Value::Bytes(self.fingerprint.to_vec())).push(", ");
        sql.bind(Value::Int(Some(answer.status.as_u16().into()))).push(", ");
        sql.bind(Value::Text(answer.location.clone())).push(", ").bind(Value::Text(answer.etag.clone())).push(", ");
        match answer.secret {
            true => sql.push("NULL"),
            false => sql.bind(Value::Bytes(answer.body.clone())),
        };
        // Under a snapshot of the whole transaction one may be there that was not seen: then it is tried again (40001).
        let kept = sql.push(") ON CONFLICT DO NOTHING").run(tx)?;
        if kept == 1 { Ok(()) } else { Err(Error::Internal("an idempotency key was used under its lock".into())) }
    }
}

fn answer(row: &Cells) -> Result<Answer> {
    let Some(body) = row.get(5) else {
        let detail = "This was done before. Its answer is not shown again: it held a secret, or someone who was forgotten since.";
        return Err(Error::conflict("idempotency_not_replayable", detail));
    };
    let status = row.int(2).and_then(|status| StatusCode::from_u16(status.try_into().ok()?).ok());
    let status = status.ok_or_else(|| Error::Internal("an answer was kept without a status".into()))?;
    let text = |index| row.text(index).map(str::to_owned);
    Ok(Answer { status, location: text(3), etag: text(4), body: body.to_vec(), secret: false })
}

/// Answers `request` with what `f` answers, in one transaction called `name`; where it was answered before, with that.
/// Errors: those of [`Once`] and of `f`.
pub async fn write<F>(
    db: &Db,
    tenant: &Tenant,
    request: &HttpRequest,
    body: &[u8],
    name: &'static str,
    f: F,
) -> Result<HttpResponse>
where
    F: Fn(&mut Tx<'_>) -> Result<Answer> + Send + Sync + 'static,
{
    Ok(write_or_replay(db, tenant, request, body, name, f).await?.0)
}

/// As [`write`], and whether it was answered before: for what else is to be done when it was not.
pub async fn write_or_replay<F>(
    db: &Db,
    tenant: &Tenant,
    request: &HttpRequest,
    body: &[u8],
    name: &'static str,
    f: F,
) -> Result<(HttpResponse, bool)>
where
    F: Fn(&mut Tx<'_>) -> Result<Answer> + Send + Sync + 'static,
{
    let Some(once) = Once::asked(tenant, request, body)? else {
        return Ok((db.within(tenant).write(name, f).await?.reply(), false));
    };
    let own = tenant.clone();
    let done = db.within(tenant).write(name, move |tx| match once.before(tx)? {
        Some(before) => Ok((before, true)),
        None => {
            let answer = f(tx)?;
            once.keep(tx, &own, &answer)?;
            Ok((answer, false))
        }
    });
    let (answer, replayed) = done.await?;
    let mut reply = answer.reply();
    if replayed {
        reply.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok((reply, replayed))
}

/// Shows what was answered within the tenant to nobody any more, but for what `own` was: someone is to be forgotten of whom
/// it may tell.
pub fn forget(tx: &mut Tx<'_>, tenant: &Tenant, own: Option<&Once>) -> Result<()> {
    // All of a busy business' last day: that may take longer than a statement usually may.
    Statement::new("SET LOCAL statement_timeout = '60s'").run(tx)?;
    let mut sql = Statement::new(
        "UPDATE idempotency_keys SET body = NULL, location = NULL, etag = NULL WHERE body IS NOT NULL AND business_id = ",
    );
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND id <> ");
    sql.bind(Value::Uuid(Some(own.map(|own| own.id).unwrap_or_default()))).run(tx)?;
    Ok(())
}

/// Clears away answers whose time is over.
pub fn clear(app: Data<App>) -> LocalBoxFuture<'static, Result<Pace>> {
    Box::pin(async move {
        let cleared = app.db.across().write("clear_answers", |tx| {
            let sql = format!(
                "DELETE FROM idempotency_keys WHERE (business_id, id) IN (SELECT business_id, id FROM idempotency_keys \
                 WHERE created_at < now() - interval '{} seconds' ORDER BY created_at LIMIT {CLEARED_AT_ONCE})",
                KEPT.as_secs()
            );
            Ok(Statement::new(sql).run(tx)?)
        });
        Ok(if cleared.await? >= CLEARED_AT_ONCE as usize { Pace::Again } else { Pace::Rest })
    })
}
