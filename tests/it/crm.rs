//! Tests of the rules of CRM resources.

use serde_json::{Value, json};

use crate::support::Service;

#[test]
fn lead_create_read_update_delete_and_restore() {
    let service = Service::start();
    let api = &service.client;
    let company = api.make("companies", json!({ "name": "Brekke" }));

    let made =
        api.post("leads", json!({ "title": "New office", "company_id": company, "value_minor": 100 })).expect(201);
    let id = made.json["id"].as_str().unwrap();
    assert_eq!(made.header("location"), format!("/api/v1/leads/{id}"));
    assert!(made.header("etag").starts_with("\"1."));
    assert_eq!(made.json["status"], "new");
    assert_eq!(made.json["currency"], "EUR", "money without a currency is in the business' own");

    let read = api.get(&format!("leads/{id}")).expect(200);
    assert_eq!(read.json, made.json);
    assert_eq!(read.queries(), 1);

    let won = api.patch(&format!("leads/{id}"), json!({ "status": "won", "company_id": null })).expect(200);
    assert!(won.header("etag").starts_with("\"2."));
    assert!(won.json["closed_at"].is_string());
    assert!(won.json["company_id"].is_null());
    let reopened = api.patch(&format!("leads/{id}"), json!({ "status": "proposal" })).expect(200);
    assert!(reopened.json["closed_at"].is_null());

    api.delete(&format!("leads/{id}")).expect(204);
    api.get(&format!("leads/{id}")).expect(404);
    assert!(api.get("leads").expect(200).rows().is_empty());
    assert_eq!(api.get("leads?deleted=true").expect(200).rows().len(), 1);
    let back = api.post(&format!("leads/{id}/restoration"), json!({})).expect(200);
    assert_eq!(back.json["title"], "New office");
    api.get(&format!("leads/{id}")).expect(200);
}

#[test]
fn concurrent_patches_with_one_etag_one_wins_others_412() {
    let service = Service::with(&["--db-connections", "8"]);
    let api = &service.client;
    let lead = api.create("leads", json!({ "title": "Roof" }));
    let path = format!("leads/{}", lead["id"].as_str().unwrap());
    let etag = api.get(&path).expect(200).header("etag").to_owned();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..100)
            .map(|number| {
                let request = api.request("PATCH", &path).header("If-Match", &etag);
                let request = request.json(&json!({ "title": format!("Roof {number}") }));
                scope.spawn(move || (number, api.send(request)))
            })
            .collect();
        let answers = asking.into_iter().map(|asked| asked.join().unwrap());
        answers
            .map(|(number, answer)| {
                if answer.status == 200 {
                    let read = api.get(&path).expect(200);
                    assert_eq!(
                        (&read.json["title"], &read.json["version"]),
                        (&json!(format!("Roof {number}")), &json!(2))
                    );
                }
                answer.status
            })
            .collect()
    });
    let of = |status: u16| statuses.iter().filter(|other| **other == status).count();
    assert_eq!((of(200), of(412)), (1, 99), "{statuses:?}");
}

#[test]
fn get_lead_with_includes_returns_relations_in_3_queries() {
    let service = Service::start();
    let api = &service.client;
    let company = api.make("companies", json!({ "name": "Brekke" }));
    let contact = api.make("contacts", json!({ "first_name": "Anna", "company_id": company }));
    let lead = api.make("leads", json!({ "title": "Roof", "company_id": company, "contact_id": contact }));
    for day in 1..=3 {
        api.make("conversations", json!({ "channel": "sms", "address": format!("+1415555010{day}"), "lead_id": lead }));
    }
    api.make(
        "bookings",
        json!({ "customer_name": "Anna", "lead_id": lead, "starts_at": "2027-01-01T23:30:00Z", "ends_at": "2027-01-02T00:30:00Z" }),
    );

    let page = api.get(&format!("leads/{lead}?include=company,contact,conversations,bookings")).expect(200);
    assert_eq!(page.json["company"]["name"], "Brekke");
    assert_eq!(page.json["contact"]["first_name"], "Anna");
    assert_eq!(page.json["conversations"].as_array().unwrap().len(), 3);
    assert_eq!(page.json["bookings"][0]["day"], "2027-01-02", "the day in the booking's own zone");
    assert_eq!(page.queries(), 3, "one with its joins, one for each relation of many");
}

#[test]
fn lead_with_missing_references_422_names_each() {
    let service = Service::start();
    let api = &service.client;
    let gone = api.make("companies", json!({ "name": "Gone" }));
    api.delete(&format!("companies/{gone}")).expect(204);
    let nobody = "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71";
    let links = json!({ "title": "t", "company_id": gone, "contact_id": nobody });
    let refused = api.post("leads", links).expect(422);
    assert_eq!(refused.faults(), ["/company_id", "/contact_id"]);
    assert_eq!(refused.json["errors"][0]["code"], "no_such_row");

    let lead = api.make("leads", json!({ "title": "t" }));
    let path = format!("leads/{lead}");
    assert_eq!(api.patch(&path, json!({ "company_id": gone })).expect(422).faults(), ["/company_id"]);
    api.post(&format!("companies/{gone}/restoration"), json!({})).expect(200);
    assert_eq!(api.patch(&path, json!({ "company_id": gone })).expect(200).json["version"], 2);

    // An empty patch changes nothing, but still fails against a newer version.
    assert_eq!(api.patch(&path, json!({})).expect(200).json["version"], 2);
    let stale = api.request("PATCH", &path).header("If-Match", "\"1\"").json(&json!({}));
    api.send(stale).expect(412);
    // A parameter without effect is rejected.
    assert_eq!(api.patch(&format!("{path}?include=company"), json!({})).expect(400).code(), "unknown_parameter");
}

#[test]
fn row_sent_back_keeps_reference_to_deleted_row() {
    let service = Service::start();
    let api = &service.client;
    let contact = api.make("contacts", json!({ "first_name": "Del" }));
    let other = api.make("contacts", json!({ "first_name": "Eve" }));
    let lead = api.make("leads", json!({ "title": "Roof", "contact_id": contact }));
    let next = api.make("leads", json!({ "title": "Wall", "contact_id": other, "external_id": "w" }));
    api.delete(&format!("contacts/{contact}")).expect(204);
    let path = format!("leads/{lead}");
    let mut row = api.get(&path).expect(200).json;
    row["title"] = json!("Roofs");
    let changed = api.patch(&path, row.clone()).expect(200).json;
    assert_eq!((&changed["title"], &changed["contact_id"]), (&json!("Roofs"), &json!(contact)));
    // In a batch, beside a row that does not have the reference.
    let items = json!([{ "id": lead, "title": "Roof", "contact_id": contact }, { "id": next, "contact_id": contact }]);
    let mixed = api.post("leads/batch/update", json!({ "items": items, "all_or_none": false })).expect(200).json;
    let statuses: Vec<_> = mixed["results"].as_array().expect("results").iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, [&json!(200), &json!(422)], "{mixed}");
    assert_eq!(mixed["results"][1]["problem"]["errors"][0]["pointer"], "/contact_id");
    // A new row, and a row with another reference, cannot have it.
    let refused = api.post("leads", json!({ "title": "New", "contact_id": contact })).expect(422);
    assert_eq!(refused.faults(), ["/contact_id"]);
    let upsert = json!({ "id_property": "external_id", "items": [{ "external_id": "w", "contact_id": contact }] });
    assert_eq!(api.post("leads/batch/upsert", upsert).expect(422).faults(), ["/items/0/contact_id"]);
    assert_eq!(
        api.patch(&format!("leads/{next}"), json!({ "contact_id": contact })).expect(422).faults(),
        ["/contact_id"]
    );
}

/// People of another system are kept by batches, however often these are sent, and found by part of their name.
#[test]
fn external_users_are_upserted_and_found_by_name() {
    let service = Service::start();
    let api = &service.client;
    let people = |title: &str| -> Vec<Value> {
        let person = |n: usize| json!({ "external_id": format!("{n}"), "source": "monday", "name": format!("Amina {n}"), "title": title });
        (0..100).map(person).collect()
    };
    let upsert = |title: &str| {
        let body = json!({ "id_property": "external_id", "items": people(title) });
        api.post("external-users/batch/upsert", body).expect(200)
    };
    let first = upsert("Agent");
    assert_eq!(first.json["results"].as_array().map(Vec::len), Some(100));
    // However many rows there are: what 100 rows cost does not depend on them.
    assert!(first.queries() <= 8, "{} queries", first.queries());
    upsert("Manager");
    let found = api.get("external-users?q=mina 4&count=true&limit=20").expect(200);
    assert_eq!(found.json["page"]["total"], json!(11));
    assert!(found.rows().iter().all(|row| row["title"] == json!("Manager") && row["version"] == json!(2)));
    let id = found.rows()[0]["id"].as_str().expect("an id").to_owned();
    api.patch(&format!("external-users/{id}"), json!({ "active": false })).expect(200);
    assert_eq!(api.get("external-users?external_id=4").expect(200).rows().len(), 1);
}
