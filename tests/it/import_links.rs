//! Tests of import rows whose references are deleted or merged away during the import.

use std::fmt::Write as _;

use diesel::connection::SimpleConnection;
use serde_json::json;

use crate::import_api::{counts, id, rested, service};
use crate::support::{Service, until};

const WAITING: &str =
    "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";

/// Imports `file` while another transaction locks the row `gone` of `table`, as a merge does, and then deletes it.
fn import_while_deleted(service: &Service, resource: &str, file: String, table: &str, gone: &str) -> serde_json::Value {
    let mut holder = service.database.connect();
    holder
        .batch_execute(&format!("BEGIN; SELECT FROM {table} WHERE id = '{gone}' FOR UPDATE"))
        .expect("the lock of a merge");
    let api = &service.client;
    let answer = api.upload(&format!("imports?resource={resource}"), "application/x-ndjson", file).expect(202);
    until("the import waits for the row", || service.database.ask(WAITING) == "1");
    holder
        .batch_execute(&format!(
            "UPDATE {table} SET deleted_at = now(), version = version + 1 WHERE id = '{gone}'; COMMIT"
        ))
        .expect("the end of a merge");
    rested(api, &id(&answer))
}

#[test]
fn import_reference_to_contact_merged_meanwhile_is_refused() {
    let service = service();
    let api = &service.client;
    let gone = api.make("contacts", json!({ "first_name": "Goes" }));
    let stays = api.make("contacts", json!({ "first_name": "Stays" }));
    let mut file = String::new();
    for number in 0..20 {
        let contact = if number % 2 == 0 { &gone } else { &stays };
        writeln!(file, "{}", json!({ "title": format!("L{number}"), "contact_id": contact })).expect("text");
    }
    let import = import_while_deleted(&service, "leads", file, "contacts", &gone);
    assert_eq!(counts(&import), [20, 10, 0, 0, 10, 0], "{import}");
    let dead =
        "SELECT count(*)::text FROM leads l JOIN contacts c ON c.id = l.contact_id WHERE c.deleted_at IS NOT NULL";
    assert_eq!(service.database.ask(dead), "0");
    let errors = api.get(&format!("imports/{}/errors", import["id"].as_str().expect("an id"))).expect(200).text;
    assert!(errors.contains("/contact_id,no_such_row"), "{errors}");
}

#[test]
fn import_company_name_merged_meanwhile_creates_new_company() {
    let service = service();
    let api = &service.client;
    let gone = api.make("companies", json!({ "name": "Brekke" }));
    let file = json!({ "first_name": "Ann", "company": { "name": "brekke" } }).to_string();
    let import = import_while_deleted(&service, "contacts", file, "companies", &gone);
    assert_eq!(counts(&import), [1, 1, 0, 0, 0, 1], "{import}");
    let ann = api.get("contacts?include=company").expect(200).rows()[0].clone();
    assert_eq!(ann["company"]["name"], "brekke");
    assert_ne!(ann["company_id"], json!(gone));
}

#[test]
fn revert_import_reference_to_deleted_company_keeps_the_row() {
    let service = service();
    let api = &service.client;
    let [old, new] = ["Old", "New"].map(|name| api.make("companies", json!({ "name": name })));
    let ann = api.make("contacts", json!({ "first_name": "Ann", "email": "ann@example.com", "company_id": old }));
    let file = json!({ "email": "ann@example.com", "company_id": new }).to_string();
    let answer = api.upload("imports?resource=contacts", "application/x-ndjson", file).expect(202);
    assert_eq!(counts(&rested(api, &id(&answer))), [1, 0, 1, 0, 0, 0]);
    api.delete(&format!("companies/{old}")).expect(204);
    api.post(&format!("imports/{}/reversion", id(&answer)), json!({})).expect(202);
    let back = rested(api, &id(&answer));
    assert_eq!((&back["reverted"], &back["kept"]), (&json!(0), &json!(1)), "{back}");
    assert_eq!(api.get(&format!("contacts/{ann}")).expect(200).json["company_id"], json!(new));
}
