//! Tests of duplicate contacts and companies: found by search, reported on create, and ignored where rows are only
//! similar.

use rapport::auth::Role;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Service};

/// Ids with match reasons, in response order.
fn found(answer: &Answer, resource: &str) -> Vec<(String, Vec<String>)> {
    let texts = |list: &Value| {
        list.as_array().expect("a list").iter().map(|t| t.as_str().expect("a text").to_owned()).collect()
    };
    let rows = answer.rows().iter();
    rows.map(|row| (row[resource]["id"].as_str().expect("an id").to_owned(), texts(&row["reasons"]))).collect()
}

fn score(answer: &Answer, place: usize) -> f64 {
    answer.rows()[place]["score"].as_f64().expect("a number")
}

fn make(api: &Client, resource: &str, body: Value) -> String {
    api.make(&format!("{resource}?allow_duplicate=true"), body)
}

#[test]
fn find_duplicate_contacts_scored_by_shared_values() {
    let service = Service::start();
    let api = &service.client;
    let company = api.make("companies", json!({ "name": "Acme", "domain": "www.acme.example" }));
    let anna = make(
        api,
        "contacts",
        json!({ "first_name": "Anna", "last_name": "Müller", "email": "anna@acme.example",
        "phone": "+4915112345678", "external_id": "crm-1", "company_id": company }),
    );
    let gmail = make(api, "contacts", json!({ "first_name": "Boris", "email": "boris.karl.off+news@gmail.com" }));
    make(api, "contacts", json!({ "first_name": "Zoë", "last_name": "Quist", "email": "zoe@else.example" }));
    let like = |body: Value| api.post("contacts/duplicates", body).expect(200);
    let only = |answer: &Answer| found(answer, "contact");

    let answer = like(json!({ "email": "ANNA@Acme.example" }));
    assert_eq!(only(&answer), [(anna.clone(), vec!["email".into(), "company".into()])]);
    assert_eq!(answer.rows()[0]["contact"], api.get(&format!("contacts/{anna}")).expect(200).json, "the whole row");
    let statements = answer.queries();
    // The phone number is compared in normalised form.
    assert_eq!(only(&like(json!({ "phone": "+49 (151) 1234-5678" }))), [(anna.clone(), vec!["phone".into()])]);
    assert_eq!(only(&like(json!({ "external_id": "crm-1" }))), [(anna.clone(), vec!["external_id".into()])]);
    let named = like(json!({ "first_name": "anna", "last_name": "mueller" }));
    assert_eq!(only(&named), [(anna.clone(), vec!["name".into()])]);
    assert_eq!(named.queries(), statements);
    // A name match counts with an address of the same company.
    let colleague = like(json!({ "first_name": "Anna", "last_name": "Muller", "email": "a.mueller@acme.example" }));
    assert_eq!(only(&colleague), [(anna.clone(), vec!["name".into(), "company".into()])]);
    let stranger = like(json!({ "first_name": "Igor", "last_name": "Pavlov", "email": "igor@acme.example" }));
    assert_eq!(only(&stranger), [], "a colleague is no duplicate");
    // Dots and plus suffixes: similar, but not equal.
    for address in ["boriskarloff@gmail.com", "BorisKarl.off+shop@googlemail.com"] {
        assert_eq!(
            only(&like(json!({ "email": address }))),
            [(gmail.clone(), vec!["similar_email".into()])],
            "{address}"
        );
    }
    assert_eq!(only(&like(json!({ "email": "an.na@acme.example" }))), [], "elsewhere dots count");
    assert_eq!(only(&like(json!({ "email": "anna+x@acme.example" })))[0].1[0], "similar_email");

    let all = like(
        json!({ "email": "anna@acme.example", "phone": "+4915112345678", "first_name": "Anna", "last_name": "Müller" }),
    );
    assert!(score(&all, 0) > score(&answer, 0) && score(&answer, 0) > score(&named, 0), "the more they share");
    assert!(all.rows().iter().all(|row| (0.0..=1.0).contains(&row["score"].as_f64().expect("a number"))));
    // An existing row is not its own duplicate.
    let twin = make(api, "contacts", json!({ "first_name": "Anna", "last_name": "Müller", "phone": "+4915112345678" }));
    let of_row = like(json!({ "id": anna }));
    assert_eq!(only(&of_row), [(twin.clone(), vec!["phone".into(), "name".into()])]);
    let twins = like(json!({ "phone": "+4915112345678", "first_name": "Anna", "limit": 1 }));
    assert_eq!(twins.rows().len(), 1);
    api.delete(&format!("contacts/{twin}")).expect(204);
    assert_eq!(only(&like(json!({ "id": anna }))), [], "what is deleted is nobody's double");
    like(json!({ "id": gmail }));

    for (body, pointer) in [
        (json!({}), ""),
        (json!({ "limit": 0, "email": "x" }), "/email"),
        (json!({ "id": anna, "email": "a@b.example" }), "/email"),
        (json!({ "mail": "x" }), "/mail"),
        (json!({ "title": "Head" }), ""),
    ] {
        let answer = api.post("contacts/duplicates", body.clone()).expect(422);
        assert!(answer.faults().contains(&pointer), "{body}: {:?}", answer.faults());
    }
    api.post("contacts/duplicates", json!({ "id": company })).expect(404);
    let (_, neighbour) = service.neighbour();
    neighbour.post("contacts/duplicates", json!({ "id": anna })).expect(404);
    assert_eq!(
        neighbour.post("contacts/duplicates", json!({ "email": "anna@acme.example" })).expect(200).rows().len(),
        0
    );
    service.client_as(Role::Viewer).post("contacts/duplicates", json!({ "email": "anna@acme.example" })).expect(200);
}

#[test]
fn find_duplicate_companies_by_domain_phone_and_name() {
    let service = Service::start();
    let api = &service.client;
    let acme = make(
        api,
        "companies",
        json!({ "name": "Müller & Söhne GmbH", "domain": "www.mueller.example", "phone": "+4930901820" }),
    );
    make(api, "companies", json!({ "name": "Zephyr Ltd", "domain": "zephyr.example" }));
    let like = |body: Value| api.post("companies/duplicates", body).expect(200);
    let only = |answer: &Answer| found(answer, "company");
    assert_eq!(only(&like(json!({ "domain": "Mueller.example" }))), [(acme.clone(), vec!["domain".into()])]);
    assert_eq!(only(&like(json!({ "phone": "+49 30 90 18 20" }))), [(acme.clone(), vec!["phone".into()])]);
    for name in ["MÜLLER UND SÖHNE", "Müller + Söhne", "müller söhne gmbh & co. kg"] {
        assert_eq!(only(&like(json!({ "name": name }))), [(acme.clone(), vec!["name".into()])], "{name}");
    }
    assert_eq!(only(&like(json!({ "name": "Quite another" }))), []);
    let double = make(api, "companies", json!({ "name": "Muller Söhne" }));
    assert_eq!(only(&like(json!({ "id": acme })))[0].0, double);
}

#[test]
fn create_duplicate_contact_409_unless_allowed() {
    let service = Service::start();
    let api = &service.client;
    let company = api.make("companies", json!({ "name": "Acme" }));
    let anna = api.make(
        "contacts",
        json!({ "first_name": "Anna", "last_name": "Müller", "email": "anna@acme.example",
        "phone": "+4915112345678", "external_id": "crm-1", "company_id": company }),
    );
    let refused = |body: Value| api.post("contacts", body).expect(409);
    // A unique value points to the row that has it.
    for (body, pointer) in [
        (json!({ "email": "ANNA@acme.example" }), "/email"),
        (json!({ "first_name": "X", "external_id": "crm-1" }), "/external_id"),
    ] {
        let answer = refused(body.clone());
        assert_eq!((answer.code(), answer.faults()), ("already_exists", vec![pointer]));
        assert_eq!(answer.json["candidates"][0]["id"], json!(anna));
        assert!(answer.json["detail"].as_str().is_some_and(|text| text.contains(&anna)), "{}", answer.text);
        assert_eq!(
            api.post("contacts?allow_duplicate=true", body).expect(409).code(),
            "already_exists",
            "all the same"
        );
    }
    for (body, reasons) in [
        (json!({ "first_name": "Anna", "phone": "+49 151 12345678" }), json!(["phone", "name"])),
        (json!({ "phone": "+4915112345678" }), json!(["phone"])),
        (json!({ "first_name": "MÜLLER", "last_name": "anna", "company_id": company }), json!(["name", "company"])),
    ] {
        let answer = refused(body.clone());
        assert_eq!(answer.code(), "possible_duplicate");
        let candidates = answer.json["candidates"].as_array().expect("a list");
        assert_eq!((candidates.len(), &candidates[0]["id"]), (1, &json!(anna)), "{}", answer.text);
        assert_eq!(candidates[0]["reasons"], reasons, "{body}");
        assert!(candidates[0]["score"].as_f64().is_some_and(|score| score > 0.5));
        let made = api.create("contacts?allow_duplicate=true", body);
        api.delete(&format!("contacts/{}", made["id"].as_str().expect("an id"))).expect(204);
    }
    // No false positives: colleagues, families with one phone, namesakes elsewhere, deleted contacts.
    for body in [
        json!({ "first_name": "Igor", "last_name": "Pavlov", "phone": "+4915112345678" }),
        json!({ "first_name": "Anna", "last_name": "Müller" }),
        json!({ "first_name": "Anja", "last_name": "Mielke", "company_id": company }),
        json!({ "email": "anna+x@acme.example" }),
    ] {
        api.create("contacts", body);
    }
    api.delete(&format!("contacts/{anna}")).expect(204);
    api.create("contacts", json!({ "email": "anna@acme.example", "external_id": "crm-1" }));
    // Only this parameter, and only here.
    for query in ["allow_duplicate=yes", "allow=true", "allow_duplicate=true&x=1"] {
        api.post(&format!("contacts?{query}"), json!({ "first_name": "B" })).expect(400);
    }
    api.post("leads?allow_duplicate=true", json!({ "title": "B" })).expect(400);
    api.create("contacts?allow_duplicate=false", json!({ "first_name": "Bob" }));
    // A neighbour's rows are not considered.
    let (_, neighbour) = service.neighbour();
    neighbour.create("contacts", json!({ "email": "anna@acme.example", "phone": "+4915112345678" }));
    // A caller without the read permission learns that a duplicate exists, and no more.
    let blind = api.create("api-keys", json!({ "name": "Blind", "permissions": ["crm:write"] }));
    let blind = Client::new(service.address, blind["key"].as_str().expect("a key"));
    for (body, code) in [
        (json!({ "email": "anna@acme.example" }), "already_exists"),
        (json!({ "first_name": "Igor", "phone": "+4915112345678" }), "possible_duplicate"),
    ] {
        assert!(api.post("contacts", body.clone()).expect(409).json["candidates"].is_array());
        let answer = blind.post("contacts", body).expect(409);
        assert_eq!((answer.code(), &answer.json["candidates"]), (code, &Value::Null));
        let people = api.all("contacts?limit=500");
        assert!(people.iter().all(|row| !answer.text.contains(row["id"].as_str().expect("an id"))), "{}", answer.text);
    }
}

#[test]
fn create_duplicate_company_409_unless_allowed() {
    let service = Service::start();
    let api = &service.client;
    let acme = api.make("companies", json!({ "name": "Acme GmbH", "domain": "acme.example", "phone": "+4930901820" }));
    let taken = api.post("companies", json!({ "name": "Other", "domain": "ACME.example" })).expect(409);
    assert_eq!((taken.code(), taken.faults()), ("already_exists", vec!["/domain"]));
    assert_eq!(taken.json["candidates"][0]["id"], json!(acme));
    for body in [
        json!({ "name": "Other", "domain": "www.acme.example" }),
        json!({ "name": "acme" }),
        json!({ "name": "ACME, Inc." }),
        json!({ "name": "Acme Berlin", "phone": "+49 30 901820" }),
    ] {
        let answer = api.post("companies", body.clone()).expect(409);
        assert_eq!(
            (answer.code(), &answer.json["candidates"][0]["id"]),
            ("possible_duplicate", &json!(acme)),
            "{body}"
        );
    }
    for body in [
        json!({ "name": "Acme GmbH", "domain": "acme.test.example" }),
        json!({ "name": "Acme Berlin" }),
        json!({ "name": "Zephyr", "phone": "+4930901820" }),
    ] {
        api.create("companies", body);
    }
    api.create("companies?allow_duplicate=true", json!({ "name": "acme" }));
}
