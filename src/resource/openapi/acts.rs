//! OpenAPI descriptions of operations other than the standard ones of a resource, built from their fields.

use serde_json::{Map, Value as Json};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, OpenApi, Required, Schema};

use super::examples::{example, row_example};
use super::parameters::if_match;
use super::parts::{self, Part};
use super::path_item::insert;
use super::schemas;
use crate::http::openapi_responses::{problems, reference};
use crate::resource::http::API;
use crate::resource::{Field, Resource};

/// What an operation responds with.
pub enum Gives {
    Nothing,
    /// An object of these fields.
    Object(&'static [Field]),
    /// `{"data":[…]}` of such objects.
    List(&'static [Field]),
    /// An object with the rows of each of these resources.
    Rows(Vec<&'static Resource>),
    /// A row of this resource.
    Row(&'static Resource),
    /// An object of these parts.
    Parts(&'static [Part]),
    /// A row of this resource as its create returns it, with its secret.
    Created(&'static Resource),
}

/// An operation other than the standard ones of a resource.
pub struct Act {
    pub method: HttpMethod,
    /// Below the API's base. Its parameters are ids: `{id}`.
    pub path: &'static str,
    pub tag: &'static str,
    pub id: &'static str,
    pub summary: &'static str,
    pub about: &'static str,
    /// The fields of its body; empty: it takes no body.
    pub takes: &'static [Field],
    pub status: u16,
    pub gives: Gives,
    /// The status codes of its error responses.
    pub problems: &'static [u16],
    /// Whether it needs no credential.
    pub open: bool,
}

impl Act {
    /// Adds it to the OpenAPI document.
    pub fn describe(self, api: &mut OpenApi) {
        self.describe_with(&[], api);
    }

    /// Adds it to the OpenAPI document, with a body of the parts `takes`. An operation that can return 412 takes
    /// `If-Match`.
    pub fn describe_with(self, takes: &[Part], api: &mut OpenApi) {
        let mut operation = OperationBuilder::new()
            .tag(self.tag)
            .summary(Some(self.summary))
            .description(Some(self.about))
            .operation_id(Some(self.id))
            .response(self.status.to_string(), self.answer());
        if self.open {
            operation = operation.securities(Some([SecurityRequirement::default()]));
        }
        // Every parameter of the path is an id.
        for name in self.path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
            operation = operation.parameter(id(name));
        }
        if !self.takes.is_empty() {
            let schema = object(self.takes, true);
            let body = ContentBuilder::new().schema(Some(schema)).example(Some(shown(self.takes))).build();
            let needed = if self.takes.iter().any(|field| field.required) { Required::True } else { Required::False };
            let body = RequestBodyBuilder::new().required(Some(needed)).content("application/json", body);
            operation = operation.request_body(Some(body.build()));
        }
        if !takes.is_empty() {
            let (schema, example) = parts::object(takes, true);
            let body = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
            let needed = if takes.iter().any(|part| part.needed) { Required::True } else { Required::False };
            let body = RequestBodyBuilder::new().required(Some(needed)).content("application/json", body);
            operation = operation.request_body(Some(body.build()));
        }
        if self.problems.contains(&412) {
            operation = operation.parameter(if_match());
        }
        insert(api, format!("{API}{}", self.path), self.method, problems(operation, self.problems));
    }

    fn answer(&self) -> ResponseBuilder {
        let content = |schema, example| ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
        let answer = ResponseBuilder::new();
        match &self.gives {
            Gives::Nothing => answer.description("Done."),
            Gives::Object(fields) => answer
                .description("Done.")
                .content("application/json", content(object(fields, false).into(), shown(fields))),
            Gives::List(fields) => {
                let rows = ArrayBuilder::new().items(utoipa::openapi::RefOr::T(object(fields, false)));
                let list = ObjectBuilder::new().schema_type(Type::Object).property("data", rows).required("data");
                let example = serde_json::json!({ "data": [shown(fields)] });
                let schema = Schema::from(list.build());
                answer.description("All of them.").content("application/json", content(schema.into(), example))
            }
            Gives::Rows(resources) => {
                let mut object = ObjectBuilder::new().schema_type(Type::Object);
                let mut example = Map::new();
                for resource in resources {
                    let rows = ArrayBuilder::new().items(reference(resource.schema));
                    object = object.property(resource.plural, rows).required(resource.plural);
                    example.insert(resource.plural.to_owned(), Json::Array(vec![row_example(resource)]));
                }
                let schema = Schema::from(object.build());
                answer.description("All of them.").content("application/json", content(schema.into(), example.into()))
            }
            Gives::Row(resource) => answer
                .description("The row as it is now.")
                .content("application/json", content(reference(resource.schema), row_example(resource))),
            Gives::Parts(parts) => {
                let (schema, example) = parts::object(parts, false);
                answer.description("Done.").content("application/json", content(schema.into(), example))
            }
            Gives::Created(resource) => {
                let (schema, example) =
                    (reference(&schemas::created_schema(resource)), schemas::created_example(resource));
                answer.description("The row as it is now.").content("application/json", content(schema, example))
            }
        }
    }
}

fn object(fields: &[Field], writing: bool) -> Schema {
    let mut object = ObjectBuilder::new().schema_type(Type::Object);
    if writing {
        object = object.additional_properties(Some(AdditionalProperties::FreeForm(false)));
    }
    for field in fields {
        object = object.property(field.name, schemas::field(field, writing));
        if field.required || !writing {
            object = object.required(field.name);
        }
    }
    object.build().into()
}

fn shown(fields: &[Field]) -> Json {
    let members: Map<String, Json> = fields.iter().map(|f| (f.name.to_owned(), example(f.example))).collect();
    members.into()
}

fn id(name: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("Its id."))
        .schema(Some(Schema::from(ObjectBuilder::new().schema_type(Type::String).build())))
        .build()
}
