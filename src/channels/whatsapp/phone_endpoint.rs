//! Where things are posted that belong to a channel's phone number.

use serde_json::Value as Json;

use crate::base::options::Secret;
use crate::channels::directory::ConnectedChannel;
use crate::channels::sending::outbound::Refusal;

/// The code of an access token that does not count (any more).
const TOKEN_INVALID: i64 = 190;

/// Returns where a channel's `things`, such as `messages`, are posted, and the token that opens it. Errors: it has none.
pub fn phone_endpoint<'a>(channel: &'a ConnectedChannel, things: &str) -> Result<(String, &'a Secret), Refusal> {
    let lacking = |what: &str| Refusal {
        code: Json::from(TOKEN_INVALID),
        title: format!("The channel has no {what}."),
        details: Some("Add it with POST /channels/{id}/secrets.".to_owned()),
    };
    let token = channel.access_token.as_ref().ok_or_else(|| lacking("access token"))?;
    let number = channel.phone_number_id.as_ref().ok_or_else(|| lacking("phone number"))?;
    Ok((format!("{number}/{things}"), token))
}
