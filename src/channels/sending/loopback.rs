//! The adapter of loopback channels: takes every message, and answers like a customer, so that a front end sees conversations happen
//! without an account anywhere. What it says is delivered as WhatsApp delivers, and applied by the same code.
//!
//! It answers people only, not programs. Some texts make it behave: `/fail 131026` fails with that code, `/silent` gets no answer, `/photo` gets a
//! picture.

use std::sync::Arc;

use actix_web::web::Bytes;
use chrono::Utc;
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::outbound::{ChannelAdapter, MarkFailure, Outbound, OutboundContent, Recipient, Refusal, SendOutcome};
use crate::channels::directory::{ConnectedChannel, loopback_number};
use crate::channels::inbound::receiver::InboundReceiver;
use crate::channels::media::fetch::{FetchFailure, FetchedFile};
use crate::channels::media::send_file::StoredFile;

/// How long the customer takes to answer, in seconds.
const ANSWERS_AFTER: u32 = 1;
/// The code of a failure that names none: the message cannot be delivered to its recipient.
const UNDELIVERABLE: i64 = 131_026;
/// What the customer sends when they are asked for a picture.
const PHOTO: &[u8] = include_bytes!("loopback_photo.png");
/// The id of that picture.
const PHOTO_ID: &str = "loopback-photo";
/// Longest part of a text that an answer repeats, in characters.
const MAX_REPEATED_LEN: usize = 60;

pub struct Loopback {
    receiver: Arc<InboundReceiver>,
}

impl Loopback {
    pub fn new(receiver: Arc<InboundReceiver>) -> Self {
        Self { receiver }
    }

    async fn take(&self, channel: &ConnectedChannel, message: &Outbound) -> SendOutcome {
        let external_id = format!("loopback.{}", Uuid::now_v7().simple());
        let Some(value) = delivered(message, &external_id) else {
            let title = "A loopback has no groups.".to_owned();
            return SendOutcome::Refused(Refusal { code: Json::Null, title, details: None });
        };
        let body = Bytes::from(envelope(channel.id, &value).to_string());
        match self.receiver.deliver_later(body, channel.business.id, ANSWERS_AFTER).await {
            Ok(()) => SendOutcome::Accepted { external_id },
            Err(error) => SendOutcome::NotSent(error.to_string()),
        }
    }
}

impl ChannelAdapter for Loopback {
    fn send<'a>(
        &'a self,
        channel: &'a Arc<ConnectedChannel>,
        message: &'a Outbound,
    ) -> LocalBoxFuture<'a, SendOutcome> {
        self.take(channel, message).boxed_local()
    }

    fn mark_read<'a>(
        &'a self,
        _: &'a Arc<ConnectedChannel>,
        _: &'a str,
        _: bool,
    ) -> LocalBoxFuture<'a, Result<(), MarkFailure>> {
        std::future::ready(Ok(())).boxed_local()
    }

    fn upload<'a>(
        &'a self,
        _: &'a Arc<ConnectedChannel>,
        file: &'a StoredFile,
    ) -> LocalBoxFuture<'a, Result<String, SendOutcome>> {
        std::future::ready(Ok(format!("loopback.{}", file.attachment.simple()))).boxed_local()
    }

    fn fetch_media<'a>(
        &'a self,
        _: &'a Arc<ConnectedChannel>,
        media_id: &'a str,
    ) -> LocalBoxFuture<'a, Result<FetchedFile, FetchFailure>> {
        let found = match media_id {
            PHOTO_ID => Ok(FetchedFile {
                mime_type: Some("image/png".to_owned()),
                sha256: None,
                bytes: Some(PHOTO.len() as u64),
                pieces: stream::iter([Ok(Bytes::from_static(PHOTO))]).boxed_local(),
            }),
            _ => Err(FetchFailure::Gone("A loopback has no such file.".to_owned())),
        };
        std::future::ready(found).boxed_local()
    }
}

fn envelope(channel: Uuid, value: &Json) -> Json {
    let mut value = value.clone();
    value["messaging_product"] = json!("whatsapp");
    value["metadata"] = json!({ "display_phone_number": "loopback", "phone_number_id": loopback_number(channel) });
    json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "loopback", "changes": [{ "field": "messages", "value": value }] }],
    })
}

/// What is delivered after `message`, which has this id: its statuses, and an answer. `None` for a group.
fn delivered(message: &Outbound, external_id: &str) -> Option<Json> {
    let (contact_member, from_member, recipient_member, customer) = match &message.recipient {
        Recipient::Number(digits) => ("wa_id", "from", "recipient_id", digits),
        Recipient::UserId(id) => ("user_id", "from_user_id", "recipient_user_id", id),
        Recipient::Group(_) => return None,
    };
    let now = Utc::now().timestamp();
    let status = |status: &str| {
        let mut told = json!({
            "id": external_id, "status": status, "timestamp": now.to_string(),
            "pricing": { "billable": false, "pricing_model": "PMP", "category": "service", "type": "free_customer_service" },
            "biz_opaque_callback_data": format!("{}:{}", message.message_id, message.number),
        });
        told[recipient_member] = json!(customer);
        told
    };
    let statuses = ["sent", "delivered", "read"].map(status);
    let OutboundContent::Message { kind, body, payload, .. } = &message.content else {
        return Some(json!({ "statuses": statuses }));
    };
    let text = body.as_deref().unwrap_or_default().trim();
    if let Some(code) = text.strip_prefix("/fail").map(|code| code.trim().parse().unwrap_or(UNDELIVERABLE)) {
        let mut failed = status("failed");
        failed["errors"] = json!([{ "code": code, "title": "The text asked for this failure." }]);
        return Some(json!({ "statuses": [failed] }));
    }
    if !message.is_by_person {
        // Two programs would talk without end.
        return Some(json!({ "statuses": statuses }));
    }
    if text == "/silent" {
        return Some(json!({ "statuses": &statuses[..2] }));
    }
    let mut answer = reply(kind, text, payload.as_ref().unwrap_or(&Json::Null));
    answer["id"] = json!(format!("loopback.{}", Uuid::now_v7().simple()));
    answer["timestamp"] = json!((now + i64::from(ANSWERS_AFTER)).to_string());
    answer[from_member] = json!(customer);
    let mut contact = json!({ "profile": { "name": "Loopback" } });
    contact[contact_member] = json!(customer);
    Some(json!({ "contacts": [contact], "messages": [answer], "statuses": statuses }))
}

/// What a customer says to a message: chooses the first of what is offered, agrees to a question.
fn reply(kind: &str, text: &str, payload: &Json) -> Json {
    let say = |text: String| json!({ "type": "text", "text": { "body": text } });
    let offered = match payload["type"].as_str() {
        Some("buttons") => Some(("button_reply", &payload["buttons"][0])),
        Some("list") => Some(("list_reply", &payload["sections"][0]["rows"][0])),
        _ => None,
    };
    if let Some((member, choice)) = offered {
        let mut interactive = json!({ "type": member });
        interactive[member] = choice.clone();
        return json!({ "type": "interactive", "interactive": interactive });
    }
    match kind {
        "text" if text == "/photo" => {
            json!({ "type": "image", "image": { "id": PHOTO_ID, "mime_type": "image/png", "caption": "This is it." } })
        }
        "text" if text.ends_with('?') => say("Yes, that works for me.".to_owned()),
        "text" => {
            let repeated: String = text.chars().take(MAX_REPEATED_LEN).collect();
            say(format!("Thank you. I got: “{repeated}”"))
        }
        _ => say("Thank you, I got it.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str, payload: Json) -> Outbound {
        Outbound {
            message_id: Uuid::nil(),
            number: 1,
            is_by_person: true,
            recipient: Recipient::Number("4915112345678".into()),
            content: OutboundContent::Message {
                kind: if payload.is_null() { "text" } else { "interactive" }.into(),
                body: Some(text.into()),
                media: None,
                payload: Some(payload),
                uploaded: None,
            },
            reply_to: None,
        }
    }

    #[test]
    fn loopback_answers_fails_and_is_silent() {
        let said = |text: &str, payload: Json| delivered(&message(text, payload), "loopback.1").expect("a person");
        assert_eq!(said("At ten?", Json::Null)["messages"][0]["text"]["body"], "Yes, that works for me.");
        assert_eq!(said("At ten.", Json::Null)["messages"][0]["text"]["body"], "Thank you. I got: “At ten.”");
        let failed = said("/fail 131047", Json::Null);
        assert_eq!((&failed["messages"], &failed["statuses"][0]["errors"][0]["code"]), (&Json::Null, &json!(131_047)));
        assert_eq!(said("/silent", Json::Null)["statuses"].as_array().map(Vec::len), Some(2));
        assert_eq!(said("/photo", Json::Null)["messages"][0]["image"]["id"], PHOTO_ID);
        let buttons = json!({ "type": "buttons", "buttons": [{ "id": "yes", "title": "Yes" }] });
        assert_eq!(said("Well?", buttons)["messages"][0]["interactive"]["button_reply"]["id"], "yes");
    }
}
