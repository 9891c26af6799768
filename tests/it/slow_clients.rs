//! Tests of clients that hold connections: they do not read responses, or send half a request. On real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::small_buffers::connect;
use crate::support::{Client, Database, Program, Service, until};

/// Timeout for something that must happen within a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// Rows of the export: with a note of a kilobyte each, far more than both kernels buffer on a narrow connection.
const ROWS: usize = 2_000;
/// Bytes that a slow reader takes at a time: more than a third of the service's kernel buffer, see `Timeouts::write`.
const PART: usize = 60_000;

/// Whether the service still has its side of the connection. Checked in the kernel: the client reads nothing, and so
/// would not notice.
#[cfg(target_os = "linux")]
fn is_held(service: &Service, stream: &TcpStream) -> bool {
    let client = stream.local_addr().expect("an address").port();
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("Linux' list of sockets");
    let port = |text: &str| u16::from_str_radix(text.rsplit(':').next().unwrap_or_default(), 16).ok();
    sockets.lines().skip(1).any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let (local, remote) = (columns.next().and_then(port), columns.next().and_then(port));
        (local, remote) == (Some(service.address.port()), Some(client))
    })
}

fn get(service: &Service, path: &str) -> Vec<u8> {
    let key = crate::support::make_key(&service.database, service.business, rapport::auth::Role::Owner);
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n").into_bytes()
}

fn fill(service: &Service) {
    service.database.run(&format!(
        "INSERT INTO contacts (business_id, id, first_name, metadata)
         SELECT '{}', rapport_uuid_v7(), 'Ann', jsonb_build_object('note', repeat('x', 1000)) FROM generate_series(1, {ROWS})",
        service.business
    ));
}

/// Reads until the other side closes. Errors: it does not close in time.
fn read_to_close(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        read => drop(read?),
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
#[cfg(target_os = "linux")]
fn unread_response_write_timeout_resets_connection() {
    let service = Service::with(&["--write-timeout-ms", "500"]);
    fill(&service);
    let request = get(&service, "/api/v1/contacts/export?format=ndjson");
    let mut stuck = connect(service.address);
    stuck.write_all(&request).expect("room");
    let began = Instant::now();
    while is_held(&service, &stuck) {
        assert!(began.elapsed() < PATIENCE, "a reader that never reads keeps its connection");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() > Duration::from_millis(400), "it was ended after {:?}", began.elapsed());
    let mut part = [0; 65_536];
    let failed = std::iter::repeat_with(|| stuck.read(&mut part)).find(|read| !matches!(read, Ok(1..)));
    let failed = failed.expect("an end").expect_err("not as if the file were whole");
    assert_eq!(failed.kind(), ErrorKind::ConnectionReset);

    // A slow reader that makes progress gets all of it.
    let mut slow = connect(service.address);
    slow.write_all(&request).expect("room");
    let (mut seen, mut part) = (Vec::new(), vec![0; PART]);
    slow.set_read_timeout(Some(PATIENCE)).expect("a limit");
    while !seen.ends_with(b"0\r\n\r\n") {
        let mut read = 0;
        while read < part.len() && !part[..read].ends_with(b"0\r\n\r\n") {
            read += slow.read(&mut part[read..]).expect("more of the answer");
        }
        seen.extend_from_slice(&part[..read]);
        std::thread::sleep(Duration::from_millis(60));
    }
    assert_eq!(seen.windows(12).filter(|bytes| *bytes == b"\"first_name\"").count(), ROWS);
}

#[test]
fn event_stream_outlives_every_timeout() {
    let timeouts = ["--write-timeout-ms", "300", "--header-timeout-ms", "300", "--keep-alive-seconds", "1"];
    let service = Service::with(&[&timeouts[..], &["--stream-heartbeat-seconds", "1"]].concat());
    let mut stream = connect(service.address);
    stream.write_all(&get(&service, "/api/v1/events/stream")).expect("room");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let (mut heard, mut some) = (String::new(), [0; 1024]);
    // The response's head, and three heartbeats: ten times as long as any timeout.
    while heard.matches("\r\n:").count() + heard.matches("id:").count() < 4 {
        let read = stream.read(&mut some).expect("a heartbeat");
        assert!(read > 0, "the stream ended: {heard}");
        heard.push_str(&String::from_utf8_lossy(&some[..read]));
    }
}

#[test]
fn half_sent_request_408_after_header_timeout() {
    let service = Service::with(&["--header-timeout-ms", "300"]);
    let whole = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    for earlier in [0, 1, 3] {
        let mut stream = TcpStream::connect(service.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        for _ in 0..earlier {
            stream.write_all(whole).expect("room");
            let mut answer = [0; 4096];
            let read = stream.read(&mut answer).expect("an answer");
            assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..read]));
        }
        // A byte from time to time is no progress.
        let mut other = stream.try_clone().expect("the same connection");
        let trickle = std::thread::spawn(move || {
            for byte in b"GET /health HTTP/1.1\r\nHost: x\r\nA: bcdefghijklmnopqrstuvwxyz".iter().cycle() {
                if other.write_all(&[*byte]).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let began = Instant::now();
        let answer = read_to_close(&mut stream).unwrap_or_else(|error| panic!("after {earlier} requests: {error}"));
        assert!(answer.starts_with("HTTP/1.1 408"), "after {earlier} requests: {answer}");
        assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
        trickle.join().expect("it ends with the connection");
    }
}

#[test]
fn idle_connection_served_until_keep_alive_ends() {
    let service = Service::with(&["--header-timeout-ms", "200", "--keep-alive-seconds", "2"]);
    let whole = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stream = TcpStream::connect(service.address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut answer = [0; 4096];
    for _ in 0..3 {
        stream.write_all(whole).expect("room");
        assert!(stream.read(&mut answer).expect("an answer") > 0);
        // Longer than the timeout of a request's head.
        std::thread::sleep(Duration::from_millis(400));
    }
    // Half a request sent together with a whole one is bounded by the keep-alive timeout at the latest.
    stream.write_all(&[&whole[..], b"GET /heal"].concat()).expect("room");
    let rest = read_to_close(&mut stream).expect("an end");
    assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
}

#[test]
fn pipelined_request_behind_long_response_is_served() {
    let service = Service::with(&["--header-timeout-ms", "200"]);
    fill(&service);
    let mut stream = connect(service.address);
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let next = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(&get(&service, "/api/v1/contacts/export?format=ndjson")).expect("room");
    // While the first is being sent.
    let mut first = [0; 1000];
    stream.read_exact(&mut first).expect("its beginning");
    stream.write_all(next).expect("room");
    std::thread::sleep(Duration::from_millis(800));
    let rest = read_to_close(&mut stream).expect("both answers");
    assert!(rest.contains("0\r\n\r\nHTTP/1.1 200 OK"), "{}", &rest[rest.len().saturating_sub(500)..]);
}

#[test]
fn malformed_requests_are_counted_and_not_logged_as_errors() {
    let database = Database::create();
    let program = Program::serve(&[("DATABASE_URL", &database.url), ("RAPPORT_LOG", "info")]);
    program.until_ready();
    let garbage: [&[u8]; 4] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        &[b"GET / HTTP/1.1\r\nA: ".as_slice(), &[b'x'; 200_000]].concat(),
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(program.address).expect("a connection");
        // The service may close before all of it is sent.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = read_to_close(&mut stream);
    }
    let metrics = Client::new(program.metrics, "");
    let counted = "rapport_http_connections_ended_total{reason=\"malformed_request\"} 4";
    until("all are counted", || metrics.get("/metrics").text.contains(counted));
    let said = program.stop();
    assert!(!said.contains("ERROR") && !said.contains("stream error"), "{said}");
}
