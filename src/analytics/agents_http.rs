//! HTTP handler of `GET /agent-metrics`.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use chrono::Utc;

use super::agent_metrics::{AgentMetrics, AgentReport, WINDOWS};
use super::agent_snapshots;
use super::openapi_parameters::AgentParameters;
use super::resource::STATISTICS;
use crate::auth::{Action, Area, Identity};
use crate::base::error::{Error, FieldError, Result};
use crate::base::suggest::{did_you_mean, shown};
use crate::http::caller::UnverifiedCaller;
use crate::http::openapi_problems::{BadRequest, CallerProblems, NotFound, ServiceProblems};
use crate::http::routing;
use crate::resource::ReadService;
use crate::resource::cached_read::cached_read;
use crate::resource::read_query::{ReadQuery, ReadTarget};

/// The window of a request that names none, in days.
const DEFAULT_WINDOW: i32 = 30;
const NAMES: [&str; 2] = ["window_days", "snapshot"];

pub fn routes(api: &mut ServiceConfig) {
    routing::resource("/agent-metrics").reads(Method::GET, agents).register(api);
}

#[utoipa::path(
    get,
    path = "/api/v1/agent-metrics",
    tag = "statistics",
    operation_id = "getAgentMetrics",
    summary = "What each member did over the last days",
    description = "Live, with today, in the time zone of the business. With `snapshot=true` as it was on the last night, which does not \
                   change during the day. A member who sees only what is assigned to them gets their own figures.",
    params(AgentParameters),
    responses(
        (status = 200, description = "The figures.", body = AgentMetrics),
        (status = 400, response = BadRequest),
        (status = 404, response = NotFound),
        CallerProblems,
        ServiceProblems,
    )
)]
pub async fn agents(
    reads: Data<ReadService>,
    caller: UnverifiedCaller,
    request: HttpRequest,
    _: Bytes,
) -> Result<HttpResponse> {
    let (window_days, is_snapshot) = parse(request.query_string())?;
    if is_snapshot {
        let caller = caller.revalidate().await?;
        let tenant = caller.identity().require(STATISTICS.area, Action::Read)?;
        // It has their names.
        caller.identity().require(Area::People, Action::Read)?;
        let db = reads.db.for_tenant(&tenant);
        let read = db.read("agent_metrics", move |conn| agent_snapshots::read(conn, &tenant, window_days));
        return Ok(HttpResponse::Ok().json(read.await?));
    }
    let ask = |identity: &Identity| {
        let business = &identity.settings;
        let report = AgentReport::new(window_days, &business.time_zone, Utc::now());
        Ok(Arc::new(ReadQuery::new(&STATISTICS, ReadTarget::Computed(Arc::new(report)), business, None)))
    };
    cached_read(reads, caller, &request, &STATISTICS, ask).await
}

/// Parses the query string: the window, and whether the snapshot is asked for. Errors: 400 with every fault.
fn parse(query: &str) -> Result<(i32, bool)> {
    let (mut window, mut is_snapshot, mut faults, mut seen) = (DEFAULT_WINDOW, false, Vec::new(), Vec::new());
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let mut fault = |code, detail| faults.push(FieldError::new(format!("/query/{name}"), code, detail));
        if seen.contains(&name) {
            fault("repeated", format!("`{name}` may be given once."));
            continue;
        }
        match &*name {
            "window_days" => match value.parse().ok().filter(|days| WINDOWS.contains(days)) {
                Some(days) => window = days,
                None => fault("not_a_choice", format!("`window_days` is one of {WINDOWS:?}.")),
            },
            "snapshot" => match &*value {
                "true" => is_snapshot = true,
                "false" => is_snapshot = false,
                _ => fault("type", "`snapshot` is true or false.".to_owned()),
            },
            unknown => {
                let hint = did_you_mean(unknown, NAMES);
                fault("unknown_parameter", format!("There is no parameter `{}` here.{hint}", shown(unknown)));
            }
        }
        seen.push(name);
    }
    if faults.is_empty() { Ok((window, is_snapshot)) } else { Err(Error::parameters(faults)) }
}
