//! `POST /attachments`: takes a file that is to be sent, while it comes.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use sha2::{Digest, Sha256};
use utoipa::IntoParams;
use uuid::Uuid;

use super::kinds;
use super::store::{self, ATTACHMENT_FILES, NewAttachment};
use crate::auth::{Action, Principal, Tenant};
use crate::base::error::{Error, FieldError, Result};
use crate::channels::attachments::{ATTACHMENTS, AttachmentRow};
use crate::channels::whatsapp::safe_file_name::safe_file_name;
use crate::db::{Db, Tx};
use crate::http::caller::Caller;
use crate::http::file_upload::{FileBytes, FileUpload};
use crate::http::file_writer::WrittenFile;
use crate::http::idempotency::{self, ApiResponse, IdempotencyKey};
use crate::http::openapi_problems::{BodyProblems, CallerProblems, ServiceProblems};
use crate::http::payload::BodyStream;
use crate::resource::http::{API, may_change};
use crate::resource::list_query::Projection;
use crate::resource::{crud, did_you_mean};

/// How long an upload may take: less than what is left of those that broke off is kept.
const MAX_TIME: Duration = Duration::from_secs(3600);
/// Longest file name in characters.
const MAX_FILE_NAME_LEN: usize = 255;

/// Settings of uploads; shared with the handlers as `Data<AttachmentSettings>`.
#[derive(Clone, Copy, Debug)]
pub struct AttachmentSettings {
    /// Largest file in bytes.
    pub max_bytes: u64,
}

/// Parameters of an upload.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AttachmentParameters {
    /// What the file is called; customers see it with a document.
    #[param(max_length = 255)]
    pub file_name: Option<String>,
    /// Its media type, such as `image/jpeg`; that of the Content-Type when left out.
    #[param(max_length = 127, pattern = "^[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*$")]
    pub mime_type: Option<String>,
}

impl AttachmentParameters {
    /// Parses the query string. Errors: 400 with every error.
    fn read(request: &HttpRequest) -> Result<Self> {
        let (mut file_name, mut mime_type, mut faults) = (None, None, Vec::new());
        for (name, value) in url::form_urlencoded::parse(request.query_string().as_bytes()) {
            let fault = |code, detail: String| FieldError::new(format!("/query/{name}"), code, detail);
            match &*name {
                "file_name" if (1..=MAX_FILE_NAME_LEN).contains(&value.chars().count()) => {
                    file_name = Some(safe_file_name(&value));
                }
                "file_name" => {
                    faults.push(fault("length", format!("`file_name` has 1 to {MAX_FILE_NAME_LEN} characters.")));
                }
                "mime_type" if kinds::is_media_type(&value) => mime_type = Some(value.into_owned()),
                "mime_type" => {
                    let detail = "`mime_type` is a media type in lower case without parameters, such as `image/jpeg`.";
                    faults.push(fault("format", detail.to_owned()));
                }
                _ => {
                    let hint = did_you_mean(&name, ["file_name", "mime_type"]);
                    faults.push(fault("unknown_parameter", format!("There is no parameter `{name}`.{hint}")));
                }
            }
        }
        if faults.is_empty() { Ok(Self { file_name, mime_type }) } else { Err(Error::parameters(faults)) }
    }
}

/// Receives a file.
#[utoipa::path(
    post,
    path = "/api/v1/attachments",
    tag = "attachments",
    operation_id = "createAttachment",
    summary = "Upload a file to send",
    description = "The body is the file itself, its Content-Type the file's own, or `mime_type`, where a client cannot set that. Send it with `POST /conversations/{id}/messages` and \
                   `\"media\": {\"attachment_id\": …}`, in as many messages as you like. One that no message has after a day is deleted.",
    params(AttachmentParameters),
    request_body(
        description = "The file, of at most RAPPORT_ATTACHMENT_BYTES; what a message takes depends on its kind.",
        content(
            (FileBytes = "application/octet-stream", example = json!("%PDF-1.7 …")),
        )
    ),
    responses(
        (status = 201, description = "It is kept.", body = AttachmentRow),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
pub async fn upload(
    (db, settings): (Data<Db>, Data<AttachmentSettings>),
    caller: Caller,
    request: HttpRequest,
    body: BodyStream,
) -> Result<HttpResponse> {
    let tenant = may_change(&caller, &ATTACHMENTS, Action::Write)?;
    let AttachmentParameters { file_name, mime_type: given } = AttachmentParameters::read(&request)?;
    let of_content = mime_type(&request)?;
    let mime_type = given.unwrap_or(of_content);
    // Rejects an invalid idempotency key before the file is received.
    IdempotencyKey::from_request(&tenant, &request, &[])?;
    let uploader = match caller.principal() {
        Principal::User { id, .. } => Some(id),
        Principal::Key(_) => None,
    };
    let id = Uuid::now_v7();
    let (max_bytes, option) = (settings.max_bytes, "RAPPORT_ATTACHMENT_BYTES");
    let upload = FileUpload { db: &db, tenant: &tenant, store: &ATTACHMENT_FILES, file: id, max_bytes, option };
    let created = match receive(&upload, &request, body).await {
        Ok(file) => {
            let (own, new) = (tenant.clone(), NewAttachment { id, file, file_name, mime_type });
            // The file is too large to be compared; its digest and its type identify it.
            let digest = Sha256::new().chain_update(file.sha256).chain_update(&new.mime_type).finalize();
            let make = move |tx: &mut Tx<'_>| create(tx, &own, &new, uploader);
            idempotency::write_or_replay(&db, &tenant, &request, &digest, "attachment_create", make).await
        }
        Err(error) => Err(error),
    };
    // On an error or a replay the copy just received is not needed.
    if !matches!(created, Ok((_, false))) {
        upload.forget().await;
    }
    Ok(created?.0)
}

/// Receives a file within its time. Errors: 408; 422 for one without bytes.
async fn receive(upload: &FileUpload<'_>, request: &HttpRequest, body: BodyStream) -> Result<WrittenFile> {
    let received = tokio::time::timeout(MAX_TIME, upload.receive(request, body, |_| {})).await;
    let file = received.map_err(|_| Error::RequestTimeout)??;
    if file.bytes == 0 {
        return Err(Error::Invalid(vec![FieldError::new(
            "",
            "required",
            "The body is empty; send the file as it is.",
        )]));
    }
    Ok(file)
}

fn create(tx: &mut Tx<'_>, tenant: &Tenant, new: &NewAttachment, uploader: Option<Uuid>) -> Result<ApiResponse> {
    store::insert(tx, tenant, new, uploader, false)?;
    let row = crud::one(tx, tenant, &ATTACHMENTS, new.id, &Projection::default())?;
    let row = row.ok_or_else(|| Error::Internal("an attachment that was stored is not there".into()))?;
    let etag = row.etag();
    let reply = ApiResponse::of(StatusCode::CREATED, &AttachmentRow::try_from(row)?)?;
    Ok(reply.location(format!("{API}/{}/{}", ATTACHMENTS.plural, new.id)).etag(etag))
}

/// The file's media type, without parameters. Errors: 415.
fn mime_type(request: &HttpRequest) -> Result<String> {
    let unsupported = |detail: &str| Error::Unsupported(detail.to_owned());
    let parsed = request.mime_type().ok().flatten();
    let parsed = parsed.ok_or_else(|| unsupported("Send the file's own Content-Type, such as `image/jpeg`."))?;
    let essence = parsed.essence_str().to_ascii_lowercase();
    if essence.starts_with("multipart/") || essence == "application/x-www-form-urlencoded" {
        return Err(unsupported("Send the file itself as the body, not a form; its Content-Type is the file's."));
    }
    if !kinds::is_media_type(&essence) {
        return Err(unsupported("The Content-Type names no type of file."));
    }
    Ok(essence)
}
