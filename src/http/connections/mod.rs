//! Connections of clients: how long one may take for the head of a request and to read its answer, for every request of a
//! connection alike. actix-web limits the head of a connection's first request only, and no reading at all.
//!
//! [`serve`] builds what `actix_web::HttpServer` builds, around a [`Stream`] of its own that keeps these limits.

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
use crate::ops::metrics;

/// After a refused body, and when a connection that was kept open is closed: how long the client may take to notice.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a request, or from the connection on, to the end of its head.
    pub head: Duration,
    /// While an answer waits to be read and nothing of it is. The kernel takes more when a third of its buffer has been
    /// read, so a reader of a few bytes now and then counts as none.
    pub write: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
}

/// Threads that serve, and how long requests in flight may take after a stop.
#[derive(Clone, Copy, Debug)]
pub struct Workers {
    pub threads: usize,
    pub shutdown_grace_seconds: u64,
}

/// A server of `application` at `listener`. Errors: a listener that cannot be used.
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
            // The stream limits every request's head, the first one's too.
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

/// What a client has done wrong is its own affair: counted, and logged for who looks for it.
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

/// Tells the kernel after how long without an acknowledgement, or with a window that stays closed, a connection is given
/// up: what it has taken of an answer is out of the process' hands.
fn prepare(connection: &TcpStream, write_timeout: Duration) {
    #[cfg(target_os = "linux")]
    {
        let millis = libc::c_uint::try_from(write_timeout.as_millis()).unwrap_or(libc::c_uint::MAX);
        set_option(connection, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, &millis);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = write_timeout;
}

/// Makes the close of `connection` drop what was not sent: its client does not read.
fn close_at_once(connection: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(connection, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
}

/// Sets a socket option whose value, as the kernel reads it, is a `T`. What the kernel refuses stays as it was.
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
