//! The outermost middleware: assigns each request its id and time limit, catches panics, records metrics and the access
//! log, and adds the headers that all responses have.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use actix_web::middleware::Next;
use actix_web::web::Data;
use futures_util::FutureExt;

use super::access_log;
use super::connections::Activity;
use super::cors;
use super::direct_routes::DirectRoutes;
use super::rate_limit::limiter::RateLimiter;
use super::request_id::request_id;
use super::request_timeout::within;
use super::response::CACHE_STATUS;
use super::response_headers::add_headers;
use super::settings::HttpSettings;
use crate::background::Lifecycle;
use crate::base::error::Error;
use crate::base::request_context::{CONTEXT, RequestContext};
use crate::base::telemetry::metrics;

/// Wraps the handling of every request.
pub async fn handle(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let began = Instant::now();
    let method = request.method().clone();
    let (Some(settings), Some(lifecycle), Some(rate_limiter)) =
        (shared::<HttpSettings>(&request), shared::<Lifecycle>(&request), shared::<RateLimiter>(&request))
    else {
        return Err(Error::Internal("the HTTP layer is not set up".into()).into());
    };
    // The router's middleware adds the headers of CORS.
    let direct = match settings.cors_origins.is_empty() {
        true => shared::<DirectRoutes>(&request).and_then(|routes| (routes.0)(request.request())),
        false => None,
    };
    let in_flight = request.conn_data::<Rc<Activity>>().map(Activity::begin);
    let draining = lifecycle.is_draining();
    let context = RequestContext::new(request_id(&request)).with_egress_policy(&settings.egress_policy);
    CONTEXT
        .scope(context, async move {
            let outcome = match cors::refused(&request, &settings.cors_origins) {
                Some(refusal) => Err(refusal.into()),
                None => {
                    let serving = async move {
                        let Some(direct) = direct else {
                            return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
                        };
                        let _ = CONTEXT.try_with(|context| context.route.set(Some(direct.route)));
                        Ok(request.into_response(direct.response.await.unwrap_or_else(HttpResponse::from_error)))
                    };
                    let serving = within(settings.request_timeout, serving);
                    match AssertUnwindSafe(serving).catch_unwind().await {
                        Ok(Ok(served)) => served,
                        Ok(Err(timed_out)) => Err(timed_out.into()),
                        Err(_) => Err(Error::Internal("a handler panicked".into()).into()),
                    }
                }
            };
            match outcome {
                Ok(response) => {
                    let response = response.map_body(|_, body| match in_flight {
                        Some(in_flight) => in_flight.until_sent(body),
                        None => body,
                    });
                    Ok(finish(response, &method, began, draining, &rate_limiter))
                }
                Err(error) => {
                    let response = error.error_response();
                    record(method.as_str(), "-", response.status(), began);
                    // Built here, where the request id is still available.
                    Err(InternalError::from_response("refused before it was routed", response).into())
                }
            }
        })
        .await
}

/// Returns what the application shares with all requests.
fn shared<T: 'static>(request: &ServiceRequest) -> Option<Data<T>> {
    request.app_data::<Data<T>>().cloned()
}

fn finish(
    mut response: ServiceResponse<BoxBody>,
    method: &actix_web::http::Method,
    began: Instant,
    draining: bool,
    rate_limiter: &RateLimiter,
) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let found = CONTEXT.try_with(|context| context.route.get()).ok().flatten();
    let route = found.map(Cow::Borrowed).or_else(|| response.request().match_pattern().map(Cow::Owned));
    record(method.as_str(), route.as_deref().unwrap_or("-"), status, began);
    let is_docs = route.as_deref().is_some_and(|route| route.starts_with("/docs"));
    let head = response.response_mut().head_mut();
    if draining {
        // So that clients move kept-alive connections elsewhere before this process stops.
        head.set_connection_type(actix_web::http::ConnectionType::Close);
    }
    if !head.headers.contains_key(CACHE_STATUS) {
        // Responses that do not go through the cache (RFC 9211, section 2.2).
        let status = if method.is_safe() { "rapport; fwd=bypass" } else { "rapport; fwd=method" };
        head.headers.insert(CACHE_STATUS, HeaderValue::from_static(status));
    }
    add_headers(&mut head.headers, began, is_docs, rate_limiter);
    response
}

/// Counts and logs the request by its route, never by its path, which may contain personal input.
fn record(method: &str, route: &str, status: StatusCode, began: Instant) {
    let took = began.elapsed();
    metrics::served(method, route, status.as_u16(), took);
    let _ = CONTEXT.try_with(|context| {
        access_log::log(&access_log::Line {
            request_id: &context.request_id,
            method,
            route,
            status: status.as_u16(),
            took,
            in_database: context.database.get(),
            queries: context.statements.get(),
        });
    });
}
