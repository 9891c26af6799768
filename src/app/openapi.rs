//! Builds the OpenAPI document from the definitions of the resources, and serves it.

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, Responder};
use serde_json::json;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths, ServerBuilder};

use crate::app::registry::{self, MODULES, RESOURCES};
use crate::cache::{brotli, gzip};
use crate::http::openapi_responses::{self, PROBLEMS, problem, reference};
use crate::http::response::accepts;
use crate::identity;
use crate::integrations::bulk;
use crate::integrations::events;
use crate::monitoring;
use crate::resource;

const ABOUT: &str = "A CRM back end: leads, companies, contacts, conversations and bookings.\n\n\
Every list has the same grammar: filters by field, `q`, `sort`, `limit`, `cursor`, `include`, `fields`, `count`. Every \
error is a problem document (RFC 9457) with a stable `code`. Every GET of a resource has an ETag; send it back in `If-None-Match` to \
save the answer, or in `If-Match` to change only what you have seen.\n\n\
Send a new `Idempotency-Key` with every POST, and it can be sent again safely when its answer was lost.\n\n\
Most resources are written in batches too: `POST` of `batch/create`, `batch/update`, `batch/upsert` or `batch/delete` below their \
path takes up to 1,000 rows in one transaction.\n\n\
Fields of your own go into `metadata`; a list is narrowed by `metadata.<key>=<text>`.\n\n\
Authorise with `Authorization: Bearer <credential>`: the API key of a program, or the access token of a person, which \
`POST /api/v1/auth/sessions` gives.";

/// Ends of the POST paths that need no `Idempotency-Key`: they only read, or repeating them changes nothing.
const DONE_ANYHOW: [&str; 4] = ["/batch/read", "/duplicates", "/auth/password-changes", "/ops/cache/purge"];

static JSON: LazyLock<String> = LazyLock::new(|| {
    let mut text = build().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
});

/// Returns the document as served and committed.
pub fn text() -> &'static str {
    &JSON
}

/// Identifies the format of responses: a process must not use cached responses of another format.
pub fn shape() -> u64 {
    xxhash_rust::xxh3::xxh3_64(text().as_bytes())
}

/// Builds the document.
pub fn build() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Rapport")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build()));
    let tags = RESOURCES
        .iter()
        .map(|resource| TagBuilder::new().name(resource.plural).description(Some(resource.description)).build());
    let health = TagBuilder::new().name("health").description(Some("Probes for orchestrators and people.")).build();
    let auth = TagBuilder::new().name("auth").description(Some("How people come in, and who is calling.")).build();
    let events = TagBuilder::new().name("events").description(Some("What happened, in order.")).build();
    let ops = TagBuilder::new().name("ops").description(Some("For operators of the service.")).build();
    let mut api = OpenApiBuilder::new()
        .info(info)
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .tags(Some(tags.chain([auth, events, health, ops]).collect::<Vec<_>>()))
        .security(Some([SecurityRequirement::new("key", Vec::<String>::new())]))
        .components(Some(components().build()))
        .paths(Paths::new())
        .build();
    registry::install();
    MODULES.iter().for_each(|module| resource::openapi::describe(module, &mut api));
    identity::openapi::describe(&mut api);
    bulk::openapi::describe(&RESOURCES, &mut api);
    events::openapi::describe(&mut api);
    monitoring::openapi::describe(&mut api);
    openapi_responses::idempotency_key_header(&mut api, |path| DONE_ANYHOW.iter().any(|end| path.ends_with(end)));
    api
}

fn components() -> ComponentsBuilder {
    let text = |about: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(about)).build();
    let fault = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("One thing that is wrong with the request."))
        .property("pointer", text("JSON pointer into the body, or `/query/<name>`."))
        .property("code", text("For programs."))
        .property("detail", text("For people."))
        .required("pointer")
        .required("code")
        .required("detail");
    let shape = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("A problem document (RFC 9457)."))
        .property("type", text("A URN made of `code`."))
        .property("title", text("The status in words."))
        .property("status", openapi_responses::integer(100, 599).description(Some("The HTTP status.")))
        .property("detail", text("What is wrong and what to do."))
        .property("code", text("Stable, for programs."))
        .property("request_id", text("Quote it when you report a problem."))
        .property(
            "errors",
            ArrayBuilder::new().items(reference("Fault")).description(Some("All faults of the request.")),
        )
        .required("type")
        .required("title")
        .required("status")
        .required("detail")
        .required("code")
        .required("request_id");
    let nullable = utoipa::openapi::schema::SchemaType::from_iter([Type::String, Type::Null]);
    let page = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Where a page stands in its list."))
        .property(
            "limit",
            openapi_responses::integer(1, i64::from(i32::MAX)).description(Some("How many rows a page has at most.")),
        )
        .property(
            "next",
            ObjectBuilder::new().schema_type(nullable).description(Some("Cursor of the next page; null on the last.")),
        )
        .property("total", openapi_responses::count("How many rows match; with `count` only."))
        .property(
            "at_least",
            ObjectBuilder::new().schema_type(Type::Boolean).description(Some("There are more than `total`.")),
        )
        .required("limit")
        .required("next");
    let key = SecurityScheme::Http(
        HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key (`rk_…`) or an access token"))
            .build(),
    );
    let components = PROBLEMS
        .into_iter()
        .map(problem)
        .fold(ComponentsBuilder::new(), |components, (name, answer)| components.response(name, answer));
    components.schema("Problem", shape).schema("Fault", fault).schema("PageInfo", page).security_scheme("key", key)
}

/// Serves the document, compressed if the client accepts that: it is large enough to be worth it.
pub async fn document(request: HttpRequest) -> impl Responder {
    static GZIP: LazyLock<Vec<u8>> = LazyLock::new(|| gzip(text().as_bytes()).unwrap_or_default());
    static BROTLI: LazyLock<Vec<u8>> = LazyLock::new(|| brotli(text().as_bytes()).unwrap_or_default());
    let accepted =
        request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut reply = HttpResponse::Ok();
    reply.insert_header((header::CONTENT_TYPE, "application/json"));
    match (accepts(accepted, "br"), accepts(accepted, "gzip")) {
        (true, _) if !BROTLI.is_empty() => reply.insert_header((header::CONTENT_ENCODING, "br")).body(&BROTLI[..]),
        (_, true) if !GZIP.is_empty() => reply.insert_header((header::CONTENT_ENCODING, "gzip")).body(&GZIP[..]),
        _ => reply.body(text()),
    }
}

/// Serves the root: links to the documentation and the probes.
pub async fn welcome() -> impl Responder {
    HttpResponse::Ok().json(json!({
        "name": "rapport",
        "version": env!("CARGO_PKG_VERSION"),
        "docs": "/docs/",
        "openapi": "/openapi.json",
        "health": "/health",
    }))
}
