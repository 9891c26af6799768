//! The components of a template in the form that is stored: an object with `header`, `body`, `footer`, `buttons`, and others by their type, each as
//! Meta gives it (Meta, "Template components").

use serde_json::{Map, Value as Json};

/// Turns Meta's list of components into the object that is kept. What is no component is left out.
pub fn of_list(list: &Json) -> Json {
    let mut components = Map::new();
    for component in list.as_array().into_iter().flatten() {
        let Some(kind) = component["type"].as_str() else { continue };
        let kind = kind.to_lowercase();
        let kept = match component {
            Json::Object(members) if kind != "buttons" => {
                let others = members.iter().filter(|(name, _)| *name != "type");
                Json::Object(others.map(|(name, value)| (name.clone(), value.clone())).collect())
            }
            other => other["buttons"].clone(),
        };
        components.insert(kind, kept);
    }
    Json::Object(components)
}

/// Changes what a webhook of `message_template_components_update` tells of: texts, not the buttons, of which it has not all.
pub fn with_update(components: &Json, update: &Json) -> Json {
    let mut components = components.clone();
    for (member, kind) in [
        ("message_template_title", "header"),
        ("message_template_element", "body"),
        ("message_template_footer", "footer"),
    ] {
        if let (Some(text), Json::Object(known)) = (update[member].as_str(), &mut components) {
            let component = known.entry(kind).or_insert_with(|| Json::Object(Map::new()));
            if kind == "header" && component.get("format").is_none() {
                component["format"] = "TEXT".into();
            }
            component["text"] = text.into();
        }
    }
    components
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_list_by_type_and_texts_of_updates() {
        let list = json!([
            { "type": "HEADER", "format": "TEXT", "text": "Sale" },
            { "type": "BODY", "text": "Hi {{1}}", "example": { "body_text": [["Anna"]] } },
            { "type": "BUTTONS", "buttons": [{ "type": "QUICK_REPLY", "text": "Stop" }] },
            "odd",
        ]);
        let components = of_list(&list);
        let expected = json!({
            "header": { "format": "TEXT", "text": "Sale" },
            "body": { "text": "Hi {{1}}", "example": { "body_text": [["Anna"]] } },
            "buttons": [{ "type": "QUICK_REPLY", "text": "Stop" }],
        });
        assert_eq!(components, expected);
        let update = json!({ "message_template_element": "Hello {{1}}", "message_template_footer": "Bye" });
        let changed = with_update(&components, &update);
        assert_eq!((&changed["body"]["text"], &changed["footer"]), (&json!("Hello {{1}}"), &json!({ "text": "Bye" })));
        assert_eq!(changed["header"], components["header"]);
        assert_eq!(of_list(&Json::Null), json!({}));
    }
}
