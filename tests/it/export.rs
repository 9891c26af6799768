//! Tests of exports: all rows of a list as a file.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use rapport::app::registry::RESOURCES;
use rapport::auth::Role;
use rapport::resource::Cardinality;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Samples, Service, make_key, small_buffers};

fn lines(answer: &Answer) -> Vec<Value> {
    answer.text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn table(answer: &Answer) -> Vec<csv::StringRecord> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(answer.text.as_bytes());
    reader.records().map(|record| record.expect("a line of CSV")).collect()
}

#[test]
fn export_of_each_resource_equals_its_list() {
    let service = Service::start();
    let (_, neighbour) = service.neighbour();
    let mut samples = Samples::new(&service.client);
    for resource in RESOURCES {
        (0..3).for_each(|_| drop(samples.row(resource)));
    }
    for resource in RESOURCES {
        let listed = service.client.all(&format!("{}?sort={}", resource.path(), resource.default_sort));
        let asked = format!("{}/export?format=ndjson", resource.path());
        // The export itself changes the key's last use, so the key's own row is not compared.
        let exported = lines(&service.client.get(&asked).expect(200));
        let ids = |rows: &[Value]| rows.iter().map(|row| row["id"].clone()).collect::<Vec<_>>();
        assert_eq!(ids(&exported), ids(&listed), "{}", resource.plural);
        if resource.plural != "api-keys" {
            assert_eq!(exported, listed, "{}", resource.plural);
        }
        let file = service.client.get(&format!("{}/export", resource.path())).expect(200);
        assert_eq!(file.header("content-type"), "text/csv; charset=utf-8");
        assert!(
            file.header("content-disposition").starts_with(&format!("attachment; filename=\"{}-", resource.plural))
        );
        let table = table(&file);
        let names: Vec<&str> = resource.fields.iter().map(|field| field.name).collect();
        assert_eq!(table[0].iter().collect::<Vec<_>>(), names, "{}", resource.plural);
        let firsts: Vec<Value> = table[1..].iter().map(|record| json!(record[0])).collect();
        assert_eq!(firsts, ids(&listed), "{}", resource.plural);
        let others = lines(&neighbour.get(&asked).expect(200));
        let ours: BTreeSet<String> = listed.iter().map(|row| row["id"].to_string()).collect();
        assert!(others.iter().all(|row| !ours.contains(&row["id"].to_string())), "{}", resource.plural);
    }
}

#[test]
fn csv_export_has_requested_fields_and_escaped_formulas() {
    let service = Service::start();
    let client = &service.client;
    let company = client.make("companies", json!({ "name": "=HYPERLINK(\"http://evil\")", "domain": "acme.example" }));
    let tags = json!(["vip", "new"]);
    client.create(
        "contacts",
        json!({ "first_name": "Ann, \"A\"", "last_name": "@SUM(1)", "phone": "+4915112345678", "company_id": company, "tags": tags,
                "metadata": { "plan": "gold" } }),
    );
    client.create("contacts", json!({ "first_name": "Semi;colon, comma", "phone": "-1 later" }));
    let asked =
        "contacts/export?sort=created_at&fields=first_name,last_name,phone,tags,metadata,company.name&include=company";
    let table = table(&client.get(asked).expect(200));
    assert_eq!(
        table[0].iter().collect::<Vec<_>>(),
        ["first_name", "last_name", "phone", "tags", "metadata", "company.name"]
    );
    let row =
        ["Ann, \"A\"", "'@SUM(1)", "+4915112345678", "vip;new", r#"{"plan": "gold"}"#, "'=HYPERLINK(\"http://evil\")"];
    assert_eq!(table[1].iter().collect::<Vec<_>>(), row);
    assert_eq!(table[2].iter().collect::<Vec<_>>(), ["Semi;colon, comma", "", "'-1 later", "", "{}", ""]);
    // JSON needs no protection against formulas.
    let rows = lines(&client.get("contacts/export?format=ndjson&tags=vip&include=company,leads").expect(200));
    assert_eq!((rows.len(), &rows[0]["last_name"], &rows[0]["leads"]), (1, &json!("@SUM(1)"), &json!([])));
    assert_eq!(rows[0]["company"]["id"], json!(company));
}

#[test]
fn export_of_many_rows_has_each_once_in_any_sort() {
    let service = Service::start();
    fill(&service, 1_700);
    for sort in ["created_at", "-created_at", "name", "-updated_at"] {
        let file = service.client.get(&format!("contacts/export?format=ndjson&sort={sort}")).expect(200);
        let names: BTreeSet<String> = lines(&file).iter().map(|row| row["last_name"].to_string()).collect();
        assert_eq!((file.text.lines().count(), names.len()), (1_700, 1_700), "{sort}");
        assert_eq!(table(&service.client.get(&format!("contacts/export?sort={sort}")).expect(200)).len(), 1_701);
    }
    let narrowed = service.client.get("contacts/export?format=ndjson&q=name0000").expect(200);
    assert_eq!(narrowed.text.lines().count(), 9);
}

fn fill(service: &Service, rows: usize) {
    service.database.run(&format!(
        "INSERT INTO contacts (business_id, id, first_name, last_name, metadata)
         SELECT '{}', rapport_uuid_v7(), 'Ann', 'name' || lpad(n::text, 5, '0'), jsonb_build_object('note', repeat('x', 1000))
         FROM generate_series(1, {rows}) n",
        service.business
    ));
}

#[test]
fn export_stops_when_its_credential_is_revoked() {
    // Eight pages; a narrow connection holds less than one.
    const ROWS: usize = 4_000;
    let service = Service::start();
    fill(&service, ROWS);
    let key = make_key(&service.database, service.business, Role::Agent);
    let mut file = small_buffers::connect(service.address);
    let request = "GET /api/v1/contacts/export?format=ndjson HTTP/1.1\r\nHost: x\r\nConnection: close";
    write!(file, "{request}\r\nAuthorization: Bearer {key}\r\n\r\n").expect("sent");
    let mut some = [0; 1000];
    file.read_exact(&mut some).expect("its beginning");
    assert!(some.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&some));
    service.database.run("DELETE FROM api_keys WHERE role = 'agent'");
    let mut rest = Vec::new();
    let ended = file.read_to_end(&mut rest);
    // Detectably incomplete: the last chunk never arrives.
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{ended:?}");
    let all = service.client.get("contacts/export?format=ndjson").expect(200).text;
    assert_eq!(all.lines().count(), ROWS);
    assert!(rest.len() < all.len() / 2, "{} of {} bytes were shown", rest.len(), all.len());
}

#[test]
fn export_with_invalid_parameters_400_names_each() {
    let service = Service::start();
    let get = |query: &str| service.client.get(&format!("leads/export?{query}")).expect(400);
    let wrong = get("format=xls&limit=5&cursor=x&count=true&stats=new");
    let all = ["/query/count", "/query/cursor", "/query/format", "/query/limit", "/query/stats"];
    assert_eq!(wrong.faults(), all);
    assert!(wrong.text.contains("`status`"), "{}", wrong.text);
    assert_eq!(get("include=tasks").faults(), ["/query/include"]);
    assert!(
        RESOURCES.iter().any(|resource| resource.relations.iter().any(|relation| relation.arity != Cardinality::One))
    );
    let none: Client = service.stranger();
    none.get("leads/export").expect(401);
    service.client_as(Role::Viewer).get("audit-log/export").expect(403);
    service.client.post("leads/export", json!({})).expect(405);
}
