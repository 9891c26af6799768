//! Tests of the real binary's lifecycle: first start, restart, stop, kill, and error messages at start.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use serde_json::Value;

use crate::support::{Client, Database, Program, Service, until};

/// Seconds in which readiness fails while requests are still served.
const DRAIN: &str = "2";

/// A state folder of one test, removed on drop.
pub struct State(pub PathBuf);

impl State {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Named so that a later run of the harness removes what a killed one left.
        Self(crate::support::folder().join(format!("life-{number}")))
    }

    /// Process id of the PostgreSQL server of this state folder.
    pub fn postgres(&self) -> Option<i32> {
        let data = std::fs::read_dir(&self.0)
            .ok()?
            .flatten()
            .find(|e| e.file_name().to_string_lossy().starts_with("postgres-"))?;
        let pid = std::fs::read_to_string(data.path().join("postmaster.pid")).ok()?;
        pid.lines().next()?.trim().parse().ok()
    }

    /// The URL of the service's database.
    pub fn url(&self) -> String {
        let host: String =
            url::form_urlencoded::byte_serialize(self.0.join("run").as_os_str().as_encoded_bytes()).collect();
        format!("postgres://rapport@{host}/rapport")
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A command of the binary whose only inherited setting is PostgreSQL's folder.
pub fn rapport(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    for name in ["PATH", "HOME", "RAPPORT_POSTGRES_BIN"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A running `rapport serve`, killed on drop.
pub struct Process {
    pub child: Child,
    pub address: SocketAddr,
    key: String,
    printed: String,
    ready_after: Duration,
}

impl Process {
    pub fn start(state: &Path) -> Self {
        let began = Instant::now();
        let mut command =
            rapport(&["serve", "--bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0", "--log", "warn"]);
        command
            .env("RAPPORT_STATE_DIR", state)
            .env("RAPPORT_SHUTDOWN_DRAIN_SECONDS", DRAIN)
            .env("RAPPORT_LOCK_WAIT_MS", "0");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
        let (send, lines) = mpsc::channel();
        let stdout = child.stdout.take().expect("a pipe");
        // Read to the end, so that the process never blocks on its output.
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(send.send(line)))
        });
        let mut printed = String::new();
        while !printed.contains("  try ") {
            match lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => printed.push_str(&format!("{line}\n")),
                Err(_) => {
                    let _ = child.kill();
                    let mut errors = String::new();
                    let _ = child.stderr.take().expect("a pipe").read_to_string(&mut errors);
                    panic!("it did not start: {printed}{errors}");
                }
            }
        }
        let word_after = |label: &str| {
            let rest = printed.split(label).nth(1).unwrap_or_else(|| panic!("no {label} in {printed}"));
            rest.split_whitespace().next().expect("a word").to_owned()
        };
        let address = word_after("http://").parse().expect("an address");
        let key = word_after("API key ");
        let mut process = Self { child, address, key, printed, ready_after: Duration::ZERO };
        while process.probe("/health/readiness") != 200 {
            assert!(began.elapsed() < Duration::from_secs(60), "not ready");
            std::thread::sleep(Duration::from_millis(5));
        }
        process.ready_after = began.elapsed();
        process
    }

    /// The output of its start.
    pub fn printed(&self) -> &str {
        &self.printed
    }

    pub fn client(&self) -> Client {
        Client::new(self.address, &self.key)
    }

    pub fn probe(&self, path: &str) -> u16 {
        Client::new(self.address, "").get(path).status
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: sends a signal to a child that has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status;
            }
            assert!(began.elapsed() < limit, "it still runs after {limit:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_alive(process: i32) -> bool {
    if !Path::new("/proc/self").exists() {
        // SAFETY: signal 0 only checks that the process exists.
        return unsafe { libc::kill(process, 0) } == 0;
    }
    // A zombie, which its parent has not waited for yet, counts as gone.
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

fn until_gone(process: i32, limit: Duration) {
    let began = Instant::now();
    while is_alive(process) {
        assert!(began.elapsed() < limit, "PostgreSQL still runs after {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn first_start_prints_key_and_demo_users_second_reuses_them() {
    let state = State::new();
    let mut first = Process::start(&state.0);
    println!("the first start took {:?}", first.ready_after);
    assert!(first.printed.contains(&format!("http://{}/docs/", first.address)), "{}", first.printed);
    assert_eq!(first.probe("/docs/"), 200);
    let leads = first.client().get("leads?include=company&limit=5").expect(200);
    assert_eq!(leads.rows().len(), 5, "a demo business with data");
    assert!(leads.rows().iter().any(|lead| lead["company"]["name"].is_string()), "{}", leads.text);
    let people = demo_people(&first.printed);
    let roles: Vec<&str> = people.iter().map(|(_, role)| role.as_str()).collect();
    assert_eq!(roles, ["owner", "admin", "manager", "agent", "viewer"], "{}", first.printed);
    for (email, role) in &people {
        let body = serde_json::json!({ "email": email, "password": demo_password(&first.printed) });
        let session = Client::new(first.address, "").post("auth/sessions", body).expect(201);
        let person = Client::new(first.address, session.json["access_token"].as_str().expect("a token"));
        let me = person.get("me").expect(200);
        assert!(me.text.contains(&format!("\"{role}\"")), "{email} is no {role}: {}", me.text);
        assert!(!person.get("leads?limit=1").expect(200).rows().is_empty(), "{email} sees the demo business");
    }
    demo_customer_answers(&first.client());
    let count = first.client().get("leads?count=exact&limit=1").expect(200).json["page"]["total"].clone();
    first.signal(libc::SIGTERM);
    assert_eq!(first.wait(Duration::from_secs(25)).code(), Some(0));

    let second = Process::start(&state.0);
    println!("the second start took {:?}", second.ready_after);
    assert_eq!(second.key, first.key);
    assert_eq!(demo_password(&second.printed), demo_password(&first.printed));
    let again = second.client().get("leads?count=exact&limit=1").expect(200);
    assert_eq!(again.json["page"]["total"], count, "the same data, once");
}

/// Answers a customer of the demo, as the README does: a moment later the loopback says something to that.
fn demo_customer_answers(api: &Client) {
    let waiting = api.get("conversations?channel=whatsapp&status=pending&limit=1").expect(200);
    let thread = waiting.rows()[0]["id"].as_str().expect("a conversation").to_owned();
    let sent =
        api.create(&format!("conversations/{thread}/messages"), serde_json::json!({ "body": "Shall we say ten?" }));
    let newest = format!("messages?conversation_id={thread}&limit=2");
    until("the customer answers", || {
        let newest = api.get(&newest).expect(200);
        newest.rows()[0]["body"] == "Yes, that works for me." && newest.rows()[1]["id"] == sent["id"]
    });
}

/// The password of the demo users, from the output.
fn demo_password(printed: &str) -> &str {
    let rest = printed.split("password ").nth(1).unwrap_or_else(|| panic!("no password in {printed}"));
    rest.split([',', '\n']).next().expect("a word")
}

/// The addresses and roles of the demo users, from the output.
fn demo_people(printed: &str) -> Vec<(String, String)> {
    let line = printed.lines().find(|line| line.contains("  sign in ")).expect("a line about people");
    let people = line.split(" as ").nth(1).expect("people").split(", ");
    people.filter_map(|one| one.strip_suffix(')')?.split_once(" (")).map(|(a, b)| (a.into(), b.into())).collect()
}

#[test]
fn serve_with_external_database_creates_no_demo_users() {
    let database = Database::create();
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().to_str().expect("text");
    let program = Program::serve(&[("DATABASE_URL", &database.url), ("RAPPORT_STATE_DIR", state)]);
    program.until_ready();
    assert_eq!(database.ask("SELECT count(*)::text FROM users"), "0");
    let body = serde_json::json!({ "email": "morag@harbourandspoke.example", "password": "anything at all" });
    Client::new(program.address, "").post("auth/sessions", body).expect(401);
    // Seeded with the command, they exist and have no password.
    let (well, seeded) = Program::run(&["seed"], &[("DATABASE_URL", &database.url)]);
    assert!(well, "{seeded}");
    assert_eq!(database.ask("SELECT count(*)::text FROM users"), "5");
    assert_eq!(database.ask("SELECT count(*)::text FROM passwords"), "0");
    let said = program.stop();
    assert!(!said.contains("password") && !said.contains("API key"), "{said}");
}

#[test]
fn sigterm_drains_in_flight_requests_and_stops_postgres() {
    let state = State::new();
    let mut service = Process::start(&state.0);
    let postgres = state.postgres().expect("PostgreSQL runs");
    let api = service.client();
    api.get("leads?limit=1").expect(200);

    let mut held = PgConnection::establish(&state.url()).expect("the embedded server");
    held.batch_execute("BEGIN; LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE").expect("a lock");
    let slow = api.clone();
    let in_flight = std::thread::spawn(move || slow.get("tasks"));
    std::thread::sleep(Duration::from_millis(200));

    let told = Instant::now();
    service.signal(libc::SIGTERM);
    while service.probe("/health/readiness") == 200 {
        assert!(told.elapsed() < Duration::from_millis(1500), "readiness should fail first");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(service.probe("/health/liveness"), 200);
    let late = api.get("leads?limit=1").expect(200);
    assert!(told.elapsed() < Duration::from_secs(2), "still within the drain");
    assert_eq!(late.header("connection"), "close", "so that the client goes elsewhere next time");

    std::thread::sleep(Duration::from_millis(2700).saturating_sub(told.elapsed()));
    assert!(TcpStream::connect(service.address).is_err(), "after the drain nobody is let in");
    held.batch_execute("COMMIT").expect("released");
    drop(held);
    in_flight.join().expect("an answer").expect(200);
    assert_eq!(service.wait(Duration::from_secs(25)).code(), Some(0));
    println!("stopped {:?} after it was told to", told.elapsed());
    until_gone(postgres, Duration::from_secs(1));
}

#[test]
#[cfg(target_os = "linux")]
fn killed_service_stops_its_postgres_and_next_start_works() {
    let state = State::new();
    let mut service = Process::start(&state.0);
    let postgres = state.postgres().expect("PostgreSQL runs");
    let lead = service.client().make("leads", serde_json::json!({ "title": "Written before" }));
    service.signal(libc::SIGKILL);
    service.wait(Duration::from_secs(5));
    until_gone(postgres, Duration::from_secs(5));

    let next = Process::start(&state.0);
    assert_eq!(next.client().get(&format!("leads/{lead}")).expect(200).json["title"], "Written before");
    assert_eq!(next.key, service.key);
}

#[test]
fn second_serve_on_same_state_folder_or_address_refused() {
    let state = State::new();
    let first = Process::start(&state.0);
    let output = rapport(&["serve", "--bind", "127.0.0.1:0", "--metrics-bind", "off"])
        .env("RAPPORT_STATE_DIR", &state.0)
        .output()
        .expect("the binary");
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(text.contains("in use by another Rapport") && text.contains("RAPPORT_STATE_DIR"), "{text}");
    first.client().get("leads?limit=1").expect(200);

    // The address of another service: the error names the option to change.
    let other = State::new();
    let taken = rapport(&["serve", "--bind", &first.address.to_string(), "--metrics-bind", "off"])
        .env("RAPPORT_STATE_DIR", &other.0)
        .output()
        .expect("the binary");
    assert_eq!(taken.status.code(), Some(1));
    assert!(said(&taken).contains("RAPPORT_BIND"), "{}", said(&taken));
}

#[test]
fn api_key_create_command_prints_a_working_key_last() {
    let service = Service::start();
    let create = |arguments: &[&str]| {
        let mut command = rapport(&["api-key", "create", "--role", "agent"]);
        command.args(arguments).env("DATABASE_URL", &service.database.url).output().expect("the binary")
    };
    let refused = create(&["--business", "newcomer"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("--create-business"), "{}", said(&refused));

    let made = create(&["--business", "newcomer", "--create-business"]);
    assert!(made.status.success(), "{}", said(&made));
    let text = String::from_utf8(made.stdout).expect("text");
    let client = Client::new(service.address, text.split_whitespace().last().expect("a last word"));
    assert_eq!(client.get("businesses").expect(200).rows()[0]["slug"], "newcomer");
    client.make("leads", serde_json::json!({ "title": "First" }));
    client.get("api-keys").expect(403);
    assert!(service.client.get("leads").expect(200).rows().is_empty(), "not in the first business");
}

#[test]
fn serve_invalid_configuration_reports_all_errors_at_once() {
    let output = rapport(&["serve"])
        .env("DATABASE_URL", "mysql://localhost/rapport")
        .env("REDIS_URL", "http://localhost")
        .env("RAPPORT_DB_CONNECTIONS", "0")
        .env("RAPPORT_STATEMENT_TIMEOUT_MS", "60000")
        .env("RAPPORT_CORS_ORIGINS", "app.example.com")
        .env("RAPPORT_DEV_API_KEY", "short-secret")
        .env("RAPPORT_SMTP_URL", "http://mailer:short-secret@localhost")
        .env("RAPPORT_APP_URL", "app.example.com#")
        .output()
        .expect("the binary");
    assert_eq!(output.status.code(), Some(2));
    let text = said(&output);
    for name in [
        "DATABASE_URL",
        "REDIS_URL",
        "RAPPORT_DB_CONNECTIONS",
        "RAPPORT_STATEMENT_TIMEOUT_MS",
        "RAPPORT_CORS_ORIGINS",
        "RAPPORT_DEV_API_KEY",
        "RAPPORT_SMTP_URL must be",
        "RAPPORT_SMTP_URL needs RAPPORT_MAIL_FROM",
        "RAPPORT_APP_URL must be",
    ] {
        assert!(text.contains(name), "no word of {name} in\n{text}");
    }
    assert!(!text.contains("short-secret") && !text.contains("mysql:"), "a secret was printed:\n{text}");

    let unreadable = rapport(&["serve"])
        .env("RAPPORT_BIND", "here")
        .env("RAPPORT_DB_QUEUE", "many")
        .env("RAPPORT_LOG_FORMAT", "xml")
        .env("RAPPORT_MAIL_FROM", "nobody")
        .output()
        .expect("the binary");
    assert_eq!(unreadable.status.code(), Some(2));
    let text = said(&unreadable);
    for name in ["RAPPORT_BIND", "RAPPORT_DB_QUEUE", "RAPPORT_LOG_FORMAT", "RAPPORT_MAIL_FROM"] {
        assert!(text.contains(name), "no word of {name} in\n{text}");
    }
}

#[test]
fn serve_without_postgres_reports_searched_paths_and_fix() {
    let (state, empty) = (State::new(), State::new());
    std::fs::create_dir_all(&empty.0).expect("an empty folder");
    let output = rapport(&["serve"])
        .env("RAPPORT_STATE_DIR", &state.0)
        .env("RAPPORT_POSTGRES_BIN", &empty.0)
        .output()
        .expect("the binary");
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    for word in [
        "no PostgreSQL found",
        empty.0.to_str().expect("text"),
        "DATABASE_URL",
        "apt-get install",
        "RAPPORT_POSTGRES_BIN",
    ] {
        assert!(text.contains(word), "no {word} in\n{text}");
    }
}

#[test]
fn openapi_printed_committed_and_served_are_equal() {
    let printed = rapport(&["openapi"]).output().expect("the binary");
    assert!(printed.status.success());
    let printed = String::from_utf8(printed.stdout).expect("text");
    let committed =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json")).unwrap_or_default();
    assert!(printed == committed, "openapi/openapi.json is not what the code says; write it with `make openapi`");
    let service = Service::start();
    let served = service.stranger().get("/openapi.json").expect(200);
    let document: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(served.json, document);
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let older = rapport(&["openapi", "--version", "3.0"]).output().expect("the binary");
    let older: Value = serde_json::from_slice(&older.stdout).expect("JSON");
    assert_eq!(service.stranger().get("/openapi.json?version=3.0").expect(200).json, older);
    assert_eq!(older["openapi"], "3.0.3");
    let refused = service.stranger().get("/openapi.json?version=2.0").expect(400);
    assert_eq!(refused.faults(), ["/query/version"]);
}

#[test]
fn health_command_exit_code_follows_readiness() {
    let asked = |address: SocketAddr| {
        let output = rapport(&["health", "--bind", &address.to_string()]).output().expect("the binary");
        output.status.code()
    };
    let ready = Service::start();
    assert_eq!(asked(ready.address), Some(0));
    let starting = Service::on(Database::create_empty(), uuid::Uuid::now_v7(), "", &[]);
    assert_eq!(asked(starting.address), Some(1));
    let address = ready.address;
    drop(ready);
    assert_eq!(asked(address), Some(1), "nobody is there");

    // An address that accepts connections and never responds.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let began = Instant::now();
    assert_eq!(asked(silent.local_addr().expect("an address")), Some(1));
    assert!(began.elapsed() < Duration::from_secs(4));
    let _ = std::io::stdout().flush();
}

#[test]
fn database_url_file_is_read_both_set_refused() {
    let database = Database::create();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("url");
    std::fs::write(&file, format!("{}\n", database.url)).expect("a file");
    let output = rapport(&["migrate"]).env("DATABASE_URL_FILE", &file).output().expect("the binary");
    assert!(output.status.success() && said(&output).contains("up to date"), "{}", said(&output));

    let both = rapport(&["migrate"]).env("DATABASE_URL_FILE", &file).env("DATABASE_URL", &database.url).output();
    let both = both.expect("the binary");
    assert!(both.status.code() == Some(2) && said(&both).contains("both set"), "{}", said(&both));
    let absent =
        rapport(&["migrate"]).env("DATABASE_URL_FILE", folder.path().join("none")).output().expect("the binary");
    assert!(absent.status.code() == Some(2) && said(&absent).contains("DATABASE_URL_FILE"), "{}", said(&absent));
}
