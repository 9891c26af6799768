//! OpenAPI description of `GET /events` and `GET /events/stream`.

use serde_json::{Value as Json, json};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, RefOr, Required, Schema};

use super::event_types::EventRegistry;
use crate::http::openapi_responses::{count, integer, problems, reference};
use crate::resource::http::API;
use crate::resource::list_query::{DEFAULT_LIMIT, MAX_LIMIT};

const FOLLOW: &str = "Server-sent events: `id` is the number, `event` the type, `data` the event. It begins with what comes after \
    `Last-Event-ID` or `after`, or else with what happens from now on. A comment comes when nothing else did for a while. The \
    stream ends when the credential does or may do something else, when it is old, and when its reader is too slow; come back \
    with the number of the last event, and nothing is lost.";

/// Adds both operations to the OpenAPI document.
pub fn describe(registry: EventRegistry, api: &mut OpenApi) {
    let components = api.components.get_or_insert_default();
    components.schemas.insert("Event".to_owned(), RefOr::T(event()));
    components.schemas.insert("EventPage".to_owned(), RefOr::T(page()));
    let content = |schema: &str, example: Json| {
        ContentBuilder::new().schema(Some(reference(schema))).example(Some(example)).build()
    };
    let list = OperationBuilder::new()
        .tag("events")
        .summary(Some("List events"))
        .description(Some(
            "Every change of a row that you may read, in an order that never changes: a reader that has read up to a number \
             will never find a smaller one that it has not seen. A page may have fewer events than its limit, or none, and still \
             not be the last; go on after `page.next` until it is null, and later after `page.last`.",
        ))
        .operation_id(Some("listEvents"))
        .parameter(after())
        .parameter(resources(registry))
        .parameter(types(registry))
        .parameter(query("limit", limit(), "How many events a page has at most."))
        .response("200", ResponseBuilder::new().description("A page.").content("application/json", content("EventPage", page_example())));
    let stream = OperationBuilder::new()
        .tag("events")
        .summary(Some("Follow events as they come"))
        .description(Some(FOLLOW))
        .operation_id(Some("streamEvents"))
        .parameter(after())
        .parameter(resources(registry))
        .parameter(types(registry))
        .parameter(
            ParameterBuilder::new()
                .name("Last-Event-ID")
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some("The number of the last event that you have. It counts before `after`."))
                .schema(Some(text())),
        )
        .response(
            "200",
            ResponseBuilder::new()
                .description("The stream.")
                .content("text/event-stream", ContentBuilder::new().schema(Some(text())).build()),
        );
    for (path, operation) in [("/events", list), ("/events/stream", stream)] {
        let operation = problems(operation, &[400, 401, 403, 410, 503]);
        api.paths.paths.insert(format!("{API}{path}"), PathItem::new(HttpMethod::Get, operation));
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

fn text() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).build().into()
}

fn string(about: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(about))
}

fn nullable(kind: Type, about: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([kind, Type::Null])).description(Some(about))
}

fn event() -> Schema {
    let uuid = |about| string(about).format(Some(SchemaFormat::Custom("uuid".to_owned())));
    let value = |about| ObjectBuilder::new().schema_type(SchemaType::AnyValue).description(Some(about));
    let change = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("old", value("As it was."))
        .property("new", value("As it is."));
    let actor = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Who did it."))
        .property(
            "kind",
            string("A person, a program, or an operator of the database itself.")
                .enum_values(Some(["user", "api_key", "system"])),
        )
        .property("id", nullable(Type::String, "Of the person or the key."))
        .required("kind")
        .required("id");
    let object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("A change of a row."))
        .property("id", uuid("The same wherever the event appears; that of its entry in the audit log."))
        .property("sequence", count("Its number: 1, 2, 3 … in each business, without gaps."))
        .property("type", string("A resource and what happened: `lead.updated`."))
        .property("resource", string("What kind of row."))
        .property("row_id", uuid("Which row."))
        .property("changed", ArrayBuilder::new().items(RefOr::T(text())).description(Some("The fields that changed; of an update.")))
        .property(
            "changes",
            ObjectBuilder::new()
                .schema_type(Type::Object)
                .description(Some("Each of them as it was and as it is. Empty for a new row, a deleted one, and one that was forgotten since."))
                .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(change.build().into())))),
        )
        .property("actor", actor)
        .property("request_id", nullable(Type::String, "The request that did it."))
        .property("created_at", string("When it was done.").format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))));
    let names =
        ["id", "sequence", "type", "resource", "row_id", "changed", "changes", "actor", "request_id", "created_at"];
    names.into_iter().fold(object, |object, name| object.required(name)).build().into()
}

fn page() -> Schema {
    let place = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Where the page stands in the log."))
        .property("limit", integer(1, i64::from(MAX_LIMIT)).description(Some("How many events a page has at most.")))
        .property(
            "next",
            count("`after` of the next page; null when there is no more now.")
                .schema_type(SchemaType::from_iter([Type::Integer, Type::Null])),
        )
        .property("last", count("The newest number there is, seen or not: where to go on later."));
    let place = ["limit", "next", "last"].into_iter().fold(place, |place, name| place.required(name));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("data", ArrayBuilder::new().items(reference("Event")))
        .property("page", place)
        .required("data")
        .required("page")
        .build()
        .into()
}

pub fn example() -> Json {
    json!({
        "id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71", "sequence": 4711, "type": "lead.updated", "resource": "leads",
        "row_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c72", "changed": ["status"],
        "changes": { "status": { "old": "proposal", "new": "won" } },
        "actor": { "kind": "user", "id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73" },
        "request_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c79", "created_at": "2026-11-20T09:30:00.000000Z",
    })
}

fn page_example() -> Json {
    json!({ "data": [example()], "page": { "limit": DEFAULT_LIMIT, "next": null, "last": 4711 } })
}
