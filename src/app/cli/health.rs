//! `rapport health`: whether the service is ready, for container health checks.

use crate::base::error::BoxError;

/// Requests the readiness probe over plain TCP: the container image has no other HTTP client.
pub fn check(bind: std::net::SocketAddr) -> Result<(), BoxError> {
    use std::io::{Read, Write};
    let ip = if bind.ip().is_unspecified() { std::net::Ipv4Addr::LOCALHOST.into() } else { bind.ip() };
    let timeout = std::time::Duration::from_secs(2);
    let mut stream = std::net::TcpStream::connect_timeout(&(ip, bind.port()).into(), timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"GET /health/readiness HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    if &answer == b"HTTP/1.1 200" { Ok(()) } else { Err("not ready".into()) }
}
