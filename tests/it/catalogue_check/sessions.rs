//! Tests that settings of roles, databases and servers do not change the service's own sessions.

use rapport::auth::Role;
use rapport::db;
use serde_json::json;

use crate::support::{Database, Service, make_business, make_key};

/// Each would change the meaning of statements, the rows they find or their output.
const HOSTILE: [(&str, &str); 13] = [
    ("search_path", "pg_catalog"),
    ("row_security", "off"),
    ("standard_conforming_strings", "off"),
    ("default_transaction_isolation", "serializable"),
    ("DateStyle", "SQL, DMY"),
    ("IntervalStyle", "sql_standard"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-15"),
    ("quote_all_identifiers", "on"),
    ("gin_fuzzy_search_limit", "1"),
    ("pg_trgm.word_similarity_threshold", "1"),
    ("rapport.erasing", "anonymise"),
    ("TimeZone", "Asia/Kathmandu"),
];

#[test]
fn database_session_settings_do_not_affect_the_service() {
    let database = Database::create();
    let business = make_business(&database, "acme");
    let key = make_key(&database, business, Role::Owner);
    for (name, value) in HOSTILE {
        database.run(&format!("ALTER DATABASE {} SET {name} = '{value}'", database.name()));
    }
    let mut conn = db::connect(&database.url).expect("a session");
    for (name, value) in HOSTILE {
        let setting = crate::support::statement(format!("SELECT current_setting('{name}')")).row(&mut conn);
        let setting = setting.expect("a setting").expect("a row").text(0).unwrap_or_default().to_owned();
        assert!(setting != value, "{name} is {setting}");
    }

    let service = Service::on(database, business, &key, &["--row-security", "all"]);
    let api = &service.client;
    let lead = format!("leads/{}", api.make("leads", json!({ "title": "Roof" })));
    api.patch(&lead, json!({ "title": "Door" })).expect(200);
    assert_eq!(api.get(&lead).expect(200).json["title"], "Door");
    let history = api.get(&format!("{lead}/history")).expect(200);
    let actions: Vec<&str> = history.rows().iter().filter_map(|entry| entry["action"].as_str()).collect();
    assert_eq!(actions.len(), 2, "{}", history.text);
    assert!(actions.contains(&"created") && actions.contains(&"updated"), "{actions:?}");
    assert_eq!(api.get("/health/detailed").expect(200).json["catalogue"]["status"], "intact");
}
