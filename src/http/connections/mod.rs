//! HTTP server connections with limits on how long a client may take to send the head of a request and to read its
//! response, for every request of a connection. actix-web limits only the first request's head, and reading not at all.
//!
//! [`serve`] builds the same as `actix_web::HttpServer`, around its own [`Stream`] that enforces these limits.

mod stream;

use std::fmt::Debug;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{Extensions, HttpService, Protocol, Request, Response};
use actix_server::{Server, ServerBuilder};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;

use self::stream::Stream;
pub use self::stream::{Activity, InFlight};
use crate::base::telemetry::metrics;

/// Time a client has to notice, after a refused body and when a kept-alive connection is closed.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Time limits for clients.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From a request's first byte (for the first request, from the connection) to the end of its head.
    pub head: Duration,
    /// While a response waits and the client reads none of it. The kernel accepts more only after a third of its buffer
    /// has been read, so a client that reads a few bytes now and then counts as not reading.
    pub write: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
}

/// Number of worker threads, and how long requests in flight may take after a stop.
#[derive(Clone, Copy, Debug)]
pub struct Workers {
    pub threads: usize,
    pub shutdown_grace_seconds: u64,
}

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
            prepare(&connection, timeouts.write);
            let peer = connection.peer_addr().ok();
            Ok((Stream::new(connection, timeouts), Protocol::Http1, peer))
        })
        .and_then(http)
        .map_err(|error: DispatchError| note(&error))
    })?;
    Ok(builder.run())
}

/// Counts clients' protocol errors and logs them at debug level: they are no faults of the service.
fn note(error: &DispatchError) {
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

/// Sets after how long without an acknowledgement, or with a closed window, the kernel gives a connection up
/// (`TCP_USER_TIMEOUT`): the process has no control over response bytes that the kernel has accepted.
fn prepare(connection: &TcpStream, write_timeout: Duration) {
    #[cfg(target_os = "linux")]
    {
        let millis = libc::c_uint::try_from(write_timeout.as_millis()).unwrap_or(libc::c_uint::MAX);
        set_option(connection, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, &millis);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = write_timeout;
}

/// Makes closing `connection` discard unsent data: its client does not read.
fn close_at_once(connection: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(connection, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
}

/// Sets a socket option whose value, as the kernel reads it, is a `T`. A refusal by the kernel is ignored.
fn set_option<T>(connection: &TcpStream, level: libc::c_int, option: libc::c_int, value: &T) {
    // SAFETY: the descriptor is open, and the size that is passed is that of the value.
    unsafe {
        libc::setsockopt(
            connection.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        );
    }
}
