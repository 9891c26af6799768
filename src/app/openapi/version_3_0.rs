//! Converts the OpenAPI document from 3.1 to 3.0, for client generators that do not know 3.1 yet.
//!
//! What 3.0 can only say less exactly is loosened, never tightened: each valid request and response stays valid. The
//! generators that need 3.0 also compile named values badly and check them strictly, so that here values have no names
//! and codes no list.

use serde_json::{Map, Value as Json, json};

use super::inline::inline_all;
use super::named_schemas::is_map;

/// Lists of codes to which new ones are added: a client that checks them would refuse an error because of a new code.
const OPEN_LISTS: [&str; 3] = ["EventType", "FieldErrorCode", "ProblemCode"];

/// Keywords of JSON Schema that 3.0 has no form for.
const UNKNOWN: [&str; 17] = [
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "contentSchema",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Returns the document in version 3.0.3.
pub fn convert(mut document: Json) -> Json {
    document["openapi"] = "3.0.3".into();
    if let Some(members) = document.as_object_mut() {
        members.shift_remove("webhooks");
        members.shift_remove("jsonSchemaDialect");
    }
    if let Some(license) = document.pointer_mut("/info/license").and_then(Json::as_object_mut) {
        license.shift_remove("identifier");
        license.insert("url".to_owned(), "https://opensource.org/license/mit".into());
    }
    without_named_values(&mut document);
    if let Some(Json::Object(schemas)) = document.pointer_mut("/components/schemas") {
        schemas.values_mut().for_each(schema);
    }
    schemas_within(&mut document);
    document
}

/// Puts lists of values, arrays and maps in the place of references to them.
fn without_named_values(document: &mut Json) {
    let Some(Json::Object(schemas)) = document.pointer_mut("/components/schemas").map(Json::take) else { return };
    let is_value = |schema: &Json| schema["enum"].is_array() || schema["type"] == "array" || is_map(schema);
    let (mut values, named): (Map<String, Json>, Map<String, Json>) =
        schemas.into_iter().partition(|(_, schema)| is_value(schema));
    for (_, value) in values.iter_mut().filter(|(name, _)| OPEN_LISTS.contains(&name.as_str())) {
        value.as_object_mut().and_then(|value| value.shift_remove("enum"));
    }
    document["components"]["schemas"] = Json::Object(named);
    inline_all(document, &values);
}

/// Converts the schemas of parameters, headers and contents.
fn schemas_within(node: &mut Json) {
    match node {
        Json::Object(members) => {
            for (name, member) in members {
                match name.as_str() {
                    "schema" => schema(member),
                    "example" | "examples" | "schemas" => {}
                    _ => schemas_within(member),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(schemas_within),
        _ => {}
    }
}

fn schema(node: &mut Json) {
    match node {
        Json::Bool(true) => *node = json!({}),
        Json::Bool(false) => *node = json!({ "not": {} }),
        Json::Object(members) => {
            inner_schemas(members);
            types(members);
            for list in ["anyOf", "oneOf"] {
                without_null(members, list);
            }
            values(members);
            wrap_reference(members);
            UNKNOWN.iter().for_each(|name| drop(members.shift_remove(*name)));
        }
        _ => {}
    }
}

fn inner_schemas(members: &mut Map<String, Json>) {
    for (name, member) in members {
        match (name.as_str(), member) {
            ("properties", Json::Object(properties)) => properties.values_mut().for_each(schema),
            ("items" | "not", member) => schema(member),
            ("additionalProperties", member @ Json::Object(_)) => schema(member),
            ("allOf", Json::Array(schemas)) => schemas.iter_mut().for_each(schema),
            // `null` alone is a type that only this list can express.
            ("anyOf" | "oneOf", Json::Array(schemas)) => {
                schemas.iter_mut().filter(|one| !is_null(one)).for_each(schema);
            }
            _ => {}
        }
    }
}

fn is_null(schema: &Json) -> bool {
    schema["type"] == "null"
}

/// `["string", "null"]` becomes `"string"` and `nullable`; several other types become any.
fn types(members: &mut Map<String, Json>) {
    let Some(Json::Array(types)) = members.get("type") else { return };
    let nullable = types.iter().any(|one| one == "null");
    let mut others: Vec<Json> = types.iter().filter(|one| *one != "null").cloned().collect();
    match (others.pop(), others.is_empty()) {
        (Some(only), true) => members.insert("type".to_owned(), only),
        _ => members.shift_remove("type"),
    };
    if nullable && members.contains_key("type") {
        members.insert("nullable".to_owned(), true.into());
    }
    if members.get("type").is_some_and(|one| one == "array") && !members.contains_key("items") {
        members.insert("items".to_owned(), json!({}));
    }
}

/// Removes the type null from a list of alternatives; a reference that is left alone becomes `allOf`.
fn without_null(members: &mut Map<String, Json>, list: &str) {
    let Some(Json::Array(alternatives)) = members.get_mut(list) else { return };
    let before = alternatives.len();
    alternatives.retain(|one| !is_null(one));
    if alternatives.len() == before {
        return;
    }
    if let [only] = alternatives.as_mut_slice() {
        let only = only.take();
        members.shift_remove(list);
        match only {
            Json::Object(only) if !only.contains_key("$ref") => {
                members.extend(only);
                if members.contains_key("allOf") {
                    members.insert("type".to_owned(), "object".into());
                }
            }
            // `nullable` counts beside a type only.
            reference => {
                members.insert("type".to_owned(), "object".into());
                members.insert("allOf".to_owned(), json!([reference]));
            }
        }
    }
    members.insert("nullable".to_owned(), true.into());
    if let Some(Json::Array(values)) = members.get_mut("enum")
        && !values.contains(&Json::Null)
    {
        values.push(Json::Null);
    }
}

/// Converts `const`, `examples`, exclusive bounds and binary contents.
fn values(members: &mut Map<String, Json>) {
    if let Some(value) = members.shift_remove("const") {
        members.insert("enum".to_owned(), json!([value]));
    }
    if let Some(Json::Array(examples)) = members.shift_remove("examples")
        && let Some(first) = examples.into_iter().next()
    {
        members.insert("example".to_owned(), first);
    }
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if let Some(value) = members.get(exclusive).filter(|value| value.is_number()).cloned() {
            members.insert(bound.to_owned(), value);
            members.insert(exclusive.to_owned(), true.into());
        }
    }
    let media = members.shift_remove("contentMediaType").is_some();
    let encoded = members.shift_remove("contentEncoding").is_some();
    if media || encoded {
        members.insert("format".to_owned(), if encoded { "byte" } else { "binary" }.into());
    }
}

/// A reference has no other members in 3.0.
fn wrap_reference(members: &mut Map<String, Json>) {
    if members.len() > 1
        && let Some(target) = members.shift_remove("$ref")
    {
        members.insert("allOf".to_owned(), json!([{ "$ref": target }]));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    fn converted(mut schema: Json) -> Json {
        super::schema(&mut schema);
        schema
    }

    #[test]
    fn null_becomes_nullable() {
        assert_eq!(
            converted(json!({ "type": ["string", "null"], "maxLength": 5 })),
            json!({ "type": "string", "maxLength": 5, "nullable": true })
        );
        assert_eq!(
            converted(json!({ "anyOf": [{ "$ref": "#/x" }, { "type": "null" }], "description": "d" })),
            json!({ "description": "d", "type": "object", "allOf": [{ "$ref": "#/x" }], "nullable": true })
        );
        assert_eq!(
            converted(json!({ "oneOf": [{ "$ref": "#/x", "description": "d" }, { "type": "null" }] })),
            json!({ "description": "d", "allOf": [{ "$ref": "#/x" }], "type": "object", "nullable": true })
        );
        assert_eq!(
            converted(json!({ "oneOf": [{ "$ref": "#/x" }, { "$ref": "#/y" }, { "type": "null" }] })),
            json!({ "oneOf": [{ "$ref": "#/x" }, { "$ref": "#/y" }], "nullable": true })
        );
        assert_eq!(
            converted(json!({ "anyOf": [{ "type": "integer", "const": 1 }, { "type": "null" }] })),
            json!({ "type": "integer", "enum": [1, null], "nullable": true })
        );
    }

    #[test]
    fn members_of_3_1_become_those_of_3_0() {
        assert_eq!(converted(json!({ "type": ["string", "number"], "const": "a" })), json!({ "enum": ["a"] }));
        assert_eq!(
            converted(json!({ "$ref": "#/x", "description": "d" })),
            json!({ "description": "d", "allOf": [{ "$ref": "#/x" }] })
        );
        assert_eq!(
            converted(json!({ "exclusiveMinimum": 0, "examples": [1, 2] })),
            json!({ "exclusiveMinimum": true, "minimum": 0, "example": 1 })
        );
        assert_eq!(converted(json!({ "properties": { "any": true } })), json!({ "properties": { "any": {} } }));
        assert_eq!(
            converted(json!({ "type": "string", "contentMediaType": "application/octet-stream" })),
            json!({ "type": "string", "format": "binary" })
        );
    }
}
