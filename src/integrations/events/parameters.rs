//! OpenAPI description of the parameters of events, which depend on the resources.

use serde_json::json;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Required, Schema};

use super::event_types::EventRegistry;
use crate::http::openapi_responses::integer;
use crate::resource::list_query::{DEFAULT_LIMIT, MAX_LIMIT};

/// The parameters of the list.
pub struct EventListParameters;

impl IntoParams for EventListParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let registry = EventRegistry::of_process();
        let limit = query("limit", limit(), "How many events a page has at most.");
        vec![after(), resources(registry), types(registry), limit]
    }
}

/// The parameters of the stream.
pub struct EventStreamParameters;

impl IntoParams for EventStreamParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let registry = EventRegistry::of_process();
        vec![after(), resources(registry), types(registry)]
    }
}

fn after() -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^([0-9]{1,15}|latest)$")).build();
    query("after", schema.into(), "The number of the last event that you have; `latest`: only what comes from now on.")
}

fn resources(registry: EventRegistry) -> Parameter {
    let resources = registry.resources().map(|resource| resource.plural);
    separated(
        "resource",
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(resources)),
        "Only events of these, comma-separated.",
    )
}

fn types(registry: EventRegistry) -> Parameter {
    let names = registry.names().into_iter().chain(["*".to_owned()]);
    let names = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
    separated("type", names, "Only these types, comma-separated; `lead.*` for all of a resource.")
}

fn limit() -> Schema {
    let limit = integer(1, i64::from(MAX_LIMIT)).minimum(Some(1.0)).maximum(Some(f64::from(MAX_LIMIT)));
    limit.default(Some(json!(DEFAULT_LIMIT))).build().into()
}

fn query(name: &str, schema: Schema, about: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(schema))
        .build()
}

/// Describes a comma-separated list parameter (`explode: false`).
fn separated(name: &str, item: ObjectBuilder, about: &str) -> Parameter {
    let list = ArrayBuilder::new().items(item).min_items(Some(1)).build();
    ParameterBuilder::from(query(name, list.into(), about)).explode(Some(false)).build()
}
