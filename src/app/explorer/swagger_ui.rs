//! Serves the files of Swagger UI, which shows the OpenAPI document.

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::{LazyLock, OnceLock};

use actix_web::http::{Method, header};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse, Resource};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;
use zip::result::ZipResult;

use crate::base::error::{Error, Result};
use crate::cache::{Coding, gzip};
use crate::http::precondition::{coded, is_known};
use crate::http::response::accepts;
use crate::http::routing;

/// Begins the page: where the document is, and how it is shown. In place of the file of the same name, which shows an
/// example.
const INITIALIZER: &str = r##"window.onload = function() {
  window.ui = SwaggerUIBundle({
    "dom_id": "#swagger-ui",
    "url": "/openapi.json",
    "deepLinking": true,
    "defaultModelsExpandDepth": -1,
    "displayRequestDuration": true,
    "docExpansion": "none",
    "filter": true,
    "persistAuthorization": true,
    "layout": "StandaloneLayout",
    presets: [
      SwaggerUIBundle.presets.apis,
      SwaggerUIStandalonePreset
    ],
    plugins: [
      SwaggerUIBundle.plugins.DownloadUrl
    ]
  });
};
"##;

const TITLE: &str = "<title>Rapport API</title>";

/// Files by their names, unpacked with the first request.
static FILES: LazyLock<HashMap<String, ServedFile>> = LazyLock::new(|| {
    let mut files = unpack(SWAGGER_UI_VENDORED).unwrap_or_else(|error| {
        tracing::error!(%error, "the files of the explorer cannot be unpacked");
        HashMap::new()
    });
    files.insert("swagger-initializer.js".into(), ServedFile::new(INITIALIZER.as_bytes().to_vec()));
    files
});

/// A file as it is sent.
struct ServedFile {
    body: Bytes,
    etag: String,
    /// Made for the first client that accepts it; empty where that failed.
    gzip: OnceLock<Bytes>,
}

impl ServedFile {
    fn new(body: Vec<u8>) -> Self {
        let etag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&body));
        Self { body: body.into(), etag, gzip: OnceLock::new() }
    }

    fn gzip(&self) -> &Bytes {
        self.gzip.get_or_init(|| gzip(&self.body).unwrap_or_default().into())
    }
}

/// Reads the folder `dist` of a release's archive, which has everything below a folder of its version.
fn unpack(archive: &[u8]) -> ZipResult<HashMap<String, ServedFile>> {
    let mut archive = ZipArchive::new(Cursor::new(archive))?;
    let mut files = HashMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        let served = name.split_once('/').and_then(|(_, path)| path.strip_prefix("dist/"));
        if let Some(served) = served.filter(|served| !served.is_empty()) {
            let mut file = Vec::new();
            entry.read_to_end(&mut file)?;
            if served == "index.html" {
                file = String::from_utf8_lossy(&file).replace("<title>Swagger UI</title>", TITLE).into_bytes();
            }
            files.insert(served.to_owned(), ServedFile::new(file));
        }
    }
    Ok(files)
}

/// Returns the resource that serves the explorer.
pub fn explorer() -> Resource {
    web::resource("/docs/{_:.*}")
        .route(web::get().to(file))
        .route(web::head().to(file))
        .default_service(routing::refuse(&[Method::GET, Method::HEAD]))
}

async fn file(request: HttpRequest) -> Result<HttpResponse> {
    let name = match request.match_info().get("_") {
        None | Some("" | "/") => "index.html",
        Some(name) => name,
    };
    let file = FILES.get(name).ok_or_else(|| Error::NotFound(format!("The explorer has no file `{name}`.")))?;
    if is_known(&request, &file.etag) {
        return Ok(HttpResponse::NotModified().insert_header((header::ETAG, file.etag.as_str())).finish());
    }
    let mut reply = HttpResponse::Ok();
    reply.content_type(media_type(name));
    let accepted = request.headers().get(header::ACCEPT_ENCODING).and_then(|accepted| accepted.to_str().ok());
    let is_compressed = media_type(name).starts_with("text/") && accepts(accepted.unwrap_or_default(), "gzip");
    if is_compressed && !file.gzip().is_empty() {
        reply.insert_header((header::ETAG, coded(&file.etag, Coding::Gzip)));
        reply.insert_header((header::CONTENT_ENCODING, Coding::Gzip.name()));
        return Ok(reply.body(file.gzip().clone()));
    }
    Ok(reply.insert_header((header::ETAG, file.etag.as_str())).body(file.body.clone()))
}

fn media_type(name: &str) -> &'static str {
    match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html",
        Some("js") => "text/javascript",
        Some("css") => "text/css",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}
