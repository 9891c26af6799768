//! Serves the files of Swagger UI, which shows the OpenAPI document.

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::LazyLock;

use actix_web::guard::Get;
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse, Resource};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;
use zip::result::ZipResult;

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

/// Files by their names, unpacked with the first request. A test reads each that the page needs.
static FILES: LazyLock<HashMap<String, Bytes>> = LazyLock::new(|| {
    let mut files = unpack(SWAGGER_UI_VENDORED).unwrap_or_else(|error| {
        tracing::error!(%error, "the files of the explorer cannot be unpacked");
        HashMap::new()
    });
    files.insert("swagger-initializer.js".into(), Bytes::from_static(INITIALIZER.as_bytes()));
    files
});

/// Reads the folder `dist` of a release's archive, which has everything below a folder of its version.
fn unpack(archive: &[u8]) -> ZipResult<HashMap<String, Bytes>> {
    let mut archive = ZipArchive::new(Cursor::new(archive))?;
    let mut files = HashMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        let served = name.split_once('/').and_then(|(_, path)| path.strip_prefix("dist/"));
        if let Some(served) = served.filter(|served| !served.is_empty()) {
            let mut file = Vec::new();
            entry.read_to_end(&mut file)?;
            files.insert(served.to_owned(), file.into());
        }
    }
    Ok(files)
}

/// Returns the resource that serves the explorer.
pub fn explorer() -> Resource {
    web::resource("/docs/{_:.*}").guard(Get()).to(file)
}

async fn file(request: HttpRequest) -> HttpResponse {
    let name = match request.match_info().get("_") {
        None | Some("" | "/") => "index.html",
        Some(name) => name,
    };
    match FILES.get(name) {
        Some(file) => HttpResponse::Ok().content_type(media_type(name)).body(file.clone()),
        None => HttpResponse::NotFound().finish(),
    }
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
