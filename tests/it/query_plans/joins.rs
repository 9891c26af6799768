//! Tests of the plans of to-one relations: joined to the page and not to the list, by primary key, whether the tables
//! are empty, filled without statistics, or analysed.

use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use rapport::app::registry::RESOURCES;
use rapport::auth::{Tenant, TenantSettings};
use rapport::resource::list_query::{List, Projection};
use rapport::resource::{Cardinality, Relation, Resource, select};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::questions::{BUSY, Question};
use super::{data, plan};
use crate::support::{Database, Service, open_db};

#[test]
fn list_with_relations_without_statistics_joins_the_page_by_key() {
    let database = Database::create();
    let faults = |database: &Database| {
        // Its own pool: a connection keeps the plans that it made while the tables were empty.
        let db = open_db(database, &["--statement-timeout-ms", "15000"]);
        let faults =
            db.unscoped().read("explain", |conn| Ok(questions().iter().flat_map(|q| check(conn, q)).collect()));
        let faults: Vec<String> = actix_web::rt::System::new().block_on(faults).expect("plans");
        faults
    };
    assert!(questions().len() > 150, "{} questions", questions().len());
    let empty = faults(&database);
    assert!(empty.is_empty(), "empty: {} faults\n{}", empty.len(), empty.join("\n"));
    data::fill_unanalysed(&database);
    let filled = faults(&database);
    assert!(filled.is_empty(), "filled: {} faults\n{}", filled.len(), filled.join("\n"));
    database.run("ANALYZE");
    let analysed = faults(&database);
    assert!(analysed.is_empty(), "analysed: {} faults\n{}", analysed.len(), analysed.join("\n"));
}

/// A table filled at once gets statistics before autovacuum analyses it. That takes some seconds, because PostgreSQL
/// delays the counts of an idle connection.
#[test]
fn table_filled_by_batches_is_analysed_within_seconds() {
    let service = Service::with(&["--background-tasks", "on"]);
    service.database.run("ALTER TABLE leads SET (autovacuum_enabled = off)");
    let items: Vec<Json> = (0..1000).map(|i| json!({ "title": format!("Lead {i}") })).collect();
    service.client.post("leads/batch/create", json!({ "items": items })).expect(200);
    let began = Instant::now();
    while service.database.cell("SELECT reltuples::int::text FROM pg_class WHERE relname = 'leads'") != "1000" {
        assert!(began.elapsed() < Duration::from_secs(30), "it has no statistics");
        std::thread::sleep(Duration::from_millis(100));
    }
    // An empty table stays without statistics.
    assert_eq!(service.database.cell("SELECT reltuples::int::text FROM pg_class WHERE relname = 'tasks'"), "-1");
}

/// The reported case: a new database, batches, and immediately a list with its companies.
#[test]
fn list_with_company_right_after_batches_on_a_new_database_200() {
    let service = Service::with(&["--cache", "off", "--statement-timeout-ms", "2000"]);
    let api = &service.client;
    for table in ["companies", "leads"] {
        service.database.run(&format!("ALTER TABLE {table} SET (autovacuum_enabled = off)"));
    }
    // Plans are made while the tables are empty.
    api.get("leads?include=company&sort=-score").expect(200);
    let batch = |resource: &str, items: Vec<Json>| -> Vec<String> {
        let made = api.post(&format!("{resource}/batch/create"), json!({ "items": items })).expect(200).json;
        let ids = made["results"].as_array().expect("results").iter();
        ids.map(|result| result["id"].as_str().expect("an id").to_owned()).collect()
    };
    let mut companies = Vec::new();
    for thousand in 0..2 {
        let items = (0..1000).map(|i| json!({ "name": format!("Company {thousand} {i}") }));
        companies.extend(batch("companies", items.collect()));
    }
    for thousand in 0..5 {
        let lead =
            |i: usize| json!({ "title": format!("Lead {i}"), "score": i % 101, "company_id": companies[i % 2000] });
        batch("leads", (thousand * 1000..(thousand + 1) * 1000).map(lead).collect());
    }
    for query in ["include=company&sort=-score", "include=company&sort=-score&limit=500", "include=company,contact"] {
        let page = api.get(&format!("leads?{query}")).expect(200);
        let rows = page.rows();
        assert!(rows.len() >= 50 && rows.iter().all(|row| row["company"]["id"] == row["company_id"]), "{query}");
    }
}

/// Every resource by each sort with each to-one relation, with all of them, with a filter, and by id.
fn questions() -> Vec<Question> {
    let id: Uuid = BUSY.parse().expect("a UUID");
    let business = TenantSettings { id, country: "US".into(), time_zone: "UTC".into(), currency: "EUR".into() };
    let tenant = Tenant::for_operator(id);
    let mut questions = Vec::new();
    for resource in RESOURCES {
        let ones: Vec<&Relation> =
            resource.relations.iter().filter(|relation| relation.arity == Cardinality::One).collect();
        let all = ones.iter().map(|relation| relation.name).collect::<Vec<_>>().join(",");
        let mut includes: Vec<&str> = ones.iter().map(|relation| relation.name).collect();
        includes.extend((ones.len() > 1).then_some(all.as_str()));
        for include in includes {
            let mut ask = |query: String| {
                let list = List::parse(resource, &query, &business).expect("a list");
                questions.push(question(resource, &query, select::page(&list, &tenant)));
            };
            for sort in resource.sorts {
                for direction in ["", "-"] {
                    ask(format!("include={include}&sort={direction}{}", sort.name));
                }
            }
            ask(format!("include={include}&limit=500"));
            let view = Projection::parse(resource, &format!("include={include}"), &business).expect("a view");
            for count in [1, 50] {
                let ids = (0..count).map(Uuid::from_u128).collect();
                let statement = select::by_ids(resource, &tenant, &view, ids);
                questions.push(question(resource, &format!("{count} by id with {include}"), statement));
            }
        }
    }
    questions
}

fn question(resource: &Resource, query: &str, statement: rapport::db::Statement) -> Question {
    Question { name: format!("{}?{query}", resource.plural), plain: false, statement }
}

/// The faults of its plan.
fn check(conn: &mut PgConnection, question: &Question) -> Vec<String> {
    let plan = plan(conn, question, "VERBOSE, FORMAT JSON");
    let mut faults = Vec::new();
    walk(&plan[0]["Plan"], &mut Vec::new(), &mut faults);
    faults.into_iter().map(|fault| format!("{}: {fault}", question.name)).collect()
}

fn walk<'p>(node: &'p Json, above: &mut Vec<&'p str>, faults: &mut Vec<String>) {
    let text = |name: &str| node[name].as_str().unwrap_or_default();
    let (kind, table, alias) = (text("Node Type"), text("Relation Name"), text("Alias"));
    match kind {
        "Seq Scan" => faults.push(format!("reads all of {table}")),
        "Hash Join" | "Merge Join" => faults.push(format!("a {kind}, which reads more than the page's relations")),
        _ => {}
    }
    // `t` is the list, `r` a relation, `m` and `u` are the tables behind the view of users.
    let limited = above.contains(&"Limit");
    if alias == "t" && above.contains(&"Sort") && above.contains(&"Nested Loop") && !limited {
        faults.push("sorts what was joined".into());
    }
    let (index, condition) = (text("Index Name"), text("Index Cond"));
    let key = match alias {
        "r" => Some((format!("{table}_pkey"), ".id ")),
        // A user is in few businesses, so the index on the user alone is good enough.
        "m" => Some((index.to_owned(), "user_id")),
        "u" => Some(("users_pkey".into(), "id")),
        _ => None,
    };
    if let Some((key, column)) = key
        && !(table.is_empty() || (index == key && condition.contains(column)))
    {
        faults.push(format!("{table} by {kind} {index} ({condition})"));
    }
    above.push(kind);
    node["Plans"].as_array().into_iter().flatten().for_each(|below| walk(below, above, faults));
    above.pop();
}
