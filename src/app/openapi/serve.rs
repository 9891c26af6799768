//! Serves the OpenAPI document.

use std::sync::{LazyLock, OnceLock};

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, Responder};
use clap::ValueEnum;
use serde_json::{Value as Json, json};

use super::document::json;
use super::version_3_0;
use crate::base::error::{Error, FieldError, Result};
use crate::cache::{brotli, gzip};
use crate::http::response::accepts;

/// A version of the OpenAPI specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SpecVersion {
    #[default]
    #[value(name = "3.1")]
    V3_1,
    /// For client generators that do not know 3.1.
    #[value(name = "3.0")]
    V3_0,
}

/// The document as it is served.
struct Served {
    text: String,
    gzip: OnceLock<Vec<u8>>,
    brotli: OnceLock<Vec<u8>>,
}

impl Served {
    fn of(version: SpecVersion) -> &'static Self {
        static V3_1: LazyLock<Served> = LazyLock::new(|| Served::new(SpecVersion::V3_1));
        static V3_0: LazyLock<Served> = LazyLock::new(|| Served::new(SpecVersion::V3_0));
        match version {
            SpecVersion::V3_1 => &V3_1,
            SpecVersion::V3_0 => &V3_0,
        }
    }

    fn new(version: SpecVersion) -> Self {
        Self { text: json_of(version).to_string(), gzip: OnceLock::new(), brotli: OnceLock::new() }
    }

    fn gzip(&self) -> &[u8] {
        self.gzip.get_or_init(|| gzip(self.text.as_bytes()).unwrap_or_default())
    }

    fn brotli(&self) -> &[u8] {
        self.brotli.get_or_init(|| brotli(self.text.as_bytes()).unwrap_or_default())
    }
}

fn json_of(version: SpecVersion) -> Json {
    match version {
        SpecVersion::V3_1 => json(),
        SpecVersion::V3_0 => version_3_0::convert(json()),
    }
}

/// Returns the document with line breaks for people, as it is printed and committed.
pub fn text(version: SpecVersion) -> String {
    format!("{:#}\n", json_of(version))
}

/// Identifies the format of responses: a process must not use cached responses of another format.
pub fn shape() -> u64 {
    xxhash_rust::xxh3::xxh3_64(Served::of(SpecVersion::V3_1).text.as_bytes())
}

/// Serves the document, in the version that the parameter `version` names. It is compressed if the client accepts that:
/// it is large enough to be worth it. Errors: 400 for another version.
pub async fn document(request: HttpRequest) -> Result<HttpResponse> {
    let served = Served::of(requested_version(request.query_string())?);
    let accepted =
        request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut reply = HttpResponse::Ok();
    reply.insert_header((header::CONTENT_TYPE, "application/json"));
    Ok(match (accepts(accepted, "br"), accepts(accepted, "gzip")) {
        (true, _) if !served.brotli().is_empty() => {
            reply.insert_header((header::CONTENT_ENCODING, "br")).body(served.brotli())
        }
        (_, true) if !served.gzip().is_empty() => {
            reply.insert_header((header::CONTENT_ENCODING, "gzip")).body(served.gzip())
        }
        _ => reply.body(served.text.as_str()),
    })
}

fn requested_version(query: &str) -> Result<SpecVersion> {
    let asked = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "version");
    let Some((_, asked)) = asked else { return Ok(SpecVersion::default()) };
    SpecVersion::from_str(&asked, false).map_err(|_| {
        let detail = "`version` must be 3.1 or 3.0.";
        Error::parameters(vec![FieldError::new("/query/version", "not_a_choice", detail)])
    })
}

/// Serves the root: links to the documentation and the probes.
pub async fn welcome() -> impl Responder {
    HttpResponse::Ok().json(json!({
        "name": "rapport",
        "version": env!("CARGO_PKG_VERSION"),
        "docs": "/docs/",
        "openapi": "/openapi.json",
        "health": "/health",
    }))
}
