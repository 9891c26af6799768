//! Baseline for cache hits: an actix-web server that returns fixed bytes and nothing else. `bare ADDRESS FILE`

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

async fn fixed(body: web::Data<Bytes>) -> HttpResponse {
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    HttpResponse::Ok().insert_header(json).body(body.get_ref().clone())
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err(std::io::Error::other("bare ADDRESS FILE"));
    };
    let body = web::Data::new(Bytes::from(std::fs::read(file)?));
    let cores = std::thread::available_parallelism()?.get();
    let app = move || App::new().app_data(body.clone()).default_service(web::to(fixed));
    actix_web::rt::System::new().block_on(HttpServer::new(app).workers(cores).bind(address)?.run())
}
