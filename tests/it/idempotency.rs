//! Tests of idempotency keys: a request sent twice is executed once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use rapport::app::registry::RESOURCES;
use rapport::auth::Role;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Database, Post, Program, Samples, Service, make_business, make_key, module_of};

fn post(client: &Client, path: &str, key: &str, body: &Value) -> Answer {
    client.send(client.request("POST", path).header("Idempotency-Key", key).json(body))
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == "true"
}

/// Asserts that both responses are equal, and that the second was replayed.
fn assert_replayed(first: &Answer, again: &Answer) {
    assert!(!is_replayed(first) && is_replayed(again), "{first:?} {again:?}");
    assert_eq!((first.status, &first.text), (again.status, &again.text));
    for header in ["location", "etag", "content-type"] {
        assert_eq!(first.header(header), again.header(header), "{header}");
    }
}

#[test]
fn create_with_repeated_idempotency_key_creates_once() {
    let service = Service::start();
    let mut samples = Samples::new(&service.client);
    for resource in
        RESOURCES.iter().filter(|resource| resource.operations.create && module_of(resource).custom_create.is_none())
    {
        let body = Value::Object(samples.body(resource));
        let first = post(&service.client, resource.plural, "once", &body).expect(201);
        let count = service.client.all(resource.plural).len();
        let again = post(&service.client, resource.plural, "once", &body);
        match resource.secret {
            None => assert_replayed(&first, &again),
            Some(secret) => {
                assert_eq!((again.status, again.code()), (409, "idempotency_not_replayable"), "{}", resource.plural);
                let secret = first.json[secret.name].as_str().expect("a secret");
                let kept = format!(
                    "SELECT count(*)::text FROM idempotency_keys WHERE position('{secret}'::bytea IN body) > 0"
                );
                assert_eq!(service.database.cell(&kept), "0");
            }
        }
        assert_eq!(service.client.all(resource.plural).len(), count, "{}", resource.plural);
    }
}

#[test]
fn action_with_repeated_idempotency_key_runs_once() {
    let service = Service::start();
    let client = &service.client;
    let lead = client.make("leads", json!({ "title": "One" }));
    client.delete(&format!("leads/{lead}")).expect(204);
    let restoration = format!("leads/{lead}/restoration");
    let first = post(client, &restoration, "back", &json!({})).expect(200);
    client.patch(&format!("leads/{lead}"), json!({ "title": "Two" })).expect(200);
    // The stored response, not the current state.
    assert_replayed(&first, &post(client, &restoration, "back", &json!({})));

    let key = client.make("api-keys", json!({ "name": "Form", "role": "viewer" }));
    let rotation = format!("api-keys/{key}/rotation");
    post(client, &rotation, "turn", &json!({})).expect(200);
    let again = post(client, &rotation, "turn", &json!({}));
    assert_eq!((again.status, again.code()), (409, "idempotency_not_replayable"));

    let contact = client.make("contacts", json!({ "email": "ann@example.com" }));
    let kept = post(client, "notes", "note", &json!({ "body": "Ann is ill", "contact_id": contact })).expect(201);
    let erasure = format!("contacts/{contact}/erasure");
    let first = post(client, &erasure, "forget", &json!({})).expect(200);
    assert_replayed(&first, &post(client, &erasure, "forget", &json!({})));
    // A response with her data is not replayed after the erasure, and the request is not executed again either.
    let again = post(client, "notes", "note", &json!({ "body": "Ann is ill", "contact_id": contact }));
    assert_eq!((again.status, again.code()), (409, "idempotency_not_replayable"), "{kept:?}");
    assert_eq!(client.all("notes").len(), 1);
}

#[test]
fn invite_with_repeated_idempotency_key_sends_one_email() {
    let post_office = Post::open();
    let settings = [
        "--smtp-url",
        &post_office.url,
        "--mail-from",
        "Rapport <crm@example.com>",
        "--app-url",
        "https://app.example.com",
    ];
    let service = Service::with(&settings);
    let body = json!({ "email": "bo@example.com", "name": "Bo", "role": "agent" });
    let first = post(&service.client, "invitations", "ask", &body).expect(201);
    assert_replayed(&first, &post(&service.client, "invitations", "ask", &body));
    // The next email is that of the next invitation.
    post(&service.client, "invitations", "other", &json!({ "email": "cy@example.com", "name": "Cy", "role": "agent" }))
        .expect(201);
    // Both are sent concurrently, in either order.
    let mut mails = [post_office.next(), post_office.next()].map(|mail| mail.to);
    mails.sort();
    assert_eq!(mails, ["bo@example.com", "cy@example.com"]);
}

#[test]
fn idempotency_key_scoped_to_caller_and_route_reuse_422() {
    let service = Service::start();
    let (_, neighbour) = service.neighbour();
    let client = &service.client;
    let body = json!({ "title": "One" });
    let first = post(client, "leads", "k", &body).expect(201);
    assert_replayed(&first, &post(client, "leads", "k", &body));
    let other = post(client, "leads", "k", &json!({ "title": "Two" })).expect(422);
    assert_eq!(other.code(), "idempotency_key_reused");
    let ids: BTreeSet<String> = [
        first,
        post(client, "leads", "l", &body).expect(201),
        // another route, another API key, another business
        post(client, "campaigns", "k", &json!({ "name": "One" })).expect(201),
        post(&service.client_as(Role::Agent), "leads", "k", &body).expect(201),
        post(&neighbour, "leads", "k", &body).expect(201),
    ]
    .iter()
    .map(|answer| answer.json["id"].as_str().expect("an id").to_owned())
    .collect();
    assert_eq!(ids.len(), 5);
    // A rejected request is not stored: nothing was done.
    post(client, "leads", "m", &json!({ "title": "" })).expect(422);
    assert!(!is_replayed(&post(client, "leads", "m", &body).expect(201)));
    // A caller without the permission gets no stored response.
    let revoked = service.client_as(Role::Agent);
    post(&revoked, "leads", "k", &body).expect(201);
    service.database.run("DELETE FROM api_keys WHERE role = 'agent'");
    post(&revoked, "leads", "k", &body).expect(401);
    for bad in ["", " ", "two words", &"x".repeat(256), "ümlaut"] {
        let refused = post(client, "leads", bad, &body).expect(400);
        assert_eq!(refused.code(), "invalid_idempotency_key", "{bad:?}");
    }
}

#[test]
fn concurrent_posts_with_one_idempotency_key_one_effect() {
    let service = Service::with(&["--db-connections", "8"]);
    let body = json!({ "title": "One" });
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..50).map(|_| scope.spawn(|| post(&service.client, "leads", "k", &body))).collect();
        all.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    let done: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(done.iter().filter(|answer| !is_replayed(answer)).count(), 1);
    assert_eq!(done.iter().map(|answer| &answer.text).collect::<BTreeSet<_>>().len(), 1);
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!((refused.status, refused.code()), (409, "idempotency_in_progress"));
        assert_eq!(refused.header("retry-after"), "1", "when to ask again");
    }
    assert_eq!(service.client.all("leads").len(), 1);
}

/// Kill points: before the write, in the middle of it, before its response is stored, and after the commit. A lock of
/// the test holds the process there.
#[test]
fn retry_with_idempotency_key_after_killed_process_runs_once() {
    let database = Database::create();
    let business = make_business(&database, "acme");
    let key = make_key(&database, business, Role::Owner);
    let body = json!({ "title": "One" });
    let points = [
        ("before", "LOCK TABLE idempotency_keys IN ACCESS EXCLUSIVE MODE"),
        ("in-the-middle", "LOCK TABLE leads IN SHARE MODE"),
        ("before-it-is-kept", "LOCK TABLE idempotency_keys IN SHARE MODE"),
    ];
    for (point, lock) in points {
        let program = Program::serve(&[("DATABASE_URL", database.url.as_str())]);
        program.until_ready();
        let client = program.client(&key);
        // The process has cached the credential, so that only the write is held.
        client.get("leads").expect(200);
        let mut holder = database.connect();
        holder.batch_execute(&format!("BEGIN; {lock}")).expect("the lock");
        let lost = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let request = client.request("POST", "leads").header("Idempotency-Key", point).json(&body);
                request.send().is_err()
            });
            let waiting = "SELECT count(*)::text FROM pg_locks WHERE NOT granted";
            until(|| database.cell(waiting) != "0");
            drop(program);
            asking.join().expect("a thread")
        });
        assert!(lost, "{point}");
        holder.batch_execute("ROLLBACK").expect("the lock is free");
        let program = Program::serve(&[("DATABASE_URL", database.url.as_str())]);
        program.until_ready();
        let client = program.client(&key);
        // PostgreSQL needs a moment to detect the killed client.
        let mut asked = None;
        until(|| {
            let answer = asked.insert(post(&client, "leads", point, &body));
            answer.code() != "idempotency_in_progress"
        });
        let answer = asked.expect("an answer").expect(201);
        assert!(!is_replayed(&answer), "{point}");
        assert_replayed(&answer, &post(&client, "leads", point, &body));
    }
    // After the commit: the response was never received.
    let program = Program::serve(&[("DATABASE_URL", database.url.as_str())]);
    program.until_ready();
    let client = program.client(&key);
    let first = post(&client, "leads", "after", &body).expect(201);
    drop(program);
    let program = Program::serve(&[("DATABASE_URL", database.url.as_str())]);
    program.until_ready();
    assert_replayed(&first, &post(&program.client(&key), "leads", "after", &body));
    assert_eq!(program.client(&key).all("leads").len(), 4);
}

/// Waits for a condition that must become true.
fn until(mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "it never comes");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn upload_with_repeated_idempotency_key_imports_once() {
    let service = Service::start();
    let upload = |key: &str, text: &str| {
        let request =
            service.client.request("POST", "imports?resource=contacts&start=false").header("Idempotency-Key", key);
        service.client.send(request.header("Content-Type", "text/csv").body(text.to_owned()))
    };
    let file = "First name,E-mail\nAnn,ann@example.com\n";
    let first = upload("file", file).expect(201);
    assert_replayed(&first, &upload("file", file));
    assert_eq!(service.database.cell("SELECT count(DISTINCT import_id)::text FROM import_chunks"), "1");
    let other = upload("file", "First name,E-mail\nBo,bo@example.com\n").expect(422);
    assert_eq!(other.code(), "idempotency_key_reused");
    let execution = format!("imports/{}/execution", first.json["id"].as_str().expect("an id"));
    let begun = post(&service.client, &execution, "go", &json!({})).expect(202);
    let jobs = || service.database.rows::<1>("SELECT kind FROM jobs WHERE kind = 'import'");
    let first = jobs();
    assert_replayed(&begun, &post(&service.client, &execution, "go", &json!({})));
    assert_eq!(jobs(), first);
    assert_eq!(first.len(), 1, "{first:?}");
}

#[test]
fn idempotency_keys_expire_after_24_hours() {
    let service = Service::start();
    let body = json!({ "title": "One" });
    for key in ["old", "new"] {
        post(&service.client, "leads", key, &body).expect(201);
    }
    service.database.run(
        "UPDATE idempotency_keys SET created_at = now() - interval '24 hours 1 minute'
         WHERE id = (SELECT id FROM idempotency_keys ORDER BY created_at LIMIT 1)",
    );
    let (database, business) = (service.database.clone(), service.business);
    let key = make_key(&database, business, Role::Owner);
    let _worker = Service::on(database, business, &key, &["--background-tasks", "on"]);
    until(|| service.database.cell("SELECT count(*)::text FROM idempotency_keys") == "1");
    assert!(is_replayed(&post(&service.client, "leads", "new", &body).expect(201)));
    assert!(!is_replayed(&post(&service.client, "leads", "old", &body).expect(201)));
}

#[test]
fn openapi_lists_idempotency_key_for_each_authenticated_post() {
    let service = Service::start();
    let document = service.stranger().get("/openapi.json").expect(200).json;
    let mut named = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let post = &item["post"];
        let takes = post["parameters"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["$ref"] == "#/components/parameters/IdempotencyKey"));
        let anyhow = ["/batch/read", "/duplicates", "/auth/password-changes", "/ops/cache/purge"]
            .iter()
            .any(|end| path.ends_with(end));
        let expected = post.is_object() && post["security"].is_null() && !anyhow;
        assert_eq!(takes, expected, "{path}");
        named.extend(takes.then_some(path));
    }
    assert!(named.len() > 20);
    assert_eq!(document["components"]["parameters"]["IdempotencyKey"]["name"], "Idempotency-Key");
}
