//! `GET /messages/{id}/media`: the file of a message, or a range of it.

use std::str::FromStr;

use actix_web::body::SizedStream;
use actix_web::http::header::{
    self, Charset, ContentDisposition, DispositionParam, DispositionType, ExtendedValue, Range,
};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use diesel::QueryableByName;
use diesel::pg::PgConnection;
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::send_file::StoredFile;
use crate::auth::{Action, Tenant};
use crate::base::error::{Error, Result};
use crate::channels::messages::MESSAGES;
use crate::db::{Db, Statement};
use crate::http::caller::Caller;
use crate::http::file_upload::FileBytes;
use crate::http::openapi_problems::{BadRequest, CallerProblems, NotFound, ServiceProblems};
use crate::http::precondition;
use crate::resource::http::{id, no_parameters};
use crate::resource::{crud, select};

/// The bytes of a message's file.
#[utoipa::path(
    get,
    path = "/api/v1/messages/{id}/media",
    tag = "messages",
    operation_id = "getMessageMedia",
    summary = "Get the file of a message",
    description = "Its bytes, with its own Content-Type; a part of them with the header `Range`, such as `bytes=0-1023` (one range). (It is no parameter here: Go has a word of that name.) A message has it when \
                   its `media_state` is `stored`. Files that browsers only show are `inline`, all others to be downloaded.",
    params(
        ("id" = Uuid, Path, description = "Id of the message."),
    ),
    responses(
        (status = 200, description = "The file.", body = FileBytes, content_type = "application/octet-stream", example = json!("…")),
        (status = 206, description = "The range.", body = FileBytes, content_type = "application/octet-stream", example = json!("…")),
        (status = 400, response = BadRequest),
        (status = 404, response = NotFound),
        CallerProblems,
        ServiceProblems,
    )
)]
pub async fn download(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(MESSAGES.area, Action::Read)?;
    no_parameters(&request)?;
    let (message, own) = (id(&MESSAGES, &request)?, tenant.clone());
    let found = db.for_tenant(&tenant).read("message_media", move |conn| find(conn, &own, message)).await?;
    let Found { media_state, attachment_id, file_name, mime_type, bytes, sha256 } = found;
    let (Some(attachment), Some(mime_type), Some(bytes), Some(sha256)) = (attachment_id, mime_type, bytes, sha256)
    else {
        return Err(Error::NotFound(absence(media_state.as_deref())));
    };
    let bytes = bytes.unsigned_abs();
    let etag = format!("\"{sha256}\"");
    if precondition::is_known(&request, &etag) {
        return Ok(HttpResponse::NotModified().insert_header((header::ETAG, etag)).finish());
    }
    let range = range(&request, &etag, bytes);
    let mut reply = match range {
        Some(_) => HttpResponse::PartialContent(),
        None => HttpResponse::Ok(),
    };
    reply
        .insert_header((header::CONTENT_TYPE, mime_type.as_str()))
        .insert_header((header::ETAG, etag))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header(disposition(&mime_type, file_name.as_deref()));
    let (from, until) = match range {
        Some((first, last)) => {
            reply.insert_header((header::CONTENT_RANGE, format!("bytes {first}-{last}/{bytes}")));
            (first, last + 1)
        }
        None => (0, bytes),
    };
    let file = StoredFile { db: db.get_ref().clone(), tenant, attachment, mime_type, file_name, bytes };
    Ok(reply.body(SizedStream::new(until - from, file.read(from, until))))
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Nullable<Text>)]
    media_state: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    attachment_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    file_name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    mime_type: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    bytes: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    sha256: Option<String>,
}

/// Finds the file of a message. Errors: 404 where there is no such message.
fn find(conn: &mut PgConnection, tenant: &Tenant, message: Uuid) -> Result<Found> {
    let mut sql = Statement::new(
        "SELECT t.media_state, a.id AS attachment_id, coalesce(t.media->>'file_name', a.file_name) AS file_name, a.mime_type, a.bytes, a.sha256 FROM messages AS t \
         LEFT JOIN attachments a ON a.business_id = t.business_id AND a.id = t.attachment_id",
    );
    sql.append(select::tenant_predicate(&MESSAGES, tenant)).sql(" AND t.deleted_at IS NULL AND t.id = ").bind(message);
    sql.first(conn)?.ok_or_else(|| crud::not_found(&MESSAGES))
}

/// Why a message has no file to give.
fn absence(state: Option<&str>) -> String {
    match state {
        Some("pending") => {
            "The file is still being fetched from the channel: ask again when `media_state` is `stored`."
        }
        Some("gone") => "The channel did not have the file any more when it was fetched.",
        Some("refused") => "The file was refused: `media.reason` of the message says why.",
        _ => "The message has no stored file.",
    }
    .to_owned()
}

/// The first and the last byte that are asked for; `None`: all. What is no single range within the file is not looked at, as RFC 9110
/// (section 14.2) allows.
fn range(request: &HttpRequest, etag: &str, bytes: u64) -> Option<(u64, u64)> {
    let headers = request.headers();
    if headers.get(header::IF_RANGE).is_some_and(|known| known.as_bytes() != etag.as_bytes()) {
        return None;
    }
    match Range::from_str(headers.get(header::RANGE)?.to_str().ok()?) {
        Ok(Range::Bytes(ranges)) => match ranges.as_slice() {
            [only] => only.to_satisfiable_range(bytes),
            _ => None,
        },
        _ => None,
    }
}

/// Browsers show pictures, sound and films; anything else could be a page with a script, and is saved.
fn disposition(mime_type: &str, file_name: Option<&str>) -> ContentDisposition {
    let is_shown = matches!(mime_type, "image/jpeg" | "image/png" | "image/webp" | "image/gif")
        || mime_type.starts_with("audio/")
        || mime_type.starts_with("video/");
    let parameters = file_name.map(|name| match name.is_ascii() {
        true => DispositionParam::Filename(name.to_owned()),
        false => DispositionParam::FilenameExt(ExtendedValue {
            charset: Charset::Ext("UTF-8".to_owned()),
            language_tag: None,
            value: name.as_bytes().to_vec(),
        }),
    });
    let disposition = if is_shown { DispositionType::Inline } else { DispositionType::Attachment };
    ContentDisposition { disposition, parameters: parameters.into_iter().collect() }
}
