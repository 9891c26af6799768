//! WhatsApp as a test plays it: signs bodies and posts them to the webhook.

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Answer, Client};

/// The operator's app secret in tests.
pub const APP_SECRET: &str = "test app secret";
/// The operator's verify token in tests.
pub const VERIFY_TOKEN: &str = "test verify token";
/// A time within the cases' day, in seconds.
pub const AT: i64 = 1_795_860_000;

/// The value of `X-Hub-Signature-256`.
pub fn signature(body: &[u8], secret: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key").chain_update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// Posts the bytes of a body, signed with the operator's secret.
pub fn post(client: &Client, body: &[u8]) -> Answer {
    post_signed(client, body, &signature(body, APP_SECRET))
}

pub fn post_signed(client: &Client, body: &[u8], signature: &str) -> Answer {
    let request = client.request("POST", "/webhooks/whatsapp").header("X-Hub-Signature-256", signature);
    client.send(request.header("Content-Type", "application/json").body(body.to_vec()))
}

/// A body with one change of the number `number`: the members of its value beside the metadata.
pub fn body(number: &str, value: &Value) -> Vec<u8> {
    let mut value = value.clone();
    value["messaging_product"] = json!("whatsapp");
    value["metadata"] = json!({ "display_phone_number": "493023125010", "phone_number_id": number });
    let entry = json!([{ "id": "220000000000001", "changes": [{ "field": "messages", "value": value }] }]);
    json!({ "object": "whatsapp_business_account", "entry": entry }).to_string().into_bytes()
}

/// The value of an inbound text from a number.
pub fn text(id: &str, from: &str, at: i64, text: &str) -> Value {
    json!({
        "contacts": [{ "profile": { "name": "Isla Reed" }, "wa_id": from }],
        "messages": [{ "id": id, "from": from, "timestamp": at.to_string(), "type": "text", "text": { "body": text } }],
    })
}
