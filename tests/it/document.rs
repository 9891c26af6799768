//! Tests of the OpenAPI document for client generators.

use std::collections::BTreeSet;

use rapport::app::openapi::SpecVersion;
use rapport::app::registry;
use serde_json::Value;

/// Size of the document as it is served, in bytes: what a browser and a generator read in an instant.
const MAX_BYTES: usize = 740_000;

/// Objects without described members: clients' own data, and what depends on a resource that is not known before.
const FREE_FORM: [&str; 5] = ["BulkFilter", "JsonObject", "Metadata", "TaskResult", "TemplateRequest"];

/// Calls `look` with every schema-like object of `value`, examples excepted, and its location.
fn walk(value: &Value, place: &str, look: &mut impl FnMut(&Value, &str)) {
    match value {
        Value::Object(members) => {
            look(value, place);
            for (name, member) in members.iter().filter(|(name, _)| !matches!(name.as_str(), "example" | "examples")) {
                walk(member, &format!("{place}/{}", name.replace('/', "~1")), look);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| walk(item, &format!("{place}/{index}"), look));
        }
        _ => {}
    }
}

fn document() -> Value {
    document_in(SpecVersion::V3_1)
}

fn document_in(version: SpecVersion) -> Value {
    serde_json::from_str(&rapport::app::openapi::text(version)).expect("JSON")
}

fn is_of(schema: &Value, kind: &str) -> bool {
    schema["type"] == kind || schema["type"].as_array().is_some_and(|kinds| kinds.iter().any(|one| one == kind))
}

#[test]
fn every_integer_has_a_format_that_holds_its_range() {
    let (mut faults, mut seen) = (Vec::new(), 0);
    walk(&document(), "", &mut |schema, place| {
        if !is_of(schema, "integer") {
            return;
        }
        seen += 1;
        let fits = |name: &str| schema[name].as_f64().is_none_or(|bound| bound.abs() <= f64::from(i32::MAX));
        match schema["format"].as_str() {
            Some("int32") if fits("minimum") && fits("maximum") => {}
            Some("int64") => {}
            other => faults.push(format!("{place}: {other:?}")),
        }
    });
    assert!(seen > 100, "{seen} integers: the document was not read");
    assert!(faults.is_empty(), "{} of {seen}:\n{}", faults.len(), faults.join("\n"));
    let lead = document()["components"]["schemas"]["Lead"]["properties"].clone();
    assert_eq!((&lead["value_minor"]["format"], &lead["score"]["format"]), (&"int64".into(), &"int32".into()));
}

#[test]
fn no_request_schema_has_a_default() {
    let document = document();
    let mut faults = Vec::new();
    let mut note = |schema: &Value, place: &str| {
        if schema.get("default").is_some() {
            faults.push(place.to_owned());
        }
    };
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            walk(&operation["requestBody"], &format!("{method} {path}"), &mut note);
        }
    }
    // In any request body that refers to them.
    walk(&document["components"]["schemas"], "schemas", &mut note);
    assert!(faults.is_empty(), "{}:\n{}", faults.len(), faults.join("\n"));
    // The description names the default.
    let lead = &document["components"]["schemas"]["LeadCreate"]["properties"]["status"];
    assert!(lead["description"].as_str().is_some_and(|about| about.contains("default: `\"new\"`")), "{lead}");
}

#[test]
fn each_reference_resolves_and_each_component_is_used() {
    for version in [SpecVersion::V3_1, SpecVersion::V3_0] {
        let document = document_in(version);
        let mut used = BTreeSet::new();
        walk(&document, "", &mut |node, place| {
            if let Some(target) = node["$ref"].as_str() {
                let target = target.strip_prefix('#').unwrap_or_else(|| panic!("{place} refers to another document"));
                assert!(document.pointer(target).is_some(), "{place}: there is no {target}");
                used.insert(target.to_owned());
            }
        });
        for (kind, components) in document["components"].as_object().expect("components") {
            let names = components.as_object().expect("named components").keys();
            let unused: Vec<_> = names.filter(|name| !used.contains(&format!("/components/{kind}/{name}"))).collect();
            assert!(kind == "securitySchemes" || unused.is_empty(), "{version:?}, unused {kind}: {unused:?}");
        }
    }
}

#[test]
fn objects_and_choices_have_names() {
    let document = document();
    let mut faults = Vec::new();
    let mut note = |schema: &Value, place: &str| {
        let is_object = is_of(schema, "object") && schema["properties"].is_object();
        if is_object || (schema["enum"].is_array() && is_of(schema, "string")) {
            faults.push(place.to_owned());
        }
    };
    for (path, methods) in document["paths"].as_object().expect("paths") {
        walk(methods, path, &mut note);
    }
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        for (member, of) in schema["properties"].as_object().into_iter().flatten() {
            walk(of, &format!("{name}.{member}"), &mut note);
        }
    }
    assert!(faults.is_empty(), "{}:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn only_own_data_is_free_form() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let mut found = BTreeSet::new();
    for (name, schema) in schemas {
        walk(schema, name, &mut |schema, place| {
            let open = is_of(schema, "object") && schema.get("properties").is_none();
            if open && !schema["additionalProperties"].is_object() {
                found.insert(place.split('/').next().unwrap_or_default().to_owned());
            }
        });
    }
    assert_eq!(found, FREE_FORM.map(str::to_owned).into());
}

#[test]
fn document_is_small() {
    let bytes = document().to_string().len();
    assert!(bytes < MAX_BYTES, "{bytes} bytes");
}

#[test]
fn version_3_0_has_no_keyword_of_3_1() {
    let document = document_in(SpecVersion::V3_0);
    walk(&document["components"]["schemas"], "", &mut |schema, place| {
        assert!(!schema["type"].is_array(), "{place}: several types");
        let is_typed = schema["type"].is_string() || schema["oneOf"].is_array() || schema["anyOf"].is_array();
        assert!(schema.get("nullable").is_none() || is_typed, "{place}: without a type `nullable` does not count");
        assert!(schema.get("$ref").is_none() || schema.as_object().is_some_and(|all| all.len() == 1), "{place}");
        // Below `properties` these are names of fields.
        if !place.ends_with("/properties") {
            for keyword in ["const", "examples", "propertyNames", "contentMediaType"] {
                assert!(schema.get(keyword).is_none(), "{place}: {keyword}");
            }
        }
    });
}

#[test]
fn each_operation_describes_its_errors() {
    let document = document();
    let without: BTreeSet<&str> = document["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .filter(|(_, methods)| {
            methods.as_object().expect("methods").values().any(|one| one["responses"].get("default").is_none())
        })
        .map(|(path, _)| path.as_str())
        .collect();
    // Probes take nothing and need no credential; where they can fail, they describe a 503 of their own.
    let probes = ["/health", "/health/liveness", "/health/readiness", "/health/startup"];
    assert_eq!(without, BTreeSet::from(probes));
}

/// Schemas have names of resources: one name for two would give a client the values of another resource.
#[test]
fn each_list_offers_its_own_relations_and_orders() {
    let document = document();
    let values = |schema: &Value| -> BTreeSet<String> {
        let target = schema["$ref"].as_str().or(schema["items"]["$ref"].as_str()).expect("a reference");
        let named = document.pointer(target.trim_start_matches('#')).expect("a schema");
        named["enum"].as_array().expect("values").iter().map(|value| value.as_str().expect("text").to_owned()).collect()
    };
    let mut seen = 0;
    for resource in registry::RESOURCES {
        let operation = &document["paths"][format!("/api/v1/{}", resource.path())]["get"];
        let Some(parameters) = operation["parameters"].as_array() else { continue };
        let parameter =
            |name: &str| parameters.iter().find(|one| one["name"] == name).map(|one| values(&one["schema"]));
        let relations = resource.relations.iter().map(|relation| relation.name.to_owned()).collect();
        assert_eq!(parameter("include").unwrap_or_default(), relations, "{}", resource.plural);
        let orders = resource.sorts.iter().flat_map(|sort| [sort.name.to_owned(), format!("-{}", sort.name)]).collect();
        assert_eq!(parameter("sort"), Some(orders), "{}", resource.plural);
        seen += 1;
    }
    assert!(seen > 15, "{seen} lists: the document was not read");
}
