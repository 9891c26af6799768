//! The HTTP client of Meta's Graph API. Whether a request has reached Meta is the first thing to know of one that failed: what may have
//! been done is not done again.

use std::error::Error as StdError;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Either;
use futures_util::{Stream, StreamExt, future, stream};
use reqwest::multipart::{Form, Part};
use serde_json::Value as Json;
use tokio::sync::mpsc;
use url::Url;

use super::error_codes::ErrorPolicy;
use super::lenient_json;
use crate::base::http_client;
use crate::base::options::Secret;
use crate::channels::sending::outbound::Refusal;

/// How long an answer may take. Meta answers within two seconds mostly.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long connecting may take: then nothing was sent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the upload of a file may take.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(240);
/// How long a file may take to come.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(240);
/// Hosts of Meta that files come from.
const FILE_HOSTS: [&str; 4] = [".fbsbx.com", ".facebook.com", ".fbcdn.net", ".whatsapp.net"];
/// Longest answer that is read, in bytes: a page of templates has some 200 KiB.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Longest text of an answer that is no JSON, in characters, as it is shown to people.
const MAX_EXCERPT_LEN: usize = 200;

/// Why a request has no result.
#[derive(Clone, Debug)]
pub enum GraphError {
    /// Nothing reached Meta: the name was not resolved, the connection or TLS failed.
    NotSent(String),
    /// It may have been done: no answer came, or one that says nothing.
    Unknown(String),
    /// Meta did not do it, and says why.
    Refused(Refusal),
}

impl GraphError {
    /// Whether the same request may succeed in a while.
    pub fn passes(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.policy() == ErrorPolicy::Later,
            Self::NotSent(_) | Self::Unknown(_) => true,
        }
    }
}

impl std::fmt::Display for GraphError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotSent(text) | Self::Unknown(text) => f.write_str(text),
            Self::Refused(refusal) => {
                let details = refusal.details.as_ref().map(|details| format!(": {details}")).unwrap_or_default();
                write!(f, "{} (code {}){details}", refusal.title, refusal.code)
            }
        }
    }
}

/// Asks the Graph API.
#[derive(Clone, Debug)]
pub struct GraphClient {
    /// Made on first use: reading the system's certificates takes a while, and many processes never send.
    http: Arc<OnceLock<Result<reqwest::Client, String>>>,
    /// With the version, without a slash at its end.
    base: String,
}

impl GraphClient {
    /// A client of the API at `base`, such as `https://graph.facebook.com/v24.0`.
    pub fn new(base: &Url) -> Self {
        Self { http: Arc::default(), base: base.as_str().trim_end_matches('/').to_owned() }
    }

    /// Errors: the system's certificates cannot be read.
    fn http(&self) -> Result<&reqwest::Client, GraphError> {
        let make = || {
            http_client::builder(self.base.starts_with("https://"))
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(TIMEOUT)
                .pool_idle_timeout(Duration::from_secs(30))
                .user_agent(concat!("rapport/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(|error| error.to_string())
        };
        self.http.get_or_init(make).as_ref().map_err(|error| GraphError::NotSent(error.clone()))
    }

    /// Posts a JSON body to `path` below the base, and returns the answer.
    pub async fn post(&self, path: &str, token: &Secret, body: &Json) -> Result<Json, GraphError> {
        let request = self.http()?.post(format!("{}/{path}", self.base)).json(body);
        self.ask(request, token).await
    }

    /// Gets `path` below the base with this query.
    pub async fn get(&self, path: &str, query: &[(&str, &str)], token: &Secret) -> Result<Json, GraphError> {
        let url = format!("{}/{path}", self.base);
        let url = Url::parse_with_params(&url, query).map_err(|error| GraphError::NotSent(error.to_string()))?;
        self.ask(self.http()?.get(url), token).await
    }

    /// Posts a file as a form to `path` below the base: its media type, name and length in bytes, and its content.
    pub async fn upload(
        &self,
        path: &str,
        token: &Secret,
        (mime_type, name, bytes): (&str, String, u64),
        content: impl Stream<Item = std::io::Result<Bytes>> + 'static,
    ) -> Result<Json, GraphError> {
        // What reads the file stays on this thread; the request takes it from a channel.
        let (send, mut receive) = mpsc::channel(1);
        let reading = async move {
            let mut content = Box::pin(content);
            while let Some(piece) = content.next().await {
                if send.send(piece).await.is_err() {
                    return;
                }
            }
        };
        let part = Part::stream_with_length(
            reqwest::Body::wrap_stream(stream::poll_fn(move |context| receive.poll_recv(context))),
            bytes,
        )
        .file_name(name);
        let part = part.mime_str(mime_type).map_err(|error| GraphError::NotSent(error.to_string()))?;
        let form =
            Form::new().text("messaging_product", "whatsapp").text("type", mime_type.to_owned()).part("file", part);
        let request = self.http()?.post(format!("{}/{path}", self.base)).multipart(form).timeout(UPLOAD_TIMEOUT);
        // Meta may refuse before it has read all.
        match future::select(pin!(self.ask(request, token)), pin!(reading)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), asking)) => asking.await,
        }
    }

    /// Begins to get a file from an address that Meta gave. Errors: it is no address that the token may be shown to.
    pub async fn download(&self, url: &str, token: &Secret) -> Result<reqwest::Response, GraphError> {
        let url = Url::parse(url).map_err(|error| GraphError::Unknown(error.to_string()))?;
        if !self.is_trusted(&url) {
            return Err(GraphError::Unknown("The address of the file is none of Meta's.".to_owned()));
        }
        let request = self.http()?.get(url).bearer_auth(token.expose()).timeout(DOWNLOAD_TIMEOUT);
        let answer = request.send().await.map_err(|error| failure(&error))?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            // The address lives for minutes only: another one is asked for.
            status => Err(GraphError::Unknown(format!("The file's address answered {status}."))),
        }
    }

    /// Whether the token may be shown to the host of a file: one of Meta's or, where the API is another server's, that one.
    fn is_trusted(&self, url: &Url) -> bool {
        let host = |url: &Url| url.host_str().unwrap_or_default().to_ascii_lowercase();
        let own = Url::parse(&self.base).is_ok_and(|base| base.scheme() == url.scheme() && host(&base) == host(url));
        own || url.scheme() == "https" && FILE_HOSTS.iter().any(|known| host(url).ends_with(known))
    }

    /// The next piece of a file; `None` at its end. Errors: why the rest does not come.
    pub async fn next_piece(answer: &mut reqwest::Response) -> Result<Option<Bytes>, String> {
        match tokio::time::timeout(TIMEOUT, answer.chunk()).await {
            Ok(piece) => piece.map_err(|error| why(&error)),
            Err(_) => Err(format!("Nothing more came within {} s.", TIMEOUT.as_secs())),
        }
    }

    /// Sends a request. What Meta says of a token that it does not know may repeat it, and is shown to people and logged: it is masked.
    async fn ask(&self, request: reqwest::RequestBuilder, token: &Secret) -> Result<Json, GraphError> {
        let mask = |text: String| text.replace(token.expose(), "[token]");
        self.answer(request, token).await.map_err(|error| match error {
            GraphError::NotSent(text) => GraphError::NotSent(mask(text)),
            GraphError::Unknown(text) => GraphError::Unknown(mask(text)),
            GraphError::Refused(Refusal { code, title, details }) => {
                GraphError::Refused(Refusal { code, title: mask(title), details: details.map(mask) })
            }
        })
    }

    async fn answer(&self, request: reqwest::RequestBuilder, token: &Secret) -> Result<Json, GraphError> {
        let mut answer = request.bearer_auth(token.expose()).send().await.map_err(|error| failure(&error))?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| GraphError::Unknown(why(&error)))? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(GraphError::Unknown(format!("The answer is longer than {MAX_ANSWER_BYTES} bytes.")));
            }
            body.extend_from_slice(&chunk);
        }
        // What is answered is stored, too.
        let parsed = lenient_json::parse(&body);
        if let Some(refusal) = parsed.as_ref().ok().and_then(|json| refusal(&json["error"])) {
            return Err(GraphError::Refused(refusal));
        }
        match parsed {
            Ok(json) if status.is_success() => Ok(json),
            _ if status.is_client_error() && status != reqwest::StatusCode::REQUEST_TIMEOUT => {
                Err(GraphError::Refused(refusal_of_status(status, &body)))
            }
            _ => Err(GraphError::Unknown(format!("The answer was {status}: {}", excerpt(&body)))),
        }
    }
}

/// Reads the member `error` of an answer (Meta, "Handling errors").
fn refusal(error: &Json) -> Option<Refusal> {
    let code = error.get("code").filter(|code| code.is_i64())?;
    let text = |value: &Json| value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
    let title = text(&error["message"]).or_else(|| text(&error["title"]));
    Some(Refusal {
        code: code.clone(),
        title: title.unwrap_or_else(|| "The channel gives no reason.".to_owned()),
        details: text(&error["error_data"]["details"]).or_else(|| text(&error["error_user_msg"])),
    })
}

/// A refusal that no error object explains, of a proxy for example. Too many requests pass; what is not authenticated needs people.
fn refusal_of_status(status: reqwest::StatusCode, body: &[u8]) -> Refusal {
    let code = match status.as_u16() {
        429 => Json::from(80_007),
        401 | 403 => Json::from(190),
        _ => Json::Null,
    };
    Refusal { code, title: format!("The answer was {status}."), details: Some(excerpt(body)) }
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(MAX_EXCERPT_LEN).collect()
}

fn failure(error: &reqwest::Error) -> GraphError {
    // Resolving, connecting and TLS; all before a byte of the request is sent.
    if error.is_connect() || error.is_builder() {
        GraphError::NotSent(why(error))
    } else {
        GraphError::Unknown(why(error))
    }
}

/// Describes the error by its innermost cause, without the address.
fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() && !error.is_connect() {
        return "There was no answer in time.".to_owned();
    }
    let mut innermost: &dyn StdError = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string().chars().filter(|c| !c.is_control()).take(MAX_EXCERPT_LEN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_shown_to_hosts_of_meta_only() {
        let trusts = |base: &str, file: &str| {
            GraphClient::new(&Url::parse(base).expect("an address")).is_trusted(&Url::parse(file).expect("an address"))
        };
        let meta = "https://graph.facebook.com/v24.0";
        for file in
            ["https://lookaside.fbsbx.com/x?mid=1", "https://MMG.whatsapp.net/x", "https://graph.facebook.com/x"]
        {
            assert!(trusts(meta, file), "{file}");
        }
        for file in [
            "http://lookaside.fbsbx.com/x",
            "https://evilfbsbx.com/x",
            "https://fbsbx.com.evil.example/x",
            "https://lookaside.fbsbx.com@evil.example/x",
            "https://169.254.169.254/x",
            "http://localhost/x",
        ] {
            assert!(!trusts(meta, file), "{file}");
        }
        // Where the API is another server's, as in tests, that one, too.
        assert!(trusts("http://127.0.0.1:9000/v1", "http://127.0.0.1:9000/file"));
        assert!(!trusts("http://127.0.0.1:9000/v1", "http://127.0.0.2:9000/file"));
    }
}
