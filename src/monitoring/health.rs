//! Health probes. Liveness checks this process only; readiness reports whether requests should come. Neither ever
//! waits, so both respond while every connection is stuck.

use std::time::Duration;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use crate::app::state::AppState;
use crate::auth::{Action, Area};
use crate::background::Supervisor;
use crate::base::error::Result;
use crate::base::supervisor::panics;
use crate::http::caller::Caller;

/// A probe: responds at once, from the process's own state.
type Probe = fn(HttpRequest, Data<AppState>) -> std::future::Ready<HttpResponse>;

/// The probes that need no credential, with the paths they answer.
pub const PROBES: [(&str, Probe); 4] = [
    ("/health", liveness),
    ("/health/liveness", liveness),
    ("/health/readiness", readiness),
    ("/health/startup", startup),
];

/// How long a dependency may take before it is reported as down.
const TIMEOUT: Duration = Duration::from_millis(500);

fn liveness(_: HttpRequest, _: Data<AppState>) -> std::future::Ready<HttpResponse> {
    answer(true, "alive")
}

fn readiness(_: HttpRequest, app: Data<AppState>) -> std::future::Ready<HttpResponse> {
    match (app.lifecycle.is_started(), app.lifecycle.is_draining()) {
        (_, true) => answer(false, "draining"),
        (false, _) if app.lifecycle.impairments().is_empty() => answer(false, "starting"),
        _ => impaired(&app),
    }
}

/// Returns 503 with the reason of each component that cannot serve, or 200 when all can.
fn impaired(app: &AppState) -> std::future::Ready<HttpResponse> {
    let reasons = app.lifecycle.impairments();
    if reasons.is_empty() {
        return answer(true, "ready");
    }
    let body = json!({ "status": "impaired", "reasons": reasons });
    std::future::ready(HttpResponse::ServiceUnavailable().json(body))
}

fn startup(_: HttpRequest, app: Data<AppState>) -> std::future::Ready<HttpResponse> {
    if app.lifecycle.is_started() { answer(true, "started") } else { answer(false, "starting") }
}

fn answer(good: bool, status: &str) -> std::future::Ready<HttpResponse> {
    let mut reply = if good { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    std::future::ready(reply.json(json!({ "status": status })))
}

/// Returns each dependency with its latency, and the pool. Requires the permission to read operations.
pub async fn detailed(app: Data<AppState>, caller: Caller, _: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    caller.require(Area::Operations, Action::Read)?;
    let (database, redis) = tokio::join!(app.db.ping(TIMEOUT), redis(&app));
    let database = match database {
        Ok(took) => json!({ "status": "up", "latency_ms": took.as_secs_f64() * 1e3 }),
        Err(_) => json!({ "status": "down", "latency_ms": null }),
    };
    let state = if app.lifecycle.is_draining() { "draining" } else { "ready" };
    let impairments = app.lifecycle.impairments();
    let mut tasks = Supervisor::of_process().state();
    tasks.extend(app.supervisor.state());
    Ok(HttpResponse::Ok().json(json!({
        "status": if database["status"] == "up" && impairments.is_empty() { state } else { "degraded" },
        "reasons": impairments,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": app.lifecycle.began.elapsed().as_secs(),
        "database": database,
        "catalogue": app.db.guard().report().map(|report| report.to_json()),
        "pool": app.db.state(),
        "redis": redis,
        "background_tasks": tasks,
        "background_panics": panics(),
    })))
}

async fn redis(app: &AppState) -> Value {
    let Some(remote) = app.cache.as_ref().and_then(|cache| cache.redis()) else {
        return json!({ "status": "off", "latency_ms": null });
    };
    let began = std::time::Instant::now();
    match tokio::time::timeout(TIMEOUT, remote.state()).await {
        Ok(state) if state.connected => json!({ "status": "up", "latency_ms": began.elapsed().as_secs_f64() * 1e3 }),
        Ok(state) => json!({ "status": "down", "latency_ms": null, "reason": state.reason }),
        Err(_) => json!({ "status": "down", "latency_ms": null, "reason": "no answer" }),
    }
}
