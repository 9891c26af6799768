//! Batches: many rows in one request, as a set. Every noun that has them, what is refused and how, what they cost, and that
//! they come to what the same items come to one by one.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use proptest::prelude::*;
use rapport::noun::batch::{Act, MOST_ITEMS};
use rapport::noun::{Kind, Noun};
use rapport::nouns::NOUNS;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::sign_in::{admit, client, sign_in};
use crate::support::{Answer, Client, Samples, Service, for_cases};

fn nouns() -> impl Iterator<Item = &'static Noun> {
    NOUNS.into_iter().filter(|noun| noun.operations.batch)
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

/// The pointers of a result's problem.
fn pointers(result: &Value) -> Vec<&str> {
    let faults = result["problem"]["errors"].as_array().into_iter().flatten();
    faults.filter_map(|fault| fault["pointer"].as_str()).collect()
}

fn act(api: &Client, noun: &str, act: Act, body: Value) -> Answer {
    api.post(&format!("{noun}/batch/{}", act.name()), body)
}

/// Each result is the row as it is read, under its own status.
#[track_caller]
fn are_as_read(api: &Client, noun: &Noun, answer: &Answer, expected: &[u64]) -> Vec<String> {
    assert_eq!(statuses(answer), expected, "{}: {}", noun.plural, answer.text);
    let ids = results(answer).iter().map(|result| {
        let id = result["id"].as_str().expect("an id").to_owned();
        let read = api.get(&format!("{}/{id}", noun.plural)).expect(200);
        assert_eq!(read.json, result["row"], "{}", noun.plural);
        assert_eq!(read.header("etag"), result["etag"], "{}", noun.plural);
        id
    });
    ids.collect()
}

#[test]
fn every_noun_of_plain_rows_is_made_changed_matched_and_deleted_in_batches() {
    let service = Service::start();
    let api = &service.client;
    let mut samples = Samples::new(api);
    let mut count = 0;
    for noun in nouns() {
        count += 1;
        let plural = noun.plural;
        let whole: Vec<Map<String, Value>> = (0..3).map(|_| samples.body(noun)).collect();
        let mut least = least(api, noun, &whole[0]);
        if let Some(address) = least.get_mut("address") {
            // One open thread for each.
            *address = json!("at home");
        }
        let mut items: Vec<Value> = whole.iter().cloned().map(Value::Object).collect();
        items.push(Value::Object(least.clone()));
        let made = act(api, plural, Act::Create, json!({ "items": items }));
        let ids = are_as_read(api, noun, &made, &[201; 4]);
        assert!(ids.is_sorted(), "{plural}: rows sort as their items did");
        is_as_made_alone(api, noun, least, &results(&made)[3]["row"]);

        let changed = act(
            api,
            plural,
            Act::Update,
            json!({ "items": [
                { "id": ids[2], "metadata": { "a": 1 } }, { "id": ids[0], "version": results(&made)[0]["row"]["version"], "metadata": { "a": 2 } },
                { "id": ids[1] }, { "id": ids[3], "version": 1 },
            ] }),
        );
        let again = are_as_read(api, noun, &changed, &[200; 4]);
        assert_eq!(again, [&ids[2], &ids[0], &ids[1], &ids[3]].map(String::clone));
        let row = |place: usize| &results(&changed)[place]["row"];
        assert_eq!((&row(0)["metadata"]["a"], &row(1)["metadata"]["a"]), (&json!(1), &json!(2)), "{plural}");
        assert_eq!(row(2), &results(&made)[1]["row"], "{plural}: a change of nothing changes nothing");

        assert!(noun.keys().any(|key| key.name == "external_id"), "{plural} has no key of its own");
        for key in noun.keys() {
            let new = samples.body(noun);
            let value = whole[1][key.name].as_str().expect("a text");
            let mut known = Map::from_iter([
                (key.name.to_owned(), json!(value)),
                ("metadata".to_owned(), json!({ "b": key.name })),
            ]);
            if key.fold_case {
                known[key.name] = json!(value.to_uppercase());
            }
            let body = json!({ "id_property": key.name, "items": [new, known] });
            let matched = act(api, plural, Act::Upsert, body.clone());
            let found = are_as_read(api, noun, &matched, &[201, 200]);
            assert_eq!(found[1], ids[1], "{plural} by {}", key.name);
            assert_eq!(results(&matched)[1]["row"]["metadata"]["b"], key.name);
            // Once more, and both are there; what is set once may be repeated.
            let again = act(api, plural, Act::Upsert, body);
            assert_eq!(are_as_read(api, noun, &again, &[200, 200]), found, "{plural} by {}", key.name);
        }

        let deleted = act(api, plural, Act::Delete, json!({ "ids": ids }));
        assert_eq!(statuses(&deleted), [204; 4], "{plural}");
        for id in &ids {
            api.get(&format!("{plural}/{id}")).expect(404);
        }
        api.post(&format!("{plural}/{}/restoration", ids[3]), json!({})).expect(200);
    }
    assert!(count >= 11, "{count} nouns");
}

/// The least body that makes a row, of the values of `whole`.
fn least(api: &Client, noun: &Noun, whole: &Map<String, Value>) -> Map<String, Value> {
    let mut least = Map::new();
    for _ in 0..3 {
        let tried = act(api, noun.plural, Act::Create, json!({ "items": [least], "all_or_none": false }));
        let result = &results(&tried)[0];
        if result["status"] == 201 {
            act(api, noun.plural, Act::Delete, json!({ "ids": [result["id"]] })).expect(200);
            return least;
        }
        for pointer in pointers(result) {
            least.insert(pointer[1..].to_owned(), whole[&pointer[1..]].clone());
        }
    }
    panic!("{}: {least:?} is not enough", noun.plural);
}

/// What a set fills in for one of its items is what the database fills in for one alone.
fn is_as_made_alone(api: &Client, noun: &Noun, mut body: Map<String, Value>, row: &Value) {
    if body.contains_key("address") {
        body.insert("address".into(), json!("somewhere else"));
    }
    let anyway = if noun.guard.is_some() { "?allow_duplicate=true" } else { "" };
    let alone = api.create(&format!("{}{anyway}", noun.plural), Value::Object(body));
    for field in noun.fields {
        let own = ["id", "code", "address"].contains(&field.name) || (field.kind == Kind::Time && !field.nullable);
        assert!(own || alone[field.name] == row[field.name], "{}.{}", noun.plural, field.name);
    }
}

#[test]
fn each_item_has_its_own_fate_or_all_have_the_same() {
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
        (service.database.ask(rows), service.database.ask("SELECT count(*)::text FROM audit_log"))
    };
    let before = state();
    let all = act(api, "leads", Act::Create, json!({ "items": items })).expect(422);
    assert_eq!(
        all.faults(),
        ["/items/1/nope", "/items/1/title", "/items/4"],
        "what can be told before the database is asked"
    );
    // Without those, what the database knows.
    let rest: Vec<&Value> = [0, 2, 3, 5, 6, 7].map(|place| &items[place]).to_vec();
    let all = act(api, "leads", Act::Create, json!({ "items": rest })).expect(422);
    let expected = ["/items/1/assignee_id", "/items/1/company_id", "/items/2/external_id", "/items/4/external_id"];
    assert_eq!((all.faults(), all.code()), (expected.to_vec(), "invalid"));
    assert_eq!(state(), before, "nothing is left of a batch that is refused");

    let each = act(api, "leads", Act::Create, json!({ "items": items, "all_or_none": false }));
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

    // As each alone, where all are alike.
    let twice = json!([{ "title": "Taken", "external_id": "taken" }, { "title": "Fine" }]);
    let conflict = act(api, "leads", Act::Create, json!({ "items": twice })).expect(409);
    assert_eq!((conflict.code(), conflict.faults()), ("already_exists", vec!["/items/0/external_id"]));
    let [good, other] = [0, 5].map(|place| results[place]["id"].as_str().expect("an id"));
    let stale = json!([{ "id": good, "version": 7, "title": "x" }, { "id": other, "version": 1, "title": "y" }]);
    let lost = act(api, "leads", Act::Update, json!({ "items": stale })).expect(412);
    assert_eq!((lost.code(), lost.faults()), ("precondition_failed", vec!["/items/0/version"]));
    let missing = act(api, "leads", Act::Update, json!({ "items": [{ "id": nobody, "title": "x" }, { "id": good }] }))
        .expect(404);
    assert_eq!((missing.code(), missing.faults()), ("not_found", vec!["/items/0/id"]));
    let missing = act(api, "leads", Act::Delete, json!({ "ids": [other, nobody] })).expect(404);
    assert_eq!(missing.faults(), ["/ids/1"]);
    let mixed = json!([
        { "id": good, "version": 7, "title": "x" }, { "id": nobody, "title": "x" }, { "id": other, "external_id": "taken" },
        { "id": results[7]["id"], "version": 1, "score": 9, "company_id": gone },
    ]);
    let refused = act(api, "leads", Act::Update, json!({ "items": mixed })).expect(422);
    let expected = ["/items/0/version", "/items/1/id", "/items/2/external_id", "/items/3/company_id"];
    assert_eq!(refused.faults(), expected);
    let each = act(api, "leads", Act::Update, json!({ "items": mixed, "all_or_none": false }));
    assert_eq!(statuses(&each), [412, 404, 409, 422]);
    let each = act(api, "leads", Act::Delete, json!({ "ids": [nobody, good, "x", good], "all_or_none": false }));
    assert_eq!(statuses(&each), [404, 204, 422, 422]);
}

#[test]
fn what_is_no_batch_is_refused_with_all_that_is_wrong_with_it() {
    let service = Service::start();
    let api = &service.client;
    let lead = api.make("leads", json!({ "title": "t" }));
    let refused = |how: Act, body: Value, expected: &[&str]| {
        let answer = act(api, "contacts", how, body.clone());
        assert_eq!(answer.faults(), expected, "{body} {}", answer.text);
        answer.expect(422);
    };
    for how in Act::ALL {
        let key: &[&str] = if how == Act::Upsert { &["/id_property"] } else { &[] };
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
            (json!({ how.list(): vec![json!({}); MOST_ITEMS + 1] }), vec![]),
        ] {
            let expected = with(&more);
            refused(how, body, &expected.iter().map(String::as_str).collect::<Vec<_>>());
        }
        act(api, "contacts", how, json!([])).expect(400);
        api.post(&format!("contacts/batch/{}?x=1", how.name()), json!({})).expect(400);
    }
    let update = |items: Value, expected: &[&str]| refused(Act::Update, json!({ "items": items }), expected);
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
        refused(Act::Upsert, json!({ "id_property": key, "items": items }), expected);
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
    refused(Act::Delete, json!({ "ids": [lead, 5, "x", lead] }), &["/ids/1", "/ids/2", "/ids/3"]);
    // What a new row lacks is known only once none is found.
    let lacking =
        act(api, "leads", Act::Upsert, json!({ "id_property": "external_id", "items": [{ "external_id": "a" }] }));
    assert_eq!(lacking.expect(422).faults(), ["/items/0/title"]);
    api.create("leads", json!({ "title": "t", "external_id": "a" }));
    let found =
        act(api, "leads", Act::Upsert, json!({ "id_property": "external_id", "items": [{ "external_id": "a" }] }));
    assert_eq!(statuses(&found), [200]);
    // What is set once may be repeated, and not changed.
    let thread = json!({ "channel": "sms", "address": "+1 415 555 0100", "external_id": "t" });
    api.create("conversations", thread.clone());
    let mut other = thread.clone();
    other["channel"] = json!("web");
    let body = |item: Value| json!({ "id_property": "external_id", "items": [item] });
    assert_eq!(statuses(&act(api, "conversations", Act::Upsert, body(thread))), [200]);
    let refused = act(api, "conversations", Act::Upsert, body(other)).expect(422);
    assert!(refused.faults().contains(&"/items/0/channel"), "{}", refused.text);
    // Nouns of another kind have none.
    for noun in NOUNS.iter().filter(|noun| !noun.operations.batch) {
        for how in Act::ALL {
            act(api, noun.plural, how, json!({})).expect(404);
        }
    }
    // As large as many rows are, and no larger.
    let long = "x".repeat(9_000);
    let items: Vec<Value> =
        (0..300).map(|number| json!({ "title": format!("{number}"), "description": long })).collect();
    assert_eq!(statuses(&act(api, "tasks", Act::Create, json!({ "items": items }))).len(), 300);
    let items: Vec<Value> =
        (0..500).map(|number| json!({ "title": format!("{number}"), "description": long })).collect();
    act(api, "tasks", Act::Create, json!({ "items": items })).expect(413);
}

#[test]
fn a_batch_costs_as_many_statements_at_any_number_of_rows() {
    let service = Service::start();
    let api = &service.client;
    let company = api.make("companies", json!({ "name": "B" }));
    let staff: Vec<String> = (0..3).map(|_| api.make("staff", json!({ "name": "Jonas" }))).collect();
    let threads: Vec<String> =
        (0..3).map(|n| api.make("conversations", json!({ "channel": "web", "address": format!("v{n}") }))).collect();
    type Body<'b> = &'b dyn Fn(usize, usize) -> Value;
    let lead = |round: usize, n: usize| {
        let mut item = json!({ "title": format!("{n}"), "external_id": format!("{round}.{n}"), "company_id": company });
        // Whatever mix of fields they have, the first has all of them: a batch of one is no other.
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
    for (noun, body) in [("leads", &lead as Body), ("bookings", &booking), ("messages", &message)] {
        let costs: Vec<Vec<u32>> = [1, 100, 1_000]
            .into_iter()
            .enumerate()
            .map(|(round, size)| {
                let items: Vec<Value> = (0..size).map(|n| body(round, n)).collect();
                let made = act(api, noun, Act::Create, json!({ "items": items }));
                assert_eq!(statuses(&made), vec![201; size], "{noun}");
                let ids: Vec<&Value> = results(&made).iter().map(|result| &result["id"]).collect();
                let changes = ids.iter().enumerate().map(|(n, id)| match (noun, n % 2) {
                    ("leads", 1) => json!({ "id": id, "version": 1, "score": 9 }),
                    ("bookings", 1) => json!({ "id": id, "status": "pending" }),
                    _ => json!({ "id": id, "metadata": { "n": n } }),
                });
                let changed = act(api, noun, Act::Update, json!({ "items": changes.collect::<Vec<_>>() }));
                assert_eq!(statuses(&changed), vec![200; size], "{noun}");
                let matched = act(api, noun, Act::Upsert, json!({ "id_property": "external_id", "items": items }));
                assert_eq!(statuses(&matched), vec![200; size], "{noun}");
                let items: Vec<Value> = (0..size).map(|n| body(round + 10, n)).collect();
                let new = act(api, noun, Act::Upsert, json!({ "id_property": "external_id", "items": items }));
                assert_eq!(statuses(&new), vec![201; size], "{noun}");
                let deleted = act(api, noun, Act::Delete, json!({ "ids": ids }));
                assert_eq!(statuses(&deleted), vec![204; size], "{noun}");
                [made, changed, matched, new, deleted].iter().map(Answer::queries).collect()
            })
            .collect();
        assert!(costs[0] == costs[1] && costs[0] == costs[2], "{noun}: {costs:?}");
        assert!(costs[0].iter().all(|cost| *cost <= 12), "{noun}: {costs:?}");
        println!("{noun}: {:?} statements", costs[0]);
    }
    // Each of the messages that are left counts, and each batch is one change of their conversation.
    let thread = api.get(&format!("conversations/{}", threads[0])).expect(200).json;
    assert_eq!((&thread["unread_count"], &thread["version"]), (&json!(1 + 34 + 334), &json!(10)));
}

/// Which booking, to when, to whom, and whether it takes time.
type Move = (usize, Option<u32>, Option<usize>, Option<bool>);

/// What is done to bookings and leads, to compare what becomes of it.
#[derive(Clone, Debug)]
struct Given {
    /// Of bookings: which staff, when in half hours, how long, taking time or not.
    bookings: Vec<(usize, u32, u32, bool)>,
    /// Of bookings that were made: which, and where to.
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

/// Does things one by one, or in batches.
struct Hand {
    api: Client,
    batches: bool,
}

impl Hand {
    /// What becomes of `items`: status and id of each.
    fn all(&self, noun: &str, how: Act, items: &[Value]) -> Vec<(u64, Option<String>)> {
        let told = |status: u64, id: &Value| (status, id.as_str().filter(|_| status < 300).map(str::to_owned));
        if items.is_empty() {
            return Vec::new();
        }
        if self.batches {
            let mut body = json!({ "items": items, "all_or_none": false });
            if how == Act::Upsert {
                body["id_property"] = json!("external_id");
            }
            let answer = act(&self.api, noun, how, body);
            return results(&answer)
                .iter()
                .map(|result| told(result["status"].as_u64().expect("a status"), &result["id"]))
                .collect();
        }
        let one = |item: &Value| {
            let mut body = item.clone();
            let known = match how {
                Act::Update => body.as_object_mut().and_then(|body| body.shift_remove("id")),
                Act::Upsert => {
                    let key = item["external_id"].as_str().expect("a key");
                    self.api
                        .get(&format!("{noun}?external_id={key}"))
                        .expect(200)
                        .rows()
                        .first()
                        .map(|row| row["id"].clone())
                }
                _ => None,
            };
            let answer = match known.as_ref().and_then(Value::as_str) {
                Some(id) => self.api.patch(&format!("{noun}/{id}"), body),
                None => self.api.post(noun, body),
            };
            told(answer.status.into(), &answer.json["id"])
        };
        items.iter().map(one).collect()
    }

    fn rows(&self, noun: &str) -> Vec<Value> {
        let shown = |mut row: Value| {
            for name in ["id", "created_at", "updated_at", "entered_at", "closed_at", "code", "staff_id"] {
                row.as_object_mut().and_then(|row| row.shift_remove(name));
            }
            row
        };
        let mut rows: Vec<Value> = self.api.all(&format!("{noun}?limit=500")).into_iter().map(shown).collect();
        rows.sort_by_key(Value::to_string);
        rows
    }

    fn clear(&self, noun: &str) {
        let ids: Vec<Value> = self.api.all(&format!("{noun}?limit=500")).iter().map(|row| row["id"].clone()).collect();
        if !ids.is_empty() {
            act(&self.api, noun, Act::Delete, json!({ "ids": ids })).expect(200);
        }
    }
}

#[test]
fn a_batch_comes_to_what_its_items_come_to_one_by_one() {
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
            let made = hand.all("bookings", Act::Create, &bookings);
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
            let moved = hand.all("bookings", Act::Update, &moves);
            let leads: Vec<Value> = given.leads.iter().map(Lead::body).collect();
            let created = hand.all("leads", Act::Create, &leads);
            // A key each, as a batch of them wants.
            let mut seen = BTreeSet::new();
            let keyed = given.matched.iter().filter(|lead| lead.key.is_some_and(|key| seen.insert(key)));
            let matched = hand.all("leads", Act::Upsert, &keyed.map(Lead::body).collect::<Vec<_>>());
            let told: Vec<u64> = [made, moved, created, matched].concat().iter().map(|(status, _)| *status).collect();
            let rows = (hand.rows("bookings"), hand.rows("leads"));
            ["bookings", "leads"].iter().for_each(|noun| hand.clear(noun));
            (told, rows)
        });
        let done: Vec<_> = done.collect();
        assert_eq!(done[0].0, done[1].0, "the same becomes of each item");
        assert_eq!(done[0].1, done[1].1, "and the same rows are left");
    });
}

#[test]
fn who_upserts_the_same_rows_at_once_ends_with_one_of_each() {
    let service = Service::with(&["--db-connections", "8"]);
    let api = &service.client;
    for key in ["email", "external_id"] {
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8_usize)
                .map(|who| {
                    scope.spawn(move || {
                        let mut items: Vec<Value> = (0..60)
                            .map(|n| match key {
                                // In some other case, too.
                                "email" if who % 2 == 0 => json!({ "email": format!("PERSON{n}@example.com"), "title": format!("{who}") }),
                                "email" => json!({ "email": format!("person{n}@example.com"), "title": format!("{who}") }),
                                _ => json!({ "external_id": format!("e{n}"), "first_name": "A", "title": format!("{who}") }),
                            })
                            .collect();
                        items.rotate_left(who * 7);
                        if who % 3 == 0 {
                            items.reverse();
                        }
                        act(api, "contacts", Act::Upsert, json!({ "id_property": key, "items": items }))
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
fn batches_that_meet_in_other_orders_do_not_stand_in_each_others_way() {
    let service = Service::with(&["--db-connections", "8"]);
    let api = &service.client;
    let staff: Vec<String> = (0..6).map(|_| api.make("staff", json!({ "name": "Jonas" }))).collect();
    let booking = |who: &String, day: usize| json!({ "customer_name": "A", "staff_id": who, "starts_at": format!("2027-03-{day:02}T10:00:00Z"), "ends_at": format!("2027-03-{day:02}T11:00:00Z") });
    // Everybody wants every member of staff on the same day, in an order of their own: one gets each.
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..6)
            .map(|turn| {
                let mut items: Vec<Value> = staff.iter().map(|who| booking(who, 1)).collect();
                items.rotate_left(turn);
                scope.spawn(move || act(api, "bookings", Act::Create, json!({ "items": items, "all_or_none": false })))
            })
            .collect();
        asking.into_iter().map(|asked| asked.join().expect("an answer")).collect()
    });
    assert_eq!(answers.iter().flat_map(statuses).filter(|status| *status == 201).count(), 6);
    assert_eq!(answers.iter().flat_map(statuses).filter(|status| *status == 409).count(), 30);
    // Of one batch too, whoever comes first; and they may change places when both are moved.
    let twice = act(
        api,
        "bookings",
        Act::Create,
        json!({ "items": [booking(&staff[0], 2), booking(&staff[0], 2)], "all_or_none": false }),
    );
    assert_eq!(statuses(&twice), [201, 409]);
    let conflict = &results(&twice)[1]["problem"];
    assert_eq!(conflict["conflict"]["code"], results(&twice)[0]["row"]["code"]);
    assert_eq!(conflict["errors"][0]["pointer"], "/starts_at");
    let next = act(api, "bookings", Act::Create, json!({ "items": [booking(&staff[0], 3)] }));
    let ids = [&twice, &next].map(|answer| results(answer)[0]["id"].clone());
    let shift = |id: &Value, day: usize| {
        let mut item = booking(&staff[0], day);
        item["id"] = id.clone();
        item
    };
    let moved = act(api, "bookings", Act::Update, json!({ "items": [shift(&ids[1], 4), shift(&ids[0], 3)] }));
    assert_eq!(statuses(&moved), [200, 200], "each has left its place when the next comes");
    let refused =
        act(api, "bookings", Act::Update, json!({ "items": [shift(&ids[0], 4), shift(&ids[1], 5)] })).expect(409);
    assert_eq!((refused.code(), refused.faults()), ("overlapping_booking", vec!["/items/0/starts_at"]));
}

#[test]
fn who_sees_only_their_own_reaches_only_that_in_batches() {
    let service = Service::start();
    let boss = &service.client;
    admit(&service, "acme", "amina@example.com", "agent");
    let session = sign_in(&service, "amina@example.com").expect(201).json;
    let (amina, her) = (client(&service, &session), session["user"]["id"].clone());
    boss.patch(&format!("businesses/{}", service.business), json!({ "agents_see": "assigned" })).expect(200);
    let hers = boss.make("leads", json!({ "title": "Hers", "assignee_id": her, "external_id": "hers" }));
    let other = boss.make("leads", json!({ "title": "Other", "external_id": "other" }));
    let changes = json!([{ "id": hers, "score": 1 }, { "id": other, "score": 1 }]);
    let changed = act(&amina, "leads", Act::Update, json!({ "items": changes, "all_or_none": false }));
    assert_eq!(statuses(&changed), [200, 404]);
    let matched = json!([
        { "external_id": "hers", "title": "A" }, { "external_id": "other", "title": "B" }, { "external_id": "new", "title": "C" },
    ]);
    let body = json!({ "id_property": "external_id", "items": matched, "all_or_none": false });
    let matched = act(&amina, "leads", Act::Upsert, body);
    // That the key is taken is said, as it is to whoever makes the row alone; nothing of it is shown or changed.
    assert_eq!(statuses(&matched), [200, 409, 201]);
    assert_eq!(results(&matched)[2]["row"]["assignee_id"], her, "what she makes is hers");
    assert_eq!(boss.get(&format!("leads/{other}")).expect(200).json["title"], "Other");
    let linked = json!([{ "body": "a", "lead_id": hers }, { "body": "b", "lead_id": other }]);
    let noted = act(&amina, "notes", Act::Create, json!({ "items": linked, "all_or_none": false }));
    assert_eq!(statuses(&noted), [201, 422]);
    act(&amina, "leads", Act::Delete, json!({ "ids": [hers] })).expect(403);
    // What answers with rows shows them.
    let blind = boss.create("api-keys", json!({ "name": "Blind", "permissions": ["crm:write", "crm:delete"] }));
    let blind = Client::new(service.address, blind["key"].as_str().expect("a key"));
    for how in [Act::Create, Act::Update, Act::Upsert] {
        act(&blind, "leads", how, json!({})).expect(403);
    }
    assert_eq!(statuses(&act(&blind, "leads", Act::Delete, json!({ "ids": [hers] }))), [204]);
}

#[test]
fn a_batch_is_told_of_row_by_row_and_what_was_cached_is_answered_anew() {
    let service = Service::start();
    let api = &service.client;
    let made = act(api, "leads", Act::Create, json!({ "items": [{ "title": "A" }, { "title": "B" }] }));
    let ids: Vec<&str> = results(&made).iter().filter_map(|result| result["id"].as_str()).collect();
    for _ in 0..2 {
        api.get(&format!("leads/{}", ids[0])).expect(200);
        api.get("leads?q=roof").expect(200);
    }
    let body =
        json!({ "items": [{ "id": ids[0], "title": "Roof one" }, { "id": ids[1], "title": "Roof two", "score": 3 }] });
    act(api, "leads", Act::Update, body).expect(200);
    assert_eq!(api.get(&format!("leads/{}", ids[0])).expect(200).json["title"], "Roof one");
    assert_eq!(api.get("leads?q=roof").expect(200).rows().len(), 2);
    act(api, "leads", Act::Delete, json!({ "ids": ids })).expect(200);
    assert!(api.get("leads?q=roof").expect(200).rows().is_empty());
    let told = api.get(&format!("leads/{}/history", ids[1])).expect(200);
    let actions: Vec<&str> = told.rows().iter().filter_map(|entry| entry["action"].as_str()).collect();
    assert_eq!(actions, ["deleted", "updated", "created"]);
    assert_eq!(told.rows()[1]["changes"]["score"], json!({ "old": 0, "new": 3 }));
}

#[test]
fn what_follows_from_a_value_follows_only_when_it_becomes_another() {
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
    for (noun, least, now, then, follow) in cases {
        let path = |id: &str| format!("{noun}/{id}");
        let make = |key: &str| api.make(noun, with(&[&least, &now, &json!({ "external_id": key })]));
        let ids = ["a", "b"].map(make);
        let stamps = || {
            let set: Vec<String> = follow.iter().map(|name| format!("{name} = '2020-02-02T02:02:02Z'")).collect();
            service.database.run(&format!("UPDATE {noun} SET {}", set.join(", ")));
        };
        let write = |how: &str, values: [&Value; 2]| {
            let items: Vec<Value> = (0..2)
                .map(|n| match how {
                    "update" => with(&[values[n], &json!({ "id": ids[n] })]),
                    // New ones too, and one that says less.
                    _ => with(&[&least, values[n], &json!({ "external_id": if n == 0 { "a" } else { "b" } })]),
                })
                .collect();
            let done = match how {
                "patch" => {
                    (0..2).for_each(|n| drop(api.patch(&path(&ids[n]), values[n].clone()).expect(200)));
                    return;
                }
                "update" => act(api, noun, Act::Update, json!({ "items": items })),
                _ => act(api, noun, Act::Upsert, json!({ "id_property": "external_id", "items": items })),
            };
            assert_eq!(statuses(&done), [200, 200], "{}", done.text);
        };
        for how in ["patch", "update", "upsert"] {
            write(how, [&now, &now]);
            stamps();
            write(how, [&now, &then]);
            let rows = [0, 1].map(|n| api.get(&path(&ids[n])).expect(200).json);
            for name in &follow {
                assert_eq!(rows[0][name], "2020-02-02T02:02:02.000000Z", "{noun}, {how}: {name} of what is as it was");
                assert_ne!(rows[1][name], "2020-02-02T02:02:02.000000Z", "{noun}, {how}: {name} of what is another");
            }
        }
    }
    // Who says when it was closed is believed, whatever the status was.
    let lead = api.make("leads", json!({ "title": "B", "status": "won" }));
    for when in ["2020-01-01T00:00:00.000000Z", "2020-01-02T00:00:00.000000Z"] {
        let body = json!({ "status": "won", "closed_at": when });
        assert_eq!(api.patch(&format!("leads/{lead}"), body).expect(200).json["closed_at"], when);
        let item = json!({ "id": lead, "status": "won", "closed_at": "2020-01-03T00:00:00Z" });
        let other = json!({ "id": api.make("leads", json!({ "title": "C" })), "status": "won" });
        let done = act(api, "leads", Act::Update, json!({ "items": [item, other] }));
        assert_eq!(results(&done)[0]["row"]["closed_at"], "2020-01-03T00:00:00.000000Z");
        assert!(results(&done)[1]["row"]["closed_at"].is_string());
    }
}

#[test]
fn who_upserts_what_another_has_just_made_changes_it_at_every_level() {
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
            let asked = scope.spawn(|| act(api, "contacts", Act::Upsert, body));
            crate::support::until("it waits for the other", || {
                database.ask("SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()") == "1"
            });
            run("COMMIT");
            let answer = asked.join().expect("an answer");
            assert_eq!(statuses(&answer), [200, 201], "{level}: {}", answer.text);
        });
        // A value of another field that somebody has is as wrong as ever, and at once.
        let taken = json!([{ "external_id": "x", "first_name": "C", "email": "anna@example.com" }]);
        let answer = act(api, "contacts", Act::Upsert, json!({ "id_property": "external_id", "items": taken }));
        assert_eq!(answer.expect(409).code(), "already_exists");
    }
}
