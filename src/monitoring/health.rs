//! Health probes. Liveness checks this process only; readiness reports whether requests should come. Neither ever
//! waits, so both respond while every connection is stuck.

use std::time::Duration;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use crate::auth::{Action, Area};
use crate::background::{Lifecycle, Supervisor};
use crate::base::error::Result;
use crate::base::supervisor::panics;
use crate::cache::Cache;
use crate::http::caller::Caller;
use crate::resource::ReadService;

/// A probe: responds at once, from the process's own state.
type Probe = fn(HttpRequest, Data<Lifecycle>) -> std::future::Ready<HttpResponse>;

/// The probes that need no credential, with the paths they answer.
pub const PROBES: [(&str, Probe); 4] = [
    ("/health", liveness),
    ("/health/liveness", liveness),
    ("/health/readiness", readiness),
    ("/health/startup", startup),
];

/// How long a dependency may take before it is reported as down.
const TIMEOUT: Duration = Duration::from_millis(500);

fn liveness(_: HttpRequest, _: Data<Lifecycle>) -> std::future::Ready<HttpResponse> {
    answer(true, "alive")
}

fn readiness(_: HttpRequest, lifecycle: Data<Lifecycle>) -> std::future::Ready<HttpResponse> {
    match (lifecycle.is_started(), lifecycle.is_draining()) {
        (_, true) => answer(false, "draining"),
        (false, _) if lifecycle.impairments().is_empty() => answer(false, "starting"),
        _ => impaired(&lifecycle),
    }
}

/// Returns 503 with the reason of each component that cannot serve, or 200 when all can.
fn impaired(lifecycle: &Lifecycle) -> std::future::Ready<HttpResponse> {
    let reasons = lifecycle.impairments();
    if reasons.is_empty() {
        return answer(true, "ready");
    }
    let body = json!({ "status": "impaired", "reasons": reasons });
    std::future::ready(HttpResponse::ServiceUnavailable().json(body))
}

fn startup(_: HttpRequest, lifecycle: Data<Lifecycle>) -> std::future::Ready<HttpResponse> {
    if lifecycle.is_started() { answer(true, "started") } else { answer(false, "starting") }
}

fn answer(good: bool, status: &str) -> std::future::Ready<HttpResponse> {
    let mut reply = if good { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    std::future::ready(reply.json(json!({ "status": status })))
}

/// Returns each dependency with its latency, and the pool. Requires the permission to read operations.
pub async fn detailed(
    (reads, lifecycle, supervisor): (Data<ReadService>, Data<Lifecycle>, Data<Supervisor>),
    caller: Caller,
    _: HttpRequest,
    _: Bytes,
) -> Result<HttpResponse> {
    caller.require(Area::Operations, Action::Read)?;
    let (database, redis) = tokio::join!(reads.db.ping(TIMEOUT), redis(reads.cache.as_deref()));
    let database = match database {
        Ok(took) => json!({ "status": "up", "latency_ms": took.as_secs_f64() * 1e3 }),
        Err(_) => json!({ "status": "down", "latency_ms": null }),
    };
    let state = if lifecycle.is_draining() { "draining" } else { "ready" };
    let impairments = lifecycle.impairments();
    let mut tasks = Supervisor::of_process().state();
    tasks.extend(supervisor.state());
    Ok(HttpResponse::Ok().json(json!({
        "status": if database["status"] == "up" && impairments.is_empty() { state } else { "degraded" },
        "reasons": impairments,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": lifecycle.began.elapsed().as_secs(),
        "database": database,
        "catalogue": reads.db.guard().report().map(|report| report.to_json()),
        "pool": reads.db.state(),
        "redis": redis,
        "background_tasks": tasks,
        "background_panics": panics(),
    })))
}

async fn redis(cache: Option<&Cache>) -> Value {
    let Some(remote) = cache.and_then(|cache| cache.redis()) else {
        return json!({ "status": "off", "latency_ms": null });
    };
    let began = std::time::Instant::now();
    match tokio::time::timeout(TIMEOUT, remote.state()).await {
        Ok(state) if state.connected => json!({ "status": "up", "latency_ms": began.elapsed().as_secs_f64() * 1e3 }),
        Ok(state) => json!({ "status": "down", "latency_ms": null, "reason": state.reason }),
        Err(_) => json!({ "status": "down", "latency_ms": null, "reason": "no answer" }),
    }
}
