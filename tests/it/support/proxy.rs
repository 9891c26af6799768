//! A TCP proxy that simulates network failures: silent or closed connections.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    Pass,
    /// Reads what is sent and forwards nothing.
    Hole,
    /// Closes connections and accepts no new ones.
    Cut,
}

#[derive(Clone)]
pub struct Proxy {
    pub port: u16,
    mode: Arc<AtomicU8>,
}

impl Proxy {
    pub fn to(upstream: SocketAddr) -> Self {
        Self::through(move || TcpStream::connect(upstream))
    }

    /// A proxy to the PostgreSQL that `url` names by the folder of its Unix socket.
    pub fn to_postgres(url: &str) -> Self {
        Self::to_primary(Arc::new(Mutex::new(url.to_owned())))
    }

    /// As [`Proxy::to_postgres`], to the server that `url` names when a client connects.
    pub fn to_primary(url: Arc<Mutex<String>>) -> Self {
        Self::through(move || {
            let url = url.lock().clone();
            let host = url.split(['@', '/']).nth(3).expect("a host");
            let folder = percent_encoding::percent_decode_str(host).decode_utf8().expect("a path");
            Ok(OwnedFd::from(UnixStream::connect(format!("{folder}/.s.PGSQL.5432"))?).into())
        })
    }

    /// The URL of the same database as `url`, through the proxy.
    pub fn url(&self, url: &str) -> String {
        let (_, database) = url.rsplit_once('/').expect("a database");
        format!("postgres://rapport@127.0.0.1:{}/{database}", self.port)
    }

    fn through(connect: impl Fn() -> std::io::Result<TcpStream> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let proxy = Self { port: listener.local_addr().expect("an address").port(), mode: Arc::default() };
        let mode = proxy.mode.clone();
        // Runs as long as the process; a test needs few of these threads.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if mode.load(Ordering::Relaxed) == Mode::Cut as u8 {
                    continue;
                }
                let Ok(server) = connect() else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    let mode = mode.clone();
                    std::thread::spawn(move || carry(from, to, &mode));
                }
            }
        });
        proxy
    }

    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, mode: &AtomicU8) {
    let _ = from.set_read_timeout(Some(Duration::from_millis(20)));
    let mut buffer = [0; 16 * 1024];
    loop {
        let now = mode.load(Ordering::Relaxed);
        if now == Mode::Cut as u8 {
            break;
        }
        if now == Mode::Hole as u8 {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) if to.write_all(&buffer[..count]).is_err() => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
