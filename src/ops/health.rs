//! Probes. Liveness asks this process only; readiness says whether requests should come; neither ever waits for
//! anything, so they answer while every connection is stuck.

use std::time::Duration;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use crate::app::App;
use crate::auth::{Action, Area};
use crate::error::Result;
use crate::http::caller::Caller;
use crate::jobs::Supervisor;
use crate::jobs::panics::panics;

/// A probe: answers at once, from what the process knows of itself.
type Probe = fn(HttpRequest, Data<App>) -> std::future::Ready<HttpResponse>;

/// The probes that need no credential, with the paths they answer.
pub const PROBES: [(&str, Probe); 4] = [
    ("/health", liveness),
    ("/health/liveness", liveness),
    ("/health/readiness", readiness),
    ("/health/startup", startup),
];

/// How long a dependency may take before it is called down.
const PATIENCE: Duration = Duration::from_millis(500);

fn liveness(_: HttpRequest, _: Data<App>) -> std::future::Ready<HttpResponse> {
    answer(true, "alive")
}

fn readiness(_: HttpRequest, app: Data<App>) -> std::future::Ready<HttpResponse> {
    match (app.life.is_started(), app.life.is_draining()) {
        (_, true) => answer(false, "draining"),
        (false, _) if app.life.impairments().is_empty() => answer(false, "starting"),
        _ => impaired(&app),
    }
}

/// 503 with the reason of each component that cannot serve.
fn impaired(app: &App) -> std::future::Ready<HttpResponse> {
    let reasons = app.life.impairments();
    if reasons.is_empty() {
        return answer(true, "ready");
    }
    let body = json!({ "status": "impaired", "reasons": reasons });
    std::future::ready(HttpResponse::ServiceUnavailable().json(body))
}

fn startup(_: HttpRequest, app: Data<App>) -> std::future::Ready<HttpResponse> {
    if app.life.is_started() { answer(true, "started") } else { answer(false, "starting") }
}

fn answer(good: bool, status: &str) -> std::future::Ready<HttpResponse> {
    let mut reply = if good { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    std::future::ready(reply.json(json!({ "status": status })))
}

/// Each dependency with its latency, and the pool. Needs the permission to see the state of the service.
pub async fn detailed(app: Data<App>, caller: Caller, _: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    caller.may(Area::Operations, Action::Read)?;
    let (database, redis) = tokio::join!(app.db.ping(PATIENCE), redis(&app));
    let database = match database {
        Ok(took) => json!({ "status": "up", "latency_ms": took.as_secs_f64() * 1e3 }),
        Err(_) => json!({ "status": "down", "latency_ms": null }),
    };
    let state = if app.life.is_draining() { "draining" } else { "ready" };
    let impairments = app.life.impairments();
    let mut tasks = Supervisor::of_process().state();
    tasks.extend(app.supervisor.state());
    Ok(HttpResponse::Ok().json(json!({
        "status": if database["status"] == "up" && impairments.is_empty() { state } else { "degraded" },
        "reasons": impairments,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": app.life.began.elapsed().as_secs(),
        "database": database,
        "catalogue": app.db.guard().report().map(|report| report.to_json()),
        "pool": app.db.state(),
        "redis": redis,
        "background_tasks": tasks,
        "background_panics": panics(),
    })))
}

async fn redis(app: &App) -> Value {
    let Some(remote) = app.cache.as_ref().and_then(|cache| cache.remote()) else {
        return json!({ "status": "off", "latency_ms": null });
    };
    let began = std::time::Instant::now();
    match tokio::time::timeout(PATIENCE, remote.state()).await {
        Ok(state) if state.connected => json!({ "status": "up", "latency_ms": began.elapsed().as_secs_f64() * 1e3 }),
        Ok(state) => json!({ "status": "down", "latency_ms": null, "reason": state.reason }),
        Err(_) => json!({ "status": "down", "latency_ms": null, "reason": "no answer" }),
    }
}
