//! HTTP handlers of imports: the jobs of an import (`/imports/{id}/trial`, `/execution`, `/reversion`) and its preview;
//! the upload and the report of refused rows have their own files.

use actix_web::http::{Method, StatusCode, header};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use uuid::Uuid;

use super::dto::ImportPreview;
use super::resource::{IMPORTS, ImportRow};
use super::settings::ImportSettings;
use super::start_job::{enqueue_import, enqueue_revert};
use super::stored_import::{self, Import};
use super::upload::upload;
use super::{error_report, preview};
use crate::auth::{Action, Tenant};
use crate::background::JobWaker;
use crate::base::error::Result;
use crate::db::{Db, Tx};
use crate::http::caller::Caller;
use crate::http::idempotency::{self, ApiResponse};
use crate::http::openapi_problems::{BadRequest, BodyProblems, CallerProblems, Conflict, NotFound, ServiceProblems};
use crate::http::routing::{self, Routes};
use crate::integrations::jobs;
use crate::resource::body::{self, NoBody};
use crate::resource::http::{id, no_parameters};

/// What the handlers that start a job use.
type State = (Data<Db>, Data<JobWaker>, Data<ImportSettings>);

/// Registers the upload as the operation which creates an import.
pub fn creation(many: Routes) -> Routes {
    many.streams(Method::POST, upload)
}

/// Registers the routes below `/imports`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/trial").on(Method::POST, dry_run).register(scope);
    routing::resource("/{id}/execution").on(Method::POST, execute).register(scope);
    routing::resource("/{id}/reversion").on(Method::POST, revert).register(scope);
    routing::resource("/{id}/preview").on(Method::GET, get_preview).register(scope);
    routing::resource("/{id}/errors").on(Method::GET, error_report::download).register(scope);
}

#[utoipa::path(
    get,
    path = "/api/v1/imports/{id}/preview",
    tag = "imports",
    operation_id = "getImportPreview",
    summary = "Get the first changes of a trial",
    description = "The first 20 changes as the last trial would have made them, until the file is imported; and at any time, which \
                   columns are not simply taken as a field.",
    params(("id" = Uuid, Path, description = "Id of the import.")),
    responses(
        (status = 200, description = "Done.", body = ImportPreview),
        (status = 400, response = BadRequest),
        (status = 404, response = NotFound),
        CallerProblems,
        ServiceProblems,
    )
)]
pub async fn get_preview(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(IMPORTS.area, Action::Read)?;
    no_parameters(&request)?;
    let id = id(&IMPORTS, &request)?;
    let shown = db.for_tenant(&tenant).read("import_preview", move |conn| preview::load(conn, &tenant, id)).await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(shown))
}

#[utoipa::path(
    post,
    path = "/api/v1/imports/{id}/trial",
    tag = "imports",
    operation_id = "tryImport",
    summary = "Try an import",
    description = "A job does everything but the writing: afterwards the import has its counts, its refused rows, and a preview. \
                   Takes no body. `Location` is the job.",
    params(("id" = Uuid, Path, description = "Id of the import.")),
    responses(
        (status = 202, description = "The row as it is now.", body = ImportRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
pub async fn dry_run(state: State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    start_job(state, (caller, Action::Write), request, body, |tx, tenant, import| {
        enqueue_import(tx, tenant, import, true)
    })
    .await
}

#[utoipa::path(
    post,
    path = "/api/v1/imports/{id}/execution",
    tag = "imports",
    operation_id = "executeImport",
    summary = "Import a file that was uploaded",
    description = "As a job. Once: another upload of the same file recognises rows that exist. Takes no body. `Location` is the job.",
    params(("id" = Uuid, Path, description = "Id of the import.")),
    responses(
        (status = 202, description = "The row as it is now.", body = ImportRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
pub async fn execute(state: State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    start_job(state, (caller, Action::Write), request, body, |tx, tenant, import| {
        enqueue_import(tx, tenant, import, false)
    })
    .await
}

#[utoipa::path(
    post,
    path = "/api/v1/imports/{id}/reversion",
    tag = "imports",
    operation_id = "revertImport",
    summary = "Take an import back",
    description = "A job deletes what the import made, and gives what it changed its old values, where nobody has changed it since: \
                   `reverted` and `kept` tell. Needs the permission to delete. Takes no body. `Location` is the job.",
    params(("id" = Uuid, Path, description = "Id of the import.")),
    responses(
        (status = 202, description = "The row as it is now.", body = ImportRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
pub async fn revert(state: State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    // It deletes the created rows.
    let (permitted, days) = ((caller, Action::Delete), state.2.retention_days);
    start_job(state, permitted, request, body, move |tx, tenant, import| enqueue_revert(tx, tenant, import, days)).await
}

/// Starts a job on the import of the path: 202 with the import, and the job's path in `Location`. The caller needs the permission for
/// `action` on imports, and on what the import's rows are.
async fn start_job(
    (db, waker, _): State,
    (caller, action): (Caller, Action),
    request: HttpRequest,
    body: Bytes,
    start: impl Fn(&mut Tx<'_>, &Tenant, Import) -> Result<Uuid> + Send + Sync + 'static,
) -> Result<HttpResponse> {
    let tenant = caller.require(IMPORTS.area, action)?;
    let NoBody {} = body::read(&body)?;
    let (id, own) = (id(&IMPORTS, &request)?, tenant.clone());
    let begin = move |tx: &mut Tx<'_>| {
        let import = Import::lock(tx, &own, id)?;
        caller.require(import.resource.area, action)?;
        import.check_idle()?;
        let job = start(tx, &own, import)?;
        let answer = stored_import::shown(tx, &own, id)?.created(jobs::path(job));
        Ok(ApiResponse { status: StatusCode::ACCEPTED, ..answer })
    };
    let reply = idempotency::write(&db, &tenant, &request, &body, "import_start", begin).await?;
    waker.wake();
    Ok(reply)
}
