//! The schemas of problem documents (RFC 9457), which every error response is.

use serde_json::json;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::openapi_responses::{count, integer, reference};
use crate::base::error::{FIELD_ERROR_CODES, PROBLEM_CODES};

/// Returns the schemas of problem documents, with their names.
pub fn schemas() -> Vec<(&'static str, RefOr<Schema>)> {
    let schemas = [
        ("Problem", shape()),
        (
            "ProblemCode",
            codes(PROBLEM_CODES, "What went wrong, for programs. Codes are stable; new ones may be added."),
        ),
        ("FieldError", field_error()),
        ("FieldErrorCode", codes(FIELD_ERROR_CODES, "What is wrong with a field, for programs.")),
        ("ProblemCandidate", candidate()),
        ("ProblemBusiness", business()),
        ("ProblemBooking", booking()),
    ];
    let schemas = schemas.map(|(name, schema)| (name, RefOr::T(schema)));
    schemas.into_iter().chain([("RowCounts", RowCounts::schema())]).collect()
}

fn shape() -> Schema {
    let list = |of: &str, about: &str| ArrayBuilder::new().items(reference(of)).description(Some(about));
    let known = object("A problem document (RFC 9457).")
        .property("type", text("A URN made of `code`."))
        .property("title", text("The status in words."))
        .property("status", integer(100, 599).description(Some("The HTTP status.")))
        .property("detail", text("What is wrong and what to do."))
        .property("code", reference("ProblemCode"))
        .property("request_id", text("Quote it when you report a problem."))
        .property("errors", list("FieldError", "All errors of the request."))
        .property(
            "candidates",
            list("ProblemCandidate", "Of `possible_duplicate` and `already_exists`: the rows that look the same."),
        )
        .property("businesses", list("ProblemBusiness", "Of `choose_business`: those that you belong to."))
        .property("conflict", reference("ProblemBooking"))
        .property("rows", reference("RowCounts"))
        .property("most", count("Of `too_much_to_merge`: how many rows one merge moves."));
    let known = known.examples([json!({
        "type": "urn:rapport:problem:invalid", "title": "Invalid", "status": 422, "detail": "`score` must be a whole number from 0 to 100.",
        "code": "invalid", "request_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c79",
        "errors": [{ "pointer": "/score", "code": "out_of_range", "detail": "`score` must be a whole number from 0 to 100." }],
    })]);
    ["type", "title", "status", "detail", "code", "request_id"]
        .into_iter()
        .fold(known, ObjectBuilder::required)
        .build()
        .into()
}

fn field_error() -> Schema {
    let known = object("One thing that is wrong with the request.")
        .property("pointer", text("JSON pointer into the body, or `/query/<name>`."))
        .property("code", reference("FieldErrorCode"))
        .property("detail", text("For people."));
    ["pointer", "code", "detail"].into_iter().fold(known, ObjectBuilder::required).build().into()
}

fn candidate() -> Schema {
    let score = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0.0)).maximum(Some(1.0));
    let known = object("A row that looks like the one of the request.")
        .property(
            "id",
            ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("uuid".into()))),
        )
        .property("score", score.description(Some("How likely they are the same.")))
        .property("reasons", ArrayBuilder::new().items(text("")).description(Some("What they have in common.")));
    ["id", "score", "reasons"].into_iter().fold(known, ObjectBuilder::required).build().into()
}

fn business() -> Schema {
    let known =
        object("A business of the person.").property("slug", text("For `business`.")).property("name", text(""));
    ["slug", "name"].into_iter().fold(known, ObjectBuilder::required).build().into()
}

fn booking() -> Schema {
    let time = || {
        ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
    };
    let known = object("Of `overlapping_booking`: the booking that takes the time.")
        .property("code", text("Its booking code."))
        .property("starts_at", time())
        .property("ends_at", time());
    ["code", "starts_at", "ends_at"].into_iter().fold(known, ObjectBuilder::required).build().into()
}

/// How many rows of each resource: the schema of such members.
pub struct RowCounts;

impl PartialSchema for RowCounts {
    fn schema() -> RefOr<Schema> {
        let counts = AdditionalProperties::RefOr(Schema::from(count("").build()).into());
        object("How many rows of each resource.").additional_properties(Some(counts)).into()
    }
}

impl ToSchema for RowCounts {}

fn codes(codes: &[&str], about: &str) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(codes.iter().copied()))
        .description(Some(about))
        .build()
        .into()
}

fn object(about: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object).description(Some(about))
}

fn text(about: &str) -> ObjectBuilder {
    let about = Some(about).filter(|about| !about.is_empty());
    ObjectBuilder::new().schema_type(Type::String).description(about)
}
