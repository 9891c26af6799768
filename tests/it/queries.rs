//! Tests that the number of queries never depends on the number of rows: for every resource, with each relation alone
//! and all together, a list and a batch read of 500 rows (of 50 with a relation alone) cost as many as one row.

use rapport::app::registry::RESOURCES;
use rapport::resource::{Cardinality, Resource};
use serde_json::json;

use crate::support::{Database, Samples, Service};

#[test]
fn list_and_batch_read_query_count_independent_of_rows() {
    let service = Service::with(&["--cache", "off"]);
    let api = &service.client;
    let mut samples = Samples::new(api);
    for resource in RESOURCES {
        // The copies need references to expand.
        samples.row(resource);
    }
    fill(&service.database);
    for resource in RESOURCES {
        let most = if resource.path() == "businesses" { 1 } else { 500 };
        let whole = api.get(&format!("{}?limit=500&fields=id", resource.path())).expect(200);
        let ids: Vec<&str> = whole.rows().iter().filter_map(|row| row["id"].as_str()).collect();
        assert_eq!(ids.len(), most, "{}", resource.path());
        for include in includes(resource) {
            // One with its joins, and one for each relation that is not joined.
            let expected = 1 + resource
                .relations
                .iter()
                .filter(|relation| include.contains(&relation.name) && relation.arity != Cardinality::One)
                .count() as u32;
            let many = if include.len() == 1 { 50 } else { 500 };
            for rows in [1, many].map(|rows| rows.min(most)) {
                let about = format!("{rows} {} with {include:?}", resource.path());
                let asked = if include.is_empty() { String::new() } else { format!("&include={}", include.join(",")) };
                let list = api.get(&format!("{}?limit={rows}{asked}", resource.path())).expect(200);
                assert_eq!((list.rows().len(), list.queries()), (rows, expected), "a list of {about}");
                let body = json!({ "ids": &ids[..rows], "include": include });
                let batch = api.post(&format!("{}/batch/read", resource.path()), body).expect(200);
                assert_eq!((batch.rows().len(), batch.queries()), (rows, expected), "a batch of {about}");
            }
        }
        let counted = api.get(&format!("{}?limit=50&count=true", resource.path())).expect(200);
        assert_eq!(counted.queries(), 2, "a count is one query more");
    }
}

/// No relation, each alone, and all of them.
fn includes(resource: &Resource) -> Vec<Vec<&'static str>> {
    let all: Vec<&str> = resource.relations.iter().map(|relation| relation.name).collect();
    let mut includes = vec![vec![]];
    includes.extend(all.iter().map(|name| vec![*name]));
    if all.len() > 1 {
        includes.push(all);
    }
    includes
}

/// Copies a row of every table 500 times, using the catalogue: unique values are made unique, and times are shifted by
/// a day each, so that bookings do not overlap.
fn fill(database: &Database) {
    database.run(
        "INSERT INTO users (email, name) SELECT 'copy' || n || '@example.com', 'Copy ' || n FROM generate_series(1, 500) n;
         INSERT INTO memberships (business_id, user_id, role)
             SELECT b.id, u.id, 'agent' FROM businesses b, users u WHERE u.email LIKE 'copy%'",
    );
    database.run("SELECT rapport_sequence_changes(100000)");
    let table = |resource: &&'static Resource| match resource.table {
        "audit_entries" => "audit_log",
        table => table,
    };
    let tables = RESOURCES.iter().map(table);
    for table in tables.filter(|table| !["businesses", "memberships", "business_users"].contains(table)) {
        let copy = database.ask(&format!(
            "SELECT 'INSERT INTO {table} (' || string_agg(name, ', ') || ') SELECT ' || string_agg(value, ', ')
                 || ' FROM (SELECT * FROM {table} ORDER BY id DESC LIMIT 1) t, generate_series(1, 500) n'
             FROM (SELECT quote_ident(a.attname) AS name, CASE
                 WHEN a.attname IN ('id', 'peer_id') THEN 'rapport_uuid_v7()'
                 -- of which a conversation has one for each label or member
                 WHEN a.attname = 'conversation_id' AND '{table}' IN ('conversation_labels', 'read_positions')
                     THEN '(SELECT c.id FROM conversations c WHERE c.business_id = t.business_id AND c.id <> t.conversation_id ORDER BY c.id DESC OFFSET n - 1 LIMIT 1)'
                 WHEN a.attname = 'service_id' AND '{table}' = 'staff_services'
                     THEN '(SELECT s.id FROM services s WHERE s.business_id = t.business_id AND s.id <> t.service_id ORDER BY s.id DESC OFFSET n - 1 LIMIT 1)'
                 WHEN a.atttypid = 'timestamptz'::regtype THEN 't.' || a.attname || ' + n * interval ''1 day'''
                 WHEN a.attname NOT IN ('business_id', 'channel', 'kind', 'scope', 'market', 'category') AND a.atttypid <> 'uuid'::regtype AND EXISTS (SELECT FROM pg_index i
                     WHERE i.indrelid = a.attrelid AND i.indisunique
                     AND pg_get_indexdef(i.indexrelid) ~ ('[(, ]' || a.attname || '[),]')) THEN
                     CASE a.atttypid WHEN 'bytea'::regtype THEN 'sha256(n::text::bytea)' WHEN 'int'::regtype THEN 't.' || a.attname || ' + n' WHEN 'date'::regtype THEN 't.' || a.attname || ' + n'
                     ELSE 'left(n || ''-'' || t.' || a.attname || ', 8)' END
                 ELSE 't.' || a.attname END AS value
             FROM pg_attribute a WHERE a.attrelid = '{table}'::regclass AND a.attnum > 0 AND NOT a.attisdropped
                 AND a.attgenerated = '') columns"
        ));
        database.run(&copy);
    }
    database.run("ANALYZE");
}
