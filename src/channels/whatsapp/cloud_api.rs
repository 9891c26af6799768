//! The adapter of WhatsApp's Cloud API: hands messages to Meta over HTTPS.
//!
//! Meta has no idempotency key: the id and number of an attempt travel as `biz_opaque_callback_data`, which each status repeats. So a
//! message whose answer was lost is found again by its first status.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::graph::{GraphClient, GraphError};
use super::media;
use super::phone_endpoint::phone_endpoint;
use crate::channels::directory::ConnectedChannel;
use crate::channels::media::fetch::{FetchFailure, FetchedFile};
use crate::channels::media::send_file::StoredFile;
use crate::channels::sending::outbound::{
    ChannelAdapter, MarkFailure, Outbound, OutboundContent, Recipient, SendOutcome,
};

pub struct CloudApi {
    graph: GraphClient,
}

impl CloudApi {
    pub fn new(graph: GraphClient) -> Self {
        Self { graph }
    }

    async fn hand_over(&self, channel: &ConnectedChannel, message: &Outbound) -> SendOutcome {
        let (path, token) = match phone_endpoint(channel, "messages") {
            Ok(endpoint) => endpoint,
            Err(refusal) => return SendOutcome::Refused(refusal),
        };
        match self.graph.post(&path, token, &compose(message)).await {
            Ok(answer) => match answer["messages"][0]["id"].as_str() {
                Some(id) if !id.is_empty() => SendOutcome::Accepted { external_id: id.to_owned() },
                _ => SendOutcome::Unknown("The answer names no message.".to_owned()),
            },
            Err(GraphError::NotSent(text)) => SendOutcome::NotSent(text),
            Err(GraphError::Unknown(text)) => SendOutcome::Unknown(text),
            Err(GraphError::Refused(refusal)) => SendOutcome::Refused(refusal),
        }
    }
}

impl ChannelAdapter for CloudApi {
    fn send<'a>(
        &'a self,
        channel: &'a Arc<ConnectedChannel>,
        message: &'a Outbound,
    ) -> LocalBoxFuture<'a, SendOutcome> {
        self.hand_over(channel, message).boxed_local()
    }

    fn upload<'a>(
        &'a self,
        channel: &'a Arc<ConnectedChannel>,
        file: &'a StoredFile,
    ) -> LocalBoxFuture<'a, Result<String, SendOutcome>> {
        media::upload(&self.graph, channel, file).boxed_local()
    }

    fn fetch_media<'a>(
        &'a self,
        channel: &'a Arc<ConnectedChannel>,
        media_id: &'a str,
    ) -> LocalBoxFuture<'a, Result<FetchedFile, FetchFailure>> {
        media::fetch(&self.graph, channel, media_id).boxed_local()
    }

    fn mark_read<'a>(
        &'a self,
        channel: &'a Arc<ConnectedChannel>,
        external_id: &'a str,
        is_typing: bool,
    ) -> LocalBoxFuture<'a, Result<(), MarkFailure>> {
        async move {
            let (path, token) = phone_endpoint(channel, "messages").map_err(GraphError::Refused)?;
            let mut body = json!({ "messaging_product": "whatsapp", "status": "read", "message_id": external_id });
            if is_typing {
                body["typing_indicator"] = json!({ "type": "text" });
            }
            Ok(self.graph.post(&path, token, &body).await.map(drop)?)
        }
        .boxed_local()
    }
}

impl From<GraphError> for MarkFailure {
    fn from(error: GraphError) -> Self {
        Self { reason: error.to_string(), passes: error.passes() }
    }
}

/// Writes `biz_opaque_callback_data`.
fn callback_data(message: Uuid, number: i64) -> String {
    format!("{message}:{number}")
}

/// Reads `biz_opaque_callback_data`: the message and the number of its attempt. `None` for another program's.
pub fn read_callback_data(text: &str) -> Option<(Uuid, i64)> {
    let (message, number) = text.split_once(':')?;
    Some((Uuid::try_parse(message).ok()?, number.parse().ok()?))
}

/// Composes the body of the request (Meta, Cloud API, "Messages").
fn compose(message: &Outbound) -> Json {
    let mut body = Map::new();
    let mut put = |name: &str, value: Json| drop(body.insert(name.to_owned(), value));
    put("messaging_product", json!("whatsapp"));
    match &message.recipient {
        Recipient::Number(digits) => {
            put("recipient_type", json!("individual"));
            put("to", json!(digits));
        }
        Recipient::UserId(id) => {
            put("recipient_type", json!("individual"));
            put("recipient", json!(id));
        }
        Recipient::Group(id) => {
            put("recipient_type", json!("group"));
            put("to", json!(id));
        }
    }
    match &message.content {
        OutboundContent::Reaction { target, emoji } => {
            put("type", json!("reaction"));
            put("reaction", json!({ "message_id": target, "emoji": emoji.as_deref().unwrap_or_default() }));
        }
        OutboundContent::Message { kind, body, media, payload, uploaded } => {
            put("type", json!(kind));
            let mut content = content(kind, body.as_deref(), media.as_ref(), payload.as_ref());
            if let (Some(id), Some(members)) = (uploaded, content.as_object_mut()) {
                members.remove("link");
                members.insert("id".to_owned(), json!(id));
            }
            put(kind, content);
        }
    }
    if let Some(answered) = &message.reply_to {
        put("context", json!({ "message_id": answered }));
    }
    put("biz_opaque_callback_data", json!(callback_data(message.message_id, message.number)));
    Json::Object(body)
}

fn content(kind: &str, body: Option<&str>, media: Option<&Json>, payload: Option<&Json>) -> Json {
    let empty = Json::Null;
    let (media, payload) = (media.unwrap_or(&empty), payload.unwrap_or(&empty));
    match kind {
        "template" => payload["template"].clone(),
        "location" => payload.clone(),
        "contacts" => payload["contacts"].clone(),
        "interactive" => interactive(body, payload),
        "image" | "video" | "audio" | "document" | "sticker" => file(kind, body, media),
        _ => json!({ "body": body.unwrap_or_default(), "preview_url": true }),
    }
}

fn file(kind: &str, caption: Option<&str>, media: &Json) -> Json {
    let mut file = Map::new();
    file.insert("link".to_owned(), media["url"].clone());
    if let (Some(caption), "image" | "video" | "document") = (caption, kind) {
        file.insert("caption".to_owned(), json!(caption));
    }
    if let ("document", name @ Json::String(_)) = (kind, &media["file_name"]) {
        file.insert("filename".to_owned(), name.clone());
    }
    Json::Object(file)
}

/// Composes buttons, a list or a link from what the message carries ([`crate::channels::sending::interactive`]).
fn interactive(body: Option<&str>, payload: &Json) -> Json {
    let list = |name: &str| payload[name].as_array().cloned().unwrap_or_default();
    let (kind, action) = match payload["type"].as_str() {
        Some("list") => ("list", json!({ "button": payload["button"], "sections": list("sections") })),
        Some("link") => {
            let parameters = json!({ "display_text": payload["title"], "url": payload["url"] });
            ("cta_url", json!({ "name": "cta_url", "parameters": parameters }))
        }
        _ => {
            let reply = |button: Json| json!({ "type": "reply", "reply": button });
            ("button", json!({ "buttons": list("buttons").into_iter().map(reply).collect::<Vec<_>>() }))
        }
    };
    let mut composed = json!({ "type": kind, "body": { "text": body.unwrap_or_default() }, "action": action });
    if let header @ Json::String(_) = &payload["header"] {
        composed["header"] = json!({ "type": "text", "text": header });
    }
    if let footer @ Json::String(_) = &payload["footer"] {
        composed["footer"] = json!({ "text": footer });
    }
    composed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbound(content: OutboundContent, recipient: Recipient) -> Outbound {
        Outbound {
            message_id: Uuid::nil(),
            number: 2,
            is_by_person: true,
            recipient,
            content,
            reply_to: Some("wamid.1".into()),
        }
    }

    fn message(kind: &str, body: Option<&str>, media: Json, payload: Json) -> Json {
        let some = |value: Json| Some(value).filter(|value| !value.is_null());
        let (kind, body) = (kind.to_owned(), body.map(str::to_owned));
        let content =
            OutboundContent::Message { kind, body, media: some(media), payload: some(payload), uploaded: None };
        compose(&outbound(content, Recipient::Number("491511".into())))
    }

    #[test]
    fn text_goes_to_a_number_with_its_attempt() {
        assert_eq!(
            message("text", Some("Hello"), Json::Null, Json::Null),
            json!({
                "messaging_product": "whatsapp", "recipient_type": "individual", "to": "491511", "type": "text",
                "text": { "body": "Hello", "preview_url": true }, "context": { "message_id": "wamid.1" },
                "biz_opaque_callback_data": "00000000-0000-0000-0000-000000000000:2",
            })
        );
        assert_eq!(read_callback_data("00000000-0000-0000-0000-000000000000:2"), Some((Uuid::nil(), 2)));
        assert_eq!(read_callback_data("order 7"), None);
        let reaction = OutboundContent::Reaction { target: "wamid.2".into(), emoji: None };
        let reaction = compose(&outbound(reaction, Recipient::UserId("GB.1".into())));
        assert_eq!((&reaction["recipient"], &reaction["reaction"]["emoji"]), (&json!("GB.1"), &json!("")));
        let group = OutboundContent::Reaction { target: "wamid.2".into(), emoji: Some("👍".into()) };
        assert_eq!(compose(&outbound(group, Recipient::Group("12".into())))["recipient_type"], "group");
    }

    #[test]
    fn files_have_the_members_of_their_kind() {
        let media = json!({ "url": "https://files.example/1", "file_name": "Offer.pdf" });
        let document = message("document", Some("See page 2"), media.clone(), Json::Null);
        let expected = json!({ "link": "https://files.example/1", "caption": "See page 2", "filename": "Offer.pdf" });
        assert_eq!(document["document"], expected);
        let audio = message("audio", Some("not shown"), media, Json::Null);
        assert_eq!(audio["audio"], json!({ "link": "https://files.example/1" }));
        let uploaded = OutboundContent::Message {
            kind: "document".into(),
            body: None,
            media: Some(json!({ "file_name": "Offer.pdf" })),
            payload: None,
            uploaded: Some("42".into()),
        };
        let uploaded = compose(&outbound(uploaded, Recipient::Number("491511".into())));
        assert_eq!(uploaded["document"], json!({ "id": "42", "filename": "Offer.pdf" }));
    }

    #[test]
    fn structured_messages_are_composed_as_meta_documents_them() {
        let buttons = json!({ "type": "buttons", "buttons": [{ "id": "yes", "title": "Yes" }], "footer": "Reed" });
        let composed = message("interactive", Some("Is that right?"), Json::Null, buttons);
        assert_eq!(
            composed["interactive"],
            json!({
                "type": "button", "body": { "text": "Is that right?" }, "footer": { "text": "Reed" },
                "action": { "buttons": [{ "type": "reply", "reply": { "id": "yes", "title": "Yes" } }] },
            })
        );
        let link = json!({ "type": "link", "title": "Book", "url": "https://reed.example/book" });
        let composed = message("interactive", Some("Choose a date"), Json::Null, link);
        assert_eq!(composed["interactive"]["action"]["parameters"]["display_text"], "Book");
        let place = json!({ "latitude": 53.79, "longitude": -1.54, "name": "Reed Plumbing" });
        assert_eq!(message("location", Some("Reed Plumbing"), Json::Null, place.clone())["location"], place);
        let cards = json!([{ "name": { "formatted_name": "Amina Reed", "first_name": "Amina" } }]);
        let composed = message("contacts", Some("Amina Reed"), Json::Null, json!({ "contacts": cards }));
        assert_eq!(composed["contacts"], cards);
        let sections = json!([{ "title": "Mon", "rows": [{ "id": "1", "title": "09:00" }] }]);
        let list = json!({ "type": "list", "button": "Times", "sections": sections });
        let composed = message("interactive", Some("When?"), Json::Null, list);
        assert_eq!(composed["interactive"]["action"]["sections"], sections);
    }
}
