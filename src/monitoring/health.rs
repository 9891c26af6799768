//! Health probes. Liveness checks this process only; readiness reports whether requests should come. Neither ever
//! waits, so both respond while every connection is stuck.

use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};

use super::dto::{DependencyState, DependencyStatus, Health, HealthDetails, HealthStatus, ServiceStatus};
use crate::analytics;
use crate::auth::{Action, Area};
use crate::background::{Lifecycle, Supervisor};
use crate::base::error::Result;
use crate::base::supervisor::panics;
use crate::base::zones;
use crate::cache::Cache;
use crate::http::caller::Caller;
use crate::http::openapi_problems::{CallerProblems, ServiceProblems};
use crate::resource::ReadService;

/// A probe: responds at once, from the process's own state.
type Probe = fn(HttpRequest, Data<Lifecycle>) -> Ready<HttpResponse>;

/// The probes that need no credential, with the paths they answer.
pub const PROBES: [(&str, Probe); 4] = [
    ("/health", health),
    ("/health/liveness", liveness),
    ("/health/readiness", readiness),
    ("/health/startup", startup),
];

/// How long a dependency may take before it is reported as down.
const TIMEOUT: Duration = Duration::from_millis(500);

#[utoipa::path(
    get,
    path = "/health",
    tag = "health",
    operation_id = "health",
    summary = "Whether the process is alive",
    security(()),
    responses(
        (status = 200, description = "Yes.", body = Health),
    )
)]
fn health(request: HttpRequest, lifecycle: Data<Lifecycle>) -> Ready<HttpResponse> {
    liveness(request, lifecycle)
}

#[utoipa::path(
    get,
    path = "/health/liveness",
    tag = "health",
    operation_id = "liveness",
    summary = "Whether the process is alive",
    security(()),
    responses(
        (status = 200, description = "Yes.", body = Health),
    )
)]
fn liveness(_: HttpRequest, _: Data<Lifecycle>) -> Ready<HttpResponse> {
    answer(true, HealthStatus::Alive)
}

#[utoipa::path(
    get,
    path = "/health/readiness",
    tag = "health",
    operation_id = "readiness",
    summary = "Whether requests should come",
    security(()),
    responses(
        (status = 200, description = "Yes.", body = Health),
        (status = 503, description = "Not now.", body = Health, example = json!({ "status": "starting" })),
    )
)]
fn readiness(_: HttpRequest, lifecycle: Data<Lifecycle>) -> Ready<HttpResponse> {
    match (lifecycle.is_started(), lifecycle.is_draining()) {
        (_, true) => answer(false, HealthStatus::Draining),
        (false, _) if lifecycle.impairments().is_empty() => answer(false, HealthStatus::Starting),
        _ => impaired(&lifecycle),
    }
}

/// Returns 503 with the reason of each component that cannot serve, or 200 when all can.
fn impaired(lifecycle: &Lifecycle) -> Ready<HttpResponse> {
    let reasons = lifecycle.impairments();
    if reasons.is_empty() {
        return answer(true, HealthStatus::Ready);
    }
    let body = Health { status: HealthStatus::Impaired, reasons: Some(reasons) };
    ready(HttpResponse::ServiceUnavailable().json(body))
}

#[utoipa::path(
    get,
    path = "/health/startup",
    tag = "health",
    operation_id = "startup",
    summary = "Whether the service has started",
    security(()),
    responses(
        (status = 200, description = "Yes.", body = Health),
        (status = 503, description = "Not now.", body = Health, example = json!({ "status": "starting" })),
    )
)]
fn startup(_: HttpRequest, lifecycle: Data<Lifecycle>) -> Ready<HttpResponse> {
    if lifecycle.is_started() { answer(true, HealthStatus::Started) } else { answer(false, HealthStatus::Starting) }
}

fn answer(good: bool, status: HealthStatus) -> Ready<HttpResponse> {
    let mut reply = if good { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    ready(reply.json(Health { status, reasons: None }))
}

/// Returns each dependency with its latency, and the pool. Requires the permission to read operations.
#[utoipa::path(
    get,
    path = "/health/detailed",
    tag = "health",
    operation_id = "healthDetailed",
    summary = "Each dependency with its latency",
    description = "And the pool of connections, the catalogue of the database, and the background tasks of this process.",
    responses((status = 200, description = "The state.", body = HealthDetails), CallerProblems, ServiceProblems)
)]
pub async fn detailed(
    (reads, lifecycle, supervisor): (Data<ReadService>, Data<Lifecycle>, Data<Supervisor>),
    caller: Caller,
    _: HttpRequest,
    _: Bytes,
) -> Result<HttpResponse> {
    caller.require(Area::Operations, Action::Read)?;
    let (database, redis) = tokio::join!(reads.db.ping(TIMEOUT), redis(reads.cache.as_deref()));
    let database = match database {
        Ok(took) => up(took),
        Err(_) => DependencyState { status: DependencyStatus::Down, latency_ms: None, reason: None },
    };
    let reasons = lifecycle.impairments();
    let serves = database.status == DependencyStatus::Up && reasons.is_empty();
    let status = match (serves, lifecycle.is_draining()) {
        (false, _) => ServiceStatus::Degraded,
        (true, true) => ServiceStatus::Draining,
        (true, false) => ServiceStatus::Ready,
    };
    let mut background_tasks = Supervisor::of_process().state();
    background_tasks.extend(supervisor.state());
    Ok(HttpResponse::Ok().json(HealthDetails {
        status,
        reasons,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: lifecycle.began.elapsed().as_secs(),
        time_zones: zones::data(),
        database,
        catalogue: reads.db.guard().report().map(|report| report.state()),
        pool: reads.db.state(),
        statistics: analytics::backlog(),
        redis,
        background_tasks,
        background_panics: panics(),
    }))
}

fn up(took: Duration) -> DependencyState {
    DependencyState { status: DependencyStatus::Up, latency_ms: Some(took.as_secs_f64() * 1e3), reason: None }
}

async fn redis(cache: Option<&Cache>) -> DependencyState {
    let Some(remote) = cache.and_then(|cache| cache.redis()) else {
        return DependencyState { status: DependencyStatus::Off, latency_ms: None, reason: None };
    };
    let began = std::time::Instant::now();
    let reason = match tokio::time::timeout(TIMEOUT, remote.state()).await {
        Ok(state) if state.connected => return up(began.elapsed()),
        Ok(state) => state.reason,
        Err(_) => Some("no answer".to_owned()),
    };
    DependencyState { status: DependencyStatus::Down, latency_ms: None, reason }
}
