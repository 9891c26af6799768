//! HTTP handlers of imports: the jobs of an import (`/imports/{id}/trial`, `/execution`, `/reversion`) and its preview;
//! the upload and the report of refused rows have their own files.

use actix_web::http::{Method, StatusCode, header};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use uuid::Uuid;

use super::resource::IMPORTS;
use super::settings::ImportSettings;
use super::start_job::{enqueue_import, enqueue_revert};
use super::stored_import::{self, Import};
use super::upload::upload;
use super::{error_report, preview};
use crate::auth::{Action, Area, Tenant};
use crate::background::JobWaker;
use crate::base::error::Result;
use crate::db::{Db, Tx};
use crate::http::caller::Caller;
use crate::http::idempotency::{self, ApiResponse};
use crate::http::routing::{self, Routes};
use crate::integrations::jobs;
use crate::resource::action_body::ActionBody;
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

async fn get_preview(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(IMPORTS.area, Action::Read)?;
    no_parameters(&request)?;
    let id = id(&IMPORTS, &request)?;
    let shown = db.for_tenant(&tenant).read("import_preview", move |conn| preview::load(conn, &tenant, id)).await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(shown))
}

async fn dry_run(state: State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Crm, Action::Write)?;
    start_job(state, tenant, request, body, |tx, tenant, import| enqueue_import(tx, tenant, import, true)).await
}

async fn execute(state: State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Crm, Action::Write)?;
    start_job(state, tenant, request, body, |tx, tenant, import| enqueue_import(tx, tenant, import, false)).await
}

async fn revert(state: State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    // It deletes the created rows.
    let (tenant, days) = (caller.require(Area::Crm, Action::Delete)?, state.2.retention_days);
    start_job(state, tenant, request, body, move |tx, tenant, import| enqueue_revert(tx, tenant, import, days)).await
}

/// Starts a job on the import of the path: 202 with the import, and the job's path in `Location`.
async fn start_job(
    (db, waker, _): State,
    tenant: Tenant,
    request: HttpRequest,
    body: Bytes,
    start: impl Fn(&mut Tx<'_>, &Tenant, Import) -> Result<Uuid> + Send + Sync + 'static,
) -> Result<HttpResponse> {
    ActionBody::read(&body, &[])?;
    let (id, own) = (id(&IMPORTS, &request)?, tenant.clone());
    let begin = move |tx: &mut Tx<'_>| {
        let import = Import::lock(tx, &own, id)?;
        import.check_idle()?;
        let job = start(tx, &own, import)?;
        let answer = stored_import::shown(tx, &own, id)?.created(jobs::path(job));
        Ok(ApiResponse { status: StatusCode::ACCEPTED, ..answer })
    };
    let reply = idempotency::write(&db, &tenant, &request, &body, "import_start", begin).await?;
    waker.wake();
    Ok(reply)
}
