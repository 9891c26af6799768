//! HTTP handlers of `/webhooks/whatsapp`: what WhatsApp calls. Its requests carry no credential, but a signature.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use subtle::ConstantTimeEq;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use uuid::Uuid;

use super::signature::{is_signed, is_well_formed, named_accounts, named_numbers};
use crate::base::error::{Error, Result};
use crate::base::options::Secret;
use crate::channels::directory::ChannelKey;
use crate::channels::inbound::receiver::InboundReceiver;
use crate::http::openapi_problems::{Forbidden, ServiceProblems, TooLarge, Unauthorized};
use crate::http::rate_limit::check::{self, AnonymousClient};
use crate::http::routing;
use crate::resource::openapi;

/// Meta's documented limit of a webhook body is 3 MiB.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Longest challenge in characters; Meta's have ten digits.
const MAX_CHALLENGE_LEN: usize = 256;
/// Ids in a body that are looked up in the database before its signature is verified: one is enough for what Meta signs, whose app has one
/// secret for all its numbers.
const MAX_NEW_IDS: usize = 3;
const SIGNATURE: &str = "x-hub-signature-256";

/// The operator's secrets, of one app for all businesses.
#[derive(Clone)]
pub struct WhatsAppSecrets {
    pub app_secrets: Vec<Secret>,
    pub verify_tokens: Vec<Secret>,
}

type State = (Data<WhatsAppSecrets>, Data<InboundReceiver>);

pub fn routes(config: &mut ServiceConfig) {
    routing::resource("/webhooks/whatsapp")
        .open(Method::GET, verify)
        .raw(Method::POST, MAX_BODY_BYTES, receive)
        .register(config);
}

#[utoipa::path(
    get,
    path = "/webhooks/whatsapp",
    tag = "channels",
    operation_id = "verifyWhatsAppWebhook",
    summary = "Prove to WhatsApp that this address is the app's",
    description = "WhatsApp calls it when the webhook is configured. `hub.verify_token` is one of RAPPORT_WHATSAPP_VERIFY_TOKEN, or the verify \
                   token of a channel; then the challenge is sent back.",
    security(()),
    params(
        ("hub.mode" = String, Query, description = "`subscribe`."),
        ("hub.verify_token" = String, Query, description = "The token that was given in the app dashboard."),
        ("hub.challenge" = String, Query, description = "What is to be sent back."),
    ),
    responses(
        (status = 200, description = "The challenge.", body = String, content_type = "text/plain"),
        (status = 403, response = Forbidden),
        ServiceProblems,
    )
)]
async fn verify((secrets, receiver): State, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let parameter = |name: &str| {
        let mut pairs = url::form_urlencoded::parse(request.query_string().as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let (token, challenge) = (parameter("hub.verify_token"), parameter("hub.challenge"));
    let is_well_formed =
        parameter("hub.mode") == "subscribe" && (1..=MAX_CHALLENGE_LEN).contains(&challenge.chars().count());
    let is_operators =
        secrets.verify_tokens.iter().any(|known| bool::from(known.expose().as_bytes().ct_eq(token.as_bytes())));
    if !is_well_formed || !(is_operators || receiver.directory().has_verify_token(&token).await?) {
        let detail = "The verify token is not known here. Set it as RAPPORT_WHATSAPP_VERIFY_TOKEN, or as a secret of the channel.";
        return Err(Error::Forbidden(detail.into()));
    }
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header(("x-content-type-options", "nosniff"))
        .body(challenge))
}

#[utoipa::path(
    post,
    path = "/webhooks/whatsapp",
    tag = "channels",
    operation_id = "receiveWhatsAppWebhook",
    summary = "Receive what WhatsApp delivers",
    description = "Messages, statuses, echoes and history. The header `X-Hub-Signature-256` is `sha256=` and the HMAC-SHA256 of the body with an app secret of the channel, \
                   or with one of RAPPORT_WHATSAPP_APP_SECRET. It is answered once the body is stored; what it tells is applied at once or, \
                   after an outage, later, and once, however often it is delivered.",
    security(()),
    request_body(content = serde_json::Value, description = "As Meta documents it.", content_type = "application/json"),
    responses(
        (status = 200, description = "Stored."),
        (status = 401, response = Unauthorized),
        (status = 413, response = TooLarge),
        ServiceProblems,
    )
)]
async fn receive((secrets, receiver): State, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let signature = request.headers().get(SIGNATURE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signer = signer(&secrets, &receiver, &request, &body, signature).await?;
    let Some(signed_by) = signer else {
        let detail = "`X-Hub-Signature-256` is not the signature of this body with an app secret of its channel.";
        return Err(check::refused(&request, Error::AuthRejected { code: "signature_invalid", detail }));
    };
    Arc::clone(&receiver).receive(body, signature, signed_by).await?;
    Ok(HttpResponse::Ok().finish())
}

/// Whose secret signed a body: `Some(None)` the operator's, `Some(Some(business))` one of its channels', `None` nobody's. Errors: 503.
async fn signer(
    secrets: &WhatsAppSecrets,
    receiver: &InboundReceiver,
    request: &HttpRequest,
    body: &[u8],
    signature: &str,
) -> Result<Option<Option<Uuid>>> {
    if !is_well_formed(signature) {
        return Ok(None);
    }
    if is_signed(body, signature, &secrets.app_secrets) {
        return Ok(Some(None));
    }
    let client = AnonymousClient::of(request)?;
    let mut new = 0;
    let numbers = named_numbers(body).into_iter().map(ChannelKey::Number);
    for key in numbers.chain(named_accounts(body).into_iter().map(ChannelKey::Account)) {
        let mut _permit = None;
        if receiver.directory().is_new(&key) {
            new += 1;
            if new > MAX_NEW_IDS {
                continue;
            }
            _permit = client.doubt().await?;
        }
        if let Some(channel) = receiver.directory().find(&key).await?
            && is_signed(body, signature, &channel.app_secrets)
        {
            return Ok(Some(Some(channel.business.id)));
        }
    }
    Ok(None)
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(verify, receive))]
struct WhatsAppApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, WhatsAppApi::openapi());
}
