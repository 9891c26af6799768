//! The API of jobs: the read-only resource `/ops/jobs`, and their cancellation.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use diesel::QueryableByName;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use uuid::Uuid;

use crate::auth::{Action, Area, Tenant};
use crate::background::store::{self as jobs, JobResult};
use crate::base::error::{Error, Result};
use crate::db::schema;
use crate::db::{Actor, Db, Statement, Tx};
use crate::http::caller::Caller;
use crate::http::idempotency::{self, ApiResponse};
use crate::http::openapi_problems::{BodyProblems, CallerProblems, Conflict, NotFound, ServiceProblems};
use crate::http::routing;
use crate::resource::body::{self, NoBody};
use crate::resource::crud::{self, Row};
use crate::resource::http::{API, id};
use crate::resource::list_query::Projection;
use crate::resource::{Field, FieldType, Operations, Resource, RowVisibility, Search, Sort, openapi, row_type, select};

const STATES: &[&str] = &["queued", "running", "succeeded", "failed", "cancelled"];
const ACTORS: &[&str] = &["user", "api_key", "system"];

pub static JOBS: Resource = Resource {
    name: "job",
    plural: "jobs",
    path_override: Some("ops/jobs"),
    schema: "Job",
    description: "Work that takes longer than a request. Progress is updated at most once a second, each time with an entry of \
            its history. People who see only what is assigned to them see only their own jobs.",
    table: "jobs",
    fields: &[
        Field::id(schema::jobs::id),
        Field::text(schema::jobs::kind, 60, r#""import""#, "What kind of work it is.").read_only().not_null().filter(),
        Field::choice(schema::jobs::state, STATES, r#""running""#, "Whether it waits, is being done, or how it ended.")
            .read_only()
            .not_null(),
        Field::int(schema::jobs::total, 0, i64::MAX, "1000", "How many rows there are to do, where that is known.")
            .read_only(),
        Field::int(schema::jobs::done, 0, i64::MAX, "250", "How many of them are done.").read_only().not_null(),
        Field::int(schema::jobs::failed, 0, i64::MAX, "2", "How many of these were refused.").read_only().not_null(),
        Field::new(
            schema::jobs::result,
            FieldType::Object,
            r#"{"changed":248}"#,
            "What came of it, when it has succeeded.",
        )
        .read_only(),
        Field::new(
            schema::jobs::error,
            FieldType::Object,
            r#"{"code":"conflict","detail":"…"}"#,
            "Why it failed, as a problem document.",
        )
        .read_only(),
        Field::choice(
            schema::jobs::actor_kind,
            ACTORS,
            r#""user""#,
            "As whom it is done: its creator, with the permissions of that time.",
        )
        .read_only()
        .not_null(),
        Field::new(
            schema::jobs::actor_id,
            FieldType::Uuid,
            r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73""#,
            "Id of the person or the key.",
        )
        .read_only()
        .filter(),
        Field::time(schema::jobs::started_at, "When it was begun.").read_only(),
        Field::time(schema::jobs::finished_at, "When it ended.").read_only(),
        Field::version(schema::jobs::version),
        Field::created_at(schema::jobs::created_at),
        Field::time(schema::jobs::updated_at, "When it last changed.").read_only().not_null(),
    ],
    sorts: &[Sort::column(schema::jobs::created_at)],
    search: Search::None,
    operations: Operations::NONE,
    // They change every second, and are read by clients that wait for them.
    cacheable: false,
    visibility: RowVisibility::assigned(schema::jobs::actor_id),
    ..Resource::BASE
};

row_type!(JobRow of JOBS);

/// Registers the route below `/jobs`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/cancellation").on(Method::POST, cancel).register(scope);
}

/// Returns the path of the job `id`, for `Location`.
pub fn path(id: Uuid) -> String {
    format!("{API}/{}/{id}", JOBS.path())
}

/// Returns the job `id`, for the response to its creator. Errors: 404.
pub fn shown(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Row> {
    crud::one(tx, tenant, &JOBS, id, &Projection::default())?.ok_or_else(|| crud::not_found(&JOBS))
}

/// Returns 202 with the job that was created, and its location.
pub fn accepted(id: Uuid, row: Row) -> ApiResponse {
    let etag = row.etag();
    ApiResponse::new(StatusCode::ACCEPTED, row.json).location(path(id)).etag(etag)
}

#[utoipa::path(
    post,
    path = "/api/v1/ops/jobs/{id}/cancellation",
    tag = "jobs",
    operation_id = "cancelJob",
    summary = "Cancel a job",
    description = "Between two of its steps: what is done stays done. For the creator of the job, and with the permission \
                   `operations:write`. Takes no body.",
    params(("id" = Uuid, Path, description = "Id of the job.")),
    responses(
        (status = 200, description = "The row as it is now.", body = JobRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn cancel(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(JOBS.area, Action::Read)?;
    let NoBody {} = body::read(&body)?;
    let (id, own) = (id(&JOBS, &request)?, tenant.clone());
    let cancel = move |tx: &mut Tx<'_>| Ok(cancelled(tx, &own, id)?.answer());
    idempotency::write(&db, &tenant, &request, &body, "job_cancel", cancel).await
}

/// A job that is to be cancelled.
#[derive(QueryableByName)]
#[diesel(table_name = schema::jobs)]
struct FoundJob {
    state: String,
    actor_id: Option<Uuid>,
}

/// Ends the job `id` between two steps. A job that was cancelled before stays so.
/// Errors: 404; 403; 409 when it has ended otherwise.
fn cancelled(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Row> {
    let mut sql = Statement::new("SELECT t.state, t.actor_id FROM jobs t");
    sql.append(select::tenant_predicate(&JOBS, tenant)).sql(" AND t.id = ").bind(id);
    let found: FoundJob = sql.first(tx)?.ok_or_else(|| crud::not_found(&JOBS))?;
    let own = found.actor_id.is_some() && found.actor_id == tenant.actor().map(|actor| Actor::parts(actor).1);
    if !own && !tenant.permissions().has(Area::Operations, Action::Write) {
        let detail = "Only the creator of a job, or a caller with the permission `operations:write`, may cancel it.";
        return Err(Error::Forbidden(detail.into()));
    }
    match jobs::interrupt(tx, tenant, id)? {
        Some(job) => jobs::end(tx, tenant, &job, &JobResult::Cancelled)?,
        None => {
            // It may have ended while this transaction waited for its step.
            let state = sql.first::<FoundJob>(tx)?.map(|job| job.state).unwrap_or_default();
            if state != "cancelled" {
                return Err(Error::conflict(
                    "job_ended",
                    format!("The job has {state} already; there is nothing to cancel."),
                ));
            }
        }
    }
    shown(tx, tenant, id)
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(cancel))]
struct JobsApi;

/// Adds the cancellation to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, JobsApi::openapi());
}
