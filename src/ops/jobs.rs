//! Jobs as the API shows them: a noun of `/ops`, which nobody writes, and their cancellation.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::HttpMethod;
use uuid::Uuid;

use crate::app::App;
use crate::auth::{Action, Area, Tenant};
use crate::db::{Actor, Statement, Tx, Value};
use crate::error::{Error, Result};
use crate::http::caller::Caller;
use crate::http::once::{self, Answer};
use crate::http::routing;
use crate::jobs::store::{self as jobs, End};
use crate::noun::form::Form;
use crate::noun::http::{API, id};
use crate::noun::openapi::{Act, Gives};
use crate::noun::params::View;
use crate::noun::store::{self, Row};
use crate::noun::{Field, Kind, Noun, Operations, Search, Sort, Visible, select};

const STATES: &[&str] = &["queued", "running", "succeeded", "failed", "cancelled"];
const ACTORS: &[&str] = &["user", "api_key", "system"];

pub static JOBS: Noun = Noun {
    name: "job",
    plural: "jobs",
    served_at: Some("ops/jobs"),
    schema: "Job",
    about: "Work that takes longer than a request. How far it is, is told at most once a second, and each time by an entry of \
            its history. People who see only what is assigned to them see only their own jobs.",
    table: "jobs",
    fields: &[
        Field::ID,
        Field::text("kind", 60, r#""import""#, "What kind of work it is.").read_only().not_null().filter(),
        Field::choice("state", STATES, r#""running""#, "Whether it waits, is being done, or how it ended.")
            .read_only()
            .not_null(),
        Field::int("total", 0, i64::MAX, "1000", "How many rows there are to do, where that is known.").read_only(),
        Field::int("done", 0, i64::MAX, "250", "How many of them are done.").read_only().not_null(),
        Field::int("failed", 0, i64::MAX, "2", "How many of these were refused.").read_only().not_null(),
        Field::new("result", Kind::Object, r#"{"changed":248}"#, "What came of it, when it has succeeded.").read_only(),
        Field::new(
            "error",
            Kind::Object,
            r#"{"code":"conflict","detail":"…"}"#,
            "Why it failed, as a problem document.",
        )
        .read_only(),
        Field::choice(
            "actor_kind",
            ACTORS,
            r#""user""#,
            "As whom it is done: whoever asked for it, as they were then.",
        )
        .read_only()
        .not_null(),
        Field::new("actor_id", Kind::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73""#, "Id of the person or the key.")
            .read_only()
            .filter(),
        Field::time("started_at", "When it was begun.").read_only(),
        Field::time("finished_at", "When it ended.").read_only(),
        Field::VERSION,
        Field::CREATED_AT,
        Field::time("updated_at", "When it last changed.").read_only().not_null(),
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::None,
    operations: Operations::NONE,
    // They change with every second, and are looked at by whoever waits for them.
    cached: false,
    visible: Visible::Assigned("actor_id"),
    routes: |scope| routing::resource("/{id}/cancellation").on(Method::POST, cancel).register(scope),
    ..Noun::BASE
};

/// Path of the job `id`, for `Location`.
pub fn path(id: Uuid) -> String {
    format!("{API}/{}/{id}", JOBS.path())
}

/// The job `id` as an answer, for whoever has just made it. Errors: 404.
pub fn shown(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Row> {
    store::one(tx, tenant, &JOBS, id, &View::default())?.ok_or_else(|| store::missing(&JOBS))
}

/// 202 with the job that was made, and where to look for it.
pub fn accepted(id: Uuid, row: Row) -> Answer {
    let etag = row.etag();
    Answer::new(StatusCode::ACCEPTED, row.json).location(path(id)).etag(etag)
}

async fn cancel(app: Data<App>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.may(JOBS.area, Action::Read)?;
    Form::read(&body, &[])?;
    let (id, own) = (id(&JOBS, &request)?, tenant.clone());
    let cancel = move |tx: &mut Tx<'_>| Ok(cancelled(tx, &own, id)?.answer());
    once::write(&app.db, &tenant, &request, &body, "job_cancel", cancel).await
}

/// Ends the job `id` between two steps. One that is cancelled already stays so.
/// Errors: 404; 403; 409 when it has ended otherwise.
fn cancelled(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Row> {
    let mut sql = Statement::new("SELECT t.state, t.actor_id FROM jobs t");
    sql.append(select::scoped(&JOBS, tenant)).push(" AND t.id = ").bind(Value::Uuid(Some(id)));
    let row = sql.row(tx)?.ok_or_else(|| store::missing(&JOBS))?;
    let own = row.uuid(1).is_some() && row.uuid(1) == tenant.actor().map(|actor| Actor::parts(actor).1);
    if !own && !tenant.permissions().has(Area::Operations, Action::Write) {
        let detail = "Only whoever made a job, and who has the permission `operations:write`, may cancel it.";
        return Err(Error::Forbidden(detail.into()));
    }
    match jobs::interrupt(tx, tenant, id)? {
        Some(job) => jobs::end(tx, tenant, &job, &End::Cancelled)?,
        None => {
            // It may have ended while we waited for its step.
            let state = sql.row(tx)?.and_then(|row| row.text(0).map(str::to_owned)).unwrap_or_default();
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

/// Adds the cancellation to the document.
pub fn describe(api: &mut OpenApi) {
    let cancellation = Act {
        method: HttpMethod::Post,
        path: "/ops/jobs/{id}/cancellation",
        tag: JOBS.plural,
        id: "cancelJob",
        summary: "Cancel a job",
        about: "Between two of its steps: what is done stays done. For whoever made the job, and with the permission \
                `operations:write`. Takes no body.",
        takes: &[],
        status: 200,
        gives: Gives::Row(&JOBS),
        problems: &[400, 401, 403, 404, 408, 409, 413, 415, 422, 503],
        open: false,
    };
    cancellation.describe(api);
}
