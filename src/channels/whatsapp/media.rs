//! Files over the Graph API (Meta, Cloud API, "Media"): a file is uploaded, and named by its id; one that a customer sent is asked for by its
//! id, which gives an address that lives for five minutes.

use futures_util::{StreamExt, stream};
use serde_json::Value as Json;

use super::error_codes::ErrorPolicy;
use super::graph::{GraphClient, GraphError};
use super::phone_endpoint::phone_endpoint;
use crate::channels::directory::ConnectedChannel;
use crate::channels::media::fetch::{FetchFailure, FetchedFile};
use crate::channels::media::send_file::StoredFile;
use crate::channels::sending::outbound::SendOutcome;

/// Longest id of a file in characters: Meta's have some 16 digits.
const MAX_ID_LEN: usize = 64;

/// Uploads a file, and returns its id. Errors: as of a message that did not reach Meta; an upload may be repeated.
pub async fn upload(graph: &GraphClient, channel: &ConnectedChannel, file: &StoredFile) -> Result<String, SendOutcome> {
    let (path, token) = phone_endpoint(channel, "media").map_err(SendOutcome::Refused)?;
    let name = file.file_name.clone().unwrap_or_else(|| "file".to_owned());
    let content = file.read(0, file.bytes).map(|piece| piece.map_err(std::io::Error::other));
    match graph.upload(&path, token, (&file.mime_type, name, file.bytes), content).await {
        Ok(answer) => match answer["id"].as_str() {
            Some(id) if !id.is_empty() => Ok(id.to_owned()),
            _ => Err(SendOutcome::NotSent("The answer to the upload of its file names no file.".to_owned())),
        },
        Err(GraphError::Refused(refusal)) => Err(SendOutcome::Refused(refusal)),
        Err(GraphError::NotSent(text) | GraphError::Unknown(text)) => Err(SendOutcome::NotSent(text)),
    }
}

/// Begins to fetch a file.
pub async fn fetch(graph: &GraphClient, channel: &ConnectedChannel, id: &str) -> Result<FetchedFile, FetchFailure> {
    let (Some(token), Some(number)) = (&channel.access_token, &channel.phone_number_id) else {
        return Err(FetchFailure::Passing(
            "The channel has no access token. Add it with POST /channels/{id}/secrets.".to_owned(),
        ));
    };
    // It becomes a part of an address.
    let is_id = id.len() <= MAX_ID_LEN && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !is_id || id.starts_with('.') {
        return Err(FetchFailure::Gone("The message names no file.".to_owned()));
    }
    let known = graph.get(id, &[("phone_number_id", number)], token).await.map_err(failure)?;
    let Some(url) = known["url"].as_str() else {
        return Err(FetchFailure::Passing("The channel gives no address of the file.".to_owned()));
    };
    let answer = graph.download(url, token).await.map_err(failure)?;
    let pieces = stream::try_unfold(answer, |mut answer| async {
        let piece = GraphClient::next_piece(&mut answer).await?;
        Ok(piece.map(|piece| (piece, answer)))
    });
    Ok(FetchedFile {
        mime_type: known["mime_type"].as_str().map(str::to_owned),
        sha256: known["sha256"].as_str().and_then(sha256),
        bytes: known["file_size"].as_u64().filter(|bytes| *bytes > 0),
        pieces: pieces.boxed_local(),
    })
}

/// What Meta says for good is an error of the request; a token or a rate limit passes.
fn failure(error: GraphError) -> FetchFailure {
    let text = error.to_string();
    match error {
        GraphError::Refused(refusal) if refusal.policy() == ErrorPolicy::Never && refusal.code != Json::Null => {
            FetchFailure::Gone(text)
        }
        _ => FetchFailure::Passing(text),
    }
}

/// Reads a SHA-256 in hexadecimal; `None` for another form.
fn sha256(text: &str) -> Option<[u8; 32]> {
    hex::decode(text).ok()?.try_into().ok()
}
