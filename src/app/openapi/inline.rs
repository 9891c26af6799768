//! Puts schemas in the place of references to them.

use serde_json::{Map, Value as Json};

/// Replaces the reference that `schema` is by the schema of that name in `values`, if there is one. What the reference
/// says besides, its description, stays.
pub(super) fn inline(schema: &mut Json, values: &Map<String, Json>) {
    let target = schema["$ref"].as_str().and_then(|target| target.rsplit('/').next());
    let Some(mut value) = target.and_then(|target| values.get(target)).cloned() else { return };
    if let (Json::Object(value), Json::Object(own)) = (&mut value, &*schema) {
        value.shift_remove("examples");
        value.extend(own.iter().filter(|(key, _)| *key != "$ref").map(|(key, of)| (key.clone(), of.clone())));
    }
    *schema = value;
}

/// Does so for all references below `node`.
pub(super) fn inline_all(node: &mut Json, values: &Map<String, Json>) {
    inline(node, values);
    match node {
        Json::Object(members) => members.values_mut().for_each(|member| inline_all(member, values)),
        Json::Array(items) => items.iter_mut().for_each(|item| inline_all(item, values)),
        _ => {}
    }
}
