//! Tests of data subject requests: a person's data is exported completely and erased without a trace.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use deadpool_redis::redis;
use rapport::app::registry::RESOURCES;
use rapport::auth::Role;
use rapport::resource::Search;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Client, Database, Service, make_business, make_key};

/// In every free text field of the person; in lower case, like search texts.
const CANARY: &str = "canary7f3c";

/// A contact and rows of every kind that can be about them. Returns ids by resource, the contact's first.
fn known(api: &Client, canary: &str, number: u32) -> Vec<(&'static str, String)> {
    let free = |extra: Value| {
        let mut body = json!({ "metadata": { "plan": canary } });
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        body
    };
    let email = format!("{canary}@example.com");
    let phone = format!("+4915112345{number:03}");
    let contact = api.make(
        "contacts",
        free(json!({ "first_name": canary, "last_name": canary, "email": email, "phone": phone, "title": canary,
                     "external_id": canary, "tags": [canary] })),
    );
    let lead = api
        .make("leads", free(json!({ "title": canary, "contact_id": contact, "tags": [canary], "source": "website" })));
    api.patch(&format!("leads/{lead}"), json!({ "status": "lost", "lost_reason": canary })).expect(200);
    let mut rows = vec![("contacts", contact.clone()), ("leads", lead.clone())];
    // Contacts merged into them.
    let merged = |name: &str| {
        let other = json!({ "email": format!("{canary}.{name}@example.com"), "title": canary, "first_name": format!("{name} {canary}") });
        let other = api.make("contacts", free(other));
        // Their current name comes from the merged contact.
        let body = json!({ "from": [other], "prefer": { "first_name": other } });
        let merge = api.post(&format!("contacts/{contact}/merge"), body).expect(201).json;
        (other, merge["merge"]["id"].as_str().expect("an id").to_owned())
    };
    let (other, merge) = merged("other");
    rows.extend([("contacts", other), ("merges", merge)]);
    // A contact merged by mistake is a different person; but the merge has kept the data subject's previous values.
    let mistaken = api.make("contacts", json!({ "first_name": format!("Passer-by {number}"), "title": "Boss" }));
    let body = json!({ "from": [mistaken], "prefer": { "title": mistaken } });
    let mistake = api.post(&format!("contacts/{contact}/merge"), body).expect(201).json;
    let mistake = mistake["merge"]["id"].as_str().expect("an id").to_owned();
    api.post(&format!("merges/{mistake}/reversion"), json!({})).expect(200);
    rows.push(("merges", mistake));
    // Unlinked, but with the merged contact's address.
    let others = json!({ "channel": "email", "address": format!("{canary}.other@example.com") });
    rows.push(("conversations", api.make("conversations", free(others))));
    let talk = |body: Value| api.make("conversations", free(body));
    let linked = talk(json!({ "contact_id": contact, "channel": "web", "address": canary, "subject": canary }));
    // Unlinked, but with their phone number, or their address.
    let numbered = talk(json!({ "channel": "whatsapp", "address": phone }));
    let addressed = talk(json!({ "channel": "email", "address": email.to_uppercase() }));
    let through = talk(json!({ "channel": "sms", "address": format!("{canary} too"), "lead_id": lead }));
    for talk in [linked, numbered, addressed, through] {
        for direction in ["inbound", "outbound"] {
            let message = api.make(
                "messages",
                free(json!({ "conversation_id": talk, "direction": direction, "body": format!("I am {canary}"),
                             "media": { "url": canary }, "external_id": format!("{canary} {direction} {talk}") })),
            );
            api.patch(&format!("messages/{message}"), json!({ "failed_reason": canary })).expect(200);
            rows.push(("messages", message));
        }
        rows.push(("conversations", talk));
    }
    let customer = |body: Value| {
        let mut body = free(body);
        body["starts_at"] = json!(format!("2099-01-{:02}T{:02}:00:00Z", 1 + number % 28, rows.len() % 24));
        body["ends_at"] = json!(format!("2099-01-{:02}T{:02}:30:00Z", 1 + number % 28, rows.len() % 24));
        body["time_zone"] = json!("UTC");
        api.make("bookings", body)
    };
    let booking = customer(json!({ "contact_id": contact, "customer_name": canary, "notes": canary }));
    let walk_in = customer(json!({ "customer_name": canary, "customer_email": email }));
    // Their number with an extension, and a previous number.
    let extended = customer(json!({ "customer_name": canary, "customer_phone": format!("{phone};ext=12") }));
    api.patch(&format!("contacts/{contact}"), json!({ "phone": format!("+4915112399{number:03}") })).expect(200);
    let renumbered = customer(json!({ "customer_name": canary, "customer_phone": format!("+4915112399{number:03}") }));
    let note = api.make("notes", free(json!({ "body": canary, "contact_id": contact })));
    api.delete(&format!("notes/{note}")).expect(204);
    let on_booking = api.make("notes", free(json!({ "body": canary, "booking_id": walk_in })));
    let decided = api.make(
        "decisions",
        json!({ "lead_id": lead, "author": "ai", "model": "gpt-5-mini", "decision": canary, "reason": canary,
                "payload": { "said": canary } }),
    );
    let task = api.make("tasks", free(json!({ "title": canary, "description": canary, "lead_id": lead })));
    rows.extend([
        ("bookings", extended),
        ("bookings", renumbered),
        ("bookings", booking),
        ("bookings", walk_in),
        ("notes", note),
        ("notes", on_booking),
        ("tasks", task),
        ("decisions", decided),
    ]);
    rows
}

/// Files with the contact's data, as dry run and as import: the previous values and the rejected row are stored.
fn imported(api: &Client, canary: &str) {
    let file = format!("email,title\n{canary}@example.com,Chief {canary}\nno address of {canary},\n");
    let import = api.upload("imports?resource=contacts&dry_run=true", "text/csv", file).expect(202).json;
    let path = format!("imports/{}", import["id"].as_str().expect("an id"));
    let until = |state: &str| {
        let began = Instant::now();
        while api.get(&path).expect(200).json["state"] != state {
            assert!(began.elapsed() < Duration::from_secs(60), "it is never {state}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    until("tried");
    assert!(api.get(&format!("{path}/preview")).expect(200).text.contains(canary), "the trial shows it");
    api.post(&format!("{path}/execution"), json!({})).expect(202);
    until("imported");
    assert!(api.get(&format!("{path}/errors")).expect(200).text.contains(canary));
    // And an import that was never started.
    let file = format!("email\n{canary}@example.com\n");
    api.upload("imports?resource=contacts&start=false", "text/csv", file).expect(201);
}

/// Tables with `text` in some row, as text or in bytes, and the number of rows.
fn found(database: &Database, text: &str) -> Vec<String> {
    let tables = database.rows::<1>("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'");
    let bytes: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let holds = format!("x::text ILIKE '%{text}%' OR x::text ILIKE '%{bytes}%'");
    let count = |table: &str| database.ask(&format!("SELECT count(*)::text FROM {table} x WHERE {holds}"));
    let found = tables.iter().map(|[table]| (table, count(table))).filter(|(_, count)| count != "0");
    found.map(|(table, count)| format!("{table}: {count}")).collect()
}

/// The service as a process, with its complete output.
struct Process(Child, tempfile::TempDir);

impl Process {
    fn start(database: &Database, redis: &str) -> (Self, std::net::SocketAddr) {
        let folder = tempfile::tempdir().expect("a folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let address: std::net::SocketAddr = ([127, 0, 0, 1], port).into();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
        command.args(["serve", "--log", "debug", "--metrics-bind", "off", "--bind", &address.to_string()]);
        command.args(["--database-url", &database.url, "--redis-url", redis, "--shutdown-drain-seconds", "0"]);
        command.stdout(log.try_clone().expect("a handle")).stderr(log).stdin(Stdio::null());
        let process = Self(command.spawn().expect("the binary"), folder);
        let (api, began) = (Client::new(address, ""), Instant::now());
        while api.try_get("/health/readiness").is_none_or(|answer| answer.status != 200) {
            assert!(began.elapsed() < Duration::from_secs(20), "{}", process.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        (process, address)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.1.path().join("log")).expect("its log")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything of `business` in Redis, as text.
fn kept(redis: &str, business: Uuid) -> Vec<String> {
    let mut conn = redis::Client::open(redis).and_then(|client| client.get_connection()).expect("Redis");
    let keys: Vec<String> = redis::cmd("KEYS").arg(format!("*{business}*")).query(&mut conn).expect("keys");
    let value = |key: &String| {
        let value: Option<Vec<u8>> = redis::cmd("GET").arg(key).query(&mut conn).unwrap_or_default();
        format!("{key} {}", String::from_utf8_lossy(&value.unwrap_or_default()))
    };
    keys.iter().map(value).collect()
}

fn forgotten_everywhere(mode: &str) {
    let redis = crate::support::redis().expect("no redis-server: see scripts/redis.sh");
    let database = Database::create();
    let business = make_business(&database, "acme");
    let (process, address) = Process::start(&database, &redis);
    let owner = Client::new(address, &make_key(&database, business, Role::Owner));
    let rows = known(&owner, CANARY, 1);
    let bystander = known(&owner, "bystander", 2);
    imported(&owner, CANARY);
    // Reads are cached: lists, searches, single rows with all relations.
    let read = |searches: bool| {
        for resource in RESOURCES.iter().filter(|resource| rows.iter().any(|(plural, _)| *plural == resource.plural)) {
            let all: Vec<&str> = resource.relations.iter().map(|relation| relation.name).collect();
            let all = if all.is_empty() { String::new() } else { format!("?include={}", all.join(",")) };
            owner.get(&format!("{}{all}", resource.plural)).expect(200);
            if searches && resource.search != Search::None {
                owner.get(&format!("{}?q={CANARY}", resource.plural)).expect(200);
            }
        }
        rows.iter().for_each(|(resource, id)| drop(owner.get(&format!("{resource}/{id}"))));
    };
    read(true);
    read(true);
    let before = found(&database, CANARY);
    for table in ["audit_log", "import_chunks", "import_row_results"] {
        assert!(before.len() >= 8 && before.iter().any(|found| found.starts_with(table)), "{before:?}");
    }
    let began = Instant::now();
    while !kept(&redis, business).iter().any(|entry| entry.contains(CANARY)) {
        assert!(began.elapsed() < Duration::from_secs(5), "nothing of it ever came to Redis");
        std::thread::sleep(Duration::from_millis(20));
    }
    let untouched = |resource: &str, id: &str| {
        Some(owner.get(&format!("{resource}/{id}"))).filter(|answer| answer.status == 200).map(|answer| answer.json)
    };
    // A task of another contact, linked to the same lead.
    let other_contact = &bystander[0].1;
    let lead = rows.iter().find(|(resource, _)| *resource == "leads").map(|(_, id)| id.clone()).expect("a lead");
    let shared = owner.make("tasks", json!({ "title": "Of both", "contact_id": other_contact, "lead_id": lead }));
    let theirs: Vec<Option<Value>> = bystander.iter().map(|(resource, id)| untouched(resource, id)).collect();

    let contact = &rows[0].1;
    let answer = owner.post(&format!("contacts/{contact}/erasure"), json!({ "mode": mode })).expect(200).json;
    let expected = json!({ "contacts": 2, "leads": 1, "conversations": 5, "conversation-labels": 0, "read-positions": 0, "messages": 8, "message-attempts": 0, "message-reactions": 0, "worker-tasks": 0, "contact-identities": 0, "duplicate-proposals": 0, "decisions": 1, "bookings": 4, "tasks": 1, "notes": 2, "merges": 2 });
    assert_eq!((&answer["mode"], &answer["rows"]), (&json!(mode), &expected));

    assert_eq!(found(&database, CANARY), Vec::<String>::new());
    assert_eq!(found(&database, "+4915112345001"), Vec::<String>::new());
    assert_eq!(found(&database, "+4915112399001"), Vec::<String>::new());
    assert_eq!(kept(&redis, business).iter().filter(|entry| entry.contains(CANARY)).count(), 0);
    // All cached versions are invalid, and further reads do not bring the data back.
    read(false);
    assert_eq!(kept(&redis, business).iter().filter(|entry| entry.contains(CANARY)).count(), 0);
    let log = process.log();
    assert!(log.contains("served") && !log.contains(CANARY), "{log}");
    for (resource, id) in &rows {
        let answer = owner.get(&format!("{resource}/{id}"));
        let gone = mode == "delete" || *resource == "contacts" || answer.status == 404;
        assert_eq!(answer.status, if gone { 404 } else { 200 }, "{resource}");
        assert!(!answer.text.contains(CANARY), "{}", answer.text);
    }
    let passing = "SELECT count(*)::text FROM contacts WHERE first_name = 'Passer-by 1' AND title = 'Boss' AND deleted_at IS NULL";
    assert_eq!(database.ask(passing), "1", "who was merged by mistake is left alone");
    let after: Vec<Option<Value>> = bystander.iter().map(|(resource, id)| untouched(resource, id)).collect();
    assert!(after == theirs, "who was not meant is left alone");
    // The audit log records the erasure of each row, with its actor.
    let told = owner.get("audit-log?action=erased&limit=500").expect(200);
    assert_eq!(told.rows().len(), rows.len());
    assert!(told.rows().iter().all(|entry| entry["actor_kind"] == "api_key" && entry["changes"] == json!({})));
    let task = owner.get(&format!("tasks/{shared}")).expect(200).json;
    assert_eq!((&task["title"], task["lead_id"].is_null()), (&json!("Of both"), mode == "delete"));
    let history = owner.get(&format!("tasks/{shared}/history?action=updated,erased")).expect(200);
    assert!(history.rows().iter().all(|entry| entry["action"] == "updated"), "{}", history.text);
    assert_eq!(history.rows().len(), usize::from(mode == "delete"), "clearing the link is recorded as an update");
    if mode == "anonymise" {
        let lead = owner.get(&format!("leads/{lead}")).expect(200).json;
        assert_eq!(
            (&lead["status"], &lead["source"], &lead["title"]),
            (&json!("lost"), &json!("website"), &json!("erased"))
        );
        // Repeating it has no effect.
        owner.post(&format!("contacts/{contact}/erasure"), json!({})).expect(200);
    } else {
        owner.post(&format!("contacts/{contact}/erasure"), json!({})).expect(404);
    }
}

#[test]
fn erase_contact_anonymise_leaves_no_trace() {
    forgotten_everywhere("anonymise");
}

#[test]
fn erase_contact_delete_leaves_no_trace() {
    forgotten_everywhere("delete");
}

#[test]
fn export_contact_has_every_related_row_and_no_other() {
    let service = Service::start();
    let owner = &service.client;
    let rows = known(owner, CANARY, 1);
    known(owner, "bystander", 2);
    let contact = &rows[0].1;
    let answer = owner.get(&format!("contacts/{contact}/export")).expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"contact-{contact}.json\""));
    let mut exported: Vec<(String, String)> = Vec::new();
    for (resource, list) in
        answer.json.as_object().expect("an object").iter().filter(|(resource, _)| *resource != "audit-log")
    {
        let ids = list.as_array().expect("rows").iter().map(|row| row["id"].as_str().expect("an id").to_owned());
        exported.extend(ids.map(|id| (resource.clone(), id)));
    }
    let mut expected: Vec<(String, String)> =
        rows.iter().map(|(resource, id)| ((*resource).to_owned(), id.clone())).collect();
    exported.sort();
    expected.sort();
    assert_eq!(exported, expected);
    assert!(!answer.text.contains("bystander"));
    assert_eq!(answer.json["leads"][0], owner.get(&format!("leads/{}", rows[1].1)).expect(200).json, "whole");
    assert!(answer.json["audit-log"].as_array().is_some_and(|log| log.len() > rows.len()));

    let told = owner.get("audit-log?action=exported").expect(200);
    assert_eq!((told.rows().len(), &told.rows()[0]["row_id"]), (1, &json!(contact)), "the export is logged");

    for (role, exports, erases) in [(Role::Agent, 403, 403), (Role::Manager, 200, 403), (Role::Admin, 200, 200)] {
        let api = service.client_as(role);
        assert_eq!(api.get(&format!("contacts/{contact}/export")).status, exports, "{role}");
        assert_eq!(api.post(&format!("contacts/{contact}/erasure"), json!({})).status, erases, "{role}");
    }
    let (_, neighbour) = service.neighbour();
    neighbour.get(&format!("contacts/{contact}/export")).expect(404);
    neighbour.post(&format!("contacts/{contact}/erasure"), json!({})).expect(404);
    owner.post(&format!("contacts/{contact}/erasure"), json!({ "mode": "shred" })).expect(422);
    // The business's setting is the default for requests without a mode.
    let business = format!("businesses/{}", service.business);
    service.client_as(Role::Manager).patch(&business, json!({ "erasure": "delete" })).expect(403);
    owner.patch(&business, json!({ "erasure": "delete" })).expect(200);
    assert_eq!(owner.post(&format!("contacts/{contact}/erasure"), json!({})).expect(200).json["mode"], "delete");
    let small = Service::with(&["--export-rows", "3"]);
    let rows = known(&small.client, CANARY, 3);
    let refused = small.client.get(&format!("contacts/{}/export", rows[0].1)).expect(409);
    assert!(refused.code() == "too_much" && refused.text.contains("RAPPORT_EXPORT_ROWS"), "{}", refused.text);
}

/// Two contacts merged by mistake, the first with all rows of the second; and an unlinked conversation and booking of
/// each.
fn mistaken(api: &Client) -> ([String; 2], [Vec<String>; 2]) {
    let anna = json!({ "first_name": "Anna", "email": "anna@example.com", "phone": "+493011111111" });
    let berta = json!({ "first_name": CANARY, "last_name": CANARY, "email": format!("{CANARY}@example.com"),
        "phone": "+493022222222", "metadata": { "secret": CANARY }, "tags": [CANARY] });
    let (one, other) = (api.make("contacts", anna), api.make("contacts", berta));
    let loose = [("anna@example.com", "+493011111111"), (&*format!("{CANARY}@example.com"), "+493022222222")].map(
        |(address, phone)| {
            let booking = json!({ "customer_name": "X", "customer_phone": phone, "starts_at": "2099-01-01T10:00:00Z",
                "ends_at": "2099-01-01T11:00:00Z" });
            let talk = json!({ "channel": "email", "address": address });
            vec![
                format!("conversations/{}", api.make("conversations", talk)),
                format!("bookings/{}", api.make("bookings", booking)),
            ]
        },
    );
    api.patch(&format!("contacts/{one}"), json!({ "title": "Before" })).expect(200);
    let prefer = json!({ "first_name": other, "email": other, "phone": other });
    let body = json!({ "from": [other], "prefer": prefer });
    let merge = api.post(&format!("contacts/{one}/merge"), body).expect(201).json;
    // A change between the merge and its undo; part of it stays with the first contact.
    let between =
        json!({ "first_name": "Anne", "metadata": { "secret": CANARY, "more": 1 }, "tags": [CANARY, "more"] });
    api.patch(&format!("contacts/{one}"), between).expect(200);
    let merge = merge["merge"]["id"].as_str().expect("an id");
    api.post(&format!("merges/{merge}/reversion"), json!({})).expect(200);
    api.patch(
        &format!("contacts/{one}"),
        json!({ "metadata": { "secret": null, "more": null }, "tags": [], "title": "After" }),
    )
    .expect(200);
    ([one, other], loose)
}

#[test]
fn erase_contact_after_reverted_merge_keeps_the_other() {
    for mode in ["anonymise", "delete"] {
        let service = Service::start();
        let (api, database) = (&service.client, &service.database);
        let ([one, other], [mine, theirs]) = mistaken(api);
        let before: Vec<Value> = mine.iter().map(|path| api.get(path).expect(200).json).collect();
        assert!(!found(database, CANARY).is_empty());
        let erased = api.post(&format!("contacts/{other}/erasure"), json!({ "mode": mode })).expect(200).json;
        assert_eq!((&erased["rows"]["contacts"], &erased["rows"]["conversations"]), (&json!(1), &json!(1)));
        assert_eq!((&erased["rows"]["bookings"], &erased["rows"]["merges"]), (&json!(1), &json!(1)));
        assert_eq!(found(database, CANARY), Vec::<String>::new(), "{mode}");
        assert_eq!(found(database, "+493022222222"), Vec::<String>::new(), "{mode}");
        let after: Vec<Value> = mine.iter().map(|path| api.get(path).expect(200).json).collect();
        assert_eq!(before, after, "{mode}");
        // The audit log of the first contact alone is unchanged.
        let left = api.get(&format!("contacts/{one}")).expect(200).json;
        assert_eq!((&left["email"], &left["title"]), (&json!("anna@example.com"), &json!("After")));
        let history = api.get(&format!("contacts/{one}/history")).expect(200);
        let titles = |title: &str| history.rows().iter().any(|entry| entry["changes"]["title"]["new"] == title);
        assert!(titles("Before"), "{}", history.text);

        let service = Service::start();
        let (api, database) = (&service.client, &service.database);
        let ([one, other], [mine, theirs_too]) = mistaken(api);
        assert_eq!(theirs.len(), theirs_too.len());
        let rest = |path: &str| api.get(path).expect(200).json;
        let before: Vec<Value> = theirs_too.iter().map(|path| rest(path)).collect();
        let person = rest(&format!("contacts/{other}"));
        let erased = api.post(&format!("contacts/{one}/erasure"), json!({ "mode": mode })).expect(200).json;
        assert_eq!((&erased["rows"]["contacts"], &erased["rows"]["conversations"]), (&json!(1), &json!(1)));
        assert_eq!((&erased["rows"]["bookings"], &erased["rows"]["merges"]), (&json!(1), &json!(1)));
        assert_eq!(found(database, "anna@example.com"), Vec::<String>::new(), "{mode}");
        assert_eq!(found(database, "+493011111111"), Vec::<String>::new(), "{mode}");
        let after: Vec<Value> = theirs_too.iter().map(|path| rest(path)).collect();
        assert_eq!((before, person), (after, rest(&format!("contacts/{other}"))), "{mode}");
        for path in mine {
            let gone = api.get(&path);
            assert!(gone.status == 404 || !gone.text.contains("anna@"), "{}", gone.text);
        }
    }
}
