//! The templates of the loopback channel, for trying out: in the form in which Meta lists an account's.

use serde_json::{Value as Json, json};

/// Returns the list that a synchronisation of the loopback channel finds.
pub fn list() -> Json {
    json!([
        {
            "id": "loopback-1",
            "name": "welcome",
            "language": "en",
            "status": "APPROVED",
            "category": "MARKETING",
            "components": [
                { "type": "BODY", "text": "Hello {{first_name}}, thank you for writing to us! What can we do for you?" },
                { "type": "BUTTONS", "buttons": [
                    { "type": "QUICK_REPLY", "text": "Book an appointment" },
                    { "type": "QUICK_REPLY", "text": "Ask a question" },
                ] },
            ],
        },
        {
            "id": "loopback-2",
            "name": "appointment_reminder",
            "language": "en",
            "status": "APPROVED",
            "category": "UTILITY",
            "components": [
                { "type": "HEADER", "format": "TEXT", "text": "Your appointment" },
                { "type": "BODY", "text": "See you on {{1}} at {{2}}. If you cannot come, please let us know." },
                { "type": "FOOTER", "text": "Reply STOP to receive no more reminders." },
                { "type": "BUTTONS", "buttons": [
                    { "type": "URL", "text": "Change", "url": "https://shop.example/bookings/{{1}}" },
                ] },
            ],
        },
    ])
}
