//! All paths of the service on one page; those of resources follow from [`crate::app::registry`].

use std::sync::LazyLock;

use actix_web::http::Method;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use crate::analytics;
use crate::app::registry::{MODULES, RESOURCES};
use crate::app::{explorer, openapi};
use crate::base::error::Error;
use crate::channels::{whatsapp, worker_tasks};
use crate::http::direct_routes::DirectRoutes;
use crate::http::routing;
use crate::identity;
use crate::integrations::bulk;
use crate::integrations::events;
use crate::monitoring::{cache, health};
use crate::resource;
use crate::resource::http::{API, ReadRouter};
use crate::scheduling::availability;

/// Registers the health probes.
pub fn probes(config: &mut ServiceConfig) {
    for (path, probe) in health::PROBES {
        config.service(
            web::resource(path)
                .route(web::get().to(probe))
                .route(web::head().to(probe))
                .default_service(routing::refuse(&[Method::GET, Method::HEAD])),
        );
    }
}

/// Finds the reads of resources.
const DIRECT: DirectRoutes = DirectRoutes(|request| {
    static READS: LazyLock<ReadRouter> = LazyLock::new(|| ReadRouter::new(&RESOURCES));
    READS.find(request)
});

pub fn configure(config: &mut ServiceConfig) {
    config.app_data(Data::new(DIRECT));
    probes(config);
    routing::resource("/health/detailed").on(Method::GET, health::detailed).register(config);
    config.service(
        web::resource("/openapi.json")
            .route(web::get().to(openapi::document))
            .route(web::head().to(openapi::document))
            .default_service(routing::refuse(&[Method::GET, Method::HEAD])),
    );
    whatsapp::webhook::routes(config);
    config.service(web::redirect("/docs", "/docs/"));
    config.service(explorer::explorer());
    config.route("/", web::get().to(openapi::welcome));
    config.service(web::scope(API).configure(|api| {
        bulk::routes(&RESOURCES, api);
        MODULES.iter().for_each(|module| resource::http::routes(module, api));
        identity::routes::routes(api);
        events::http::routes(api);
        worker_tasks::http::claim_routes(api);
        analytics::routes(api);
        analytics::agent_routes(api);
        analytics::dashboard_routes(api);
        availability::http::routes(api);
        routing::resource("/ops/cache").on(Method::GET, cache::statistics).register(api);
        routing::resource("/ops/cache/purge").on(Method::POST, cache::purge).register(api);
    }));
    config.default_service(web::to(nowhere));
}

async fn nowhere(request: HttpRequest) -> Result<HttpResponse, Error> {
    let path = request.path();
    let asked = path.trim_start_matches(API).trim_matches('/');
    let computed = ["availability", "stats", "dashboards", "agent-metrics", "events", "task-claims"];
    let hint = resource::did_you_mean(asked, RESOURCES.iter().map(|resource| resource.path()).chain(computed));
    Err(Error::NotFound(format!("There is nothing at this path.{hint} Every path is listed under /docs.")))
}
