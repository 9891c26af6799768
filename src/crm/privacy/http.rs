//! HTTP handlers of `GET /contacts/{id}/export` and `POST /contacts/{id}/erasure`.

use std::collections::HashSet;
use std::sync::Arc;

use actix_web::http::{Method, StatusCode, header};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use parking_lot::Mutex;
use serde_json::json;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::HttpMethod;

use super::settings::PrivacySettings;
use super::{data_subject, erasure, export};
use crate::auth::{Action, Area};
use crate::background::detach;
use crate::base::error::{Error, Result};
use crate::crm::contacts::CONTACTS;
use crate::db::{Db, Isolation, WriteOptions};
use crate::http::caller::Caller;
use crate::http::idempotency::{self, ApiResponse, IdempotencyKey};
use crate::http::{response, routing};
use crate::identity::businesses::ERASURE_MODES;
use crate::resource::action_body::ActionBody;
use crate::resource::http::id;
use crate::resource::openapi::{Act, Gives};
use crate::resource::{Field, FieldType, ReadService};

static ERASURE: [Field; 1] = [Field::named(
    "mode",
    FieldType::Choice(ERASURE_MODES),
    r#""anonymise""#,
    "`anonymise` keeps rows for the figures, `delete` nothing; as the business has it, when left out.",
)];
static ERASED: [Field; 2] = [
    Field::named("mode", FieldType::Choice(ERASURE_MODES), r#""anonymise""#, "What was done.").not_null(),
    Field::named("rows", FieldType::Object, r#"{"contacts":1,"leads":2,"messages":31}"#, "How many of each resource.")
        .not_null(),
];

/// Registers the routes below `/contacts`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/export").on(Method::GET, download).register(scope);
    routing::resource("/{id}/erasure").on(Method::POST, erase).register(scope);
}

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

async fn erase(
    (reads, settings): (Data<ReadService>, Data<PrivacySettings>),
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Privacy, Action::Delete)?;
    let id = id(&CONTACTS, &request)?;
    let mode = ActionBody::read(&body, &ERASURE)?.text("mode").map(str::to_owned);
    let (own, asked, done) = (tenant.clone(), mode.clone(), Arc::new(Mutex::new(HashSet::new())));
    let (first, once) = (done.clone(), IdempotencyKey::from_request(&tenant, &request, &body)?);
    let (reply, replayed) = idempotency::write_or_replay(&reads.db, &tenant, &request, &body, "erasure", move |tx| {
        let erased = erasure::erase(tx, &own, id, asked.as_deref(), &HashSet::new())?;
        idempotency::forget(tx, &own, None)?;
        let answer = json!({ "mode": erased.mode, "rows": erased.rows }).to_string();
        if erased.mode != "delete" {
            *first.lock() = erased.ids;
        }
        Ok(ApiResponse::new(StatusCode::OK, answer.into_bytes()))
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
async fn purge_cache(reads: &ReadService, settings: &PrivacySettings, business: uuid::Uuid) {
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

/// Adds both operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    let acts = [
        Act {
            method: HttpMethod::Get,
            path: "/contacts/{id}/export",
            tag: CONTACTS.plural,
            id: "exportContact",
            summary: "Export all about a contact",
            about: "Everything that is known about them, as they may ask for: the contact, and every lead, conversation, \
                    message, decision, booking, task and note that is about them, whole, with what the audit log tells of \
                    these. Deleted rows too. From one moment.",
            takes: &[],
            status: 200,
            gives: Gives::Rows(data_subject::resources()),
            problems: &[401, 403, 404, 409, 503],
            open: false,
        },
        Act {
            method: HttpMethod::Post,
            path: "/contacts/{id}/erasure",
            tag: CONTACTS.plural,
            id: "eraseContact",
            summary: "Forget a contact",
            about: "In one transaction: every row about them, and about contacts merged with them, is deleted, or emptied of all that someone has written into it; \
                    what the audit log and merges tell of their fields, and what is cached, is gone too. It cannot be undone. \
                    Backups keep what they have until they are overwritten.",
            takes: &ERASURE,
            status: 200,
            gives: Gives::Object(&ERASED),
            problems: &[400, 401, 403, 404, 408, 413, 415, 422, 503],
            open: false,
        },
    ];
    acts.into_iter().for_each(|act| act.describe(api));
}
