//! Reads what WhatsApp says of a message's price (Meta, "Pricing on the WhatsApp Business Platform", the object `pricing` of statuses).

use serde_json::Value as Json;

/// The categories of rates. Messages of Marketing Messages Lite have the rates of `marketing`; those to groups, which are charged by
/// participant, have none here.
pub const CATEGORIES: &[&str] =
    &["marketing", "utility", "authentication", "authentication_international", "service", "referral_conversion"];

/// Whether WhatsApp says that the message is charged: by `billable`, or, where that is left out as Meta announces, by the `type` `regular`.
pub fn is_charged(pricing: &Json) -> bool {
    match &pricing["billable"] {
        Json::Bool(billable) => *billable,
        _ => pricing["type"].as_str() == Some("regular"),
    }
}

/// Returns the category, of [`CATEGORIES`], whose rate the message is charged at; `None` where it is not charged, or in no known category.
pub fn charged_as(pricing: &Json) -> Option<&'static str> {
    let category = pricing["category"].as_str().filter(|_| is_charged(pricing))?.to_lowercase().replace('-', "_");
    let category = if category == "marketing_lite" { "marketing" } else { &category };
    CATEGORIES.iter().copied().find(|known| *known == category)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn charged_as_category_of_billable_messages_only() {
        for (pricing, expected) in [
            (json!({ "billable": true, "category": "utility", "type": "regular" }), Some("utility")),
            (
                json!({ "billable": true, "category": "authentication-international" }),
                Some("authentication_international"),
            ),
            (json!({ "category": "MARKETING_LITE", "type": "regular" }), Some("marketing")),
            (json!({ "billable": false, "category": "utility", "type": "regular" }), None),
            (json!({ "category": "service", "type": "free_customer_service" }), None),
            (json!({ "billable": true, "category": "group_marketing", "type": "regular" }), None),
            (json!({ "billable": true }), None),
            (json!("PMP"), None),
        ] {
            assert_eq!(charged_as(&pricing), expected, "{pricing}");
        }
    }
}
