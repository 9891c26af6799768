//! Tests of bulk operations: rows selected by a filter, counted first, then changed once each, also after process
//! kills.

use std::time::{Duration, Instant};

use rapport::app::registry::RESOURCES;
use rapport::auth::{Role, Tenant};
use rapport::db;
use serde_json::{Value, json};

use crate::sign_in::{admit, client, sign_in};
use crate::support::{Answer, Client, Program, Samples, Service, kills, until};

fn ask(api: &Client, resource: &str, body: Value) -> Answer {
    api.post(&format!("{resource}/bulk-operations"), body)
}

/// Waits for the job that `answer` points to, and returns it.
#[track_caller]
fn ended(api: &Client, answer: &Answer) -> Value {
    assert_eq!(answer.status, 202, "{}", answer.text);
    let place = answer.header("location");
    assert_eq!(place, format!("/api/v1/ops/jobs/{}", answer.json["job"]["id"].as_str().expect("an id")));
    let began = Instant::now();
    loop {
        let job = api.get(place).expect(200).json;
        if !matches!(job["state"].as_str(), Some("queued" | "running")) {
            return job;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{job}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Creates `count` leads, each with its number as its score.
fn leads(service: &Service, count: usize) {
    service.database.run(&format!(
        "INSERT INTO leads (business_id, id, title, score, source, tags)
         SELECT '{}', rapport_uuid_v7(), 'Lead ' || n, n % 100, 'import', '{{a,b}}' FROM generate_series(0, {count} - 1) n",
        service.business
    ));
}

fn count(api: &Client, query: &str) -> i64 {
    let list = api.get(&format!("leads?limit=1&count=exact&{query}")).expect(200);
    list.json["page"]["total"].as_i64().expect("a number")
}

#[test]
fn bulk_operation_changes_exactly_the_rows_the_filter_matches() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    leads(&service, 600);
    api.create("leads", json!({ "title": "Other", "source": "web", "score": 7 }));
    let dry = json!({ "action": "delete", "filter": { "source": "import", "score_min": 50 }, "dry_run": true });
    let counted = ask(api, "leads", dry).expect(200);
    assert_eq!(counted.json, json!({ "matched": 300, "job": null }));
    assert_eq!(counted.header("location"), "");

    // Across two steps, although changed rows leave the filter, and others would enter it.
    let body = json!({ "action": "update", "filter": { "score_min": 50, "status": ["new", "won"] }, "set": { "status": "won", "score": 99 } });
    let asked = ask(api, "leads", body);
    assert_eq!((&asked.json["matched"], &asked.json["job"]["kind"]), (&json!(300), &json!("bulk_operation")));
    let job = ended(api, &asked);
    assert_eq!(
        (&job["state"], &job["total"], &job["done"], &job["failed"]),
        (&json!("succeeded"), &json!(300), &json!(300), &json!(0))
    );
    assert_eq!(job["result"], json!({ "changed": 300, "failed": 0, "refused": [] }));
    assert_eq!(count(api, "status=won&score=99"), 300);
    let won = api.get("leads?status=won&limit=1").expect(200).rows()[0].clone();
    assert!(won["closed_at"].is_string() && won["version"] == 2, "as if each was changed alone: {won}");
    let told = api.get(&format!("leads/{}/history", won["id"].as_str().expect("an id"))).expect(200);
    assert_eq!(told.rows()[0]["request_id"], json!(format!("job-{}", job["id"].as_str().expect("an id"))));

    let tag = json!({ "action": "tag", "filter": { "tags": "a", "q": "lead" }, "add": ["c", "b"], "remove": ["a"] });
    ended(api, &ask(api, "leads", tag.clone()));
    assert_eq!((count(api, "tags=a"), count(api, "tags=c")), (0, 600));
    assert_eq!(api.get("leads?tags=c&limit=1").expect(200).rows()[0]["tags"], json!(["b", "c"]));
    assert_eq!(ask(api, "leads", tag).json["matched"], 0, "nothing is left to be done");

    let member = api.get("users").expect(200).rows().first().map(|row| row["id"].clone());
    let member = member.unwrap_or_else(|| {
        api.create("users", json!({ "email": "a@example.com", "name": "A", "role": "agent" }))["id"].clone()
    });
    let assign = json!({ "action": "assign", "filter": { "source": "web" }, "assignee_id": member });
    ended(api, &ask(api, "leads", assign));
    assert_eq!(count(api, &format!("assignee_id={}", member.as_str().expect("an id"))), 1);
    let free = json!({ "action": "assign", "filter": {}, "assignee_id": null });
    assert_eq!(ended(api, &ask(api, "leads", free))["done"], 601);
    assert_eq!(count(api, "assignee_id=none"), 601);

    let delete =
        json!({ "action": "delete", "filter": { "created_before": "2100-01-01T00:00:00Z", "source": "import" } });
    assert_eq!(ended(api, &ask(api, "leads", delete))["result"]["changed"], 600);
    assert_eq!((count(api, ""), count(api, "deleted=true")), (1, 600));
    // A rejected row is not changed, and does not affect the others.
    let labels: Vec<String> = (0..50).map(|n| format!("l{n}")).collect();
    let full = api.make("leads", json!({ "title": "Full", "tags": labels }));
    let job = ended(api, &ask(api, "leads", json!({ "action": "tag", "filter": {}, "add": ["more"] })));
    assert_eq!((&job["done"], &job["failed"], &job["result"]["changed"]), (&json!(2), &json!(1), &json!(1)));
    let refused = &job["result"]["refused"][0];
    assert_eq!((&refused["id"], &refused["problem"]["errors"][0]["pointer"]), (&json!(full), &json!("/tags")));
}

#[test]
fn bulk_operations_exist_for_each_batch_resource_else_405() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let mut samples = Samples::new(api);
    for resource in RESOURCES {
        if !resource.operations.batch {
            api.post(&format!("{}/bulk-operations", resource.path()), json!({})).expect(405);
            continue;
        }
        let row = samples.row(resource);
        let filter = json!({ "external_id": row["external_id"] });
        let set = json!({ "action": "update", "filter": filter, "set": { "metadata": { "bulk": true } } });
        let asked = ask(api, resource.plural, set);
        assert_eq!(asked.json["matched"], 1, "{}: {}", resource.plural, asked.text);
        let job = ended(api, &asked);
        assert_eq!(job["result"]["changed"], 1, "{}: {job}", resource.plural);
        let path = format!("{}/{}", resource.plural, row["id"].as_str().expect("an id"));
        assert_eq!(api.get(&path).expect(200).json["metadata"]["bulk"], true, "{}", resource.plural);
        ended(api, &ask(api, resource.plural, json!({ "action": "delete", "filter": filter })));
        api.get(&path).expect(404);
    }
}

#[test]
fn bulk_update_with_worker_killed_changes_each_row_once() {
    // 250 rows with each step.
    let rows = 750 + 500 * kills();
    let service = Service::start();
    let api = &service.client;
    leads(&service, rows);
    let asked = ask(
        api,
        "leads",
        json!({ "action": "update", "filter": { "source": "import" }, "set": { "source": "import", "lost_reason": "Old" } }),
    );
    assert_eq!(asked.json["matched"], rows);
    // Rows created later are not included.
    let later = api.make("leads", json!({ "title": "Later", "source": "import" }));
    let url = service.database.url.clone();
    let settings = [("DATABASE_URL", url.as_str()), ("RAPPORT_JOB_LEASE_SECONDS", "1")];
    let done = || -> i64 {
        service.database.ask("SELECT count(*)::text FROM leads WHERE version > 1").parse().expect("a number")
    };
    // Each worker is killed as soon as it has changed rows.
    for _ in 0..kills() {
        let (before, began) = (done(), Instant::now());
        let worker = Program::work(&settings);
        while done() == before && before < rows as i64 {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing is done");
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(worker);
        // Expires the lease of the killed process at once.
        service.database.run("UPDATE job_runs SET leased_until = now() WHERE leased_until IS NOT NULL");
    }
    let _worker = Program::work(&settings);
    let job = ended(api, &asked);
    assert_eq!(
        (&job["state"], &job["done"], &job["result"]["changed"]),
        (&json!("succeeded"), &json!(rows), &json!(rows))
    );
    let versions = service.database.ask("SELECT string_agg(version || ' x ' || n, ', ' ORDER BY version) FROM (SELECT version, count(*) AS n FROM leads GROUP BY 1) v");
    assert_eq!(versions, format!("1 x 1, 2 x {rows}"));
    assert_eq!(api.get(&format!("leads/{later}")).expect(200).json["version"], 1);
    let told = service.database.ask("SELECT count(*) || ' of ' || count(DISTINCT row_id) FROM audit_entries WHERE resource = 'leads' AND action = 'updated'");
    assert_eq!(told, format!("{rows} of {rows}"));
}

#[test]
fn bulk_filter_string_is_one_value_and_array_is_several() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let labels = ["vip, keep", "vip", "keep"];
    let rows = labels.map(|label| api.make("leads", json!({ "title": label, "source": label, "tags": [label] })));
    let matched = |filter: Value| {
        let order = json!({ "action": "delete", "filter": filter, "dry_run": true });
        ask(api, "leads", order).expect(200).json["matched"].as_i64().expect("a number")
    };
    for (filter, expected) in [
        (json!({ "tags": "vip, keep" }), 1),
        (json!({ "tags": ["vip, keep"] }), 1),
        (json!({ "tags": ["vip", "keep"] }), 2),
        (json!({ "tags": "vip,keep" }), 0),
        (json!({ "source": "vip, keep" }), 1),
        (json!({ "source": ["vip, keep", "keep"] }), 2),
        (json!({ "q": "vip, keep", "score_min": 0, "score_max": 0 }), 1),
        (json!({ "status": "new" }), 3),
    ] {
        assert_eq!(matched(filter.clone()), expected, "{filter}");
    }
    // An error says what to write instead.
    let refused = |filter: Value, said: &str| {
        let answer = ask(api, "leads", json!({ "action": "delete", "filter": filter })).expect(422);
        assert!(
            answer.json["errors"][0]["detail"].as_str().is_some_and(|detail| detail.contains(said)),
            "{}",
            answer.text
        );
    };
    refused(json!({ "status": "new,won" }), r#"Several values are a list: {"status":["new","won"]}."#);
    refused(json!({ "score": { "gte": 5 } }), "Bounds are filters of their own: `score_min` and `score_max`.");
    refused(json!({ "score_min": [1, 2] }), "`score_min` takes one value");
    refused(json!({ "tags": [] }), "Leave it out");
    refused(json!({ "tags": [["vip"]] }), r#"or a list of such: {"tags": ["one", "another"]}"#);
    refused(json!({ "company_id": null }), r#"Rows without one: {"company_id": "none"}."#);
    refused(json!({ "stats": ["new", "won"] }), "There is no parameter `stats`");

    // A job's stored filter is read alike by every release; one stored by an earlier release keeps its meaning.
    let asked = ask(api, "leads", json!({ "action": "delete", "filter": { "tags": "vip, keep" } }));
    assert_eq!(ended(api, &asked)["result"]["changed"], 1);
    api.get(&format!("leads/{}", rows[0])).expect(404);
    rows[1..].iter().for_each(|row| drop(api.get(&format!("leads/{row}")).expect(200)));
    let tenant = Tenant::for_operator(service.business);
    let kept = json!({ "resource": "leads", "work": { "delete": true }, "filter": { "tags": "vip, keep" }, "until": "2100-01-01T00:00:00Z" });
    let job = db::in_transaction(&mut service.database.connect(), |tx| {
        rapport::background::enqueue(tx, &tenant, &rapport::integrations::bulk::BULK, kept.clone())
    });
    let path = format!("ops/jobs/{}", job.expect("a job"));
    until("it has ended", || api.get(&path).expect(200).json["state"] == "succeeded");
    assert_eq!(count(api, ""), 0);
}

#[test]
fn invalid_bulk_operation_422_and_no_job_created() {
    let service = Service::start();
    let api = &service.client;
    let (_, neighbour) = service.neighbour();
    let jobs = || service.database.ask("SELECT count(*)::text FROM job_runs WHERE kind = 'bulk_operation'");
    let refused = |resource: &str, body: Value, expected: &[&str]| {
        let answer = ask(api, resource, body.clone());
        assert_eq!(answer.faults(), expected, "{body} {}", answer.text);
        answer.expect(422);
    };
    refused("leads", json!({}), &["/action", "/filter"]);
    refused("leads", json!({ "action": "burn", "filter": [], "dry_run": 1 }), &["/action", "/dry_run", "/filter"]);
    refused(
        "leads",
        json!({ "action": "delete", "filter": { "sort": "x", "stat": "new", "score": {} } }),
        &["/filter/score", "/filter/sort", "/filter/stat"],
    );
    refused(
        "leads",
        json!({ "action": "delete", "filter": { "status": ["new", "old"], "deleted": true }, "set": {} }),
        &["/filter/deleted", "/filter/status", "/set"],
    );
    refused("leads", json!({ "action": "update", "filter": {} }), &["/set"]);
    refused("leads", json!({ "action": "update", "filter": {}, "set": {} }), &["/set"]);
    refused(
        "leads",
        json!({ "action": "update", "filter": {}, "set": { "score": 101, "id": "x", "nope": 1 } }),
        &["/set/id", "/set/nope", "/set/score"],
    );
    refused("contacts", json!({ "action": "update", "filter": {}, "set": { "email": "a@b.example" } }), &["/set"]);
    refused("leads", json!({ "action": "assign", "filter": {} }), &["/assignee_id"]);
    refused("contacts", json!({ "action": "assign", "filter": {}, "owner_id": "x" }), &["/owner_id"]);
    refused("tasks", json!({ "action": "tag", "filter": {}, "add": ["a"] }), &["/action"]);
    refused("leads", json!({ "action": "tag", "filter": {} }), &["/add"]);
    refused("leads", json!({ "action": "tag", "filter": {}, "add": ["a"], "remove": ["a"] }), &["/remove"]);
    refused("leads", json!({ "action": "tag", "filter": {}, "add": "a", "remove": [""] }), &["/add", "/remove"]);
    ask(api, "leads", json!([])).expect(400);
    api.post("leads/bulk-operations?status=new", json!({ "action": "delete", "filter": {} })).expect(400);
    // References must point to rows of the same business.
    let theirs = neighbour.make("companies", json!({ "name": "Theirs" }));
    refused(
        "leads",
        json!({ "action": "update", "filter": {}, "set": { "company_id": theirs } }),
        &["/set/company_id"],
    );
    let nobody = uuid::Uuid::now_v7();
    refused("leads", json!({ "action": "assign", "filter": {}, "assignee_id": nobody }), &["/assignee_id"]);
    assert_eq!(jobs(), "0");
    // A valid request creates one.
    ask(api, "leads", json!({ "action": "delete", "filter": {} })).expect(202);
    assert_eq!(jobs(), "1");
}

#[test]
fn bulk_operation_limited_to_rows_its_creator_may_change() {
    let service = Service::with(&["--background-tasks", "on"]);
    let boss = &service.client;
    let (_, neighbour) = service.neighbour();
    admit(&service, "acme", "amina@example.com", "agent");
    let session = sign_in(&service, "amina@example.com").expect(201).json;
    let (amina, her) = (client(&service, &session), session["user"]["id"].clone());
    boss.patch(&format!("businesses/{}", service.business), json!({ "agent_visibility": "assigned" })).expect(200);
    let hers = boss.make("leads", json!({ "title": "Hers", "assignee_id": her }));
    let other = boss.make("leads", json!({ "title": "Other" }));
    neighbour.make("leads", json!({ "title": "Theirs" }));
    let all = |score: i64| json!({ "action": "update", "filter": {}, "set": { "score": score } });
    let asked = ask(&amina, "leads", all(9));
    assert_eq!(asked.json["matched"], 1);
    assert_eq!(ended(&amina, &asked)["result"]["changed"], 1);
    let score = |id: &str| boss.get(&format!("leads/{id}")).expect(200).json["score"].clone();
    assert_eq!((score(&hers), score(&other)), (json!(9), json!(0)));
    ask(&amina, "leads", json!({ "action": "delete", "filter": {} })).expect(403);
    ask(&service.client_as(Role::Viewer), "leads", all(1)).expect(403);
    ask(
        &service.client_as(Role::Agent),
        "services",
        json!({ "action": "update", "filter": {}, "set": { "active": true } }),
    )
    .expect(403);
    assert_eq!(ended(&neighbour, &ask(&neighbour, "leads", all(5)))["done"], 1);
    assert_eq!((score(&hers), score(&other)), (json!(9), json!(0)), "a neighbour's own is all they change");
    // Two requests with one idempotency key create one job.
    let send = || {
        let request = boss.request("POST", "leads/bulk-operations").header("Idempotency-Key", "once");
        boss.send(request.json(&all(3)))
    };
    let (first, again) = (send(), send());
    assert_eq!((first.status, again.status, &first.json), (202, 202, &again.json));
    assert_eq!(ended(boss, &first)["done"], 2);
}
