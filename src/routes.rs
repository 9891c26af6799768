//! Every path on one page; those of the nouns follow from [`crate::nouns`].

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use crate::bulk;
use crate::error::Error;
use crate::events;
use crate::http::routing;
use crate::identity;
use crate::noun;
use crate::noun::http::API;
use crate::nouns::NOUNS;
use crate::openapi;
use crate::ops::{self, health};

/// What tells whether this process is well.
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

pub fn configure(config: &mut ServiceConfig) {
    probes(config);
    routing::resource("/health/detailed").on(Method::GET, health::detailed).register(config);
    config.service(
        web::resource("/openapi.json")
            .route(web::get().to(openapi::document))
            .route(web::head().to(openapi::document))
            .default_service(routing::refuse(&[Method::GET, Method::HEAD])),
    );
    config.service(web::redirect("/docs", "/docs/"));
    config.service(openapi::explorer());
    config.route("/", web::get().to(openapi::welcome));
    config.service(web::scope(API).configure(|api| {
        bulk::routes(api);
        NOUNS.iter().for_each(|noun| noun::http::routes(noun, api));
        identity::http::routes(api);
        events::http::routes(api);
        routing::resource("/ops/cache").on(Method::GET, ops::cache::statistics).register(api);
        routing::resource("/ops/cache/purge").on(Method::POST, ops::cache::purge).register(api);
    }));
    config.default_service(web::to(nowhere));
}

async fn nowhere(request: HttpRequest) -> Result<HttpResponse, Error> {
    let path = request.path();
    let asked = path.trim_start_matches(API).trim_matches('/');
    let hint = noun::did_you_mean(asked, NOUNS.iter().map(|noun| noun.path()));
    Err(Error::NotFound(format!("There is nothing at this path.{hint} Every path is listed under /docs.")))
}
