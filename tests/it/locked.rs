//! Tests of lock waits: writers of a locked row are rejected; other rows, lists and businesses are served.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::header::CACHE_CONTROL;
use diesel::PgConnection;
use diesel::connection::SimpleConnection;
use serde_json::json;

use crate::support::{Answer, Client, Database, Service};

/// Callers that write the locked row, again and again.
const CALLERS: usize = 12;
/// How long the row is locked: longer than a writer waits, so that each caller is rejected several times.
const HELD: Duration = Duration::from_secs(5);

/// Locks what `sql` locks until it is dropped.
fn hold(database: &Database, sql: &str) -> PgConnection {
    let mut conn = database.connect();
    conn.batch_execute(&format!("BEGIN; {sql}")).expect("a lock");
    conn
}

fn uncached(client: &Client, path: &str) -> Answer {
    client.send(client.request("GET", path).header(CACHE_CONTROL.as_str(), "no-store"))
}

fn is_locked(answer: &Answer) -> bool {
    answer.status == 503
        && answer.code() == "locked"
        && answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0)
}

fn lock_timeouts(service: &Service) -> u64 {
    let page = Client::new(service.metrics, "").get("/metrics").expect(200).text;
    let lines = page.lines().filter(|line| line.starts_with("rapport_db_lock_timeouts_total{"));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

#[test]
fn write_to_locked_row_503_other_requests_served() {
    let service = Service::with(&["--db-connections", "4"]);
    let (_, neighbour) = service.neighbour();
    let api = &service.client;
    let [held, other] = ["Held", "Free"].map(|title| api.make("leads", json!({ "title": title })));
    let theirs = neighbour.make("leads", json!({ "title": "Theirs" }));
    let before = lock_timeouts(&service);

    let mut lock = hold(&service.database, &format!("SELECT FROM leads WHERE id = '{held}' FOR UPDATE"));
    let (stop, refused) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (client, path, stop, refused) = (api.clone(), format!("leads/{held}"), &stop, &refused);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.patch(&path, json!({ "score": caller + 1 }));
                    refused.lock().expect("no panic").push(answer);
                }
            });
        }
        let began = Instant::now();
        let mut outcomes = Vec::new();
        while began.elapsed() < HELD {
            let score = json!({ "score": outcomes.len() % 101 });
            outcomes.push(("PATCH of another row", 200, api.patch(&format!("leads/{other}"), score.clone())));
            outcomes.push(("POST", 201, api.post("leads", json!({ "title": "New" }))));
            outcomes.push(("list", 200, uncached(api, "leads?limit=5&include=company")));
            outcomes.push(("the held row, read", 200, uncached(api, &format!("leads/{held}"))));
            outcomes.push(("PATCH next door", 200, neighbour.patch(&format!("leads/{theirs}"), score)));
            outcomes.push(("POST next door", 201, neighbour.post("leads", json!({ "title": "New" }))));
            outcomes.push(("list next door", 200, uncached(&neighbour, "leads?limit=5")));
        }
        stop.store(true, Ordering::Relaxed);
        let count = outcomes.len();
        let wrong: Vec<String> = outcomes
            .into_iter()
            .filter(|(_, status, answer)| answer.status != *status)
            .map(|(what, _, answer)| format!("{what}: {} {}", answer.status, answer.code()))
            .collect();
        let refused = std::mem::take(&mut *refused.lock().expect("no panic"));
        println!("{count} requests beside a held row, {} wrong; {} writers of it refused", wrong.len(), refused.len());
        lock.batch_execute("COMMIT").expect("released");
        assert!(wrong.is_empty(), "{} of {count}: {wrong:#?}", wrong.len());
        assert!(count > 70, "{count} requests in {HELD:?}");
        assert!(refused.len() >= CALLERS, "each caller is refused once or more: {}", refused.len());
        let odd: Vec<_> = refused.iter().filter(|answer| !is_locked(answer)).map(|answer| &answer.text).collect();
        assert!(odd.is_empty(), "{odd:#?}");
    });
    assert!(lock_timeouts(&service) > before, "they are counted");
    for caller in 0..CALLERS {
        api.patch(&format!("leads/{held}"), json!({ "score": caller })).expect(200);
    }
}

#[test]
fn write_to_briefly_locked_row_waits_and_succeeds() {
    let service = Service::with(&["--db-connections", "4"]);
    let api = &service.client;
    let company = api.make("companies", json!({ "name": "Brekke" }));
    let lead = api.make("leads", json!({ "title": "Roof", "company_id": company }));
    for held in ["leads", "companies"] {
        let mut lock = hold(&service.database, &format!("SELECT FROM {held} FOR UPDATE"));
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..6)
                .map(|number| {
                    let (client, path) = (api.clone(), format!("leads/{lead}"));
                    let (one, row) = (number % 2 == 0, json!({ "title": number.to_string(), "company_id": company }));
                    // A write of another row waits, too, if the row that it references is locked.
                    scope.spawn(move || if one { client.patch(&path, row) } else { client.post("leads", row) })
                })
                .collect();
            std::thread::sleep(Duration::from_millis(1000));
            lock.batch_execute("COMMIT").expect("released");
            for (number, answer) in waiting.into_iter().enumerate() {
                answer.join().expect("an answer").expect(if number % 2 == 0 { 200 } else { 201 });
            }
        });
    }
}

#[test]
fn read_of_locked_table_503_other_tables_served() {
    let service = Service::with(&["--db-connections", "4", "--cache", "off"]);
    let api = &service.client;
    let task = api.make("tasks", json!({ "title": "Call" }));
    let lead = api.make("leads", json!({ "title": "Roof" }));
    let mut lock = hold(&service.database, "LOCK TABLE leads IN ACCESS EXCLUSIVE MODE");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..CALLERS)
            .map(|number| {
                let (client, stop) = (api.clone(), &stop);
                let path = if number % 3 == 0 { format!("leads/{lead}") } else { format!("leads?limit={number}") };
                scope.spawn(move || {
                    let mut answers = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        answers.push(client.get(&path));
                    }
                    answers
                })
            })
            .collect();
        let began = Instant::now();
        let mut outcomes = Vec::new();
        while began.elapsed() < Duration::from_secs(3) {
            outcomes.push(api.get("tasks?limit=3").status);
            outcomes.push(api.patch(&format!("tasks/{task}"), json!({ "title": outcomes.len().to_string() })).status);
        }
        stop.store(true, Ordering::Relaxed);
        let answers: Vec<Answer> = readers.into_iter().flat_map(|reader| reader.join().expect("answers")).collect();
        lock.batch_execute("COMMIT").expect("released");
        println!("{} requests of another table: {outcomes:?}", outcomes.len());
        assert!(outcomes.iter().all(|status| *status == 200), "{outcomes:?}");
        let odd: Vec<_> = answers.iter().filter(|answer| !is_locked(answer)).map(|answer| &answer.text).collect();
        assert!(odd.is_empty(), "{odd:#?}");
    });
    api.get("leads?limit=9").expect(200);
}
