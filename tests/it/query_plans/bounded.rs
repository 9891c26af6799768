//! Statements that read no more than in proportion to what they choose, however much there would be.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use rapport::background::Slots;
use rapport::channels::sending::claim;
use rapport::db::Statement;
use serde_json::Value as Json;

use super::{Question, plan};
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
