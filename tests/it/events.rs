//! Tests of the event log: every committed change gives one event, in order, with concurrent writers and sequencers;
//! and of event streams.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rapport::app::registry::RESOURCES;
use rapport::auth::Role;
use rapport::resource::{FieldType, Mutability};
use serde_json::{Value, json};

use crate::sign_in::{admit, client, sign_in};
use crate::support::{Client, Database, Samples, Service, make_key, small_buffers};

/// Timeout for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

fn working(settings: &[&str]) -> Service {
    Service::with(&[&["--background-tasks", "on"], settings].concat())
}

/// Waits until every committed change has a sequence number.
fn ordered(database: &Database) {
    let began = Instant::now();
    while database.ask("SELECT rapport_is_sequencer_behind()::text") != "false" {
        assert!(began.elapsed() < PATIENCE, "something waits for its number");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The ids of the entries of the audit log that are events.
fn entries(service: &Service) -> BTreeSet<String> {
    let ids = service.database.ask(&format!(
        "SELECT coalesce(string_agg(id::text, ' '), '') FROM audit_entries WHERE business_id = '{}' AND resource <> 'sessions' \
         AND action <> 'exported'",
        service.business
    ));
    ids.split_whitespace().map(str::to_owned).collect()
}

/// All events, page by page.
fn all(api: &Client, query: &str) -> Vec<Value> {
    let (mut events, mut after) = (Vec::new(), 0);
    loop {
        let page = api.get(&format!("events?limit=500&after={after}{query}")).expect(200);
        events.extend(page.rows().to_vec());
        match page.json["page"]["next"].as_i64() {
            Some(next) => after = next,
            None => return events,
        }
    }
}

fn number(event: &Value) -> i64 {
    event["sequence"].as_i64().expect("a number")
}

fn last(api: &Client) -> i64 {
    api.get("events?after=latest").expect(200).json["page"]["last"].as_i64().expect("a number")
}

/// A record of a stream: an event, or a number without one.
#[derive(Debug)]
struct Record {
    id: i64,
    kind: String,
    data: Value,
}

/// A stream that is read in its own thread.
struct Follow {
    status: u16,
    records: Receiver<Record>,
}

impl Follow {
    fn begin(api: &Client, query: &str, last_event_id: Option<i64>) -> Self {
        let mut request = api.request("GET", &format!("events/stream{query}")).timeout(Duration::from_secs(300));
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id.to_string());
        }
        let response = request.send().expect("a stream");
        let status = response.status().as_u16();
        let (send, records) = mpsc::channel();
        if status == 200 {
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            assert!(!response.headers().contains_key("content-encoding"));
        }
        std::thread::spawn(move || {
            let (mut id, mut kind, mut data) = (None, String::new(), Value::Null);
            for line in BufReader::new(response).lines() {
                let Ok(line) = line else { return };
                match line.split_once(": ") {
                    Some(("id", text)) => id = text.parse().ok(),
                    Some(("event", text)) => kind = text.to_owned(),
                    Some(("data", text)) => data = serde_json::from_str(text).expect("JSON"),
                    _ if line.is_empty() => {
                        if let Some(id) = id.take() {
                            let record = Record { id, kind: std::mem::take(&mut kind), data: data.take() };
                            if send.send(record).is_err() {
                                return;
                            }
                        }
                    }
                    _ => {}
                }
            }
        });
        Self { status, records }
    }

    /// The next event; `None` when the stream has ended.
    fn event(&self) -> Option<Record> {
        loop {
            match self.records.recv_timeout(PATIENCE) {
                Ok(record) if record.kind.is_empty() => continue,
                Ok(record) => {
                    assert_eq!(number(&record.data), record.id);
                    assert_eq!(record.data["type"], json!(record.kind));
                    return Some(record);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("nothing comes"),
            }
        }
    }

    /// Waits for a heartbeat and returns its number.
    fn heartbeat(&self) -> i64 {
        let record = self.records.recv_timeout(PATIENCE).expect("a heartbeat");
        assert_eq!(record.kind, "", "{record:?}");
        record.id
    }

    /// The event numbers up to `upto`.
    fn until(&self, upto: i64) -> Vec<i64> {
        let mut ids = Vec::new();
        while ids.last() != Some(&upto) {
            ids.push(self.event().unwrap_or_else(|| panic!("it ended after {:?}, before {upto}", ids.last())).id);
        }
        ids
    }
}

#[test]
fn each_write_of_each_resource_emits_one_event() {
    let service = working(&[]);
    let api = &service.client;
    let mut samples = Samples::new(api);
    let mut expected: Vec<(String, String)> = Vec::new();
    for resource in RESOURCES.iter().filter(|resource| resource.has_history()) {
        let row = samples.row(resource);
        let id = row["id"].as_str().expect("an id").to_owned();
        let mut happens = |what: &str| expected.push((format!("{}.{what}", resource.name), id.clone()));
        if resource.operations.create {
            happens("created");
        }
        let free = |field: &&rapport::resource::Field| {
            field.mutability == Mutability::Always
                && matches!(field.field_type, FieldType::Text { max, .. } if max > 60)
        };
        if let (true, Some(field)) = (resource.operations.update, resource.fields.iter().find(free)) {
            api.patch(
                &format!("{}/{id}", resource.plural),
                json!({ field.name: format!("{}x", row[field.name].as_str().unwrap_or("Another ")) }),
            )
            .expect(200);
            happens("updated");
            // An empty change is no change.
            api.patch(&format!("{}/{id}", resource.plural), json!({})).expect(200);
        }
        if resource.operations.delete {
            api.delete(&format!("{}/{id}", resource.plural)).expect(204);
            happens("deleted");
        }
        if resource.operations.restore {
            api.post(&format!("{}/{id}/restoration", resource.plural), json!({})).expect(200);
            happens("restored");
        }
    }
    // A rejected or rolled-back change gives no event.
    let before = service.database.ask("SELECT last_value::text FROM change_log_place_seq");
    api.post("leads", json!({ "title": "Roof", "assignee_id": uuid::Uuid::now_v7() })).expect(422);
    service.database.run("BEGIN; UPDATE leads SET score = 77; ROLLBACK");
    assert_ne!(
        service.database.ask("SELECT last_value::text FROM change_log_place_seq"),
        before,
        "it was about to be told"
    );
    let logged = entries(&service);
    ordered(&service.database);

    let events = all(api, "");
    assert!(events.iter().map(number).eq(1..=events.len() as i64), "no gap, no repetition, from 1 on");
    assert!(!events.iter().any(|event| event["changes"]["score"]["new"] == 77));
    let mut told: BTreeMap<(String, String), usize> = BTreeMap::new();
    for event in &events {
        let text = |name: &str| event[name].as_str().expect("a text").to_owned();
        *told.entry((text("type"), text("row_id"))).or_default() += 1;
    }
    for one in &expected {
        // The business existed before, and updating it is one more change than its other settings.
        assert_eq!(told.get(one), Some(&1), "{one:?}");
    }
    assert!(expected.len() > 30, "{}", expected.len());
    // Events equal the audit log, without sign-ins and sign-outs; what channels do goes on meanwhile.
    let ids: BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), events.len());
    let missing: Vec<&String> = logged.iter().filter(|id| !ids.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "in the audit log only: {missing:?}");
    let logged = entries(&service);
    let missing: Vec<&&str> = ids.iter().filter(|id| !logged.contains(**id)).collect();
    assert!(missing.is_empty(), "events only: {missing:?}");
}

#[test]
fn list_events_shows_changes_and_applies_filters() {
    let service = working(&[]);
    let api = &service.client;
    let lead = api.make("leads", json!({ "title": "Desks" }));
    let request = api.request("PATCH", &format!("leads/{lead}")).header("X-Request-Id", "quote-me");
    api.send(request.json(&json!({ "status": "won" }))).expect(200);
    api.make("companies", json!({ "name": "Roof Ltd" }));
    api.delete(&format!("leads/{lead}")).expect(204);
    ordered(&service.database);

    let won = &all(api, "&type=lead.updated")[0];
    assert_eq!(
        (&won["resource"], &won["row_id"], &won["changed"]),
        (&json!("leads"), &json!(lead), &json!(["status", "closed_at", "furthest_stage"]))
    );
    assert_eq!(won["changes"]["status"], json!({ "old": "new", "new": "won" }));
    assert_eq!((&won["actor"]["kind"], &won["request_id"]), (&json!("api_key"), &json!("quote-me")));
    assert_eq!(
        api.get(&format!("audit-log/{}", won["id"].as_str().expect("an id"))).expect(200).json["row_id"],
        json!(lead)
    );
    let types = |query: &str| -> Vec<String> {
        all(api, query).iter().map(|e| e["type"].as_str().expect("a type").to_owned()).collect()
    };
    assert_eq!(types("&resource=leads"), ["lead.created", "lead.updated", "lead.deleted"]);
    assert_eq!(types("&resource=leads&type=*.deleted,company.*"), ["lead.deleted"]);
    assert_eq!(
        types("&type=lead.*,company.created"),
        ["lead.created", "lead.updated", "company.created", "lead.deleted"]
    );
    let gone = all(api, "&type=lead.deleted");
    assert_eq!((&gone[0]["changes"], &gone[0]["changed"]), (&json!({}), &json!([])));

    // In pages, with validators like every response.
    let first = api.get("events?limit=1&type=lead.*").expect(200);
    let next = first.json["page"]["next"].as_i64().expect("another page");
    assert_eq!(next, number(&first.rows()[0]));
    let tag = first.header("etag").to_owned();
    api.send(api.request("GET", "events?limit=1&type=lead.*").header("If-None-Match", tag)).expect(304);
    let latest = api.get("events?after=latest").expect(200);
    assert_eq!((latest.rows().len(), &latest.json["page"]["next"]), (0, &Value::Null));
    api.make("leads", json!({ "title": "Lamps" }));
    ordered(&service.database);
    let since = api.get(&format!("events?after={}", latest.json["page"]["last"])).expect(200);
    assert_eq!(since.rows().iter().map(|e| e["type"].as_str().expect("a type")).collect::<Vec<_>>(), ["lead.created"]);

    // An invalid parameter is rejected with the nearest valid name.
    for (query, said) in [
        ("afer=1", "`after`"),
        ("type=lead.update", "`lead.updated`"),
        ("resource=lead", "`leads`"),
        ("type=", "no type"),
        ("after=-1", "number"),
        ("limit=501", "500"),
        ("after=1&after=2", "once"),
        ("cursor=x", "no parameter"),
    ] {
        let refused = api.get(&format!("events?{query}")).expect(400);
        assert!(refused.text.contains(said), "{query}: {}", refused.text);
    }
    assert_eq!(api.get("events?limit=0&type=x.y&after=z").expect(400).faults().len(), 3);
    let too_many = vec!["lead.*"; 101].join(",");
    assert_eq!(api.get(&format!("events?type={too_many}")).expect(400).faults(), ["/query/type"]);
    assert_eq!(api.get("events/stream?limit=5").expect(400).code(), "invalid_parameter");
}

#[test]
fn event_sequence_with_concurrent_writers_has_no_gaps() {
    let service = working(&["--db-connections", "6"]);
    // A second process with a sequencer.
    let second = Service::on(
        service.database.clone(),
        service.business,
        &make_key(&service.database, service.business, Role::Owner),
        &["--background-tasks", "on"],
    );
    let shared: Vec<String> =
        (0..4).map(|n| service.client.make("leads", json!({ "title": format!("Lead {n}") }))).collect();
    let over = AtomicBool::new(false);
    let (seen, snapshots) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..16)
            .map(|writer| {
                let (service, shared) = (&service, &shared);
                scope.spawn(move || {
                    for turn in 0..12 {
                        match (writer + turn) % 4 {
                            0 => drop(service.client.make("leads", json!({ "title": format!("{writer} {turn}") }))),
                            1 if writer < 4 => {
                                // From psql, slowly, and sometimes rolled back.
                                let end = if turn % 2 == 0 { "COMMIT" } else { "ROLLBACK" };
                                service.database.run(&format!(
                                    "BEGIN; UPDATE leads SET score = (score + 1) % 100 WHERE id = '{}'; SELECT pg_sleep(0.02); {end}",
                                    shared[writer]
                                ));
                            }
                            _ => {
                                let path = format!("leads/{}", shared[turn % 4]);
                                service.client.patch(&path, json!({ "score": (writer * 12 + turn) % 100 })).expect(200);
                            }
                        }
                    }
                })
            })
            .collect();
        let readers: Vec<_> = [&service.client, &second.client]
            .into_iter()
            .map(|api| {
                let over = &over;
                scope.spawn(move || {
                    let (mut seen, mut after) = (Vec::new(), 0);
                    loop {
                        let done = over.load(Ordering::Acquire);
                        let page = api.get(&format!("events?limit=500&after={after}")).expect(200);
                        seen.extend(page.rows().to_vec());
                        after = page.json["page"]["next"]
                            .as_i64()
                            .or(page.json["page"]["last"].as_i64())
                            .expect("a number");
                        if done {
                            return seen;
                        }
                    }
                })
            })
            .collect();
        let (done, watched, mut snapshots) = (&over, &second.client, Vec::new());
        let watcher = scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                snapshots.push(all(watched, ""));
                std::thread::sleep(Duration::from_millis(20));
            }
            snapshots
        });
        writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
        ordered(&service.database);
        over.store(true, Ordering::Release);
        let seen: Vec<Vec<Value>> = readers.into_iter().map(|reader| reader.join().expect("a reader")).collect();
        (seen, watcher.join().expect("a watcher"))
    });

    let events = all(&service.client, "");
    assert!(events.iter().map(number).eq(1..=events.len() as i64), "no gap, no repetition");
    assert!(events.len() > 150, "{}", events.len());
    for seen in seen {
        assert_eq!(seen, events, "each subscriber has seen each event once");
    }
    for snapshot in &snapshots {
        assert_eq!(snapshot[..], events[..snapshot.len()], "what was seen never changes");
    }
    assert!(
        snapshots.iter().any(|snapshot| !snapshot.is_empty() && snapshot.len() < events.len()),
        "it was watched growing"
    );
    // Per row, events are in order of change: each change starts from the previous value.
    for lead in &shared {
        let scores: Vec<&Value> = events
            .iter()
            .filter(|event| event["row_id"] == json!(lead))
            .filter_map(|event| event["changes"].get("score"))
            .collect();
        assert!(scores.len() > 5, "{}", scores.len());
        assert!(scores.windows(2).all(|pair| pair[0]["new"] == pair[1]["old"]), "{scores:?}");
        let now = service.client.get(&format!("leads/{lead}")).expect(200).json["score"].clone();
        assert_eq!(scores.last().expect("a change")["new"], now);
    }
}

#[test]
fn long_transaction_does_not_delay_other_events() {
    let service = working(&[]);
    let api = &service.client;
    let slow = api.make("leads", json!({ "title": "Slow" }));
    ordered(&service.database);
    let stream = Follow::begin(api, "", None);
    let before = last(api);
    let mut conn = service.database.connect();
    let mut run = |sql: &str| diesel::connection::SimpleConnection::batch_execute(&mut conn, sql).expect(sql);
    run(&format!("BEGIN; UPDATE leads SET score = 5 WHERE id = '{slow}'"));
    let quick = api.make("leads", json!({ "title": "Quick" }));
    let first = stream.event().expect("an event");
    assert_eq!((first.id, &first.data["row_id"]), (before + 1, &json!(quick)));
    assert_eq!(last(api), before + 1);
    run("COMMIT");
    let second = stream.event().expect("an event");
    assert_eq!((second.id, &second.data["row_id"]), (before + 2, &json!(slow)));
    assert!(second.data["created_at"].as_str() < first.data["created_at"].as_str(), "it was done before");
    assert!(second.data["actor"] == json!({ "kind": "system", "id": null }));
}

#[test]
fn event_stream_resumes_from_last_event_id_after_restart() {
    let service = working(&[]);
    let (database, business) = (service.database.clone(), service.business);
    let key = make_key(&service.database, business, Role::Owner);
    let api = Client::new(service.address, &key);
    let write = |api: &Client, count: usize| {
        (0..count).for_each(|n| drop(api.make("leads", json!({ "title": format!("Lead {n}") }))));
    };
    write(&api, 3);
    ordered(&service.database);
    let begins = last(&api);
    let stream = Follow::begin(&api, "", None);
    let twin = Follow::begin(&api, "?resource=leads", None);
    write(&api, 5);
    let mut seen = stream.until(begins + 5);
    assert_eq!(twin.until(begins + 5), seen);
    drop(service);
    assert!(stream.event().is_none(), "it ends with its process");

    let service = Service::on(database, business, &key, &["--background-tasks", "on"]);
    let api = &service.client;
    write(api, 4);
    ordered(&service.database);
    let stream = Follow::begin(api, "?after=1", seen.last().copied());
    write(api, 4);
    ordered(&service.database);
    let ends = last(api);
    seen.extend(stream.until(ends));
    assert_eq!(seen, (begins + 1..=ends).collect::<Vec<_>>());
    assert!(ends > begins + 12, "the keys that were made are told as well");
    // From the first event, in pages, then live.
    let whole = Follow::begin(api, "?after=0", None);
    write(api, 1);
    assert_eq!(whole.until(ends + 1), (1..=ends + 1).collect::<Vec<_>>());
}

#[test]
fn stream_heartbeat_id_advances_past_filtered_events() {
    let service = working(&["--stream-heartbeat-seconds", "1"]);
    let api = &service.client;
    ordered(&service.database);
    let begins = last(api);
    let stream = Follow::begin(api, "?type=company.*", None);
    assert_eq!(stream.heartbeat(), begins);
    api.make("leads", json!({ "title": "Desks" }));
    ordered(&service.database);
    let began = Instant::now();
    while stream.heartbeat() != begins + 1 {
        assert!(began.elapsed() < PATIENCE);
    }
    api.make("companies", json!({ "name": "Roof Ltd" }));
    let event = stream.event().expect("an event");
    assert_eq!((event.id, event.kind.as_str()), (begins + 2, "company.created"));
    // HEAD returns the headers of a stream and ends.
    let head = api.send(api.request("HEAD", "events/stream")).expect(200);
    assert_eq!(head.header("content-type"), "text/event-stream");
}

#[test]
fn event_stream_ends_when_key_deleted_or_role_changed() {
    for settings in [&[][..], &["--cache", "off", "--credential-cache-ms", "1"]] {
        let service = working(settings);
        let api = &service.client;
        admit(&service, "acme", "amina@example.com", "manager");
        let session = sign_in(&service, "amina@example.com").expect(201).json;
        let amina = client(&service, &session);
        let key = api.create("api-keys", json!({ "name": "Follower", "role": "viewer" }));
        let follower = Client::new(service.address, key["key"].as_str().expect("a key"));
        ordered(&service.database);
        let (hers, keys) = (Follow::begin(&amina, "", None), Follow::begin(&follower, "", None));
        let lead = api.make("leads", json!({ "title": "Desks" }));
        for stream in [&hers, &keys] {
            assert_eq!(stream.event().expect("an event").data["row_id"], json!(lead));
        }
        // Another role gets another stream, and a deleted key gets none.
        api.delete(&format!("api-keys/{}", key["id"].as_str().expect("an id"))).expect(204);
        let user = session["user"]["id"].as_str().expect("an id");
        api.patch(&format!("users/{user}"), json!({ "role": "viewer" })).expect(200);
        std::thread::sleep(Duration::from_millis(5));
        api.make("leads", json!({ "title": "Secret" }));
        assert!(keys.event().is_none());
        assert!(hers.event().is_none());
        assert_eq!(Follow::begin(&follower, "", None).status, 401);
    }
}

#[test]
fn events_limited_to_rows_and_resources_caller_may_read() {
    let service = working(&["--stream-heartbeat-seconds", "1"]);
    let boss = &service.client;
    let (_, neighbour) = service.neighbour();
    admit(&service, "acme", "amina@example.com", "agent");
    let session = sign_in(&service, "amina@example.com").expect(201).json;
    let (amina, her) = (client(&service, &session), &session["user"]["id"]);
    boss.patch(&format!("businesses/{}", service.business), json!({ "agent_visibility": "assigned" })).expect(200);
    let viewer = service.client_as(Role::Viewer);
    let narrow = boss.create("api-keys", json!({ "name": "N", "role": "viewer", "permissions": ["business:read"] }));
    let narrow = Client::new(service.address, narrow["key"].as_str().expect("a key"));
    ordered(&service.database);
    let streams = [boss, &viewer, &amina, &neighbour, &narrow].map(|api| Follow::begin(api, "", None));
    let begins = last(boss);

    boss.create("api-keys", json!({ "name": "Other", "role": "viewer" }));
    let hers = boss.make("leads", json!({ "title": "Hers", "assignee_id": her }));
    let other = boss.make("leads", json!({ "title": "Nobody's" }));
    boss.patch(&format!("leads/{other}"), json!({ "score": 1 })).expect(200);
    boss.delete(&format!("leads/{hers}")).expect(204);
    let campaign = boss.make("campaigns", json!({ "name": "Spring" }));
    ordered(&service.database);
    let next_door = neighbour.make("campaigns", json!({ "name": "Autumn" }));
    ordered(&service.database);

    let expected: [&[(&str, &str)]; 5] = [
        &[
            ("api_key.created", ""),
            ("lead.created", &hers),
            ("lead.created", &other),
            ("lead.updated", &other),
            ("lead.deleted", &hers),
            ("campaign.created", &campaign),
        ],
        &[
            ("lead.created", &hers),
            ("lead.created", &other),
            ("lead.updated", &other),
            ("lead.deleted", &hers),
            ("campaign.created", &campaign),
        ],
        &[("lead.created", &hers), ("lead.deleted", &hers), ("campaign.created", &campaign)],
        &[("campaign.created", &next_door)],
        &[("campaign.created", &campaign)],
    ];
    for ((stream, api), expected) in streams.iter().zip([boss, &viewer, &amina, &neighbour, &narrow]).zip(expected) {
        for (kind, row) in expected {
            let event = stream.event().expect("an event");
            assert_eq!(event.kind, *kind);
            assert!(row.is_empty() || event.data["row_id"] == json!(row), "{event:?}");
        }
        let mut listed = all(api, "");
        if !std::ptr::eq(api, &neighbour) {
            listed.retain(|event| number(event) > begins);
        }
        let listed: Vec<&str> = listed.iter().rev().take(expected.len()).filter_map(|e| e["type"].as_str()).collect();
        assert!(listed.iter().rev().eq(expected.iter().map(|(kind, _)| kind)), "{listed:?}");
        stream.heartbeat();
    }
    // Requested by name, it is rejected.
    assert_eq!(viewer.get("events?resource=api-keys").expect(403).code(), "forbidden");
    assert_eq!(viewer.get("events/stream?type=lead.*,api_key.created").expect(403).code(), "forbidden");
    assert_eq!(narrow.get("events?resource=leads").expect(403).code(), "forbidden");
    assert!(all(&viewer, "").iter().all(|event| event["resource"] != "api-keys"));
}

#[test]
fn slow_stream_reader_dropped_others_unaffected() {
    let service = working(&["--stream-buffer", "10", "--stream-heartbeat-seconds", "1"]);
    let api = &service.client;
    let lead = api.make("leads", json!({ "title": "Desks" }));
    ordered(&service.database);
    let begins = last(api);
    let key = make_key(&service.database, service.business, Role::Owner);
    ordered(&service.database);
    let begins = last(api).max(begins);
    let mut slow = small_buffers::connect(service.address);
    // The connection closes with the stream.
    let request = "GET /api/v1/events/stream HTTP/1.1\r\nHost: x\r\nConnection: close";
    write!(slow, "{request}\r\nAuthorization: Bearer {key}\r\n\r\n").expect("sent");
    let mut one = [0];
    slow.read_exact(&mut one).expect("an answer");
    let quick = Follow::begin(api, "", None);
    // More than the socket buffers hold: each event has the text before and after.
    let most = 50;
    for turn in 0..most {
        let metadata = json!({ "text": format!("{turn:03}").repeat(4_000) });
        api.patch(&format!("leads/{lead}"), json!({ "metadata": metadata })).expect(200);
        assert_eq!(quick.event().expect("an event").id, begins + turn + 1);
    }
    // It reads at last: the buffered events, complete, and then the end.
    let mut rest = Vec::new();
    slow.set_read_timeout(Some(PATIENCE)).expect("a limit");
    slow.read_to_end(&mut rest).unwrap_or_default();
    let text = String::from_utf8_lossy(&rest);
    let told: Vec<i64> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: ").filter(|data| data.ends_with('}')))
        .filter_map(|data| serde_json::from_str(data).ok())
        .map(|event: Value| number(&event))
        .collect();
    let had = told.last().copied().unwrap_or(begins);
    assert!(had < begins + most, "it was dropped, and had {} of {most}", told.len());
    assert!(told.iter().copied().eq(begins + 1..=had), "{told:?}");
    let again = Follow::begin(api, "", Some(had));
    assert!(again.until(begins + most).into_iter().eq(had + 1..=begins + most));
}

#[test]
fn event_stream_over_limit_429_or_503() {
    let service = working(&["--max-event-streams", "3", "--max-event-streams-per-business", "2"]);
    let (_, neighbour) = service.neighbour();
    let api = &service.client;
    let _open = [Follow::begin(api, "", None), Follow::begin(api, "", None)];
    let refused = api.get("events/stream").expect(429);
    assert_eq!((refused.code(), refused.header("retry-after")), ("too_many_streams", "30"));
    let _other = Follow::begin(&neighbour, "", None);
    assert_eq!(neighbour.get("events/stream").expect(503).code(), "streams_full");
}

#[test]
fn events_past_retention_purged_and_answered_410() {
    let service = working(&["--events-retention-days", "1"]);
    let api = &service.client;
    (0..6).for_each(|n| drop(api.make("leads", json!({ "title": format!("Lead {n}") }))));
    ordered(&service.database);
    let newest = last(api);
    service.database.run("UPDATE events SET created_at = now() - interval '2 days' WHERE sequence <= 4");
    // An old event after a recent one is kept until that one is purged.
    service.database.run("UPDATE events SET created_at = now() - interval '2 days' WHERE sequence = 6");
    let trim = "SELECT rapport_purge_events(now() - interval '1 day', 3)::text";
    let forgotten: Vec<String> = (0..3).map(|_| service.database.ask(trim)).collect();
    assert_eq!(forgotten, ["3", "1", "0"]);
    assert_eq!(number(&api.get("events").expect(200).rows()[0]), 5);
    assert_eq!(number(&api.get("events?after=4").expect(200).rows()[0]), 5);
    for path in ["events?after=3", "events?after=0", "events/stream?after=3"] {
        assert_eq!(api.get(path).expect(410).code(), "events_expired", "{path}");
    }
    let late = api.request("GET", "events/stream").header("Last-Event-ID", "2");
    assert_eq!(api.send(late).expect(410).code(), "events_expired");
    assert_eq!(api.get(&format!("events?after={}", newest + 1)).expect(410).code(), "events_unknown");
    // The newest event is kept, so that numbers continue.
    service.database.run("UPDATE events SET created_at = now() - interval '2 days'");
    while service.database.ask(trim) != "0" {}
    assert_eq!(api.get("events").expect(200).rows().len(), 1);
    api.make("leads", json!({ "title": "More" }));
    ordered(&service.database);
    assert_eq!(last(api), newest + 1);
}

#[test]
fn contact_erasure_removes_values_from_events() {
    let service = working(&[]);
    let api = &service.client;
    let contact = api.make("contacts", json!({ "first_name": "Anna", "email": "anna@example.com" }));
    api.patch(&format!("contacts/{contact}"), json!({ "first_name": "Annabella" })).expect(200);
    ordered(&service.database);
    assert!(api.get("events?resource=contacts").expect(200).text.contains("Annabella"));
    let begins = last(api);
    let stream = Follow::begin(api, "", None);
    api.post(&format!("contacts/{contact}/erasure"), json!({})).expect(200);
    assert_eq!(stream.event().expect("an event").kind, "contact.erased");
    ordered(&service.database);
    let listed = api.get("events?resource=contacts").expect(200);
    assert!(!listed.text.contains("Anna") && !listed.text.contains("anna@"), "{}", listed.text);
    assert_eq!(listed.rows().last().expect("an event")["type"], "contact.erased");
    assert!(last(api) > begins);
    let stored = service.database.ask("SELECT coalesce(string_agg(to_jsonb(e)::text, ''), '') FROM events e");
    assert!(!stored.contains("Anna") && !stored.contains("example.com"), "values are in one place only");
}
