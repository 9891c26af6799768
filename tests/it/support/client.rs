//! HTTP client of the tests, with one method per kind of request.

use std::net::SocketAddr;
use std::sync::LazyLock;

use rapport::base::error::{FIELD_ERROR_CODES, PROBLEM_CODES};
use rapport::http::openapi_responses::PROBLEMS;
use reqwest::blocking::{RequestBuilder, Response};
use reqwest::header::HeaderMap;
use serde_json::Value;

#[derive(Clone)]
pub struct Client {
    base: String,
    key: String,
    http: reqwest::blocking::Client,
}

/// A response, read completely.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// The body as JSON; null if it is not JSON.
    pub json: Value,
}

impl Client {
    pub fn new(address: SocketAddr, key: &str) -> Self {
        // One for all: each client loads the system's certificate authorities, which takes longer than most tests.
        static HTTP: LazyLock<reqwest::blocking::Client> =
            LazyLock::new(|| reqwest::blocking::Client::builder().no_proxy().build().expect("a client"));
        Self { base: format!("http://{address}"), key: key.to_owned(), http: HTTP.clone() }
    }

    /// `path` below `/api/v1`, or, with a leading slash, from the root.
    fn url(&self, path: &str) -> String {
        if path.starts_with('/') { format!("{}{path}", self.base) } else { format!("{}/api/v1/{path}", self.base) }
    }

    /// Any request, for tests that need a special one.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let request = self.http.request(method.parse().expect("a method"), self.url(path));
        if self.key.is_empty() { request } else { request.bearer_auth(&self.key) }
    }

    pub fn send(&self, request: RequestBuilder) -> Answer {
        Answer::read(request.send().expect("an answer"))
    }

    /// Sends a request; `None` if the connection is closed meanwhile.
    pub fn attempt(&self, request: RequestBuilder) -> Option<Answer> {
        let response = request.timeout(std::time::Duration::from_secs(20)).send().ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().ok()?;
        Some(Answer { status, headers, json: serde_json::from_str(&text).unwrap_or_default(), text })
    }

    pub fn try_get(&self, path: &str) -> Option<Answer> {
        self.attempt(self.request("GET", path))
    }

    pub fn try_post(&self, path: &str, body: Value) -> Option<Answer> {
        self.attempt(self.request("POST", path).json(&body))
    }

    pub fn try_patch(&self, path: &str, body: Value) -> Option<Answer> {
        self.attempt(self.request("PATCH", path).json(&body))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path))
    }

    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("POST", path).json(&body))
    }

    /// Uploads a file.
    pub fn upload(&self, path: &str, kind: &str, file: impl Into<reqwest::blocking::Body>) -> Answer {
        self.send(self.request("POST", path).header("content-type", kind).body(file))
    }

    pub fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("PATCH", path).json(&body))
    }

    pub fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("PUT", path).json(&body))
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.send(self.request("DELETE", path))
    }

    /// Creates a row and returns it.
    pub fn create(&self, path: &str, body: Value) -> Value {
        self.post(path, body).expect(201).json
    }

    /// Creates a row and returns its id.
    pub fn make(&self, path: &str, body: Value) -> String {
        self.create(path, body)["id"].as_str().expect("an id").to_owned()
    }

    /// Every row of a list, page by page.
    pub fn all(&self, path: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut page = self.get(path).expect(200);
        loop {
            rows.extend(page.json["data"].as_array().expect("data").clone());
            let Some(next) = page.json["page"]["next"].as_str() else {
                return rows;
            };
            let joint = if path.contains('?') { '&' } else { '?' };
            page = self.get(&format!("{path}{joint}cursor={next}")).expect(200);
        }
    }
}

impl Answer {
    fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().expect("a body");
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        let answer = Self { status, headers, text, json };
        answer.assert_documented_codes();
        answer
    }

    /// Clients have a type of the codes in the OpenAPI document.
    fn assert_documented_codes(&self) {
        if self.header("content-type") != "application/problem+json" {
            return;
        }
        // 405 is of no operation.
        let is_described = self.status == 405 || PROBLEMS.iter().any(|(status, _)| *status == self.status);
        assert!(is_described, "PROBLEMS lacks {}: {}", self.status, self.text);
        assert!(PROBLEM_CODES.contains(&self.code()), "PROBLEM_CODES lacks {}: {}", self.code(), self.text);
        for error in self.json["errors"].as_array().into_iter().flatten() {
            let code = error["code"].as_str().unwrap_or_default();
            assert!(FIELD_ERROR_CODES.contains(&code), "FIELD_ERROR_CODES lacks {code}: {}", self.text);
        }
    }

    /// Asserts the status and returns the response.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The stable code of a problem document.
    pub fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    /// The pointers of a problem document's errors, sorted.
    pub fn faults(&self) -> Vec<&str> {
        let mut pointers: Vec<&str> = self.json["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|fault| fault["pointer"].as_str())
            .collect();
        pointers.sort_unstable();
        pointers
    }

    /// The number of statements of the request, from `Server-Timing`.
    pub fn queries(&self) -> u32 {
        let timing = self.header("server-timing");
        let number = timing.split("queries;desc=\"").nth(1).and_then(|rest| rest.split('"').next());
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no count in {timing:?}"))
    }

    /// The rows of a page.
    pub fn rows(&self) -> &[Value] {
        self.json["data"].as_array().map(Vec::as_slice).unwrap_or_default()
    }
}
