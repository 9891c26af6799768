//! Tests of merging contacts and companies, and of undoing merges.

use std::collections::HashSet;

use diesel::connection::SimpleConnection;
use proptest::prelude::*;
use rapport::auth::Role;
use serde_json::{Map, Value, json};

use crate::isolation::checksum;
use crate::support::{Answer, Client, Database, Service, for_cases};

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// The content of every table, without update times, versions and audit log.
fn business_columns(database: &Database) -> String {
    let union = database.ask(
        "SELECT string_agg(format('SELECT %L || (to_jsonb(t) - ''version'' - ''updated_at'')::text AS line FROM %I t',
                                  table_name, table_name), ' UNION ALL ')
         FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
         WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND column_name = 'business_id'
           AND table_name NOT IN ('audit_log', 'events', 'merges', 'change_log', 'change_log_horizons', 'stat_deltas', 'stat_quarters', 'stat_days', 'stat_zones', 'stat_turns', 'webhook_backlogs', 'cache_warmup_queries', 'api_keys')",
    );
    database.ask(&format!(
        "SELECT count(*) || ' rows ' || coalesce(md5(string_agg(line, ',' ORDER BY line)), '') FROM ({union}) lines"
    ))
}

/// Rows of every kind that can reference a contact or a company, some of them deleted.
fn hang_on(api: &Client, number: usize, contact: Option<&str>, company: Option<&str>) {
    let both = |extra: Value| {
        let mut body = extra;
        let members = body.as_object_mut().expect("an object");
        contact.into_iter().for_each(|id| drop(members.insert("contact_id".into(), json!(id))));
        company.into_iter().for_each(|id| drop(members.insert("company_id".into(), json!(id))));
        body
    };
    let only_contact = |extra: Value| {
        let mut body = extra;
        contact
            .into_iter()
            .for_each(|id| drop(body.as_object_mut().expect("an object").insert("contact_id".into(), json!(id))));
        body
    };
    let lead = api.make("leads", both(json!({ "title": format!("Lead {number}") })));
    let gone = api.make("leads", both(json!({ "title": "Gone" })));
    api.delete(&format!("leads/{gone}")).expect(204);
    api.make("tasks", both(json!({ "title": "Call" })));
    api.make("notes", both(json!({ "body": "Tea", "lead_id": lead })));
    api.make(
        "conversations",
        only_contact(json!({ "channel": "web", "address": format!("visitor {number}"), "lead_id": lead })),
    );
    let day = 1 + number % 28;
    api.make(
        "bookings",
        only_contact(json!({ "customer_name": "X", "starts_at": format!("2099-02-{day:02}T10:00:00Z"),
        "ends_at": format!("2099-02-{day:02}T11:00:00Z") })),
    );
}

fn merge(api: &Client, resource: &str, id: &str, from: &[&str]) -> Answer {
    api.post(&format!("{resource}/{id}/merge"), json!({ "from": from }))
}

#[test]
fn merge_contacts_then_revert_restores_every_row() {
    let service = Service::start();
    let api = &service.client;
    let company = api.make("companies", json!({ "name": "Acme" }));
    let one = api.create(
        "contacts",
        json!({ "first_name": "Anna", "phone": "+4915112345678", "tags": ["vip", "a"],
        "metadata": { "plan": "gold", "n": 1.10 } }),
    );
    let two = api.make("contacts", json!({ "first_name": "Ann", "last_name": "Müller", "email": "anna@acme.example",
        "external_id": "crm-2", "tags": ["b", "vip"], "metadata": { "plan": "none", "since": 2019 }, "phone": "+493012345678",
        "phone_extension": "12" }));
    let three = api.make(
        "contacts",
        json!({ "last_name": "Mueller", "title": "Head", "email": "a.mueller@acme.example",
        "company_id": company, "metadata": { "since": 1999, "shoe": 38 } }),
    );
    let id = text(&one["id"]).to_owned();
    for (number, contact) in [&id, &two, &three].into_iter().enumerate() {
        hang_on(api, number, Some(contact), None);
    }
    let before = business_columns(&service.database);
    let body = json!({ "from": [two, three], "prefer": { "email": three } });
    let answer = api.post(&format!("contacts/{id}/merge"), body).expect(201);
    let (contact, record) = (&answer.json["contact"], &answer.json["merge"]);
    let shown = ["first_name", "last_name", "email", "external_id", "title", "phone", "phone_extension", "company_id"];
    let values: Vec<&Value> = shown.iter().map(|name| &contact[name]).collect();
    let expected =
        json!(["Anna", "Müller", "a.mueller@acme.example", "crm-2", "Head", "+4915112345678", null, company]);
    assert_eq!(json!(values), expected, "an extension belongs to its number");
    assert_eq!(contact["tags"], json!(["vip", "a", "b"]));
    assert_eq!(contact["metadata"], json!({ "plan": "gold", "n": 1.10, "since": 2019, "shoe": 38 }));
    assert_eq!(record["moved"], json!({ "leads": 4, "conversations": 2, "bookings": 2, "tasks": 2, "notes": 2 }));
    assert_eq!(record["changes"]["title"], json!({ "old": null, "new": "Head" }));
    assert_eq!((&record["survivor_id"], &record["from_ids"]), (&json!(id), &json!([two, three])));
    let place = format!("merges/{}", text(&record["id"]));
    assert_eq!(answer.header("location"), format!("/api/v1/{place}"));
    let read = api.get(&format!("contacts/{id}")).expect(200);
    assert_eq!((&read.json, read.header("etag")), (contact, answer.header("etag")));
    assert_eq!(api.get(&place).expect(200).json, *record);
    let statements = answer.queries();
    for gone in [&two, &three] {
        api.get(&format!("contacts/{gone}")).expect(404);
        assert_eq!(api.get(&format!("merges?from_ids={gone}")).expect(200).rows().len(), 1, "where they went");
        for resource in ["leads", "conversations", "bookings", "tasks", "notes"] {
            assert!(api.get(&format!("{resource}?contact_id={gone}")).expect(200).rows().is_empty(), "{resource}");
        }
    }
    assert_eq!(api.get(&format!("leads?contact_id={id}&deleted=true")).expect(200).rows().len(), 3);
    let told = api.get(&format!("contacts/{two}/history?action=deleted")).expect(200);
    assert_eq!(told.rows().len(), 1);

    // Undone exactly.
    let undone = api.post(&format!("{place}/reversion"), json!({})).expect(200).json;
    assert_eq!(undone["kept"], json!({ "fields": [], "rows": {} }));
    assert!(undone["merge"]["reverted_at"].is_string());
    assert_eq!((&undone["contact"]["id"], &undone["company"]), (&json!(id), &Value::Null));
    assert_eq!(business_columns(&service.database), before);
    assert_eq!(api.get(&format!("contacts/{id}")).expect(200).json["metadata"], one["metadata"]);
    assert_eq!(api.post(&format!("{place}/reversion"), json!({})).expect(409).code(), "already_reverted");

    // The number of statements is the same for twenty as for two.
    let many: Vec<String> =
        (0..18).map(|number| api.make("contacts", json!({ "first_name": format!("N{number}") }))).collect();
    many.iter().enumerate().for_each(|(number, contact)| hang_on(api, 10 + number, Some(contact), None));
    let from: Vec<&str> = [two.as_str(), three.as_str()].into_iter().chain(many.iter().map(String::as_str)).collect();
    assert_eq!(merge(api, "contacts", &id, &from).expect(201).queries(), statements);
}

#[test]
fn merge_companies_moves_linked_rows_and_reverts() {
    let service = Service::start();
    let api = &service.client;
    let one = api.make("companies", json!({ "name": "Acme" }));
    let two = api.make("companies", json!({ "name": "Acme Holding", "domain": "acme.example", "industry": "Tools" }));
    let anna = api.make("contacts", json!({ "first_name": "Anna", "company_id": two }));
    hang_on(api, 1, None, Some(&two));
    let before = business_columns(&service.database);
    let done = merge(api, "companies", &one, &[&two]).expect(201).json;
    assert_eq!((&done["company"]["name"], &done["company"]["domain"]), (&json!("Acme"), &json!("acme.example")));
    assert_eq!(done["merge"]["moved"], json!({ "leads": 2, "contacts": 1, "tasks": 1, "notes": 1 }));
    assert_eq!(api.get(&format!("contacts/{anna}")).expect(200).json["company_id"], json!(one));
    let undone = api.post(&format!("merges/{}/reversion", text(&done["merge"]["id"])), json!({})).expect(200).json;
    assert_eq!((&undone["company"]["domain"], &undone["contact"]), (&Value::Null, &Value::Null));
    assert_eq!(business_columns(&service.database), before);
}

#[test]
fn revert_merge_of_random_contacts_leaves_no_difference() {
    let service = Service::start();
    let api = &service.client;
    let fields =
        ["first_name", "last_name", "email", "phone", "phone_extension", "title", "external_id", "tags", "metadata"];
    let one = (any::<u16>(), 0usize..4);
    let case = (
        proptest::collection::vec(one, 2..5),
        proptest::collection::vec((0usize..7, any::<prop::sample::Index>()), 0..4),
    );
    let mut number = 0;
    for_cases(12, case, |(rows, prefer)| {
        let ids: Vec<String> = rows
            .iter()
            .map(|(mask, hung)| {
                number += 1;
                let mut body = Map::from_iter([("last_name".to_owned(), json!(format!("Row{number}")))]);
                for (place, field) in fields.iter().enumerate().filter(|(place, _)| mask & (1 << place) != 0) {
                    let value = match *field {
                        "email" => json!(format!("row{number}@example.com")),
                        "phone" => json!(format!("+4915112{number:06}")),
                        "tags" => json!([format!("tag{}", mask % 3), "all"]),
                        "metadata" => json!({ "n": mask % 5, format!("k{number}"): [1.50, { "x": null }], "big": 12_345_678_901_234_i64 }),
                        field => json!(format!("{field} {}", mask >> place)),
                    };
                    let value = if *field == "external_id" { json!(format!("crm-{number}")) } else { value };
                    body.insert((*field).to_owned(), value);
                }
                let id = api.make("contacts?allow_duplicate=true", Value::Object(body));
                (0..*hung).for_each(|nth| hang_on(api, number * 10 + nth, Some(&id), None));
                id
            })
            .collect();
        let before = business_columns(&service.database);
        let prefer: Map<String, Value> =
            prefer.iter().map(|(field, row)| (fields[*field].to_owned(), json!(ids[row.index(ids.len())]))).collect();
        let body = json!({ "from": ids[1..], "prefer": prefer });
        let done = api.post(&format!("contacts/{}/merge", ids[0]), body).expect(201).json;
        for (field, winner) in &prefer {
            let value = service.database.rows::<1>(&format!(
                "SELECT {field}::text FROM contacts WHERE id = {}",
                winner.to_string().replace('"', "'")
            ));
            let kept = done["contact"][field].as_str().unwrap_or_default();
            // The preferred row is the survivor, which has the value now, or a merged one, which is deleted and
            // unchanged.
            assert_eq!(kept, value[0][0], "{field}");
        }
        assert_ne!(business_columns(&service.database), before);
        let undone = api.post(&format!("merges/{}/reversion", text(&done["merge"]["id"])), json!({})).expect(200).json;
        assert_eq!(undone["kept"], json!({ "fields": [], "rows": {} }));
        assert_eq!(business_columns(&service.database), before);
    });
}

#[test]
fn revert_merge_link_to_deleted_company_kept_and_reported() {
    let service = Service::start();
    let api = &service.client;
    let [old, new] = ["Old", "New"].map(|name| api.make("companies", json!({ "name": name })));
    let one = api.make("contacts", json!({ "first_name": "Anna", "company_id": old }));
    let two = api.make("contacts", json!({ "first_name": "Ann", "title": "Head", "company_id": new }));
    let body = json!({ "from": [two], "prefer": { "company_id": two } });
    let done = api.post(&format!("contacts/{one}/merge"), body).expect(201).json;
    assert_eq!(done["contact"]["company_id"], json!(new));
    api.delete(&format!("companies/{old}")).expect(204);
    let undone = api.post(&format!("merges/{}/reversion", text(&done["merge"]["id"])), json!({})).expect(200).json;
    assert_eq!(undone["kept"], json!({ "fields": ["company_id"], "rows": {} }));
    assert_eq!((&undone["contact"]["company_id"], &undone["contact"]["title"]), (&json!(new), &Value::Null));
}

#[test]
fn revert_merge_values_changed_since_kept_and_reported() {
    let service = Service::start();
    let api = &service.client;
    let one = api.make("contacts", json!({ "first_name": "Anna" }));
    let two = api.make("contacts", json!({ "first_name": "Ann", "email": "anna@acme.example", "title": "Head" }));
    hang_on(api, 1, Some(&two), None);
    let leads = api.get(&format!("leads?contact_id={two}")).expect(200);
    let lead = text(&leads.rows()[0]["id"]).to_owned();
    let done = merge(api, "contacts", &one, &[&two]).expect(201).json;
    let place = format!("merges/{}/reversion", text(&done["merge"]["id"]));
    let third = api.make("contacts", json!({ "first_name": "Cleo" }));
    api.patch(&format!("leads/{lead}"), json!({ "contact_id": third })).expect(200);
    api.patch(&format!("contacts/{one}"), json!({ "title": "Boss" })).expect(200);
    let later = api.make("leads", json!({ "title": "Later", "contact_id": one }));
    api.send(api.request("POST", &place).header("if-match", "\"9\"")).expect(412);
    let undone = api.post(&place, json!({})).expect(200).json;
    assert_eq!(undone["kept"], json!({ "fields": ["title"], "rows": { "leads": 1 } }));
    assert_eq!((&undone["contact"]["title"], &undone["contact"]["email"]), (&json!("Boss"), &Value::Null));
    assert_eq!(api.get(&format!("contacts/{two}")).expect(200).json["email"], "anna@acme.example");
    assert_eq!(api.get(&format!("leads/{lead}")).expect(200).json["contact_id"], json!(third));
    assert_eq!(api.get(&format!("leads/{later}")).expect(200).json["contact_id"], json!(one));

    // An address that the undo would restore, but that another contact has taken.
    api.patch(&format!("contacts/{one}"), json!({ "email": "own@acme.example" })).expect(200);
    let done = merge(api, "contacts", &one, &[&two]).expect(201).json;
    let place = format!("merges/{}/reversion", text(&done["merge"]["id"]));
    let taker = api.make("contacts?allow_duplicate=true", json!({ "email": "anna@acme.example" }));
    let before = checksum(&service.database, service.business);
    let refused = api.post(&place, json!({})).expect(409);
    assert!(refused.code() == "already_exists" && text(&refused.json["detail"]).contains("email"), "{}", refused.text);
    assert_eq!(checksum(&service.database, service.business), before, "nothing of it was done");
    api.delete(&format!("contacts/{taker}")).expect(204);
    // If the survivor was merged itself, that merge must be undone first.
    let second = merge(api, "contacts", &third, &[&one]).expect(201).json;
    assert_eq!(api.post(&place, json!({})).expect(409).code(), "survivor_deleted");
    api.post(&format!("merges/{}/reversion", text(&second["merge"]["id"])), json!({})).expect(200);
    api.post(&place, json!({})).expect(200);
    // A contact that was restored by hand and merged elsewhere stays there.
    let done = merge(api, "contacts", &one, &[&two]).expect(201).json;
    let place = format!("merges/{}/reversion", text(&done["merge"]["id"]));
    api.post(&format!("contacts/{two}/restoration"), json!({})).expect(200);
    merge(api, "contacts", &third, &[&two]).expect(201);
    api.post(&place, json!({})).expect(200);
    api.get(&format!("contacts/{two}")).expect(404);
    // After the deadline.
    let done = merge(api, "contacts", &one, &[&third]).expect(201).json;
    let place = format!("merges/{}", text(&done["merge"]["id"]));
    service.database.run("UPDATE merges SET reversible_until = now() - interval '1 second'");
    assert_eq!(api.post(&format!("{place}/reversion"), json!({})).expect(409).code(), "too_late");
    let until = |row: &Value| text(row).parse::<chrono::DateTime<chrono::Utc>>().expect("a time");
    assert_eq!((until(&done["merge"]["reversible_until"]) - until(&done["merge"]["created_at"])).num_days(), 30);
}

#[test]
fn merge_invalid_request_refused_and_changes_nothing() {
    let service = Service::start();
    let api = &service.client;
    let [one, two, gone] = ["A", "B", "C"].map(|name| api.make("contacts", json!({ "first_name": name })));
    let company = api.make("companies", json!({ "name": "Acme" }));
    api.delete(&format!("contacts/{gone}")).expect(204);
    let path = format!("contacts/{one}/merge");
    let too_many: Vec<uuid::Uuid> = (0..21).map(|_| uuid::Uuid::now_v7()).collect();
    for (body, faults) in [
        (json!({}), vec!["/from"]),
        (json!({ "from": [] }), vec!["/from"]),
        (json!({ "from": too_many }), vec!["/from"]),
        (json!({ "from": [two, one, "x", two] }), vec!["/from/1", "/from/2", "/from/3"]),
        (
            json!({ "from": [two], "prefer": { "emial": two, "email": gone, "tags": two, "id": two, "a/b": two } }),
            vec!["/prefer/a~1b", "/prefer/email", "/prefer/emial", "/prefer/id", "/prefer/tags"],
        ),
        (json!({ "from": [two], "form": [] }), vec!["/form"]),
        (json!({ "from": [two, company] }), vec!["/from/1"]),
    ] {
        assert_eq!(api.post(&path, body.clone()).expect(422).faults(), faults, "{body}");
    }
    let deleted = api.post(&path, json!({ "from": [two, gone] })).expect(409);
    assert_eq!((deleted.code(), deleted.faults()), ("already_deleted", vec!["/from/1"]));
    merge(api, "contacts", &gone, &[&one]).expect(404);
    merge(api, "companies", &one, &[&two]).expect(404);
    let stale = api.send(api.request("POST", &path).header("if-match", "\"9\"").json(&json!({ "from": [two] })));
    assert_eq!(stale.expect(412).code(), "precondition_failed");
    let (_, neighbour) = service.neighbour();
    merge(&neighbour, "contacts", &one, &[&two]).expect(404);
    let theirs = neighbour.make("contacts", json!({ "first_name": "N" }));
    merge(&neighbour, "contacts", &theirs, &[&two]).expect(422);
    // Three permissions are needed: write, delete, and read for the response.
    merge(&service.client_as(Role::Agent), "contacts", &one, &[&two]).expect(403);
    for rights in [["crm:read", "crm:write"], ["crm:read", "crm:delete"], ["crm:write", "crm:delete"]] {
        let key = api.create("api-keys", json!({ "name": "Some", "permissions": rights }));
        let some = Client::new(service.address, text(&key["key"]));
        merge(&some, "contacts", &one, &[&two]).expect(403);
        api.delete(&format!("api-keys/{}", text(&key["id"]))).expect(204);
    }
    let contacts =
        "SELECT md5(string_agg(c::text, ',' ORDER BY c.id)) FROM contacts c JOIN businesses b ON b.id = c.business_id
                    WHERE b.slug = 'acme'";
    let rows = service.database.ask(contacts);
    service
        .database
        .run("CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$");
    hang_on(api, 1, Some(&two), None);
    for (table, verb) in [("merges", "INSERT"), ("contacts", "UPDATE"), ("notes", "UPDATE"), ("bookings", "UPDATE")] {
        let before = checksum(&service.database, service.business);
        service
            .database
            .run(&format!("CREATE TRIGGER broken AFTER {verb} ON {table} FOR EACH ROW EXECUTE FUNCTION broken()"));
        merge(api, "contacts", &one, &[&two]).expect(500);
        service.database.run(&format!("DROP TRIGGER broken ON {table}"));
        assert_eq!(checksum(&service.database, service.business), before, "{table}");
    }
    assert_eq!(service.database.ask(contacts), rows);
    // Merged metadata beyond the size limit.
    let large = |key: &str| json!({ "metadata": { key: "x".repeat(40_000) } });
    api.patch(&format!("contacts/{one}"), large("a")).expect(200);
    api.patch(&format!("contacts/{two}"), large("b")).expect(200);
    assert_eq!(merge(api, "contacts", &one, &[&two]).expect(409).code(), "too_much_metadata");
}

#[test]
fn concurrent_overlapping_merges_merge_each_contact_once() {
    let service = Service::with(&["--db-connections", "8"]);
    let api = &service.client;
    let contacts: Vec<String> = (0..12)
        .map(|number| {
            let id = api.make(
                "contacts",
                json!({ "first_name": format!("N{number}"), "email": format!("n{number}@example.com") }),
            );
            hang_on(api, number, Some(&id), None);
            id
        })
        .collect();
    let threads: Vec<_> = (0..20)
        .map(|number| {
            let (api, contacts) = (api.clone(), contacts.clone());
            std::thread::spawn(move || {
                let from: Vec<&str> = (1..4).map(|step| contacts[(number * 5 + step * 2) % 12].as_str()).collect();
                merge(&api, "contacts", &contacts[number * 5 % 12], &from)
            })
        })
        .collect();
    // Concurrent writers, in the opposite order.
    let writers: Vec<_> = (0..6)
        .map(|number| {
            let (api, contact) = (api.clone(), contacts[number * 2].clone());
            std::thread::spawn(move || {
                let lead = api.post("leads", json!({ "title": "Meanwhile", "contact_id": contact }));
                let Some(id) = lead.json["id"].as_str().filter(|_| lead.status == 201) else {
                    return lead.status;
                };
                let talk = json!({ "channel": "sms", "address": format!("x{number}"), "contact_id": null });
                api.post(
                    &format!("leads/{id}/processing"),
                    json!({ "conversation": talk, "decision": { "decision": "x" } }),
                )
                .status
            })
        })
        .collect();
    let answers: Vec<Answer> = threads.into_iter().map(|thread| thread.join().expect("an answer")).collect();
    for status in writers.into_iter().map(|writer| writer.join().expect("a status")) {
        assert!(matches!(status, 201 | 422), "{status}");
    }
    let odd: Vec<&str> =
        answers.iter().filter(|a| !matches!(a.status, 201 | 404 | 409)).map(|a| a.text.as_str()).collect();
    assert!(odd.is_empty(), "{odd:?}");
    let done = answers.iter().filter(|answer| answer.status == 201);
    let from: Vec<String> = done
        .flat_map(|answer| answer.json["merge"]["from_ids"].as_array().expect("ids").clone())
        .map(|id| text(&id).to_owned())
        .collect();
    assert!(!from.is_empty());
    assert_eq!(from.iter().collect::<HashSet<_>>().len(), from.len(), "nobody twice");
    let database = &service.database;
    assert_eq!(
        database.ask("SELECT count(*)::text FROM contacts WHERE deleted_at IS NOT NULL"),
        from.len().to_string()
    );
    // Also of the rows that were created meanwhile.
    for table in ["conversations", "bookings", "tasks", "notes", "leads"] {
        let lost = format!(
            "SELECT count(*)::text FROM {table} x JOIN contacts c ON c.id = x.contact_id WHERE c.deleted_at IS NOT NULL"
        );
        assert_eq!(database.ask(&lost), "0", "{table}");
    }
}

#[test]
fn merge_over_row_limit_409_with_row_counts() {
    let service = Service::start();
    let api = &service.client;
    let [one, two] = ["A", "B"].map(|name| api.make("companies", json!({ "name": name })));
    let people = |count: u32| {
        service.database.run(&format!(
            "INSERT INTO contacts (business_id, first_name, company_id)
             SELECT '{}', 'N', '{two}' FROM generate_series(1, {count})",
            service.business
        ));
    };
    people(10_000);
    api.make("leads", json!({ "title": "A", "company_id": two }));
    let refused = merge(api, "companies", &one, &[&two]).expect(409);
    assert_eq!((refused.code(), refused.faults()), ("too_much_to_merge", vec!["/from"]));
    assert_eq!(refused.json["rows"], json!({ "contacts": 10_000, "leads": 1 }));
    assert_eq!(refused.json["most"], 10_000);
    api.get(&format!("companies/{two}")).expect(200);
    // In the other direction, few rows move.
    merge(api, "companies", &two, &[&one]).expect(201);
}

#[test]
fn link_to_contact_during_its_merge_422_no_such_row() {
    let service = Service::with(&["--db-connections", "8"]);
    let (api, database) = (&service.client, &service.database);
    let lead = api.make("leads", json!({ "title": "A" }));
    let gone = api.make("contacts", json!({ "first_name": "Gone" }));
    // As a concurrent merge does it.
    let mut other = database.connect();
    let mut run = |sql: &str| other.batch_execute(sql).expect("it runs");
    run(&format!(
        "BEGIN; SELECT FROM contacts WHERE id = '{gone}' FOR UPDATE;
         UPDATE contacts SET deleted_at = now(), version = version + 1 WHERE id = '{gone}'"
    ));
    std::thread::scope(|scope| {
        let items = json!({ "items": [{ "title": "B", "contact_id": gone }] });
        let asked = [
            scope.spawn(|| api.post("tasks", json!({ "title": "Call", "contact_id": gone }))),
            scope.spawn(|| api.patch(&format!("leads/{lead}"), json!({ "contact_id": gone }))),
            scope.spawn(|| api.post("leads/batch/create", items)),
        ];
        crate::support::until("all wait for the merge", || {
            database.ask("SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()") == "3"
        });
        run("COMMIT");
        for asked in asked {
            let answer = asked.join().expect("an answer").expect(422);
            assert!(answer.text.contains("no_such_row"), "{}", answer.text);
        }
    });
    assert_eq!(database.ask("SELECT count(*)::text FROM leads WHERE contact_id IS NOT NULL"), "0");
}

#[test]
fn concurrent_merges_and_erasures_do_not_deadlock() {
    // Eight that take turns: on a slow machine the last waits longer than the default lock timeout.
    let service = Service::with(&["--db-connections", "8", "--lock-wait-ms", "10000"]);
    let api = &service.client;
    for (round, mode) in ["delete", "anonymise"].into_iter().enumerate() {
        let contacts: Vec<String> = (0..8)
            .map(|number| {
                let id = api.make("contacts", json!({ "first_name": format!("N{number}") }));
                hang_on(api, 10 * round + number, Some(&id), None);
                id
            })
            .collect();
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..8_usize)
                .map(|number| {
                    let contacts = &contacts;
                    scope.spawn(move || match number % 2 {
                        0 => merge(api, "contacts", &contacts[number], &[&contacts[(number + 3) % 8]]),
                        _ => api.post(&format!("contacts/{}/erasure", contacts[number]), json!({ "mode": mode })),
                    })
                })
                .collect();
            asked.into_iter().map(|asked| asked.join().expect("an answer")).collect()
        });
        let odd = answers.iter().filter(|answer| !matches!(answer.status, 200 | 201 | 404 | 409 | 422));
        assert_eq!(odd.map(|answer| answer.text.as_str()).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
