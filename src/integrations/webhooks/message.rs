//! Webhook messages and their signatures, according to Standard Webhooks.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};
use standardwebhooks::Webhook;
use uuid::Uuid;

use crate::base::timestamp;
use crate::integrations::events::stored_event::Event;

/// A message to send.
pub struct Message {
    /// The same in each attempt.
    pub id: Uuid,
    pub body: Bytes,
}

impl Message {
    /// Wraps an event.
    pub fn of_event(id: Uuid, event: &Event) -> Self {
        Self::new(id, &event.about.event_type.name(), &timestamp::text(event.created_at), &event.json)
    }

    /// A test message.
    pub fn ping(id: Uuid, webhook: Uuid, created_at: DateTime<Utc>) -> Self {
        const TYPE: &str = "webhook.test";
        let created_at = timestamp::text(created_at);
        let event = json!({ "id": id, "type": TYPE, "webhook_id": webhook, "created_at": created_at });
        Self::new(id, TYPE, &created_at, event.to_string().as_bytes())
    }

    fn new(id: Uuid, event_type: &str, created_at: &str, event: &[u8]) -> Self {
        let mut body = Vec::with_capacity(event.len() + 128);
        body.extend_from_slice(
            format!("{{\"type\":{},\"timestamp\":{},\"data\":", Json::from(event_type), Json::from(created_at))
                .as_bytes(),
        );
        body.extend_from_slice(event);
        body.push(b'}');
        Self { id, body: body.into() }
    }

    /// Returns the headers of an attempt made now, signed with each of `secrets`. Errors: an invalid secret.
    pub fn headers(&self, secrets: &[String]) -> Result<Vec<(&'static str, String)>, String> {
        let (id, now) = (self.id.to_string(), Utc::now().timestamp());
        let sign = |secret: &String| {
            let webhook = Webhook::new(secret).map_err(|_| "The secret is damaged; rotate it.".to_owned())?;
            webhook.sign(&id, now, &self.body).map_err(|_| "It cannot be signed.".to_owned())
        };
        let signatures = secrets.iter().map(sign).collect::<Result<Vec<String>, String>>()?;
        Ok(vec![
            ("content-type", "application/json".into()),
            ("webhook-id", id),
            ("webhook-timestamp", now.to_string()),
            ("webhook-signature", signatures.join(" ")),
        ])
    }
}
