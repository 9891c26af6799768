//! HTTP handlers of `POST /task-claims` and below `/worker-tasks/{id}`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use uuid::Uuid;

use super::claims::Claim;
use super::dto::{AiUsage, ClaimTasksRequest, ClaimedTasks, CompleteTaskRequest, FailTaskRequest, RenewLeaseRequest};
use super::leases::{self, Ending};
use super::waiters::ClaimWaiters;
use super::{WORKER_TASKS, WorkerTaskRow, ai_runs, claims};
use crate::auth::{Action, Area, Tenant};
use crate::base::error::{Error, Result};
use crate::base::request_context;
use crate::db::{Db, Tx};
use crate::http::caller::{Caller, UnverifiedCaller};
use crate::http::idempotency::{self, ApiResponse};
use crate::http::openapi_problems::{BodyProblems, CallerProblems, Conflict, NotFound, ServiceProblems};
use crate::http::routing;
use crate::resource::body::{self, NoBody};
use crate::resource::http::{id, may_change, no_parameters};
use crate::resource::openapi;

/// How deep the body of a completion may be nested: as deep as that of a row.
const DEPTH: usize = 16;

/// Registers the routes below `/worker-tasks`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/renewal").on(Method::POST, renew).register(scope);
    routing::resource("/{id}/completion").on(Method::POST, complete).register(scope);
    routing::resource("/{id}/failure").on(Method::POST, fail).register(scope);
    routing::resource("/{id}/cancellation").on(Method::POST, cancel).register(scope);
}

/// Registers `/task-claims`.
pub fn claim_routes(api: &mut ServiceConfig) {
    routing::resource("/task-claims").reads(Method::POST, claim).register(api);
}

#[utoipa::path(
    post,
    path = "/api/v1/task-claims",
    tag = "worker-tasks",
    operation_id = "claimWorkerTasks",
    summary = "Claim tasks for a worker",
    description = "Tasks that are due, by `priority`, then by `run_at`; each is given to one worker, which has it for the time of the \
                   lease. With `wait` the response comes as soon as there is a task, and without one when that time is over. A task whose \
                   lease ends is claimed again by the next worker, as often as its `max_attempts` say.",
    request_body = ClaimTasksRequest,
    responses(
        (status = 200, description = "What was claimed.", body = ClaimedTasks),
        (status = 409, response = Conflict),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn claim(
    (db, waiters): (Data<Db>, Data<ClaimWaiters>),
    caller: UnverifiedCaller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let mut caller = caller.revalidate().await?;
    let mut tenant = may_claim(&caller)?;
    no_parameters(&request)?;
    let asked = body::read::<ClaimTasksRequest>(&body)?.claim()?;
    let end = Instant::now() + Duration::from_secs(asked.wait);
    let waiting = match asked.wait {
        0 => None,
        _ => {
            request_context::no_timeout();
            Some(waiters.into_inner().wait(tenant.id(), asked.kinds.clone())?)
        }
    };
    let mut waits = waiting.is_some();
    loop {
        if let Some(claimed) = attempt(&db, &tenant, &request, &body, &asked, !waits).await? {
            return Ok(claimed);
        }
        if let Some(waiting) = &waiting {
            waits = waiting.woken(end).await;
        }
        // It may have lost its permissions meanwhile.
        caller = caller.revalidate().await?;
        tenant = may_claim(&caller)?;
    }
}

/// Errors: 403, also for callers who see only what is assigned to them: a task may be about any conversation.
fn may_claim(caller: &UnverifiedCaller) -> Result<Tenant> {
    let tenant = caller.identity().require(Area::Workers, Action::Write)?;
    match tenant.restricted_to_user() {
        None => Ok(tenant),
        Some(_) => {
            let detail =
                "You see only what is assigned to you, and tasks may be about all else. Claim them with an API key.";
            Err(Error::Forbidden(detail.into()))
        }
    }
}

/// Claims what is due. `None`: nothing is, and this is not the last attempt, whose response is stored by the request's idempotency key.
async fn attempt(
    db: &Data<Db>,
    tenant: &Tenant,
    request: &HttpRequest,
    body: &Bytes,
    asked: &Claim,
    is_last: bool,
) -> Result<Option<HttpResponse>> {
    let (own, asked) = (tenant.clone(), asked.clone());
    let claim = move |tx: &mut Tx<'_>| {
        let data = claims::claim(tx, &own, &asked)?;
        match data.is_empty() && !is_last {
            true => Ok(None),
            false => ApiResponse::of(StatusCode::OK, &ClaimedTasks { data }).map(Some),
        }
    };
    let written = idempotency::write_if(db, tenant, request, body, "task_claim", claim).await?;
    Ok(written.map(|(response, _)| response))
}

#[utoipa::path(
    post,
    path = "/api/v1/worker-tasks/{id}/renewal",
    tag = "worker-tasks",
    operation_id = "renewWorkerTask",
    summary = "Keep a claimed task for longer",
    description = "The lease ends `lease_seconds` from now. 409 `lease_lost`: the task is not the worker's any more; what it has made of it \
                   is to be discarded.",
    params(("id" = Uuid, Path, description = "Id of the task.")),
    request_body = RenewLeaseRequest,
    responses(
        (status = 200, description = "The row as it is now.", body = WorkerTaskRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn renew(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = may_change(&caller, &WORKER_TASKS, Action::Write)?;
    no_parameters(&request)?;
    let (id, own) = (id(&WORKER_TASKS, &request)?, tenant.clone());
    let (token, seconds) = body::read::<RenewLeaseRequest>(&body)?.parts();
    let renew = move |tx: &mut Tx<'_>| Ok(leases::renew(tx, &own, id, token, seconds)?.answer());
    idempotency::write(&db, &tenant, &request, &body, "task_renewal", renew).await
}

#[utoipa::path(
    post,
    path = "/api/v1/worker-tasks/{id}/completion",
    tag = "worker-tasks",
    operation_id = "completeWorkerTask",
    summary = "Complete a claimed task",
    description = "409 `lease_lost`: another worker has the task, or it was cancelled, as when a person has answered. `usage` is kept then, \
                   too. A completion that is sent again changes nothing.",
    params(("id" = Uuid, Path, description = "Id of the task.")),
    request_body = CompleteTaskRequest,
    responses(
        (status = 200, description = "The row as it is now.", body = WorkerTaskRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn complete(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = may_change(&caller, &WORKER_TASKS, Action::Write)?;
    no_parameters(&request)?;
    let id = id(&WORKER_TASKS, &request)?;
    let CompleteTaskRequest { token, result, usage } = body::read_within(&body, DEPTH)?;
    let ending = Ending::Completed { result: result.map(|result| result.0) };
    Attempt { id, token: token.0, ending, usage, outcome: "sent" }.end(&db, &tenant, &request, &body).await
}

#[utoipa::path(
    post,
    path = "/api/v1/worker-tasks/{id}/failure",
    tag = "worker-tasks",
    operation_id = "failWorkerTask",
    summary = "Report that an attempt at a task failed",
    description = "The task is opened again for another attempt, later; after its last attempt, and with `retry: false`, it has failed.",
    params(("id" = Uuid, Path, description = "Id of the task.")),
    request_body = FailTaskRequest,
    responses(
        (status = 200, description = "The row as it is now.", body = WorkerTaskRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn fail(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = may_change(&caller, &WORKER_TASKS, Action::Write)?;
    no_parameters(&request)?;
    let id = id(&WORKER_TASKS, &request)?;
    let FailTaskRequest { token, error, retry_after, retry, usage } = body::read(&body)?;
    let retry_after = retry_after.map(|seconds| seconds.0);
    let ending = Ending::Failed { error: error.0, retry_after, may_retry: retry.unwrap_or(true) };
    Attempt { id, token: token.0, ending, usage, outcome: "failed" }.end(&db, &tenant, &request, &body).await
}

/// The end of an attempt at a task, with what a model used for it.
struct Attempt {
    id: Uuid,
    token: Uuid,
    ending: Ending,
    usage: Option<AiUsage>,
    /// What became of the answer, where the worker does not say so.
    outcome: &'static str,
}

impl Attempt {
    /// Ends it, and records the usage; this also where the lease is lost. Errors: those of [`leases::end`].
    async fn end(self, db: &Data<Db>, tenant: &Tenant, request: &HttpRequest, body: &Bytes) -> Result<HttpResponse> {
        let (attempt, own) = (Arc::new(self), tenant.clone());
        let this = attempt.clone();
        let end = move |tx: &mut Tx<'_>| {
            let row = leases::end(tx, &own, this.id, this.token, &this.ending)?;
            this.record(tx, &own, this.outcome)?;
            Ok(row.answer())
        };
        let ended = idempotency::write(db, tenant, request, body, "task_end", end).await;
        if let (Err(Error::Conflict { code: leases::LEASE_LOST, .. }), Some(_)) = (&ended, &attempt.usage) {
            let own = tenant.clone();
            let record = move |tx: &mut Tx<'_>| attempt.record(tx, &own, "discarded");
            db.for_tenant(tenant).write("ai_run", record).await?;
        }
        ended
    }

    fn record(&self, tx: &mut Tx<'_>, tenant: &Tenant, outcome: &'static str) -> Result<()> {
        let Some(usage) = &self.usage else { return Ok(()) };
        ai_runs::record(tx, tenant, (self.id, self.token), usage, outcome)
    }
}

#[utoipa::path(
    post,
    path = "/api/v1/worker-tasks/{id}/cancellation",
    tag = "worker-tasks",
    operation_id = "cancelWorkerTask",
    summary = "Cancel a task",
    description = "One that has not ended. A worker that has claimed it is refused when it completes it. Takes no body.",
    params(("id" = Uuid, Path, description = "Id of the task.")),
    responses(
        (status = 200, description = "The row as it is now.", body = WorkerTaskRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn cancel(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = may_change(&caller, &WORKER_TASKS, Action::Write)?;
    no_parameters(&request)?;
    let NoBody {} = body::read(&body)?;
    let (id, own) = (id(&WORKER_TASKS, &request)?, tenant.clone());
    let cancel = move |tx: &mut Tx<'_>| Ok(leases::cancel(tx, &own, id)?.answer());
    idempotency::write(&db, &tenant, &request, &body, "task_cancellation", cancel).await
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(claim, renew, complete, fail, cancel))]
struct WorkerTasksApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, WorkerTasksApi::openapi());
}
