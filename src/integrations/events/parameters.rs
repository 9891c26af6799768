//! OpenAPI description of the parameters of events, which depend on the resources.

use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, Required};

use super::event_types::EventRegistry;
use crate::http::openapi_responses::reference;
use crate::resource::openapi::{limit, separated};

const RESOURCE: &str = "EventResource";
const TYPE: &str = "EventType";

/// The parameters of the list.
pub struct EventListParameters;

impl IntoParams for EventListParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![after(), resources(), types(), limit()]
    }
}

/// The parameters of the stream.
pub struct EventStreamParameters;

impl IntoParams for EventStreamParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![after(), resources(), types()]
    }
}

/// Returns the schemas that the parameters refer to, with their names.
pub(super) fn schemas() -> [(&'static str, RefOr<Schema>); 2] {
    let registry = EventRegistry::of_process();
    let resources = registry.resources().map(|resource| resource.plural.to_owned());
    let types = registry.names().into_iter().chain(["*".to_owned()]);
    [
        (RESOURCE, choice("A resource that has events.", resources.collect())),
        (TYPE, choice("What happened to a row, or a pattern of it: `lead.*` is all of a resource.", types.collect())),
    ]
}

fn after() -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^([0-9]{1,15}|latest)$"));
    ParameterBuilder::new()
        .name("after")
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some("The number of the last event that you have; `latest`: only what comes from now on."))
        .schema(Some(Schema::from(schema.build())))
        .build()
}

fn resources() -> Parameter {
    separated("resource", reference(RESOURCE), "Only events of these.")
}

fn types() -> Parameter {
    separated("type", reference(TYPE), "Only these types.")
}

fn choice(about: &str, names: Vec<String>) -> RefOr<Schema> {
    let names = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
    Schema::from(names.description(Some(about)).build()).into()
}
