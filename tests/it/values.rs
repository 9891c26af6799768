//! Tests of values: normalised on write, found by the same value, and unchanged values change no version.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use rapport::app::registry::RESOURCES;
use rapport::resource::{FieldType, Mutability, Resource};
use serde_json::{Map, Value, json};

use crate::support::{Answer, Client, Samples, Service, for_cases, until};

fn id(row: &Value) -> &str {
    row["id"].as_str().expect("an id")
}

fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn found(api: &Client, query: &str) -> usize {
    api.get(query).expect(200).rows().len()
}

/// The result of a bulk operation, after its job has ended.
fn bulk(api: &Client, resource: &str, body: Value) -> Value {
    let asked = api.post(&format!("{resource}/bulk-operations"), body).expect(202);
    let began = Instant::now();
    loop {
        let job = api.get(asked.header("location")).expect(200).json;
        if !matches!(job["state"].as_str(), Some("queued" | "running")) {
            return job["result"].clone();
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{job}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn bulk_filter_list_matches_each_element_exactly() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let labels = ["vip, keep", "vip", "keep", "back\\slash", "\"quoted\"", "a&b=c+d%2C"];
    for label in labels {
        let body = json!({ "title": label, "source": label, "tags": [label], "metadata": { "plan": label } });
        api.create("leads", body);
    }
    let matched = |filter: Value| {
        let body = json!({ "action": "delete", "filter": filter, "dry_run": true });
        api.post("leads/bulk-operations", body).expect(200).json["matched"].clone()
    };
    for label in labels {
        for name in ["tags", "source", "metadata.plan"] {
            assert_eq!(matched(json!({ name: [label] })), 1, "{name}: {label}");
            assert_eq!(matched(json!({ name: label })), 1, "{name}: {label}");
        }
    }
    assert_eq!(matched(json!({ "tags": ["vip", "keep"] })), 2);
    // A backslash is no escape here, unlike in the query string.
    assert_eq!(matched(json!({ "tags": "vip\\, keep" })), 0);
    assert_eq!(matched(json!({ "q": ["vip, keep"] })), 1);
    assert_eq!(matched(json!({ "q": "vip, keep" })), 1);
    for (filter, pointer) in [
        (json!({ "metadata.plan": ["vip", "keep"] }), "/filter/metadata.plan"),
        (json!({ "q": ["vip", "keep"] }), "/filter/q"),
        (json!({ "score_min": [1, 2] }), "/filter/score_min"),
        (json!({ "created_after": ["2026-01-01", "2026-01-02"] }), "/filter/created_after"),
        (json!({ "tags": [] }), "/filter/tags"),
        (json!({ "tags": [["vip"]] }), "/filter/tags"),
        (json!({ "tags": ["a\u{0}b"] }), "/filter/tags"),
    ] {
        let body = json!({ "action": "delete", "filter": filter });
        assert_eq!(api.post("leads/bulk-operations", body).expect(422).faults(), [pointer], "{filter}");
    }
    // The job keeps the list's elements apart, too.
    bulk(api, "leads", json!({ "action": "delete", "filter": { "tags": ["vip, keep"] } }));
    let left: Vec<Value> = api.all("leads?sort=created_at").iter().map(|row| row["title"].clone()).collect();
    assert_eq!(left, labels[1..]);
}

#[test]
fn batch_read_names_joined_by_comma_422() {
    let service = Service::start();
    let lead = service.client.make("leads", json!({ "title": "Roof" }));
    for (name, value) in [("include", "company,contact"), ("fields", "id,title")] {
        let body = json!({ "ids": [lead], name: [value] });
        let refused = service.client.post("leads/batch/read", body).expect(422);
        assert_eq!(refused.faults(), [format!("/{name}")]);
    }
    let body = json!({ "ids": [lead], "include": ["company"], "fields": ["id", "company.name"] });
    service.client.post("leads/batch/read", body).expect(200);
}

#[test]
fn update_amount_without_currency_keeps_currency() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let mut samples = Samples::new(api);
    let mut seen = 0;
    for resource in RESOURCES {
        for amount in resource.fields.iter().filter(|field| field.name.ends_with("_minor")) {
            assert!(amount.currency.is_some(), "{}.{} has no currency", resource.plural, amount.name);
        }
        for amount in resource.fields.iter().filter(|field| field.mutability == Mutability::Always) {
            let Some(currency) = amount.currency else { continue };
            seen += 1;
            let about = format!("{}.{}", resource.plural, amount.name);
            let other = |value: i64| {
                if amount.field_type == FieldType::Decimal { json!(value.to_string()) } else { json!(value) }
            };
            let mut body = samples.body(resource);
            body.insert(currency.to_owned(), json!("JPY"));
            let row = api.create(resource.path(), Value::Object(body.clone()));
            let path = format!("{}/{}", resource.path(), id(&row));
            let is_kept = |how: &str| {
                assert_eq!(api.get(&path).expect(200).json[currency], "JPY", "{about} by {how}");
            };
            let patched = api.patch(&path, json!({ amount.name: other(11) })).expect(200).json;
            assert_eq!(patched[currency], "JPY", "{about} by PATCH");
            if resource.operations.batch {
                let items = json!([{ "id": id(&row), amount.name: other(12) }]);
                api.post(&format!("{}/batch/update", resource.path()), json!({ "items": items })).expect(200);
                is_kept("batch/update");
                let mut again = body.clone();
                again.remove(currency);
                again.insert(amount.name.to_owned(), other(13));
                let upsert = json!({ "id_property": "external_id", "items": [again] });
                let upserted = api.post(&format!("{}/batch/upsert", resource.path()), upsert).expect(200);
                assert_eq!(upserted.json["results"][0]["status"], 200, "{about}: {}", upserted.text);
                is_kept("batch/upsert");
                let filter = json!({ "external_id": body["external_id"] });
                let set = json!({ "action": "update", "filter": filter, "set": { amount.name: other(14) } });
                bulk(api, resource.plural, set);
                is_kept("bulk-operations");
            }
            // Without a currency, an amount gets the business's; with one, it keeps it. (Some always have both.)
            if amount.required {
                continue;
            }
            let none = api.patch(&path, json!({ amount.name: null, currency: null })).expect(200).json;
            assert_eq!((&none[amount.name], &none[currency]), (&Value::Null, &Value::Null), "{about}");
            assert_eq!(
                api.patch(&path, json!({ amount.name: other(15) })).expect(200).json[currency],
                "EUR",
                "{about}"
            );
            let named = json!({ amount.name: other(16), currency: "KWD" });
            assert_eq!(api.patch(&path, named).expect(200).json[currency], "KWD", "{about}");
        }
    }
    assert!(seen >= 5, "{seen}");
    // An item without an amount beside one without a currency: each is handled separately.
    let bare = api.make("leads", json!({ "title": "Bare" }));
    let yen = api.make("leads", json!({ "title": "Yen", "value_minor": 1, "currency": "JPY" }));
    let plain = api.make("leads", json!({ "title": "Plain" }));
    let items =
        json!([{ "id": bare, "value_minor": 5 }, { "id": yen, "value_minor": 5 }, { "id": plain, "title": "P" }]);
    let rows = api.post("leads/batch/update", json!({ "items": items })).expect(200).json;
    let currency = |place: usize| &rows["results"][place]["row"]["currency"];
    assert_eq!([currency(0), currency(1), currency(2)], [&json!("EUR"), &json!("JPY"), &Value::Null]);
    // A file with the amount only.
    let file = format!("id,title,value_minor\n{yen},Yen,9\n{plain},P,9\n");
    let import = api.upload("imports?resource=leads&file_name=a.csv", "text/csv", file).expect(202).json;
    let path = format!("imports/{}", id(&import));
    until("imported", || api.get(&path).expect(200).json["state"] == "imported");
    let rows = [&yen, &plain].map(|id| api.get(&format!("leads/{id}")).expect(200).json);
    assert_eq!([&rows[0]["value_minor"], &rows[0]["currency"]], [&json!(9), &json!("JPY")]);
    assert_eq!([&rows[1]["value_minor"], &rows[1]["currency"]], [&json!(9), &json!("EUR")]);
}

#[test]
fn process_and_convert_lead_amount_keeps_currency() {
    let service = Service::start();
    let api = &service.client;
    let lead = api.make("leads", json!({ "title": "Roof", "value_minor": 500_000, "currency": "JPY" }));
    let body = json!({ "lead": { "value_minor": 600_000 }, "decision": { "decision": "qualify" } });
    let processed = api.post(&format!("leads/{lead}/processing"), body).expect(201).json;
    assert_eq!((&processed["lead"]["value_minor"], &processed["lead"]["currency"]), (&json!(600_000), &json!("JPY")));
    let body = json!({ "lead": { "value_minor": 700_000 } });
    let converted = api.post(&format!("leads/{lead}/conversion"), body).expect(201).json;
    assert_eq!((&converted["lead"]["value_minor"], &converted["lead"]["currency"]), (&json!(700_000), &json!("JPY")));
}

#[test]
fn unknown_country_or_currency_422_suggests_nearest() {
    let service = Service::start();
    let api = &service.client;
    let business = format!("businesses/{}", service.business);
    for (written, meant) in [("UK", Some("GB")), ("DEU", Some("DE")), ("de", Some("DE")), ("XX", None), ("ZZ", None)] {
        let refused = api.patch(&business, json!({ "country": written })).expect(422);
        assert_eq!(refused.faults(), ["/country"], "{written}");
        let detail = refused.json["errors"][0]["detail"].as_str().expect("a detail");
        let hint = meant.map(|code| format!(" Did you mean `{code}`?")).unwrap_or_default();
        assert_eq!(detail, format!("`country` must be an ISO 3166-1 code such as DE.{hint}"), "{written}");
    }
    for (written, meant) in
        [("XQX", None), ("eur", Some("EUR")), ("RMB", Some("CNY")), ("HRK", Some("EUR")), ("XAU", None)]
    {
        let body = json!({ "title": "Roof", "value_minor": 1, "currency": written });
        let refused = api.post("leads", body).expect(422);
        assert_eq!(refused.faults(), ["/currency"], "{written}");
        let detail = refused.json["errors"][0]["detail"].as_str().expect("a detail");
        match meant {
            Some(code) => assert!(detail.ends_with(&format!(" Did you mean `{code}`?")), "{written}: {detail}"),
            None => assert_eq!(
                detail, "`currency` must be the ISO 4217 code of a currency in use, such as EUR.",
                "{written}"
            ),
        }
    }
    assert_eq!(api.patch(&business, json!({ "country": "GB" })).expect(200).json["country"], "GB");
    // Rows with another code are readable, and their other fields can be changed.
    let lead = api.make("leads", json!({ "title": "Old", "value_minor": 1, "currency": "EUR" }));
    service.database.run("UPDATE leads SET currency = 'XQX'");
    service.database.run("UPDATE businesses SET country = 'UK'");
    let path = format!("leads/{lead}");
    assert_eq!(api.get(&path).expect(200).json["currency"], "XQX");
    let patched = api.patch(&path, json!({ "title": "New", "value_minor": 2 })).expect(200).json;
    assert_eq!((&patched["currency"], &patched["value_minor"]), (&json!("XQX"), &json!(2)));
    assert_eq!(api.patch(&business, json!({ "name": "Renamed" })).expect(200).json["country"], "UK");
    // The document states how many digits an amount has.
    let document = api.get("/openapi.json").expect(200).json;
    let about = document["info"]["description"].as_str().expect("a description");
    assert!(about.contains("2 digits") && about.contains("JPY") && about.contains("KWD"), "{about}");
}

#[test]
fn phone_filter_unescaped_plus_matches() {
    let service = Service::start();
    let api = &service.client;
    api.create("contacts", json!({ "first_name": "Anna", "phone": "+4930901820" }));
    api.create("contacts", json!({ "first_name": "Bo", "phone": "+4930901821" }));
    api.create("conversations", json!({ "channel": "whatsapp", "address": "+4930901820" }));
    api.create("conversations", json!({ "channel": "sms", "address": "(415) 293-3313" }));
    api.create("conversations", json!({ "channel": "email", "address": "anna@example.com" }));
    let mut samples = Samples::new(api);
    let mut booking = samples.body(&rapport::scheduling::bookings::BOOKINGS);
    booking.insert("customer_phone".to_owned(), json!("+4930901820"));
    api.create("bookings", Value::Object(booking));
    for number in
        ["%2B4930901820", "+4930901820", "%2B49%2030%20901820", "+49+30+901820", "+49%2030-901820", "%20+4930901820"]
    {
        for filter in ["contacts?phone", "conversations?address", "bookings?customer_phone"] {
            assert_eq!(found(api, &format!("{filter}={number}")), 1, "{filter}={number}");
        }
    }
    assert_eq!(found(api, "contacts?phone=+4930901820,+4930901821"), 2);
    assert_eq!(found(api, "contacts?phone=+4930901820&phone=+4930901821"), 2);
    assert_eq!(found(api, "conversations?address=415-293-3313"), 1);
    assert_eq!(found(api, "conversations?address=14152933313"), 1, "as WhatsApp writes it");
    assert_eq!(found(api, "conversations?address=anna@example.com,+4930901820"), 2);
    assert_eq!(api.get("contacts/export?format=ndjson&phone=+4930901820").expect(200).text.lines().count(), 1);
}

#[test]
fn text_trimmed_and_normalized_in_writes_and_filters() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let padded = "\u{a0} n\u{200b}e\u{301}w\u{feff}\n";
    let body = json!({ "title": " Roof\u{2060} ", "source": padded, "tags": [padded, "n\u{e9}w", " x"], "external_id": " a-1 " });
    let lead = api.create("leads", body);
    assert_eq!(
        [&lead["title"], &lead["source"], &lead["tags"], &lead["external_id"]],
        [&json!("Roof"), &json!("n\u{e9}w"), &json!(["n\u{e9}w", "x"]), &json!("a-1")]
    );
    for name in ["source", "tags"] {
        for text in [padded, "n\u{e9}w", "ne\u{301}w", " n\u{e9}w "] {
            assert_eq!(found(api, &format!("leads?{name}={}", escaped(text))), 1, "{name}={text:?}");
            for filter in [json!(text), json!([text])] {
                let body = json!({ "action": "tag", "add": ["y"], "filter": { name: filter }, "dry_run": true });
                assert_eq!(api.post("leads/bulk-operations", body).expect(200).json["matched"], 1, "{name}: {text:?}");
            }
        }
    }
    assert_eq!(found(api, &format!("leads?q={}", escaped(" roo\u{200b}f "))), 1);
    // The unique value of an upsert is compared in its normalised form.
    let items = json!([{ "external_id": "\u{feff}a-1", "title": "Roof" }]);
    let upserted = api.post("leads/batch/upsert", json!({ "id_property": "external_id", "items": items })).expect(200);
    assert_eq!(upserted.json["results"][0]["status"], 200);
    assert_eq!(upserted.json["results"][0]["id"], lead["id"]);
    // A contact's email address and phone number, as pasted.
    let contact = api
        .create("contacts", json!({ "email": "\u{feff}anna@example.com\u{200b} ", "phone": " 030\u{200e} 1234567 " }));
    assert_eq!([&contact["email"], &contact["phone"]], [&json!("anna@example.com"), &json!("+10301234567")]);
    let again = api.post("contacts?allow_duplicate=true", json!({ "email": "anna@example.com\u{2060}" })).expect(409);
    assert_eq!(again.code(), "already_exists");
    let company = api.create("companies", json!({ "name": "B\u{ad}rekke", "domain": " brekke.example\u{200b}" }));
    assert_eq!([&company["name"], &company["domain"]], [&json!("Brekke"), &json!("brekke.example")]);
    // Invisible text is empty text.
    for body in [json!({ "title": "\u{200b}\u{200d} " }), json!({ "title": "x", "tags": ["\u{feff}"] })] {
        api.post("leads", body).expect(422);
    }
    // Multi-line text keeps its lines, names keep the joiners of their spelling, and objects are stored unchanged.
    let note = api.create("notes", json!({ "body": "\u{feff}One\n\n\tne\u{301}w \r\n" }));
    assert_eq!(note["body"], "One\n\n\tn\u{e9}w");
    let name = "\u{639}\u{644}\u{6cc}\u{200c}\u{631}\u{636}\u{627}";
    assert_eq!(api.create("contacts", json!({ "first_name": name }))["first_name"], name);
    let metadata = json!({ " padded ": [" a\u{200b} "] });
    assert_eq!(api.create("leads", json!({ "title": "x", "metadata": metadata }))["metadata"], metadata);
}

/// JSON merge patch (RFC 7396, section 2), literally.
fn merge(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut merged = target.as_object().cloned().unwrap_or_default();
    for (name, value) in patch {
        if value.is_null() {
            merged.shift_remove(name);
        } else {
            let known = merged.get(name).cloned().unwrap_or(Value::Null);
            merged.insert(name.clone(), merge(&known, value));
        }
    }
    Value::Object(merged)
}

fn objects() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9i64..9).prop_map(Value::from),
        "[a-c\"\\\\ :,]{0,4}".prop_map(Value::from),
    ];
    let any = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[a-d]", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop::collection::vec(("[a-d]", any), 0..4).prop_map(|members| Value::Object(members.into_iter().collect()))
}

#[test]
fn metadata_every_write_applies_rfc_7396_merge_patch() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let lead = api.create("leads", json!({ "title": "Roof", "external_id": "roof" }));
    let path = format!("leads/{}", id(&lead));
    let mut expected = json!({});
    for_cases(60, (objects(), 0..4), |(patch, way)| {
        expected = merge(&expected, &patch);
        match way {
            0 => drop(api.patch(&path, json!({ "metadata": patch })).expect(200)),
            1 => {
                let items = json!([{ "id": id(&lead), "metadata": patch }]);
                api.post("leads/batch/update", json!({ "items": items })).expect(200);
            }
            2 => {
                let items = json!([{ "external_id": "roof", "title": "Roof", "metadata": patch }]);
                api.post("leads/batch/upsert", json!({ "id_property": "external_id", "items": items })).expect(200);
            }
            _ => {
                let body = json!({ "lead": { "metadata": patch }, "decision": { "decision": "wait" } });
                api.post(&format!("{path}/processing"), body).expect(201);
            }
        }
        assert_eq!(api.get(&path).expect(200).json["metadata"], expected, "way {way} of {patch}");
        // The object of a new row is merged into an empty one.
        let made = api.create("leads", json!({ "title": "New", "metadata": patch }));
        assert_eq!(made["metadata"], merge(&json!({}), &patch));
    });
    let set = json!({ "metadata": { "a": null, "erp": { "id": 7 } } });
    bulk(api, "leads", json!({ "action": "update", "filter": { "external_id": "roof" }, "set": set }));
    expected = merge(&expected, &set["metadata"]);
    assert_eq!(api.get(&path).expect(200).json["metadata"], expected);
    // Each row of a set has its own.
    let other = api.make("leads", json!({ "title": "Other", "metadata": { "keep": [1], "go": 1 } }));
    let items =
        json!([{ "id": id(&lead), "score": 9 }, { "id": other, "metadata": { "go": null, "deep": { "er": null } } }]);
    api.post("leads/batch/update", json!({ "items": items })).expect(200);
    assert_eq!(api.get(&format!("leads/{other}")).expect(200).json["metadata"], json!({ "keep": [1], "deep": {} }));
    assert_eq!(api.get(&path).expect(200).json["metadata"], expected);
    // A nullable object is cleared by null, and created by a patch.
    let talk = api.make("conversations", json!({ "channel": "web", "address": "visitor" }));
    let said =
        json!({ "conversation_id": talk, "direction": "outbound", "body": "x", "media": { "url": "u", "size": 1 } });
    let message = format!("messages/{}", api.make("messages", said));
    let media = |patch: Value| api.patch(&message, json!({ "media": patch })).expect(200).json["media"].clone();
    assert_eq!(media(json!({ "size": 2 })), json!({ "url": "u", "size": 2 }));
    assert_eq!(media(Value::Null), Value::Null);
    assert_eq!(media(json!({ "url": "v", "size": null })), json!({ "url": "v" }));
}

#[test]
fn concurrent_patches_of_different_metadata_keys_all_kept() {
    let service = Service::with(&["--db-connections", "8"]);
    let api = &service.client;
    let lead = api.make("leads", json!({ "title": "Roof", "metadata": { "deep": { "kept": true } } }));
    let path = format!("leads/{lead}");
    std::thread::scope(|scope| {
        for number in 0..32 {
            let path = &path;
            scope.spawn(move || {
                let patch = json!({ format!("k{number}"): number, "deep": { format!("d{number}"): number } });
                match number % 2 {
                    0 => api.patch(path, json!({ "metadata": patch })).expect(200),
                    _ => {
                        let items = json!([{ "id": path.strip_prefix("leads/"), "metadata": patch }]);
                        api.post("leads/batch/update", json!({ "items": items })).expect(200)
                    }
                };
            });
        }
    });
    let row = api.get(&path).expect(200).json;
    for number in 0..32 {
        assert_eq!(row["metadata"][format!("k{number}")], number);
        assert_eq!(row["metadata"]["deep"][format!("d{number}")], number);
    }
    assert_eq!((&row["metadata"]["deep"]["kept"], &row["version"]), (&json!(true), &json!(33)));
}

#[test]
fn metadata_merged_over_size_limit_422_may_shrink() {
    let service = Service::start();
    let api = &service.client;
    // With a blank after each comma and colon it would exceed the limit already.
    let many: Map<String, Value> = (0..4_000).map(|n| (format!("{n:04}"), json!({ "a,b: c": 1 }))).collect();
    assert!((60_000..65_536 - 100).contains(&Value::Object(many.clone()).to_string().len()) || many.len() == 4_000);
    let large = json!({ "a": "x".repeat(40_000) });
    let lead = api.make("leads", json!({ "title": "Roof", "metadata": large }));
    let other = api.make("leads", json!({ "title": "Other" }));
    let (path, more) = (format!("leads/{lead}"), json!({ "b": "x".repeat(30_000) }));
    let refused = api.patch(&path, json!({ "metadata": more })).expect(422);
    assert_eq!((refused.faults(), refused.json["errors"][0]["code"].as_str()), (vec!["/metadata"], Some("length")));
    assert_eq!(api.get(&path).expect(200).json["metadata"], large);
    let items = json!([{ "id": other, "metadata": more }, { "id": lead, "metadata": more }]);
    let refused = api.post("leads/batch/update", json!({ "items": items })).expect(422);
    assert_eq!(refused.faults(), ["/items/1/metadata"]);
    let some = api.post("leads/batch/update", json!({ "items": items, "all_or_none": false })).expect(200).json;
    assert_eq!((&some["results"][0]["status"], &some["results"][1]["status"]), (&json!(200), &json!(422)));
    // Up to the limit itself, to the byte: {"a":"…","b":"…"}.
    let fits = json!({ "b": "x".repeat(65_536 - 40_000 - r#"{"a":"","b":""}"#.len()) });
    api.patch(&path, json!({ "metadata": fits })).expect(200);
    api.patch(&path, json!({ "metadata": { "b": format!("{}y", fits["b"].as_str().unwrap()) } })).expect(422);
    // The size counts without blanks.
    let dense: Map<String, Value> = (0..5_000).map(|n| (format!("{n:04}"), json!([1]))).collect();
    let dense = json!({ "metadata": dense });
    let dense_lead =
        format!("leads/{}", api.make("leads", json!({ "title": "Dense", "metadata": { "z": "\" : , \\" } })));
    assert!(dense["metadata"].to_string().len() < 65_536);
    api.patch(&dense_lead, dense.clone()).expect(200);
    assert_eq!(api.get(&dense_lead).expect(200).json["metadata"]["z"], "\" : , \\");
    // An object over the limit, stored before the limit existed, can shrink.
    service
        .database
        .run("UPDATE leads SET metadata = jsonb_build_object('a', repeat('x', 80000), 'b', 1) WHERE title = 'Other'");
    let path = format!("leads/{other}");
    api.patch(&path, json!({ "metadata": { "b": null } })).expect(200);
    api.patch(&path, json!({ "metadata": { "c": 1 } })).expect(422);
    api.patch(&path, json!({ "metadata": { "a": null } })).expect(200);
}

/// The fields of `row` that a caller may always set, with their values.
fn writable(resource: &Resource, row: &Value) -> Map<String, Value> {
    let fields = resource.fields.iter().filter(|field| field.mutability == Mutability::Always);
    fields.map(|field| (field.name.to_owned(), row[field.name].clone())).collect()
}

#[test]
fn update_with_unchanged_values_changes_nothing() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let mut samples = Samples::new(api);
    for resource in RESOURCES.into_iter().filter(|resource| resource.operations.update) {
        let plural = resource.path();
        let row = samples.row(resource);
        let path = format!("{plural}/{}", id(&row));
        // A rate prices messages, by a job.
        until("jobs have ended", || {
            service.database.ask("SELECT count(*)::text FROM jobs WHERE finished_at IS NULL AND kind <> 'sample'")
                == "0"
        });
        let before = api.get(&path).expect(200);
        let moved = || {
            let entries = service.database.ask("SELECT count(*)::text FROM audit_entries");
            (entries, service.database.ask("SELECT count(*)::text FROM change_log"))
        };
        let marks = moved();
        let is_as_it_was = |answer: Answer, how: &str| {
            assert_eq!(answer.json, before.json, "{plural} by {how}");
            assert_eq!(answer.header("etag"), before.header("etag"), "{plural} by {how}");
            let now = api.get(&path).expect(200);
            assert_eq!((now.header("etag"), &now.json), (before.header("etag"), &before.json), "{plural} by {how}");
            assert_eq!(moved(), marks, "{plural} by {how}: what is recorded");
        };
        let own = Value::Object(writable(resource, &before.json));
        is_as_it_was(api.patch(&path, own.clone()).expect(200), "PATCH of all");
        for (name, value) in writable(resource, &before.json) {
            is_as_it_was(api.patch(&path, json!({ name.clone(): value })).expect(200), &format!("PATCH of {name}"));
        }
        let with_tag = |tag: &str| api.send(api.request("PATCH", &path).header("If-Match", tag).json(&own));
        is_as_it_was(with_tag(before.header("etag")).expect(200), "PATCH with its tag");
        assert_eq!(with_tag("\"9999\"").expect(412).code(), "precondition_failed", "{plural}");
        if resource.operations.batch {
            let mut item = writable(resource, &before.json);
            item.insert("id".to_owned(), before.json["id"].clone());
            let updated = api.post(&format!("{plural}/batch/update"), json!({ "items": [item] })).expect(200).json;
            assert_eq!(updated["results"][0]["row"], before.json, "{plural}");
            let upsert = json!({ "id_property": "external_id", "items": [own] });
            // Fields required on create must be given in an upsert as well.
            let upserted = api.post(&format!("{plural}/batch/upsert"), upsert);
            if upserted.status == 200 {
                assert_eq!(upserted.json["results"][0]["row"], before.json, "{plural}");
            }
            assert_eq!(moved(), marks, "{plural} in batches: what is recorded");
            let mut set = writable(resource, &before.json);
            resource.unique_fields().for_each(|key| drop(set.shift_remove(key.name)));
            let filter = json!({ "external_id": before.json["external_id"] });
            bulk(api, plural, json!({ "action": "update", "filter": filter, "set": set }));
            let now = api.get(&path).expect(200);
            assert_eq!((now.header("etag"), &now.json), (before.header("etag"), &before.json), "{plural} in bulk");
        }
    }
}

#[test]
fn batch_update_bumps_versions_of_changed_rows_only() {
    let service = Service::start();
    let api = &service.client;
    let made: Vec<Value> =
        (0..6).map(|n| api.create("leads", json!({ "title": format!("L{n}"), "tags": ["a"] }))).collect();
    let item = |n: usize, title: &str| json!({ "id": made[n]["id"], "title": title, "tags": ["a"] });
    let items = json!([item(0, "L0"), item(1, "new"), item(2, "L2"), { "id": made[3]["id"], "score": 0 }, { "id": made[4]["id"], "score": 5 }]);
    let entries = || service.database.ask("SELECT count(*)::text FROM audit_entries");
    let before: i64 = entries().parse().unwrap();
    let answer = api.post("leads/batch/update", json!({ "items": items })).expect(200);
    let versions: Vec<i64> =
        answer.json["results"].as_array().unwrap().iter().map(|r| r["row"]["version"].as_i64().unwrap()).collect();
    assert_eq!(versions, [1, 2, 1, 1, 2]);
    assert_eq!(entries().parse::<i64>().unwrap(), before + 2);
    // The number of statements does not depend on the number of items.
    let few = api.post("leads/batch/update", json!({ "items": [item(0, "L0"), item(2, "L2")] })).expect(200).queries();
    let ids: Vec<String> =
        (0..40).map(|n| api.make("leads", json!({ "title": format!("M{n}"), "tags": ["a"] }))).collect();
    let many: Vec<Value> =
        ids.iter().enumerate().map(|(n, id)| json!({ "id": id, "title": format!("M{n}"), "tags": ["a"] })).collect();
    assert_eq!(api.post("leads/batch/update", json!({ "items": many })).expect(200).queries(), few);
}

#[test]
fn update_lead_same_status_keeps_derived_fields() {
    let service = Service::start();
    let api = &service.client;
    let body =
        json!({ "title": "Roof", "status": "qualified", "closed_at": "2026-01-01T00:00:00Z", "lost_reason": "Price" });
    let lead = api.create("leads", body);
    let path = format!("leads/{}", id(&lead));
    assert_eq!(api.patch(&path, json!({ "status": "qualified" })).expect(200).json, lead);
    let lost = api.patch(&path, json!({ "status": "lost", "lost_reason": "Time" })).expect(200).json;
    assert_ne!(lost["closed_at"], lead["closed_at"]);
    assert_eq!(api.patch(&path, json!({ "status": "lost" })).expect(200).json, lost);
    let open = api.patch(&path, json!({ "status": "new" })).expect(200).json;
    assert_eq!([&open["closed_at"], &open["lost_reason"]], [&Value::Null, &Value::Null]);
}

#[test]
fn if_match_list_strong_if_none_match_weak() {
    let service = Service::start();
    let api = &service.client;
    let lead = api.make("leads", json!({ "title": "Roof" }));
    let path = format!("leads/{lead}");
    let mut title = 0;
    let mut change = |tag: &str| {
        title += 1;
        let request = api.request("PATCH", &path).header("If-Match", tag);
        api.send(request.json(&json!({ "title": format!("Roof {title}") }))).status
    };
    for (tags, status) in [
        ("\"1\"", 200),
        ("\"1\"", 412),
        ("\"1\", \"2\"", 200),
        ("\"7\",\"3\" , \"9\"", 200),
        ("W/\"4\"", 412),
        ("W/\"4\", \"9\"", 412),
        ("W/\"9\", \"4\"", 200),
        ("\"abc\", \"5.0123456789abcdef\"", 200),
        ("\"abc\"", 412),
        ("\"\"", 412),
        (", \"6\",", 200),
        ("*", 200),
        ("\"8.0123456789abcdef-gzip\"", 200),
        ("nonsense", 400),
        ("\"10\" \"11\"", 400),
        ("*, \"10\"", 400),
        (&vec!["\"10\""; 17].join(", "), 400),
        (&vec!["\"9\""; 16].join(", "), 200),
    ] {
        assert_eq!(change(tags), status, "If-Match: {tags}");
    }
    // Several header lines are one list.
    let request = api.request("PATCH", &path).header("If-Match", "\"1\"").header("If-Match", "\"10\"");
    api.send(request.json(&json!({ "title": "Two lines" }))).expect(200);
    let deletion = |tags: &str| api.send(api.request("DELETE", &path).header("If-Match", tags)).status;
    assert_eq!([deletion("W/\"11\""), deletion("\"10\", \"13\""), deletion("\"10\", \"11\"")], [412, 412, 204]);
    // Reads compare weakly (RFC 9110).
    let other = format!("leads/{}", api.make("leads", json!({ "title": "Roof" })));
    let etag = api.get(&other).expect(200).header("etag").to_owned();
    let known = |tags: String| api.send(api.request("GET", &other).header("If-None-Match", tags)).status;
    assert_eq!(known(format!("\"a,b\", W/{etag}")), 304);
    assert_eq!(known(format!("\"x\", {}-br\"", etag.trim_end_matches('"'))), 304);
    assert_eq!(known(format!("\"a,{}\"", etag.trim_matches('"'))), 200);
    let request = api.request("GET", &other).header("If-None-Match", "\"0\"").header("If-None-Match", &etag);
    api.send(request).expect(304);
}
