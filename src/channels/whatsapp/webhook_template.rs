//! Reads what WhatsApp tells of templates: the fields `message_template_status_update`, `template_category_update`,
//! `message_template_quality_update` and `message_template_components_update` of an account's webhooks.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::webhook_members::{id, text, time};
use crate::channels::inbound::update::{TemplateChange, TemplateUpdate};

/// The fields that tell of templates.
const FIELDS: [&str; 4] = [
    "message_template_status_update",
    "template_category_update",
    "message_template_quality_update",
    "message_template_components_update",
];

/// Reads the value of a change in `field`; `None` where it tells nothing of a template.
///
/// What it is follows from its members: Meta's own example of a quality has the field of a status.
pub fn read(field: &str, item: &Value, received_at: DateTime<Utc>) -> Option<TemplateUpdate> {
    if !FIELDS.contains(&field) {
        return None;
    }
    let change = if let Some(score) = text(item, "new_quality_score") {
        TemplateChange::Quality { score }
    } else if let Some(event) = text(item, "event") {
        // Of a pause, the title is one like FIRST_PAUSE.
        let more = |member: &str| item.get("other_info").and_then(|info| text(info, member));
        let reason = text(item, "reason").filter(|reason| reason != "NONE");
        TemplateChange::Status { event, reason: reason.or_else(|| more("description")).or_else(|| more("title")) }
    } else if let Some(category) = text(item, "new_category") {
        TemplateChange::Category { category }
    } else if item.get("message_template_element").is_some() {
        TemplateChange::Components { update: item.clone() }
    } else {
        return None;
    };
    Some(TemplateUpdate {
        external_id: id(item, "message_template_id"),
        name: text(item, "message_template_name")?,
        language: text(item, "message_template_language")?,
        changed_at: time(item, "timestamp").unwrap_or(received_at),
        change,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(field: &str, more: Value) -> Option<TemplateChange> {
        let mut item = json!({ "message_template_id": 806_312, "message_template_name": "welcome", "message_template_language": "en-US" });
        item.as_object_mut()?.extend(more.as_object()?.clone());
        let update = read(field, &item, DateTime::UNIX_EPOCH)?;
        assert_eq!((update.external_id.as_deref(), update.changed_at), (Some("806312"), DateTime::UNIX_EPOCH));
        Some(update.change)
    }

    #[test]
    fn read_change_by_its_members() {
        let status = |event: &str, reason: Option<&str>| {
            Some(TemplateChange::Status { event: event.into(), reason: reason.map(str::to_owned) })
        };
        let field = "message_template_status_update";
        assert_eq!(change(field, json!({ "event": "APPROVED", "reason": "NONE" })), status("APPROVED", None));
        assert_eq!(change(field, json!({ "event": "REJECTED", "reason": "SCAM" })), status("REJECTED", Some("SCAM")));
        let paused = json!({ "event": "PAUSED", "reason": null, "other_info": { "title": "FIRST_PAUSE", "description": "Low quality." } });
        assert_eq!(change(field, paused), status("PAUSED", Some("Low quality.")));
        let quality = Some(TemplateChange::Quality { score: "YELLOW".into() });
        assert_eq!(change(field, json!({ "previous_quality_score": "GREEN", "new_quality_score": "YELLOW" })), quality);
        let category = json!({ "new_category": "UTILITY", "correct_category": "MARKETING" });
        let expected = Some(TemplateChange::Category { category: "UTILITY".into() });
        assert_eq!(change("template_category_update", category), expected);
        assert!(matches!(
            change("message_template_components_update", json!({ "message_template_element": "Hi" })),
            Some(TemplateChange::Components { .. })
        ));
        assert_eq!(change(field, json!({})), None);
        assert_eq!(change("account_update", json!({ "event": "APPROVED" })), None);
        assert_eq!(read(field, &json!({ "event": "APPROVED" }), DateTime::UNIX_EPOCH), None);
    }
}
