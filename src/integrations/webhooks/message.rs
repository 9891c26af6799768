//! Webhook messages and their signatures, according to Standard Webhooks.

use bytes::Bytes;
use chrono::Utc;
use serde_json::{Value as Json, json};
use standardwebhooks::Webhook;
use uuid::Uuid;

/// A message to send.
pub struct Message {
    /// The same in each attempt.
    pub id: Uuid,
    pub body: Bytes,
}

impl Message {
    /// Wraps an event, which is `{"id":…,"type":…,…}`.
    pub fn of_event(id: Uuid, kind: &str, created_at: &str, event: &[u8]) -> Self {
        let mut body = Vec::with_capacity(event.len() + 128);
        body.extend_from_slice(
            format!("{{\"type\":{},\"timestamp\":{},\"data\":", Json::from(kind), Json::from(created_at)).as_bytes(),
        );
        body.extend_from_slice(event);
        body.push(b'}');
        Self { id, body: body.into() }
    }

    /// A test message.
    pub fn ping(id: Uuid, webhook: Uuid, created_at: &str) -> Self {
        let event = json!({ "id": id, "type": "webhook.test", "webhook_id": webhook, "created_at": created_at });
        Self::of_event(id, "webhook.test", created_at, event.to_string().as_bytes())
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
