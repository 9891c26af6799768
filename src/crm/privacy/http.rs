//! HTTP handlers of `GET /contacts/{id}/export` and `POST /contacts/{id}/erasure`.

use std::collections::HashSet;
use std::sync::Arc;

use actix_web::http::{Method, StatusCode, header};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use parking_lot::Mutex;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use uuid::Uuid;

use super::dto::{ContactExport, Erasure, ErasureMode, ErasureRequest};
use super::settings::PrivacySettings;
use super::{erasure, export};
use crate::auth::{Action, Area};
use crate::background::detach;
use crate::base::error::{Error, Result};
use crate::crm::contacts::CONTACTS;
use crate::db::{Db, Isolation, WriteOptions};
use crate::http::caller::Caller;
use crate::http::idempotency::{self, ApiResponse, IdempotencyKey};
use crate::http::openapi_problems::{BodyProblems, CallerProblems, Conflict, NotFound, ServiceProblems};
use crate::http::{response, routing};
use crate::resource::http::id;
use crate::resource::{ReadService, body, openapi};

/// Registers the routes below `/contacts`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/export").on(Method::GET, download).register(scope);
    routing::resource("/{id}/erasure").on(Method::POST, erase).register(scope);
}

#[utoipa::path(
    get,
    path = "/api/v1/contacts/{id}/export",
    tag = "contacts",
    operation_id = "exportContact",
    summary = "Export all about a contact",
    description = "Everything that is known about them, as they may ask for: the contact, and every lead, conversation, \
                   message, decision, booking, task and note that is about them, whole, with what the audit log tells of \
                   these. Deleted rows too. From one moment.",
    params(("id" = Uuid, Path, description = "Id of the contact.")),
    responses(
        (status = 200, description = "All of them.", body = ContactExport),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        CallerProblems,
        ServiceProblems,
    )
)]
async fn download(
    (db, settings): (Data<Db>, Data<PrivacySettings>),
    caller: Caller,
    request: HttpRequest,
    _: Bytes,
) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Privacy, Action::Read)?;
    let (id, most) = (id(&CONTACTS, &request)?, settings.max_export_rows);
    // All of it from one snapshot.
    let options = WriteOptions { isolation: Isolation::RepeatableRead, ..WriteOptions::default() };
    let scoped = db.for_tenant(&tenant);
    let body = scoped.write_with("privacy_export", options, move |tx| export::export(tx, &tenant, id, most)).await?;
    let mut reply = HttpResponse::Ok();
    reply.insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"contact-{id}.json\"")));
    reply.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(response::json(reply, body))
}

#[utoipa::path(
    post,
    path = "/api/v1/contacts/{id}/erasure",
    tag = "contacts",
    operation_id = "eraseContact",
    summary = "Forget a contact",
    description = "In one transaction: every row about them, and about contacts merged with them, is deleted, or emptied of all \
                   that someone has written into it; what the audit log and merges tell of their fields, and what is cached, \
                   is gone too. It cannot be undone. Backups keep what they have until they are overwritten.",
    params(("id" = Uuid, Path, description = "Id of the contact.")),
    request_body = ErasureRequest,
    responses(
        (status = 200, description = "Done.", body = Erasure),
        (status = 404, response = NotFound),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn erase(
    (reads, settings): (Data<ReadService>, Data<PrivacySettings>),
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Privacy, Action::Delete)?;
    let id = id(&CONTACTS, &request)?;
    let ErasureRequest { mode } = body::read(&body)?;
    let mode = mode.map(|ErasureMode(mode)| mode);
    let (own, asked, done) = (tenant.clone(), mode.clone(), Arc::new(Mutex::new(HashSet::new())));
    let (first, once) = (done.clone(), IdempotencyKey::from_request(&tenant, &request, &body)?);
    let (reply, replayed) = idempotency::write_or_replay(&reads.db, &tenant, &request, &body, "erasure", move |tx| {
        let erased = erasure::erase(tx, &own, id, asked.as_deref(), &HashSet::new())?;
        idempotency::forget(tx, &own, None)?;
        if erased.mode != "delete" {
            *first.lock() = erased.ids;
        }
        ApiResponse::of(StatusCode::OK, &Erasure { mode: erased.mode, rows: erased.rows })
    })
    .await?;
    let done = std::mem::take(&mut *done.lock());
    if replayed || !done.is_empty() {
        // Rows that were being linked to these waited for the locks, and exist now. (How far the erasure of a replayed
        // response got is unknown; a deleted contact is not found again.)
        let own = tenant.clone();
        let again = reads.db.for_tenant(&tenant);
        let again = again.write("erasure", move |tx| {
            erasure::erase(tx, &own, id, mode.as_deref(), &done)?;
            idempotency::forget(tx, &own, once.as_ref())
        });
        again.await.or_else(|error| if matches!(error, Error::NotFound(_)) { Ok(()) } else { Err(error) })?;
    }
    purge_cache(&reads, &settings, tenant.id()).await;
    Ok(reply)
}

/// Purges the business from the cache. Its entries are not served any more, but must not be stored either. Reads in
/// progress store their response a little later, so the cache is purged again once all current requests are over.
async fn purge_cache(reads: &ReadService, settings: &PrivacySettings, business: Uuid) {
    let Some(cache) = reads.cache.clone() else { return };
    cache.purge(Some(business), None).await;
    let reads_are_over = settings.longest_read;
    detach("cache purge after an erasure", async move {
        tokio::time::sleep(reads_are_over).await;
        if cache.purge(Some(business), None).await.1.is_none() {
            tracing::warn!(%business, "Redis could not be emptied after an erasure; `POST /ops/cache/purge` does it");
        }
    });
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(download, erase))]
struct PrivacyApi;

/// Adds both operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, PrivacyApi::openapi());
}
