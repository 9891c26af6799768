//! A fake webhook receiver: stores requests and responds as the test wants.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;

/// A request, read completely.
#[derive(Clone, Debug)]
pub struct Received {
    pub at: Instant,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// The status of the response.
    pub status: u16,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }
}

type Answering = dyn Fn(&Received, usize) -> (u16, String) + Send + Sync;

pub struct Receiver {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Received>>>,
    over: Arc<AtomicBool>,
}

impl Receiver {
    /// Responds with `answer` of a request and the number of earlier ones: a status, and the text after the status
    /// line.
    pub fn start(answer: impl Fn(&Received, usize) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
        let address = listener.local_addr().expect("an address");
        let (got, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (keeps, ends, answer) = (got.clone(), over.clone(), Arc::new(answer) as Arc<Answering>);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Acquire) {
                    return;
                }
                let (keeps, answer) = (keeps.clone(), answer.clone());
                if let Ok(stream) = stream {
                    std::thread::spawn(move || serve(stream, &keeps, &answer));
                }
            }
        });
        Self { address, got, over }
    }

    /// Responds 204 to all requests.
    pub fn content() -> Self {
        Self::start(|_, _| ok())
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn got(&self) -> Vec<Received> {
        self.got.lock().clone()
    }

    /// Waits until there are `count` requests, and returns all.
    pub fn until(&self, count: usize) -> Vec<Received> {
        self.until_all(&format!("{count} requests"), |got| got.len() >= count)
    }

    pub fn until_all(&self, what: &str, holds: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let began = Instant::now();
        loop {
            let got = self.got();
            if holds(&got) {
                return got;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "no {what}: {} came", got.len());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
    }
}

/// A 204 response.
pub fn ok() -> (u16, String) {
    (204, "\r\n".into())
}

/// A response without a body.
pub fn status(status: u16) -> (u16, String) {
    (status, "content-length: 0\r\n\r\n".into())
}

fn serve(stream: TcpStream, keeps: &Mutex<Vec<Received>>, answer: &Arc<Answering>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            match line.trim().split_once(": ") {
                Some((name, value)) => drop(headers.insert(name.to_ascii_lowercase(), value.to_owned())),
                None => break,
            }
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body = String::from_utf8(body).expect("text");
        let mut received = Received { at: Instant::now(), path, headers, body, status: 0 };
        let before = keeps.lock().len();
        let (status, rest) = answer(&received, before);
        received.status = status;
        keeps.lock().push(received);
        if write!(stream, "HTTP/1.1 {status} Status\r\n{rest}").is_err() {
            return;
        }
    }
}
