//! Gives every object and closed set of values one name, and plain values none, since client generators make a type of
//! each name: an object without one gets a type in each place, a plain value with one a type that says nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::inline::inline;
use crate::resource::openapi::pascal;

/// Applies it to the document.
pub fn name_schemas(document: &mut Json) {
    let Some(Json::Object(schemas)) = document.pointer_mut("/components/schemas").map(Json::take) else { return };
    let (plain, named) = schemas.into_iter().partition(|(_, schema)| is_plain(schema));
    let mut schemas = Schemas { plain, named, added: Map::new() };
    schemas.flatten();
    let own: Vec<(String, Json)> = std::mem::take(&mut schemas.named).into_iter().collect();
    schemas.named = own.iter().cloned().collect();
    for (name, mut schema) in own {
        schemas.members(&mut schema, &name);
        schemas.named.insert(name, schema);
    }
    if let Some(paths) = document.get_mut("paths") {
        schemas.within(paths, "");
    }
    let sorted: BTreeMap<String, Json> = schemas.named.into_iter().chain(schemas.added).collect();
    document["components"]["schemas"] = Json::Object(sorted.into_iter().collect());
    without_unused(document);
}

/// Removes schemas that are only part of others, or have become plain values.
fn without_unused(document: &mut Json) {
    let mut used = BTreeSet::new();
    references(document, &mut used);
    if let Some(Json::Object(schemas)) = document.pointer_mut("/components/schemas") {
        schemas.retain(|name, _| used.contains(&format!("#/components/schemas/{name}")));
    }
}

fn references(node: &Json, used: &mut BTreeSet<String>) {
    match node {
        Json::Object(members) => {
            used.extend(members.get("$ref").and_then(Json::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, used));
        }
        Json::Array(items) => items.iter().for_each(|item| references(item, used)),
        _ => {}
    }
}

struct Schemas {
    /// Values that have no name in the document.
    plain: Map<String, Json>,
    named: Map<String, Json>,
    /// Objects that had no name.
    added: Map<String, Json>,
}

impl Schemas {
    /// Merges objects that consist of several into one object.
    fn flatten(&mut self) {
        let of_several: Vec<String> =
            self.named.iter().filter(|(_, schema)| schema["allOf"].is_array()).map(|(name, _)| name.clone()).collect();
        for name in of_several {
            let Some(merged) = self.merged(&self.named[&name]) else { continue };
            self.named.insert(name, Json::Object(merged));
        }
    }

    /// Returns the object with the members of all parts; `None` where a part is none.
    fn merged(&self, schema: &Json) -> Option<Map<String, Json>> {
        let schema = match schema["$ref"].as_str().and_then(|target| target.rsplit('/').next()) {
            Some(name) => self.named.get(name)?,
            None => schema,
        };
        let Some(parts) = schema["allOf"].as_array() else {
            return schema.as_object().filter(|members| members.contains_key("properties")).cloned();
        };
        let mut all: Map<String, Json> = Map::from_iter([("type".to_owned(), "object".into())]);
        let (mut required, mut properties) = (Vec::new(), Map::new());
        for part in parts {
            let part = self.merged(part)?;
            required.extend(part.get("required").and_then(Json::as_array).into_iter().flatten().cloned());
            properties.extend(
                part.get("properties")
                    .and_then(Json::as_object)
                    .into_iter()
                    .flatten()
                    .map(|(name, of)| (name.clone(), of.clone())),
            );
        }
        all.extend(schema.get("description").map(|about| ("description".to_owned(), about.clone())));
        all.insert("required".to_owned(), Json::Array(required));
        all.insert("properties".to_owned(), Json::Object(properties));
        Some(all)
    }

    /// Names the schemas of the parameters and contents of operations.
    fn within(&mut self, node: &mut Json, operation: &str) {
        match node {
            Json::Object(members) => {
                let operation = members.get("operationId").and_then(Json::as_str).unwrap_or(operation).to_owned();
                let name = members.get("name").and_then(Json::as_str).unwrap_or("content").to_owned();
                for (key, member) in members {
                    match key.as_str() {
                        "schema" => self.place(member, &format!("{}{}", pascal(&operation), pascal(&name))),
                        "example" | "examples" => {}
                        _ => self.within(member, &operation),
                    }
                }
            }
            Json::Array(items) => items.iter_mut().for_each(|item| self.within(item, operation)),
            _ => {}
        }
    }

    /// Names the schemas inside of the schema `name`.
    fn members(&mut self, schema: &mut Json, name: &str) {
        let Some(members) = schema.as_object_mut() else { return };
        for (key, member) in members {
            match (key.as_str(), member) {
                ("properties", Json::Object(properties)) => {
                    properties
                        .iter_mut()
                        .for_each(|(own, schema)| self.place(schema, &format!("{name}{}", pascal(own))));
                }
                ("items" | "additionalProperties", member @ Json::Object(_)) => {
                    self.place(member, &format!("{name}Item"))
                }
                ("anyOf" | "oneOf" | "allOf", Json::Array(schemas)) => {
                    schemas.iter_mut().for_each(|schema| self.place(schema, &format!("{name}Known")));
                }
                _ => {}
            }
        }
    }

    /// Replaces a schema by a reference where it needs a name, and a reference to a plain value by that; `name` is for a
    /// schema that has none yet.
    fn place(&mut self, schema: &mut Json, name: &str) {
        inline(schema, &self.plain);
        self.members(schema, name);
        if !needs_name(schema) {
            return;
        }
        let known = self.named.iter().chain(&self.added).find(|(_, known)| is_same(known, schema));
        let name = known.map_or(name, |(known, _)| known).to_owned();
        let mut reference = json!({ "$ref": format!("#/components/schemas/{name}") });
        if known_elsewhere(&self.named, &self.added, &name) {
            reference.as_object_mut().into_iter().for_each(|reference| {
                reference.extend(schema.get("description").map(|about| ("description".to_owned(), about.clone())));
            });
        } else {
            self.added.insert(name, schema.clone());
        }
        *schema = reference;
    }
}

fn known_elsewhere(named: &Map<String, Json>, added: &Map<String, Json>, name: &str) -> bool {
    named.contains_key(name) || added.contains_key(name)
}

/// Whether it is a text, a number or a boolean without a closed set of values.
fn is_plain(schema: &Json) -> bool {
    let is_scalar = matches!(schema["type"].as_str(), Some("string" | "integer" | "number" | "boolean"));
    is_scalar && schema.get("enum").is_none()
}

/// Whether all its members are alike: what they are has a name.
pub(super) fn is_map(schema: &Json) -> bool {
    schema["type"] == "object" && schema["additionalProperties"].is_object() && schema.get("properties").is_none()
}

fn needs_name(schema: &Json) -> bool {
    schema["enum"].is_array() || (schema["type"] == "object" && !is_map(schema))
}

/// Whether both describe the same values.
fn is_same(one: &Json, other: &Json) -> bool {
    let content = |schema: &Json| -> Option<Map<String, Json>> {
        let mut members = schema.as_object()?.clone();
        ["description", "examples", "default"].iter().for_each(|key| drop(members.shift_remove(*key)));
        Some(members)
    };
    content(one) == content(other)
}
