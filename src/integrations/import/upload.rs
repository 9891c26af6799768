//! The upload, `POST /imports`: stores a file in chunks while it is received, and creates its import.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::csv_reader::Records;
use super::file_store::IMPORT_FILES;
use super::mapping::Mapping;
use super::resource::{ImportRow, imported};
use super::settings::ImportSettings;
use super::start_job::enqueue_import;
use super::stored_import::{self, Import, Layout};
use super::upload_parameters::UploadParameters;
use super::{csv_delimiter, csv_header, match_keys};
use crate::auth::{Action, Area, Tenant};
use crate::background::JobWaker;
use crate::base::error::{Error, FieldError, Result};
use crate::db::{Actor, Db, Statement, Tx};
use crate::http::caller::Caller;
use crate::http::file_upload::{FileBytes, FileUpload};
use crate::http::file_writer::WrittenFile;
use crate::http::idempotency::{self, ApiResponse, IdempotencyKey};
use crate::http::openapi_problems::{BodyProblems, CallerProblems, ServiceProblems};
use crate::http::payload::BodyStream;
use crate::resource::Resource;
use crate::resource::Row;
use crate::resource::http::API;

/// Maximum length of the header line, in bytes.
const MAX_HEADER_LEN: usize = 64 * 1024;

/// Receives a file and creates its import: 201, or 202 with `start`, which enqueues the job.
#[utoipa::path(
    post,
    path = "/api/v1/imports",
    tag = "imports",
    operation_id = "createImport",
    summary = "Upload a file to be imported",
    description = "Takes the file as it comes, of any size up to the limit, and imports it as a job: 202. With `dry_run=true` it is \
                   tried first, with `start=false` only kept (201), so that its mapping can be looked at and changed.",
    params(UploadParameters),
    request_body(
        description = "The file, of at most RAPPORT_IMPORT_BYTES; one row has at most a mebibyte.",
        content(
            (FileBytes = "text/csv", example = json!("first_name,email\nAnna,anna@example.com\n")),
            (FileBytes = "application/x-ndjson",
                example = json!("{\"first_name\":\"Anna\",\"email\":\"anna@example.com\"}\n")),
        )
    ),
    responses(
        (status = 201, description = "It is kept.", body = ImportRow),
        (status = 202, description = "It is being worked on.", body = ImportRow),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
pub async fn upload(
    (db, waker, settings): (Data<Db>, Data<JobWaker>, Data<ImportSettings>),
    caller: Caller,
    request: HttpRequest,
    body: BodyStream,
) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Crm, Action::Write)?;
    let parameters = UploadParameters::read(&request)?;
    if let Some(resource) = imported(parameters.resource) {
        caller.require(resource.area, Action::Write)?;
    }
    // Rejects an invalid idempotency key before the file is received.
    IdempotencyKey::from_request(&tenant, &request, &[])?;
    let id = Uuid::now_v7();
    let (max_bytes, option) = (settings.max_bytes, "RAPPORT_IMPORT_BYTES");
    let upload = FileUpload { db: &db, tenant: &tenant, store: &IMPORT_FILES, file: id, max_bytes, option };
    let created = match receive(&upload, &request, body).await {
        Ok(file) => {
            let (own, digest) = (tenant.clone(), file.digest);
            let status = if parameters.starts { StatusCode::ACCEPTED } else { StatusCode::CREATED };
            let make = move |tx: &mut Tx<'_>| {
                let path = format!("{API}/imports/{id}");
                Ok(ApiResponse { status, ..create(tx, &own, id, &parameters, &file)?.created(path) })
            };
            // The file is too large to be compared; its digest identifies it.
            idempotency::write_or_replay(&db, &tenant, &request, &digest, "import_create", make).await
        }
        Err(error) => Err(error),
    };
    // On an error or a replay the copy just received is not needed.
    if !matches!(created, Ok((_, false))) {
        upload.forget().await;
    }
    waker.wake();
    Ok(created?.0)
}

/// A file which is stored.
struct StoredFile {
    bytes: u64,
    lines: u64,
    /// Its first bytes.
    head: Vec<u8>,
    /// SHA-256 of the whole file.
    digest: [u8; 32],
}

/// Stores the file while it comes. What breaks off is deleted later ([`super::cleanup`]).
async fn receive(upload: &FileUpload<'_>, request: &HttpRequest, body: BodyStream) -> Result<StoredFile> {
    let (mut lines, mut head) = (0, Vec::new());
    let look = |piece: &[u8]| {
        lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        let wanted = MAX_HEADER_LEN.saturating_sub(head.len()).min(piece.len());
        head.extend_from_slice(&piece[..wanted]);
    };
    let WrittenFile { bytes, sha256 } = upload.receive(request, body, look).await?;
    Ok(StoredFile { bytes, lines, head, digest: sha256 })
}

/// Creates the import of a stored file, and its job if it is to start. Errors: 422 for headers, mapping and match keys.
fn create(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, parameters: &UploadParameters, file: &StoredFile) -> Result<Row> {
    let resource = imported(parameters.resource).ok_or_else(|| Error::Internal("nothing can be imported".into()))?;
    let (separator, headers) = read_headers(parameters.format, file)?;
    let mapping = Mapping::of_file(resource, parameters.format, &headers, &parameters.mapping)?;
    let default = || match_keys::available(resource).iter().map(|name| (*name).to_owned()).collect();
    let match_by: Vec<String> = parameters.match_by.clone().unwrap_or_else(default);
    match_keys::check(resource, &match_by)?;
    insert(
        tx,
        tenant,
        id,
        resource,
        parameters,
        file,
        Values { separator, headers, targets: mapping.targets(), match_by },
    )?;
    if parameters.starts {
        let import = Import::lock(tx, tenant, id)?;
        enqueue_import(tx, tenant, import, parameters.dry_run)?;
    }
    stored_import::shown(tx, tenant, id)
}

/// Values of an import which come from the file and from defaults.
struct Values {
    separator: u8,
    headers: Vec<String>,
    targets: Json,
    match_by: Vec<String>,
}

fn insert(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    id: Uuid,
    resource: &Resource,
    parameters: &UploadParameters,
    file: &StoredFile,
    values: Values,
) -> Result<()> {
    let (actor, by) = match tenant.actor().map(Actor::parts) {
        Some((kind, id)) => (kind, Some(id)),
        None => ("system", None),
    };
    let lines = file.lines.saturating_sub(u64::from(parameters.format == "csv")) as i64;
    let layout = json!(Layout { separator: values.separator.into(), headers: values.headers });
    let mut sql = Statement::new(
        "INSERT INTO imports (business_id, id, resource, format, file_name, bytes, lines, layout, mapping, targets, match_by, \
         on_match, actor_kind, actor_id) VALUES (",
    );
    sql.bind(tenant.id()).sql(", ").bind(id).sql(", ").bind(resource.plural).sql(", ").bind(parameters.format);
    sql.sql(", ").bind(parameters.file_name.clone()).sql(", ").bind(file.bytes as i64).sql(", ").bind(lines);
    sql.sql(", ").bind(layout).sql(", ").bind(Json::Object(parameters.mapping.clone())).sql(", ").bind(values.targets);
    sql.sql(", ").bind(values.match_by).sql(", ").bind(parameters.on_match).sql(", ").bind(actor);
    sql.sql(", ").bind(by).sql(")").run(tx)?;
    Ok(())
}

/// Parses the separator and the headers of a CSV file. Errors: 422.
fn read_headers(format: &str, file: &StoredFile) -> Result<(u8, Vec<String>)> {
    let fault = |detail: String| Error::Invalid(vec![FieldError::new("", "file", detail)]);
    if file.bytes == 0 {
        return Err(fault("The file is empty.".into()));
    }
    if format != "csv" {
        return Ok((b',', Vec::new()));
    }
    let whole = file.bytes as usize <= file.head.len();
    if !whole && !file.head.contains(&b'\n') {
        return Err(fault(format!("The first line has more than {MAX_HEADER_LEN} bytes; it must be the headers.")));
    }
    let separator = csv_delimiter::detect(&file.head);
    let header = Records::new(&file.head[..], separator, whole).header();
    let headers = csv_header::headers(&header.map_err(|error| fault(error.to_string()))?).map_err(fault)?;
    if headers.iter().any(|header| header.contains('\0')) {
        return Err(fault("A header must not contain the character U+0000.".into()));
    }
    Ok((separator, headers))
}
