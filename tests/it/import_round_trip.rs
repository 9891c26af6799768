//! Tests that an export can be imported again, and changes nothing.

use rapport::integrations::import::IMPORTED;
use rapport::resource::{Cardinality, FieldType, Resource};
use serde_json::{Map, Value, json};

use crate::import_api::{counts, id, rested, service};
use crate::support::{Answer, Client, Samples, Service, module_of};

/// Texts that a spreadsheet or a CSV parser could misread.
const ODD: [&str; 14] = [
    "=A",
    "'=A",
    "''+1",
    "+1 2",
    "-x",
    "@y",
    "'Tis",
    "a, \"b\"; c|d",
    "line\nbreak",
    "lines\r\n\"x\",\n",
    "🦀 ok",
    "[\"x\"]",
    "{\"a\":1}",
    "null",
];
const FORMATS: [(&str, &str); 2] = [("csv", "text/csv"), ("ndjson", "application/x-ndjson")];

/// A row of `resource` with `odd` in all text fields.
fn odd_row(api: &Client, resource: &'static Resource, samples: &mut Samples, odd: &str, number: usize) -> Value {
    let mut body = Map::new();
    let sample = samples.body(resource);
    for field in resource.fields.iter().filter(|field| field.mutability != rapport::resource::Mutability::ReadOnly) {
        let value = match field.field_type {
            // Of a closed set, or no text.
            FieldType::Text { .. } if field.name == "market" => sample[field.name].clone(),
            FieldType::Text { .. } if field.unique => json!(format!("{odd} {number}")),
            FieldType::Text { .. } => json!(odd),
            FieldType::Tags => json!(["a, b", "c;d", "e|f", odd, "[y]", "\"q\""]),
            FieldType::Object => {
                json!({ "n": 1, "d": 1.50, "nested": { "a": [1, null, odd], "b": { "c": {} } }, "empty": "", odd: odd,
                "company.name": "Brekke", "id": "7" })
            }
            _ if field.required => sample[field.name].clone(),
            _ => continue,
        };
        body.insert(field.name.to_owned(), value);
    }
    let guard = if module_of(resource).duplicate_check.is_some() { "?allow_duplicate=true" } else { "" };
    api.create(&format!("{}{guard}", resource.plural), Value::Object(body))
}

/// Rows of all resources that can be imported, odd ones among them.
fn fill(service: &Service) {
    let api = &service.client;
    let mut samples = Samples::new(api);
    for resource in IMPORTED {
        (0..3).for_each(|_| drop(samples.row(resource)));
        for (number, odd) in ODD.into_iter().enumerate() {
            odd_row(api, resource, &mut samples, odd, number);
        }
    }
    // Two that differ in their ids only.
    for _ in 0..2 {
        api.post("contacts?allow_duplicate=true", json!({ "first_name": "Twin" })).expect(201);
        api.post("companies?allow_duplicate=true", json!({ "name": "Twins" })).expect(201);
        api.create("leads", json!({ "title": "Twin" }));
        api.create("tasks", json!({ "title": "Twin", "status": "done" }));
    }
    api.create("leads", json!({ "title": "Won", "status": "won", "value_minor": 5, "currency": "JPY" }));
    api.create("leads", json!({ "title": "Open", "lost_reason": "Not yet" }));
    // Untrimmed texts from earlier releases, and references to deleted rows.
    for (table, column) in
        [("contacts", "title"), ("companies", "address"), ("leads", "source"), ("tasks", "description")]
    {
        service.database.run(&format!(
            "UPDATE {table} SET {column} = E' padded\\n' WHERE id = (SELECT id FROM {table} ORDER BY created_at LIMIT 1)"
        ));
    }
    let company = api.make("companies", json!({ "name": "Gone" }));
    let contact = api.make("contacts", json!({ "first_name": "Gone", "company_id": company }));
    let lead = api.make("leads", json!({ "title": "Gone", "company_id": company, "contact_id": contact }));
    api.create("contacts", json!({ "first_name": "Left", "company_id": company }));
    api.create("leads", json!({ "title": "Left", "company_id": company, "contact_id": contact }));
    api.create("tasks", json!({ "title": "Left", "lead_id": lead, "company_id": company, "contact_id": contact }));
    for path in [format!("companies/{company}"), format!("contacts/{contact}"), format!("leads/{lead}")] {
        api.delete(&path).expect(204);
    }
}

/// All rows exactly, versions and times included.
fn content(service: &Service) -> String {
    let of = |resource: &&Resource| format!("SELECT to_jsonb(t)::text AS row FROM {} t", resource.table);
    let all: Vec<String> = IMPORTED.iter().map(of).collect();
    service.database.ask(&format!(
        "SELECT count(*) || md5(string_agg(row, ',' ORDER BY row)) FROM ({}) rows",
        all.join(" UNION ALL ")
    ))
}

fn export(api: &Client, resource: &Resource, query: &str) -> String {
    api.get(&format!("{}/export?{query}", resource.plural)).expect(200).text
}

fn import(api: &Client, resource: &Resource, kind: &str, file: String) -> Value {
    let answer: Answer = api.upload(&format!("imports?resource={}", resource.plural), kind, file).expect(202);
    rested(api, &id(&answer))
}

fn errors(api: &Client, import: &Value) -> String {
    api.get(&format!("imports/{}/errors", import["id"].as_str().expect("an id"))).expect(200).text
}

#[test]
fn import_unchanged_export_changes_nothing() {
    let service = service();
    let api = &service.client;
    fill(&service);
    let before = content(&service);
    for resource in IMPORTED {
        let rows = api.all(resource.plural).len() as i64;
        let one = resource.relations.iter().filter(|relation| relation.arity == Cardinality::One);
        let one: Vec<&str> = one.map(|relation| relation.name).collect();
        for (format, kind) in FORMATS {
            let related = (!one.is_empty()).then(|| format!("&include={}", one.join(",")));
            for include in [Some(String::new()), related].into_iter().flatten() {
                let file = export(api, resource, &format!("format={format}{include}"));
                let import = import(api, resource, kind, file);
                let what = format!("{} as {format}{include}: {import} {}", resource.plural, errors(api, &import));
                assert_eq!(counts(&import), [rows, 0, 0, rows, 0, 0], "{what}");
                assert_eq!(content(&service), before, "{what}");
            }
        }
        let many = resource.relations.iter().find(|relation| relation.arity != Cardinality::One);
        if let Some(many) = many {
            let file = export(api, resource, &format!("format=ndjson&include={}", many.name));
            assert_eq!(counts(&import(api, resource, "application/x-ndjson", file)), [rows, 0, 0, rows, 0, 0]);
        }
    }
    // Without ids, rows are matched by another unique field.
    for fields in
        ["email,first_name,created_at,version,tags,metadata", "email,last_name,company_id,company.name&include=company"]
    {
        let file = export(api, &rapport::crm::contacts::CONTACTS, &format!("fields={fields}"));
        let with_email: Vec<&str> = file.split_inclusive("\r\n").filter(|line| line.contains(".example")).collect();
        let file = format!("{}{}", file.split_inclusive("\r\n").next().expect("headers"), with_email.concat());
        let import = import(api, &rapport::crm::contacts::CONTACTS, "text/csv", file);
        assert!(import["unchanged"].as_i64() >= Some(3), "{import}");
        assert_eq!(
            (&import["created"], &import["changed"]),
            (&json!(0), &json!(0)),
            "{import} {}",
            errors(api, &import)
        );
    }
    assert_eq!(content(&service), before);
}

#[test]
fn import_edited_export_changes_what_was_edited() {
    let service = service();
    let api = &service.client;
    let company = api.make("companies", json!({ "name": "Brekke" }));
    let ann =
        api.make("contacts", json!({ "first_name": "=A", "company_id": company, "metadata": { "plan": { "a": 1 } } }));
    let bo = api.make("contacts", json!({ "first_name": "Bo", "email": "bo@example.com" }));
    let cy = api.make("contacts", json!({ "first_name": "Cy" }));
    let file = export(api, &rapport::crm::contacts::CONTACTS, "sort=created_at&include=company");
    assert!(file.contains("'=A"), "{file}");
    api.delete(&format!("contacts/{cy}")).expect(204);
    let edited = file.replace("'=A", "'=B").replace("bo@example.com", "bob@example.com");
    let import = import(api, &rapport::crm::contacts::CONTACTS, "text/csv", edited);
    assert_eq!(counts(&import), [3, 0, 2, 0, 1, 0], "{import}");
    assert!(errors(api, &import).contains("restoration"), "{}", errors(api, &import));
    let row = api.get(&format!("contacts/{ann}")).expect(200).json;
    assert_eq!((&row["first_name"], &row["external_id"], &row["version"]), (&json!("=B"), &Value::Null, &json!(2)));
    assert_eq!((&row["company_id"], &row["metadata"]), (&json!(company), &json!({ "plan": { "a": 1 } })));
    assert_eq!(api.get(&format!("contacts/{bo}")).expect(200).json["email"], "bob@example.com");
}

#[test]
fn import_export_of_another_tenant_creates_each_row_once() {
    let service = service();
    let api = &service.client;
    fill(&service);
    let (_, neighbour) = service.neighbour();
    for resource in [&rapport::crm::companies::COMPANIES, &rapport::crm::contacts::CONTACTS] {
        let file = export(api, resource, "include=owner");
        let rows = api.all(resource.plural).len() as i64;
        let first = import(&neighbour, resource, "text/csv", file.clone());
        assert_eq!(counts(&first), [rows, rows, 0, 0, 0, 0], "{first} {}", errors(&neighbour, &first));
        let again = import(&neighbour, resource, "text/csv", file);
        assert_eq!(counts(&again), [rows, 0, 0, rows, 0, 0], "{again} {}", errors(&neighbour, &again));
    }
    // Ids of another business are kept as data, and reference nothing.
    let own = api.get("contacts?limit=500").expect(200);
    let linked = own.rows().iter().find(|row| row["company_id"].is_string()).expect("a link");
    let copies = neighbour.get(&format!("contacts?external_id={}", own.rows()[0]["id"].as_str().expect("an id")));
    let copies_of_linked = neighbour.all("contacts");
    let copy =
        copies_of_linked.iter().find(|copy| copy["metadata"]["company_id"] == linked["company_id"]).expect("a copy");
    assert_eq!(copy["company_id"], Value::Null);
    assert_eq!(copies.expect(200).rows().len(), usize::from(own.rows()[0]["external_id"].is_null()));
}
