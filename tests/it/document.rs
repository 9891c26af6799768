//! Tests of the OpenAPI document for client generators.

use serde_json::Value;

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
    serde_json::from_str(rapport::app::openapi::text()).expect("JSON")
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
