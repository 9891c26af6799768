//! Meta's Graph API as a test plays it: accepts messages, and answers, errs, hangs or drops the connection as the test says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::{Value, json};

/// A request that came.
#[derive(Clone, Debug)]
pub struct GraphCall {
    pub at: Instant,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    /// As JSON.
    pub body: Value,
    /// As it came: of an upload, a form.
    pub raw: Vec<u8>,
}

impl GraphCall {
    fn is_message(&self) -> bool {
        self.path.ends_with("/messages")
    }

    /// The text that a message has.
    pub fn text(&self) -> &str {
        self.body["text"]["body"].as_str().unwrap_or_default()
    }

    /// The attempt that it names.
    pub fn callback_data(&self) -> &str {
        self.body["biz_opaque_callback_data"].as_str().unwrap_or_default()
    }
}

/// How a request is answered.
pub enum Reply {
    /// Accepted, with this id.
    Accepted(String),
    /// A status, and a body.
    Answer(u16, String),
    /// A file.
    File(Vec<u8>),
    /// The connection is closed once the request was read.
    Drop,
}

impl Reply {
    /// An error object, as Meta documents it.
    pub fn error(status: u16, code: i64) -> Self {
        let error = json!({
            "message": format!("(#{code}) of the test"), "type": "OAuthException", "code": code,
            "error_data": { "messaging_product": "whatsapp", "details": "As the test says." }, "fbtrace_id": "A1",
        });
        Self::Answer(status, json!({ "error": error }).to_string())
    }
}

type Answering = dyn Fn(&GraphCall, usize) -> Reply + Send + Sync;

pub struct Graph {
    pub address: SocketAddr,
    calls: Arc<Mutex<Vec<GraphCall>>>,
    over: Arc<AtomicBool>,
}

impl Graph {
    /// Answers with what `reply` says of a request and the number of earlier messages.
    pub fn start(reply: impl Fn(&GraphCall, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
        let address = listener.local_addr().expect("an address");
        let (calls, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, ends, reply) = (calls.clone(), over.clone(), Arc::new(reply) as Arc<Answering>);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Acquire) {
                    return;
                }
                let (kept, reply) = (kept.clone(), reply.clone());
                if let Ok(stream) = stream {
                    std::thread::spawn(move || serve(stream, &kept, &reply));
                }
            }
        });
        Self { address, calls, over }
    }

    /// Accepts every message, by the number of its call: `wamid.0`, `wamid.1`.
    pub fn accepting() -> Self {
        Self::start(|_, before| Reply::Accepted(format!("wamid.{before}")))
    }

    /// What `--whatsapp-api-url` takes.
    pub fn url(&self) -> String {
        format!("http://{}/v24.0", self.address)
    }

    /// The messages that came.
    pub fn calls(&self) -> Vec<GraphCall> {
        self.all_calls().into_iter().filter(GraphCall::is_message).collect()
    }

    /// Also what else was asked: the list of templates is read by itself.
    pub fn all_calls(&self) -> Vec<GraphCall> {
        self.calls.lock().clone()
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, kept: &Mutex<Vec<GraphCall>>, reply: &Arc<Answering>) {
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
        let (raw, body) = (body.clone(), serde_json::from_slice(&body).unwrap_or_default());
        let call = GraphCall { at: Instant::now(), path, headers, body, raw };
        let before = {
            let mut kept = kept.lock();
            kept.push(call.clone());
            kept.iter().filter(|call| call.is_message()).count().saturating_sub(1)
        };
        let (status, body) = match reply(&call, before) {
            Reply::Accepted(id) => {
                let to = &call.body["to"];
                let accepted = json!({
                    "messaging_product": "whatsapp", "contacts": [{ "input": to, "wa_id": to }],
                    "messages": [{ "id": id, "message_status": "accepted" }],
                });
                (200, accepted.to_string().into_bytes())
            }
            Reply::Answer(status, text) => (status, text.into_bytes()),
            Reply::File(bytes) => (200, bytes),
            Reply::Drop => return,
        };
        let head = format!(
            "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}
