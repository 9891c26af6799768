//! Tests of batches (many rows in one request): which resources have them, validation, cost in statements, and that a
//! batch gives the same results as single requests.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use proptest::prelude::*;
use rapport::app::registry::RESOURCES;
use rapport::resource::batch::{BatchAction, MAX_ITEMS};
use rapport::resource::{FieldType, Resource};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::sign_in::{admit, client, sign_in};
use crate::support::{Answer, Client, Samples, Service, for_cases, module_of};

fn resources() -> impl Iterator<Item = &'static Resource> {
    RESOURCES.into_iter().filter(|resource| resource.operations.batch)
}

#[track_caller]
fn results(answer: &Answer) -> &[Value] {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let results = answer.json["results"].as_array().expect("results");
    let failed = results.iter().filter(|result| result.get("problem").is_some()).count();
    assert_eq!(answer.json["failed"], failed);
    assert_eq!(answer.json["succeeded"], results.len() - failed);
    results
}

#[track_caller]
fn statuses(answer: &Answer) -> Vec<u64> {
    results(answer).iter().map(|result| result["status"].as_u64().expect("a status")).collect()
}

/// The pointers of the field errors in a result's problem document.
fn pointers(result: &Value) -> Vec<&str> {
    let faults = result["problem"]["errors"].as_array().into_iter().flatten();
    faults.filter_map(|fault| fault["pointer"].as_str()).collect()
}

fn act(api: &Client, resource: &str, act: BatchAction, body: Value) -> Answer {
    api.post(&format!("{resource}/batch/{}", act.name()), body)
}

/// Asserts that each result is the row as a read returns it, with the expected status.
#[track_caller]
fn are_as_read(api: &Client, resource: &Resource, answer: &Answer, expected: &[u64]) -> Vec<String> {
    assert_eq!(statuses(answer), expected, "{}: {}", resource.plural, answer.text);
    let ids = results(answer).iter().map(|result| {
        let id = result["id"].as_str().expect("an id").to_owned();
        let read = api.get(&format!("{}/{id}", resource.plural)).expect(200);
        assert_eq!(read.json, result["row"], "{}", resource.plural);
        assert_eq!(read.header("etag"), result["etag"], "{}", resource.plural);
        id
    });
    ids.collect()
}

#[test]
fn batch_create_update_upsert_delete_works_for_each_resource() {
    let service = Service::start();
    let api = &service.client;
    let mut samples = Samples::new(api);
    let mut count = 0;
    for resource in resources() {
        count += 1;
        let plural = resource.plural;
        let whole: Vec<Map<String, Value>> = (0..3).map(|_| samples.body(resource)).collect();
        let least = least(api, resource, &whole[0]);
        let least = with_unique_values(resource, least, &samples.body(resource));
        let mut items: Vec<Value> = whole.iter().cloned().map(Value::Object).collect();
        items.push(Value::Object(least.clone()));
        let made = act(api, plural, BatchAction::Create, json!({ "items": items }));
        let ids = are_as_read(api, resource, &made, &[201; 4]);
        assert!(ids.is_sorted(), "{plural}: rows sort as their items did");
        let alone = with_unique_values(resource, least, &samples.body(resource));
        is_as_made_alone(api, resource, alone, &results(&made)[3]["row"]);

        let changed = act(
            api,
            plural,
            BatchAction::Update,
            json!({ "items": [
                { "id": ids[2], "metadata": { "a": 1 } }, { "id": ids[0], "version": results(&made)[0]["row"]["version"], "metadata": { "a": 2 } },
                { "id": ids[1] }, { "id": ids[3], "version": 1 },
            ] }),
        );
        let again = are_as_read(api, resource, &changed, &[200; 4]);
        assert_eq!(again, [&ids[2], &ids[0], &ids[1], &ids[3]].map(String::clone));
        let row = |place: usize| &results(&changed)[place]["row"];
        assert_eq!((&row(0)["metadata"]["a"], &row(1)["metadata"]["a"]), (&json!(1), &json!(2)), "{plural}");
        assert_eq!(row(2), &results(&made)[1]["row"], "{plural}: a change of nothing changes nothing");

        assert!(resource.unique_fields().any(|key| key.name == "external_id"), "{plural} has no key of its own");
        for key in resource.unique_fields() {
            let new = samples.body(resource);
            let value = whole[1][key.name].as_str().expect("a text");
            let mut known = Map::from_iter([
                (key.name.to_owned(), json!(value)),
                ("metadata".to_owned(), json!({ "b": key.name })),
            ]);
            if key.fold_case {
                known[key.name] = json!(value.to_uppercase());
            }
            let body = json!({ "id_property": key.name, "items": [new, known] });
            let matched = act(api, plural, BatchAction::Upsert, body.clone());
            let found = are_as_read(api, resource, &matched, &[201, 200]);
            assert_eq!(found[1], ids[1], "{plural} by {}", key.name);
            assert_eq!(results(&matched)[1]["row"]["metadata"]["b"], key.name);
            // Repeated, both rows are found; values that can only be set once may be repeated.
            let again = act(api, plural, BatchAction::Upsert, body);
            assert_eq!(are_as_read(api, resource, &again, &[200, 200]), found, "{plural} by {}", key.name);
        }

        let deleted = act(api, plural, BatchAction::Delete, json!({ "ids": ids }));
        assert_eq!(statuses(&deleted), [204; 4], "{plural}");
        for id in &ids {
            api.get(&format!("{plural}/{id}")).expect(404);
        }
        api.post(&format!("{plural}/{}/restoration", ids[3]), json!({})).expect(200);
    }
    assert!(count >= 11, "{count} resources");
}

/// The minimal body that creates a row, with the values of `whole`.
fn least(api: &Client, resource: &Resource, whole: &Map<String, Value>) -> Map<String, Value> {
    let mut least = Map::new();
    for _ in 0..3 {
        let tried = act(api, resource.plural, BatchAction::Create, json!({ "items": [least], "all_or_none": false }));
        let result = &results(&tried)[0];
        if result["status"] == 201 {
            act(api, resource.plural, BatchAction::Delete, json!({ "ids": [result["id"]] })).expect(200);
            return least;
        }
        for pointer in pointers(result) {
            least.insert(pointer[1..].to_owned(), whole[&pointer[1..]].clone());
        }
    }
    panic!("{}: {least:?} is not enough", resource.plural);
}

/// Whether no two rows may have the same value of `field`.
fn is_unique(resource: &Resource, field: &str) -> bool {
    // Of conversations, with its channel; of rates, with market and category.
    ["address", "valid_from"].contains(&field) || resource.unique_fields().any(|key| key.name == field)
}

/// `body` with the values of `fresh` where no two rows may have the same.
fn with_unique_values(
    resource: &Resource,
    mut body: Map<String, Value>,
    fresh: &Map<String, Value>,
) -> Map<String, Value> {
    for (name, value) in &mut body {
        if is_unique(resource, name) {
            *value = fresh[name].clone();
        }
    }
    body
}

/// Asserts that a batch item gets the same defaults as a row created alone.
fn is_as_made_alone(api: &Client, resource: &Resource, body: Map<String, Value>, row: &Value) {
    let anyway = if module_of(resource).duplicate_check.is_some() { "?allow_duplicate=true" } else { "" };
    let alone = api.create(&format!("{}{anyway}", resource.plural), Value::Object(body));
    for field in resource.fields {
        let own = ["id", "code"].contains(&field.name)
            || is_unique(resource, field.name)
            || (field.field_type == FieldType::Time && !field.nullable);
        assert!(own || alone[field.name] == row[field.name], "{}.{}", resource.plural, field.name);
    }
}

#[test]
fn batch_with_invalid_items_fails_all_unless_all_or_none_false() {
    let service = Service::start();
    let api = &service.client;
    let (company, gone) =
        (api.make("companies", json!({ "name": "B" })), api.make("companies", json!({ "name": "G" })));
    api.delete(&format!("companies/{gone}")).expect(204);
    api.create("leads", json!({ "title": "First", "external_id": "taken" }));
    let nobody = Uuid::now_v7();
    let items = json!([
        { "title": "Good", "company_id": company, "score": 7 },
        { "title": 5, "nope": 1 },
        { "title": "Link", "company_id": gone, "assignee_id": nobody },
        { "title": "Taken", "external_id": "taken" },
        "no object",
        { "title": "Twin", "external_id": "twin" },
        { "title": "Twin", "external_id": "twin" },
        { "title": "Good too", "tags": ["a"] },
    ]);
    let state = || {
        let rows = "SELECT count(*) || md5(string_agg(l::text, ',' ORDER BY id)) FROM leads l";
        (service.database.ask(rows), service.database.ask("SELECT count(*)::text FROM audit_entries"))
    };
    let before = state();
    let all = act(api, "leads", BatchAction::Create, json!({ "items": items })).expect(422);
    assert_eq!(
        all.faults(),
        ["/items/1/nope", "/items/1/title", "/items/4"],
        "what can be told before the database is asked"
    );
    // Without those, the errors that need the database are reported.
    let rest: Vec<&Value> = [0, 2, 3, 5, 6, 7].map(|place| &items[place]).to_vec();
    let all = act(api, "leads", BatchAction::Create, json!({ "items": rest })).expect(422);
    let expected = ["/items/1/assignee_id", "/items/1/company_id", "/items/2/external_id", "/items/4/external_id"];
    assert_eq!((all.faults(), all.code()), (expected.to_vec(), "invalid"));
    assert_eq!(state(), before, "nothing is left of a batch that is refused");

    let each = act(api, "leads", BatchAction::Create, json!({ "items": items, "all_or_none": false }));
    assert_eq!(statuses(&each), [201, 422, 422, 409, 422, 201, 409, 201]);
    let results = results(&each);
    assert_eq!(pointers(&results[1]), ["/title", "/nope"]);
    assert_eq!(pointers(&results[2]), ["/company_id", "/assignee_id"]);
    assert_eq!(pointers(&results[3]), ["/external_id"]);
    assert_eq!(pointers(&results[4]), [""]);
    let problem = &results[3]["problem"];
    assert_eq!((&problem["code"], &problem["status"]), (&json!("already_exists"), &json!(409)));
    assert_eq!(problem["request_id"], each.header("x-request-id"));
    assert_eq!(api.get("leads?count=exact").expect(200).json["page"]["total"], 4);

    // All items fail alike: the status is that of a single request.
    let twice = json!([{ "title": "Taken", "external_id": "taken" }, { "title": "Fine" }]);
    let conflict = act(api, "leads", BatchAction::Create, json!({ "items": twice })).expect(409);
    assert_eq!((conflict.code(), conflict.faults()), ("already_exists", vec!["/items/0/external_id"]));
    let [good, other] = [0, 5].map(|place| results[place]["id"].as_str().expect("an id"));
    let stale = json!([{ "id": good, "version": 7, "title": "x" }, { "id": other, "version": 1, "title": "y" }]);
    let lost = act(api, "leads", BatchAction::Update, json!({ "items": stale })).expect(412);
    assert_eq!((lost.code(), lost.faults()), ("precondition_failed", vec!["/items/0/version"]));
    let missing =
        act(api, "leads", BatchAction::Update, json!({ "items": [{ "id": nobody, "title": "x" }, { "id": good }] }))
            .expect(404);
    assert_eq!((missing.code(), missing.faults()), ("not_found", vec!["/items/0/id"]));
    let missing = act(api, "leads", BatchAction::Delete, json!({ "ids": [other, nobody] })).expect(404);
    assert_eq!(missing.faults(), ["/ids/1"]);
    let mixed = json!([
        { "id": good, "version": 7, "title": "x" }, { "id": nobody, "title": "x" }, { "id": other, "external_id": "taken" },
        { "id": results[7]["id"], "version": 1, "score": 9, "company_id": gone },
    ]);
    let refused = act(api, "leads", BatchAction::Update, json!({ "items": mixed })).expect(422);
    let expected = ["/items/0/version", "/items/1/id", "/items/2/external_id", "/items/3/company_id"];
    assert_eq!(refused.faults(), expected);
    let each = act(api, "leads", BatchAction::Update, json!({ "items": mixed, "all_or_none": false }));
    assert_eq!(statuses(&each), [412, 404, 409, 422]);
    let each =
        act(api, "leads", BatchAction::Delete, json!({ "ids": [nobody, good, "x", good], "all_or_none": false }));
    assert_eq!(statuses(&each), [404, 204, 422, 422]);
}

#[test]
fn malformed_batch_refused_with_every_error_listed() {
    let service = Service::start();
    let api = &service.client;
    let lead = api.make("leads", json!({ "title": "t" }));
    let refused = |how: BatchAction, body: Value, expected: &[&str]| {
        let answer = act(api, "contacts", how, body.clone());
        assert_eq!(answer.faults(), expected, "{body} {}", answer.text);
        answer.expect(422);
    };
    for how in BatchAction::ALL {
        let key: &[&str] = if how == BatchAction::Upsert { &["/id_property"] } else { &[] };
        let list = format!("/{}", how.list());
        let with = |more: &[&'static str]| {
            let mut all: Vec<&str> = key.iter().copied().chain(more.iter().copied()).collect();
            all.push(&list);
            all.sort_unstable();
            all.iter().map(|pointer| (*pointer).to_owned()).collect::<Vec<_>>()
        };
        for (body, more) in [
            (json!({}), vec![]),
            (json!({ "all_or_none": "yes", "colour": 1, how.list(): [] }), vec!["/all_or_none", "/colour"]),
            (json!({ how.list(): {} }), vec![]),
            (json!({ how.list(): vec![json!({}); MAX_ITEMS + 1] }), vec![]),
        ] {
            let expected = with(&more);
            refused(how, body, &expected.iter().map(String::as_str).collect::<Vec<_>>());
        }
        act(api, "contacts", how, json!([])).expect(400);
        api.post(&format!("contacts/batch/{}?x=1", how.name()), json!({})).expect(400);
    }
    let update = |items: Value, expected: &[&str]| refused(BatchAction::Update, json!({ "items": items }), expected);
    update(
        json!([{}, { "id": 5 }, { "id": "x", "version": "1" }]),
        &["/items/0/id", "/items/1/id", "/items/2/id", "/items/2/version"],
    );
    update(
        json!([{ "id": lead, "version": 0 }, { "id": lead, "email": "x" }]),
        &["/items/0/version", "/items/1/email", "/items/1/id"],
    );
    update(json!([{ "id": lead, "created_at": null, "first_nam": 1 }]), &["/items/0/created_at", "/items/0/first_nam"]);
    let upsert = |key: Value, items: Value, expected: &[&str]| {
        refused(BatchAction::Upsert, json!({ "id_property": key, "items": items }), expected);
    };
    upsert(json!("id"), json!([{ "email": "a@b.example" }]), &["/id_property"]);
    upsert(json!("phone"), json!([{ "first_name": 1 }]), &["/id_property", "/items/0/first_name"]);
    upsert(
        json!("email"),
        json!([{ "first_name": "A" }, { "email": null }, { "email": "x" }]),
        &["/items/0/email", "/items/1/email", "/items/2/email"],
    );
    upsert(json!("email"), json!([{ "email": "a@b.example" }, { "email": "A@B.example" }]), &["/items/1/email"]);
    upsert(
        json!("email"),
        json!([{ "email": "a@b.example", "version": 1, "id": lead }]),
        &["/items/0/id", "/items/0/version"],
    );
    refused(BatchAction::Delete, json!({ "ids": [lead, 5, "x", lead] }), &["/ids/1", "/ids/2", "/ids/3"]);
    // Missing required fields are reported only when no row is found.
    let lacking = act(
        api,
        "leads",
        BatchAction::Upsert,
        json!({ "id_property": "external_id", "items": [{ "external_id": "a" }] }),
    );
    assert_eq!(lacking.expect(422).faults(), ["/items/0/title"]);
    api.create("leads", json!({ "title": "t", "external_id": "a" }));
    let found = act(
        api,
        "leads",
        BatchAction::Upsert,
        json!({ "id_property": "external_id", "items": [{ "external_id": "a" }] }),
    );
    assert_eq!(statuses(&found), [200]);
    // Values that can only be set once may be repeated, not changed.
    let thread = json!({ "channel": "sms", "address": "+1 415 555 0100", "external_id": "t" });
    api.create("conversations", thread.clone());
    let mut other = thread.clone();
    other["channel"] = json!("web");
    let body = |item: Value| json!({ "id_property": "external_id", "items": [item] });
    assert_eq!(statuses(&act(api, "conversations", BatchAction::Upsert, body(thread))), [200]);
    let refused = act(api, "conversations", BatchAction::Upsert, body(other)).expect(422);
    assert!(refused.faults().contains(&"/items/0/channel"), "{}", refused.text);
    // Resources without batches return 404.
    for resource in RESOURCES.iter().filter(|resource| !resource.operations.batch) {
        for how in BatchAction::ALL {
            act(api, resource.plural, how, json!({})).expect(404);
        }
    }
    // The body limit of a batch allows many large rows, but not any number.
    let long = "x".repeat(9_000);
    let items: Vec<Value> =
        (0..300).map(|number| json!({ "title": format!("{number}"), "description": long })).collect();
    assert_eq!(statuses(&act(api, "tasks", BatchAction::Create, json!({ "items": items }))).len(), 300);
    let items: Vec<Value> =
        (0..500).map(|number| json!({ "title": format!("{number}"), "description": long })).collect();
    act(api, "tasks", BatchAction::Create, json!({ "items": items })).expect(413);
}

#[test]
fn batch_statement_count_independent_of_row_count() {
    let service = Service::start();
    let api = &service.client;
    let company = api.make("companies", json!({ "name": "B" }));
    let staff: Vec<String> = (0..3).map(|_| api.make("staff", json!({ "name": "Jonas" }))).collect();
    let threads: Vec<String> =
        (0..3).map(|n| api.make("conversations", json!({ "channel": "web", "address": format!("v{n}") }))).collect();
    type Body<'b> = &'b dyn Fn(usize, usize) -> Value;
    let lead = |round: usize, n: usize| {
        let mut item = json!({ "title": format!("{n}"), "external_id": format!("{round}.{n}"), "company_id": company });
        // Items have different mixes of fields; the first has all, so that a batch of one costs the same statements.
        let more =
            [("score", json!(5)), ("tags", json!(["a"])), ("metadata", json!({ "n": n })), ("source", json!("web"))];
        let mixed = more.into_iter().enumerate().filter(|(bit, _)| n == 0 || n & (1 << bit) != 0);
        mixed.for_each(|(_, (name, value))| item[name] = value);
        item
    };
    let booking = |round: usize, n: usize| {
        let day =
            chrono::NaiveDate::from_ymd_opt(2027, 1, 1).expect("a day") + chrono::Days::new((round * 1_000 + n) as u64);
        json!({
            "customer_name": "Anna", "staff_id": staff[n % 3], "external_id": format!("{round}.{n}"),
            "starts_at": format!("{day}T10:00:00Z"), "ends_at": format!("{day}T11:00:00Z"),
        })
    };
    let message = |round: usize, n: usize| json!({ "conversation_id": threads[n % 3], "direction": "inbound", "body": "Hi", "external_id": format!("{round}.{n}") });
    for (resource, body) in [("leads", &lead as Body), ("bookings", &booking), ("messages", &message)] {
        let costs: Vec<Vec<u32>> = [1, 100, 1_000]
            .into_iter()
            .enumerate()
            .map(|(round, size)| {
                let items: Vec<Value> = (0..size).map(|n| body(round, n)).collect();
                let made = act(api, resource, BatchAction::Create, json!({ "items": items }));
                assert_eq!(statuses(&made), vec![201; size], "{resource}");
                let ids: Vec<&Value> = results(&made).iter().map(|result| &result["id"]).collect();
                let changes = ids.iter().enumerate().map(|(n, id)| match (resource, n % 2) {
                    ("leads", 1) => json!({ "id": id, "version": 1, "score": 9 }),
                    // What concerns its time takes a look at the calendar.
                    ("bookings", 0) => json!({ "id": id, "status": "pending" }),
                    _ => json!({ "id": id, "metadata": { "n": n } }),
                });
                let changed = act(api, resource, BatchAction::Update, json!({ "items": changes.collect::<Vec<_>>() }));
                assert_eq!(statuses(&changed), vec![200; size], "{resource}");
                let matched =
                    act(api, resource, BatchAction::Upsert, json!({ "id_property": "external_id", "items": items }));
                assert_eq!(statuses(&matched), vec![200; size], "{resource}");
                let items: Vec<Value> = (0..size).map(|n| body(round + 10, n)).collect();
                let new =
                    act(api, resource, BatchAction::Upsert, json!({ "id_property": "external_id", "items": items }));
                assert_eq!(statuses(&new), vec![201; size], "{resource}");
                let deleted = act(api, resource, BatchAction::Delete, json!({ "ids": ids }));
                assert_eq!(statuses(&deleted), vec![204; size], "{resource}");
                [made, changed, matched, new, deleted].iter().map(Answer::queries).collect()
            })
            .collect();
        assert!(costs[0] == costs[1] && costs[0] == costs[2], "{resource}: {costs:?}");
        assert!(costs[0].iter().all(|cost| *cost <= 12), "{resource}: {costs:?}");
        println!("{resource}: {:?} statements", costs[0]);
    }
    // Each remaining message counts, and each batch is one version of the conversation.
    let thread = api.get(&format!("conversations/{}", threads[0])).expect(200).json;
    assert_eq!((&thread["unread_count"], &thread["version"]), (&json!(1 + 34 + 334), &json!(10)));
}

/// Index of a booking, new start, new staff, and whether it blocks time.
type Move = (usize, Option<u32>, Option<usize>, Option<bool>);

/// Random operations on bookings and leads; single requests and batches must give the same results.
#[derive(Clone, Debug)]
struct Given {
    /// Per booking: staff, start in half hours, length, whether it blocks time.
    bookings: Vec<(usize, u32, u32, bool)>,
    /// Per existing booking: index and its move.
    moves: Vec<Move>,
    leads: Vec<Lead>,
    matched: Vec<Lead>,
}

#[derive(Clone, Debug)]
struct Lead {
    key: Option<u8>,
    title: Option<&'static str>,
    status: Option<&'static str>,
    score: Option<i64>,
    tags: Option<Vec<&'static str>>,
}

impl Lead {
    fn any() -> impl Strategy<Value = Self> {
        let title =
            prop::option::weighted(0.9, prop::sample::select(vec!["Roof", "Über \"quotes\" \\ and\nlines", ""]));
        let status = prop::option::of(prop::sample::select(vec!["new", "won", "lost", "nope"]));
        let tags = prop::option::of(prop::collection::vec(prop::sample::select(vec!["a", "b, c", "{\"d\"}"]), 0..3));
        (prop::option::weighted(0.7, 0..20_u8), title, status, prop::option::of(-1..5_i64), tags)
            .prop_map(|(key, title, status, score, tags)| Self { key, title, status, score, tags })
    }

    fn body(&self) -> Value {
        let mut body = Map::new();
        let mut put = |name: &str, value: Option<Value>| drop(value.map(|value| body.insert(name.to_owned(), value)));
        put("external_id", self.key.map(|key| json!(format!("k{key}"))));
        put("title", self.title.map(|title| json!(title)));
        put("status", self.status.map(|status| json!(status)));
        put("score", self.score.map(|score| json!(score)));
        put("tags", self.tags.as_ref().map(|tags| json!(tags)));
        Value::Object(body)
    }
}

impl Given {
    fn any() -> impl Strategy<Value = Self> {
        let booking = (0..2_usize, 0..24_u32, 1..4_u32, prop::bool::weighted(0.8));
        let moved = (
            0..15_usize,
            prop::option::of(0..24_u32),
            prop::option::of(0..2_usize),
            prop::option::weighted(0.3, any::<bool>()),
        );
        (
            prop::collection::vec(booking, 1..15),
            prop::collection::vec(moved, 0..12),
            prop::collection::vec(Lead::any(), 1..12),
            prop::collection::vec(Lead::any(), 1..12),
        )
            .prop_map(|(bookings, moves, leads, matched)| Self { bookings, moves, leads, matched })
    }
}

/// Sends operations one by one, or as batches.
struct Hand {
    api: Client,
    batches: bool,
}

impl Hand {
    /// Status and id of each of `items`.
    fn all(&self, resource: &str, how: BatchAction, items: &[Value]) -> Vec<(u64, Option<String>)> {
        let told = |status: u64, id: &Value| (status, id.as_str().filter(|_| status < 300).map(str::to_owned));
        if items.is_empty() {
            return Vec::new();
        }
        if self.batches {
            let mut body = json!({ "items": items, "all_or_none": false });
            if how == BatchAction::Upsert {
                body["id_property"] = json!("external_id");
            }
            let answer = act(&self.api, resource, how, body);
            return results(&answer)
                .iter()
                .map(|result| told(result["status"].as_u64().expect("a status"), &result["id"]))
                .collect();
        }
        let one = |item: &Value| {
            let mut body = item.clone();
            let known = match how {
                BatchAction::Update => body.as_object_mut().and_then(|body| body.shift_remove("id")),
                BatchAction::Upsert => {
                    let key = item["external_id"].as_str().expect("a key");
                    self.api
                        .get(&format!("{resource}?external_id={key}"))
                        .expect(200)
                        .rows()
                        .first()
                        .map(|row| row["id"].clone())
                }
                _ => None,
            };
            let answer = match known.as_ref().and_then(Value::as_str) {
                Some(id) => self.api.patch(&format!("{resource}/{id}"), body),
                None => self.api.post(resource, body),
            };
            told(answer.status.into(), &answer.json["id"])
        };
        items.iter().map(one).collect()
    }

    fn rows(&self, resource: &str) -> Vec<Value> {
        let shown = |mut row: Value| {
            for name in ["id", "created_at", "updated_at", "entered_at", "closed_at", "code", "staff_id"] {
                row.as_object_mut().and_then(|row| row.shift_remove(name));
            }
            row
        };
        let mut rows: Vec<Value> = self.api.all(&format!("{resource}?limit=500")).into_iter().map(shown).collect();
        rows.sort_by_key(Value::to_string);
        rows
    }

    fn clear(&self, resource: &str) {
        let ids: Vec<Value> =
            self.api.all(&format!("{resource}?limit=500")).iter().map(|row| row["id"].clone()).collect();
        if !ids.is_empty() {
            act(&self.api, resource, BatchAction::Delete, json!({ "ids": ids })).expect(200);
        }
    }
}

#[test]
fn batch_result_equals_the_same_single_writes() {
    let service = Service::start();
    let (_, neighbour) = service.neighbour();
    let hands = [Hand { api: service.client.clone(), batches: false }, Hand { api: neighbour, batches: true }];
    let staff = hands.each_ref().map(|hand| [0, 1].map(|_| hand.api.make("staff", json!({ "name": "Jonas" }))));
    let at = |half_hour: u32| format!("2027-03-01T{:02}:{:02}:00Z", half_hour / 2, half_hour % 2 * 30);
    for_cases(25, Given::any(), |given| {
        let done = hands.iter().zip(&staff).map(|(hand, staff)| {
            let status = |taking: bool| if taking { "confirmed" } else { "cancelled" };
            let bookings = given.bookings.iter().enumerate().map(|(place, (who, start, length, taking))| {
                json!({
                    "customer_name": format!("{place}"), "staff_id": staff[*who], "starts_at": at(*start),
                    "ends_at": at(start + length), "status": status(*taking),
                })
            });
            let bookings: Vec<Value> = bookings.collect();
            let made = hand.all("bookings", BatchAction::Create, &bookings);
            let mut seen = BTreeSet::new();
            let moves = given.moves.iter().filter_map(|(which, start, who, taking)| {
                let id = made.get(*which)?.1.as_ref().filter(|_| seen.insert(*which))?;
                let mut body = json!({ "id": id });
                if let Some(start) = start {
                    (body["starts_at"], body["ends_at"]) = (json!(at(*start)), json!(at(start + 1)));
                }
                who.map(|who| body["staff_id"] = json!(staff[who]));
                taking.map(|taking| body["status"] = json!(status(taking)));
                Some(body)
            });
            let moves: Vec<Value> = moves.collect();
            let moved = hand.all("bookings", BatchAction::Update, &moves);
            let leads: Vec<Value> = given.leads.iter().map(Lead::body).collect();
            let created = hand.all("leads", BatchAction::Create, &leads);
            // With unique keys, as a batch requires.
            let mut seen = BTreeSet::new();
            let keyed = given.matched.iter().filter(|lead| lead.key.is_some_and(|key| seen.insert(key)));
            let matched = hand.all("leads", BatchAction::Upsert, &keyed.map(Lead::body).collect::<Vec<_>>());
            let told: Vec<u64> = [made, moved, created, matched].concat().iter().map(|(status, _)| *status).collect();
            let rows = (hand.rows("bookings"), hand.rows("leads"));
            ["bookings", "leads"].iter().for_each(|resource| hand.clear(resource));
            (told, rows)
        });
        let done: Vec<_> = done.collect();
        assert_eq!(done[0].0, done[1].0, "the same becomes of each item");
        assert_eq!(done[0].1, done[1].1, "and the same rows are left");
    });
}

#[test]
fn concurrent_upserts_of_same_keys_create_each_row_once() {
    let service = Service::with(&["--db-connections", "8"]);
    let api = &service.client;
    for key in ["email", "external_id"] {
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8_usize)
                .map(|who| {
                    scope.spawn(move || {
                        let mut items: Vec<Value> = (0..60)
                            .map(|n| match key {
                                // In a different case, too.
                                "email" if who % 2 == 0 => json!({ "email": format!("PERSON{n}@example.com"), "title": format!("{who}") }),
                                "email" => json!({ "email": format!("person{n}@example.com"), "title": format!("{who}") }),
                                _ => json!({ "external_id": format!("e{n}"), "first_name": "A", "title": format!("{who}") }),
                            })
                            .collect();
                        items.rotate_left(who * 7);
                        if who % 3 == 0 {
                            items.reverse();
                        }
                        act(api, "contacts", BatchAction::Upsert, json!({ "id_property": key, "items": items }))
                    })
                })
                .collect();
            asking.into_iter().map(|asked| asked.join().expect("an answer")).collect()
        });
        let made = answers.iter().flat_map(statuses).filter(|status| *status == 201).count();
        assert_eq!(made, 60, "each row is made once");
        assert!(answers.iter().flat_map(statuses).all(|status| status <= 201));
    }
    let rows = api.all("contacts?limit=500");
    assert_eq!(rows.len(), 120);
    assert!(rows.iter().all(|row| row["version"] == 8), "and changed by each of the others");
}

#[test]
fn concurrent_batches_in_different_order_do_not_deadlock() {
    let service = Service::with(&["--db-connections", "8"]);
    let api = &service.client;
    let staff: Vec<String> = (0..6).map(|_| api.make("staff", json!({ "name": "Jonas" }))).collect();
    let booking = |who: &String, day: usize| json!({ "customer_name": "A", "staff_id": who, "starts_at": format!("2027-03-{day:02}T10:00:00Z"), "ends_at": format!("2027-03-{day:02}T11:00:00Z") });
    // All threads book every member of staff on the same day in a different order: each slot has one winner.
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..6)
            .map(|turn| {
                let mut items: Vec<Value> = staff.iter().map(|who| booking(who, 1)).collect();
                items.rotate_left(turn);
                scope.spawn(move || {
                    act(api, "bookings", BatchAction::Create, json!({ "items": items, "all_or_none": false }))
                })
            })
            .collect();
        asking.into_iter().map(|asked| asked.join().expect("an answer")).collect()
    });
    assert_eq!(answers.iter().flat_map(statuses).filter(|status| *status == 201).count(), 6);
    assert_eq!(answers.iter().flat_map(statuses).filter(|status| *status == 409).count(), 30);
    // Within one batch too, the first wins; and two bookings may swap places when both are moved.
    let twice = act(
        api,
        "bookings",
        BatchAction::Create,
        json!({ "items": [booking(&staff[0], 2), booking(&staff[0], 2)], "all_or_none": false }),
    );
    assert_eq!(statuses(&twice), [201, 409]);
    let conflict = &results(&twice)[1]["problem"];
    assert_eq!(conflict["conflict"]["code"], results(&twice)[0]["row"]["code"]);
    assert_eq!(conflict["errors"][0]["pointer"], "/starts_at");
    let next = act(api, "bookings", BatchAction::Create, json!({ "items": [booking(&staff[0], 3)] }));
    let ids = [&twice, &next].map(|answer| results(answer)[0]["id"].clone());
    let shift = |id: &Value, day: usize| {
        let mut item = booking(&staff[0], day);
        item["id"] = id.clone();
        item
    };
    let moved = act(api, "bookings", BatchAction::Update, json!({ "items": [shift(&ids[1], 4), shift(&ids[0], 3)] }));
    assert_eq!(statuses(&moved), [200, 200], "each has left its place when the next comes");
    let refused = act(api, "bookings", BatchAction::Update, json!({ "items": [shift(&ids[0], 4), shift(&ids[1], 5)] }))
        .expect(409);
    assert_eq!((refused.code(), refused.faults()), ("overlapping_booking", vec!["/items/0/starts_at"]));
}

#[test]
fn batch_by_restricted_agent_reaches_only_own_rows() {
    let service = Service::start();
    let boss = &service.client;
    admit(&service, "acme", "amina@example.com", "agent");
    let session = sign_in(&service, "amina@example.com").expect(201).json;
    let (amina, her) = (client(&service, &session), session["user"]["id"].clone());
    boss.patch(&format!("businesses/{}", service.business), json!({ "agent_visibility": "assigned" })).expect(200);
    let hers = boss.make("leads", json!({ "title": "Hers", "assignee_id": her, "external_id": "hers" }));
    let other = boss.make("leads", json!({ "title": "Other", "external_id": "other" }));
    let changes = json!([{ "id": hers, "score": 1 }, { "id": other, "score": 1 }]);
    let changed = act(&amina, "leads", BatchAction::Update, json!({ "items": changes, "all_or_none": false }));
    assert_eq!(statuses(&changed), [200, 404]);
    let matched = json!([
        { "external_id": "hers", "title": "A" }, { "external_id": "other", "title": "B" }, { "external_id": "new", "title": "C" },
    ]);
    let body = json!({ "id_property": "external_id", "items": matched, "all_or_none": false });
    let matched = act(&amina, "leads", BatchAction::Upsert, body);
    // A taken key is reported, as for a single create; the hidden row is neither shown nor changed.
    assert_eq!(statuses(&matched), [200, 409, 201]);
    assert_eq!(results(&matched)[2]["row"]["assignee_id"], her, "what she makes is hers");
    assert_eq!(boss.get(&format!("leads/{other}")).expect(200).json["title"], "Other");
    let linked = json!([{ "body": "a", "lead_id": hers }, { "body": "b", "lead_id": other }]);
    let noted = act(&amina, "notes", BatchAction::Create, json!({ "items": linked, "all_or_none": false }));
    assert_eq!(statuses(&noted), [201, 422]);
    act(&amina, "leads", BatchAction::Delete, json!({ "ids": [hers] })).expect(403);
    // A batch that returns rows needs the read permission.
    let blind = boss.create("api-keys", json!({ "name": "Blind", "permissions": ["crm:write", "crm:delete"] }));
    let blind = Client::new(service.address, blind["key"].as_str().expect("a key"));
    for how in [BatchAction::Create, BatchAction::Update, BatchAction::Upsert] {
        act(&blind, "leads", how, json!({})).expect(403);
    }
    assert_eq!(statuses(&act(&blind, "leads", BatchAction::Delete, json!({ "ids": [hers] }))), [204]);
}

#[test]
fn batch_write_audits_each_row_and_invalidates_cache() {
    let service = Service::start();
    let api = &service.client;
    let made = act(api, "leads", BatchAction::Create, json!({ "items": [{ "title": "A" }, { "title": "B" }] }));
    let ids: Vec<&str> = results(&made).iter().filter_map(|result| result["id"].as_str()).collect();
    for _ in 0..2 {
        api.get(&format!("leads/{}", ids[0])).expect(200);
        api.get("leads?q=roof").expect(200);
    }
    let body =
        json!({ "items": [{ "id": ids[0], "title": "Roof one" }, { "id": ids[1], "title": "Roof two", "score": 3 }] });
    act(api, "leads", BatchAction::Update, body).expect(200);
    assert_eq!(api.get(&format!("leads/{}", ids[0])).expect(200).json["title"], "Roof one");
    assert_eq!(api.get("leads?q=roof").expect(200).rows().len(), 2);
    act(api, "leads", BatchAction::Delete, json!({ "ids": ids })).expect(200);
    assert!(api.get("leads?q=roof").expect(200).rows().is_empty());
    let told = api.get(&format!("leads/{}/history", ids[1])).expect(200);
    let actions: Vec<&str> = told.rows().iter().filter_map(|entry| entry["action"].as_str()).collect();
    assert_eq!(actions, ["deleted", "updated", "created"]);
    assert_eq!(told.rows()[1]["changes"]["score"], json!({ "old": 0, "new": 3 }));
}

#[test]
fn derived_timestamps_change_only_when_their_source_changes() {
    let service = Service::start();
    let api = &service.client;
    let (early, late) = ("2026-01-05T10:00:00Z", "2026-01-06T10:00:00Z");
    let cases = [
        ("leads", json!({ "title": "A" }), json!({ "status": "won" }), json!({ "status": "lost" }), vec!["closed_at"]),
        (
            "tasks",
            json!({ "title": "A" }),
            json!({ "status": "done", "due_at": early }),
            json!({ "status": "open", "due_at": late }),
            vec!["completed_at", "reminded_at"],
        ),
        (
            "bookings",
            json!({ "customer_name": "A", "ends_at": "2026-01-06T11:00:00Z" }),
            json!({ "starts_at": early }),
            json!({ "starts_at": late }),
            vec!["reminded_at"],
        ),
    ];
    let with = |parts: &[&Value]| {
        let members = parts.iter().flat_map(|part| part.as_object().expect("an object").clone());
        Value::Object(members.collect())
    };
    for (resource, least, now, then, follow) in cases {
        let path = |id: &str| format!("{resource}/{id}");
        let make = |key: &str| api.make(resource, with(&[&least, &now, &json!({ "external_id": key })]));
        let ids = ["a", "b"].map(make);
        let stamps = || {
            let set: Vec<String> = follow.iter().map(|name| format!("{name} = '2020-02-02T02:02:02Z'")).collect();
            service.database.run(&format!("UPDATE {resource} SET {}", set.join(", ")));
        };
        let write = |how: &str, values: [&Value; 2]| {
            let items: Vec<Value> = (0..2)
                .map(|n| match how {
                    "update" => with(&[values[n], &json!({ "id": ids[n] })]),
                    // New rows too, and an item with fewer fields.
                    _ => with(&[&least, values[n], &json!({ "external_id": if n == 0 { "a" } else { "b" } })]),
                })
                .collect();
            let done = match how {
                "patch" => {
                    (0..2).for_each(|n| drop(api.patch(&path(&ids[n]), values[n].clone()).expect(200)));
                    return;
                }
                "update" => act(api, resource, BatchAction::Update, json!({ "items": items })),
                _ => act(api, resource, BatchAction::Upsert, json!({ "id_property": "external_id", "items": items })),
            };
            assert_eq!(statuses(&done), [200, 200], "{}", done.text);
        };
        for how in ["patch", "update", "upsert"] {
            write(how, [&now, &now]);
            stamps();
            write(how, [&now, &then]);
            let rows = [0, 1].map(|n| api.get(&path(&ids[n])).expect(200).json);
            for name in &follow {
                assert_eq!(
                    rows[0][name], "2020-02-02T02:02:02.000000Z",
                    "{resource}, {how}: {name} of what is as it was"
                );
                assert_ne!(
                    rows[1][name], "2020-02-02T02:02:02.000000Z",
                    "{resource}, {how}: {name} of what is another"
                );
            }
        }
    }
    // An explicit closing time is kept, whatever the previous status.
    let lead = api.make("leads", json!({ "title": "B", "status": "won" }));
    for when in ["2020-01-01T00:00:00.000000Z", "2020-01-02T00:00:00.000000Z"] {
        let body = json!({ "status": "won", "closed_at": when });
        assert_eq!(api.patch(&format!("leads/{lead}"), body).expect(200).json["closed_at"], when);
        let item = json!({ "id": lead, "status": "won", "closed_at": "2020-01-03T00:00:00Z" });
        let other = json!({ "id": api.make("leads", json!({ "title": "C" })), "status": "won" });
        let done = act(api, "leads", BatchAction::Update, json!({ "items": [item, other] }));
        assert_eq!(results(&done)[0]["row"]["closed_at"], "2020-01-03T00:00:00.000000Z");
        assert!(results(&done)[1]["row"]["closed_at"].is_string());
    }
}

#[test]
fn upsert_of_row_inserted_meanwhile_updates_at_each_isolation() {
    for level in ["read-committed", "repeatable-read", "serializable"] {
        let service = Service::with(&["--isolation", &format!("batch_upsert={level}")]);
        let (api, database) = (&service.client, &service.database);
        let mut other = database.connect();
        let mut run = |sql: &str| other.batch_execute(sql).expect("it runs");
        run(&format!(
            "BEGIN; INSERT INTO contacts (business_id, email) VALUES ('{}', 'anna@example.com')",
            service.business
        ));
        std::thread::scope(|scope| {
            let items = json!([{ "email": "Anna@example.com", "title": "Boss" }, { "email": "b@example.com" }]);
            let body = json!({ "id_property": "email", "items": items });
            let asked = scope.spawn(|| act(api, "contacts", BatchAction::Upsert, body));
            crate::support::until("it waits for the other", || {
                database.ask("SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()") == "1"
            });
            run("COMMIT");
            let answer = asked.join().expect("an answer");
            assert_eq!(statuses(&answer), [200, 201], "{level}: {}", answer.text);
        });
        // A conflict in another unique field is reported at once.
        let taken = json!([{ "external_id": "x", "first_name": "C", "email": "anna@example.com" }]);
        let answer = act(api, "contacts", BatchAction::Upsert, json!({ "id_property": "external_id", "items": taken }));
        assert_eq!(answer.expect(409).code(), "already_exists");
    }
}

#[test]
fn upsert_of_keys_that_only_the_database_folds_writes_the_row_once() {
    let service = Service::start();
    let api = &service.client;
    // A database may write both alike in lower case, where the service has `i` and a dot above for the first; if it does
    // not, they are two keys.
    let pair = ["\u{130}z@example.com", "iz@example.com"];
    let folded = service.database.ask(&format!("SELECT (lower('{}') = lower('{}'))::text", pair[0], pair[1]));
    let items = json!([{ "email": pair[0], "title": "One" }, { "email": pair[1], "title": "Two" }]);
    let body = json!({ "id_property": "email", "items": items, "all_or_none": false });
    let answer = act(api, "contacts", BatchAction::Upsert, body);
    let list = api.get("contacts").expect(200);
    let rows = list.rows();
    if folded == "true" {
        assert_eq!(statuses(&answer), [201, 422], "{}", answer.text);
        assert_eq!((rows.len(), &rows[0]["title"]), (1, &json!("One")));
    } else {
        assert_eq!(statuses(&answer), [201, 201], "{}", answer.text);
        assert_eq!(rows.len(), 2);
    }
}
