//! Builds the OpenAPI document from the definitions of the resources.

use serde_json::Value as Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths, ServerBuilder};

use super::named_schemas::name_schemas;
use super::{default_error, shared_parameters};
use crate::analytics;
use crate::app::registry::{self, MODULES, RESOURCES};
use crate::channels::whatsapp;
use crate::http::{openapi_responses, problem_schema};
use crate::identity;
use crate::integrations::bulk;
use crate::integrations::events;
use crate::monitoring;
use crate::resource;
use crate::scheduling::availability;

const ABOUT: &str = "A CRM back end: leads, companies, contacts, conversations and bookings.\n\n\
Authorise with `Authorization: Bearer <credential>`: the API key of a program, or the access token of a person, which \
`POST /api/v1/auth/sessions` gives.\n\n\
**Lists** have the same grammar: filters by field, `q`, `sort`, `limit`, `cursor`, `include`, `fields`, `count`; \
`metadata.<key>=<text>` filters by a field of your own. Several values in one parameter are separated by commas; `\\,` is a comma \
within a value.\n\n\
**Changes** are merge patches (RFC 7396): what is left out stays as it is, `null` empties a field. `application/json` is taken like \
`application/merge-patch+json`. A row that was read can be sent back with its changes, without the relations of `include`: fields \
that only the service sets are ignored while they are as they were. Every GET of a resource has an ETag; send it back in `If-None-Match` to save the answer, or in \
`If-Match` to change only what you have seen. Send a new `Idempotency-Key` with every POST, and it can be sent again safely when \
its answer was lost.\n\n\
**Errors** are problem documents (RFC 9457) with a stable `code`. All errors of a request are reported together, in `errors`.\n\n\
**Amounts** are integers in minor units of their currency.";

/// Ends of the POST paths that need no `Idempotency-Key`: they only read, or repeating them changes nothing.
const DONE_ANYHOW: [&str; 4] = ["/batch/read", "/duplicates", "/auth/password-changes", "/ops/cache/purge"];

/// Returns the document as JSON.
pub(super) fn json() -> Json {
    let mut document = serde_json::to_value(build()).unwrap_or_default();
    name_schemas(&mut document);
    without_defaults(&mut document);
    document
}

/// Removes what holds by default: that a parameter is not required, and that names of members are texts.
fn without_defaults(node: &mut Json) {
    match node {
        Json::Object(members) => {
            if members.contains_key("in") && members.get("required") == Some(&Json::Bool(false)) {
                members.shift_remove("required");
            }
            if members.contains_key("additionalProperties") {
                members.shift_remove("propertyNames");
            }
            members.values_mut().for_each(without_defaults);
        }
        Json::Array(items) => items.iter_mut().for_each(without_defaults),
        _ => {}
    }
}

/// Builds the document.
pub fn build() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Rapport")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(format!("{ABOUT} {}", resource::openapi::about_minor_units())))
        .license(Some(LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build()));
    let tags = RESOURCES
        .iter()
        .map(|resource| TagBuilder::new().name(resource.plural).description(Some(resource.description)).build());
    let health = TagBuilder::new().name("health").description(Some("Probes for orchestrators and people.")).build();
    let auth = TagBuilder::new().name("auth").description(Some("How people come in, and who is calling.")).build();
    let events = TagBuilder::new().name("events").description(Some("What happened, in order.")).build();
    let about = "What the rows of a business add up to.";
    let statistics = TagBuilder::new().name("statistics").description(Some(about)).build();
    let ops = TagBuilder::new().name("ops").description(Some("For operators of the service.")).build();
    let mut api = OpenApiBuilder::new()
        .info(info)
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .tags(Some(tags.chain([auth, events, statistics, health, ops]).collect::<Vec<_>>()))
        .security(Some([SecurityRequirement::new("key", Vec::<String>::new())]))
        .components(Some(components().build()))
        .paths(Paths::new())
        .build();
    registry::install();
    MODULES.iter().for_each(|module| resource::openapi::describe(module, &mut api));
    resource::openapi::describe_history(&RESOURCES, &mut api);
    identity::openapi::describe(&mut api);
    bulk::openapi::describe(&RESOURCES, &mut api);
    events::openapi::describe(&mut api);
    analytics::describe(&mut api);
    availability::http::describe(&mut api);
    whatsapp::webhook::describe(&mut api);
    monitoring::openapi::describe(&mut api);
    openapi_responses::idempotency_key_header(&mut api, |path| DONE_ANYHOW.iter().any(|end| path.ends_with(end)));
    shared_parameters::share(&mut api);
    default_error::gather(&mut api);
    api
}

fn components() -> ComponentsBuilder {
    let key = SecurityScheme::Http(
        HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key (`rk_…`) or an access token"))
            .build(),
    );
    let shared = problem_schema::schemas().into_iter().chain(resource::openapi::shared());
    let components = openapi_responses::components(ComponentsBuilder::new());
    let components = shared.fold(components, |components, (name, schema)| components.schema(name, schema));
    let (name, response) = resource::openapi::shared_response();
    components.response(name, response).security_scheme("key", key)
}
