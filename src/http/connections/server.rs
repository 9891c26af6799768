//! Builds the same as `actix_web::HttpServer`, around a [`Stream`] that enforces the time limits.

use std::fmt::Debug;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{Extensions, HttpService, Protocol, Request, Response};
use actix_server::{Server, ServerBuilder};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;

use super::limits::{Timeouts, Workers};
use super::socket_options;
use super::stream::Stream;
use crate::base::telemetry::metrics;

/// Time a client has to notice, after a refused body and when a kept-alive connection is closed.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Builds a server of `application` on `listener`. Errors: the listener cannot be used.
pub fn serve<F, I, S, B>(
    listener: TcpListener,
    timeouts: Timeouts,
    workers: Workers,
    application: F,
) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error> + 'static,
    S::InitError: Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let address = listener.local_addr()?;
    let builder = ServerBuilder::new()
        .workers(workers.threads)
        .shutdown_timeout(workers.shutdown_grace_seconds)
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let builder = builder.listen(format!("http {address}"), listener, move || {
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(timeouts.keep_alive)
            // The stream limits the head of every request, including the first.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .local_addr(address)
            .on_connect_ext(|stream: &Stream, data: &mut Extensions| {
                data.insert(stream.activity());
            });
        let application = application().into_factory().map_err(|error| error.into().error_response());
        let http = http.finish(map_config(application, |()| AppConfig::default()));
        fn_service(move |connection: TcpStream| async move {
            socket_options::set_write_timeout(&connection, timeouts.write);
            let peer = connection.peer_addr().ok();
            Ok((Stream::new(connection, timeouts), Protocol::Http1, peer))
        })
        .and_then(http)
        .map_err(|error: DispatchError| count_protocol_error(&error))
    })?;
    Ok(builder.run())
}

/// Counts clients' protocol errors and logs them at debug level: they are no faults of the service.
fn count_protocol_error(error: &DispatchError) {
    match error {
        DispatchError::Parse(error) => {
            metrics::connection_ended("malformed_request");
            tracing::debug!(%error, "a client sent what is no HTTP request");
        }
        DispatchError::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            metrics::connection_ended("write_timeout");
            tracing::debug!("a client does not read its answer");
        }
        _ => {}
    }
}
