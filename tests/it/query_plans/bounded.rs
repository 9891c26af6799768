//! Statements that read no more than in proportion to what they choose, however much there would be.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use rapport::auth::{Tenant, TenantSettings};
use rapport::background::Slots;
use rapport::channels::messages::MESSAGES;
use rapport::channels::sending::claim;
use rapport::db::Statement;
use rapport::resource::list_query::List;
use rapport::resource::select;
use serde_json::Value as Json;
use uuid::Uuid;

use super::{Question, plan, questions};
use crate::support::{Database, open_db};

/// Executes `statement` on a connection of the service, and returns the nodes of its plan.
fn executed(database: &Database, statements: Vec<Statement>) -> Vec<Vec<Json>> {
    let db = open_db(database, &[]);
    let explained = db.unscoped().write("explain", move |tx| {
        let run = |statement: &Statement| {
            let question = Question { name: "executed".into(), plain: false, statement: statement.clone() };
            let plan = plan(tx, &question, "ANALYZE, FORMAT JSON");
            let mut nodes = Vec::new();
            flatten(&plan[0]["Plan"], &mut nodes);
            nodes
        };
        Ok(statements.iter().map(run).collect::<Vec<_>>())
    });
    actix_web::rt::System::new().block_on(explained).expect("plans")
}

fn flatten(node: &Json, into: &mut Vec<Json>) {
    into.push(node.clone());
    node["Plans"].as_array().into_iter().flatten().for_each(|below| flatten(below, into));
}

fn fill(database: &Database, sql: &str) {
    let mut conn: PgConnection = database.connect();
    conn.batch_execute("SET session_replication_role = replica").expect("without foreign keys");
    conn.batch_execute(sql).unwrap_or_else(|error| panic!("{error}"));
    conn.batch_execute("VACUUM ANALYZE").expect("statistics");
}

/// 6,000 messages wait on 120 numbers, and 64 can be sent.
#[test]
fn claim_reads_few_messages_of_each_number() {
    let database = Database::create();
    fill(
        &database,
        "INSERT INTO businesses (id, name, slug) SELECT md5('business' || b)::uuid, 'Business ' || b, 'business-' || b FROM generate_series(1, 3) b;
         INSERT INTO channels (business_id, id, kind, name, phone_number_id) SELECT md5('business' || c % 3 + 1)::uuid, md5('channel' || c)::uuid, 'whatsapp', 'Number', c::text
         FROM generate_series(1, 120) c;
         INSERT INTO message_attempts (business_id, message_id, conversation_id, channel_id, number, due_at)
         SELECT md5('business' || c % 3 + 1)::uuid, gen_random_uuid(), gen_random_uuid(), md5('channel' || c)::uuid, 1, now() - i * interval '1 minute'
         FROM generate_series(1, 120) c, generate_series(1, 50) i",
    );
    let plans = executed(&database, vec![claim::candidates(64, &Slots::new(64, 32))]);
    assert_eq!(plans[0][0]["Actual Rows"], 64.0);
    let read = plans[0].iter().filter(|node| node["Node Type"] == "WindowAgg");
    let read = read.filter_map(|node| node["Actual Rows"].as_f64()).fold(0.0, f64::max);
    assert!((64.0..=2.0 * 64.0 + 120.0).contains(&read), "{read} messages to choose 64");
}

/// The index of words is read for words that are in few rows, and for others the newest rows are.
#[test]
fn search_reads_the_index_of_words_only_for_rare_ones() {
    let database = Database::create();
    let business: Uuid = questions::BUSY.parse().expect("a UUID");
    fill(
        &database,
        &format!(
            "INSERT INTO businesses (id, name, slug) VALUES ('{business}', 'Busy', 'busy');
             INSERT INTO messages (business_id, conversation_id, direction, author, body, status, sent_at)
             SELECT '{business}', md5((i % 500)::text)::uuid, 'inbound', 'contact', 'word' || CASE WHEN i % 3 = 0 THEN ' often' ELSE '' END
                 || CASE WHEN i % 120 = 0 THEN ' seldom' ELSE '' END || CASE WHEN i % 4000 = 0 THEN ' rare' ELSE '' END, 'received', now() - i * interval '1 minute'
             FROM generate_series(1, 40000) i"
        ),
    );
    let settings =
        TenantSettings { id: business, country: "US".into(), time_zone: "UTC".into(), currency: "EUR".into() };
    let tenant = Tenant::for_operator(business);
    let list = |query: &str| List::parse(&MESSAGES, query, &settings).expect("a list");
    let mut statements: Vec<Statement> = ["word", "often", "seldom", "rare"]
        .iter()
        .map(|word| select::page(&list(&format!("q={word}")), &tenant))
        .collect();
    statements.push(select::count(&list("q=often&count=true"), &tenant, 10_000));
    let plans = executed(&database, statements);
    let reads = |nodes: &[Json]| {
        let by_words = nodes.iter().filter(|node| node["Index Name"] == "messages_search_idx");
        let is_used = by_words.clone().any(|node| node["Actual Loops"] != 0 && node["Actual Loops"] != 0.0);
        assert_eq!(by_words.count(), 1);
        let walked = |kind: &str| {
            let walked = nodes.iter().filter(|node| node["Node Type"] == kind);
            let rows = walked.filter_map(|node| Some(node["Actual Rows"].as_f64()? * node["Actual Loops"].as_f64()?));
            rows.sum::<f64>() as i64
        };
        // The ends of the steps are looked up where the step after them is taken.
        (is_used, walked("Index Scan"), walked("Index Only Scan"))
    };
    let [word, often, seldom, rare, counted] = [0, 1, 2, 3, 4].map(|place| reads(&plans[place]));
    // 51 rows of which each has it, or each third.
    assert_eq!((word, often), ((false, 51, 0), (false, 153, 0)));
    // Each 120th: 16 among the first 2,000, and 51 among 6,120.
    assert_eq!(seldom, (false, 6_120, 2_000));
    assert_eq!(rare, (true, 2_000, 2_000));
    // 10,001 of them are among the newest 30,003.
    assert_eq!(counted, (false, 30_003, 2_000));
}
