//! Statistics of members: how long they take to answer, and what each of them did.

use rapport::auth::Role;
use serde_json::{Value, json};

use crate::statistics::stats;
use crate::support::{Service, until};

/// A new member of the business; returns their id.
fn member(service: &Service, name: &str) -> String {
    service.database.ask(&format!(
        "WITH made AS (INSERT INTO users (id, email, name) VALUES (gen_random_uuid(), '{name}@example.com', '{name}') RETURNING id)
         INSERT INTO memberships (business_id, user_id, role) SELECT '{}', id, 'agent' FROM made RETURNING user_id::text",
        service.business
    ))
}

/// Response times as Chatwoot's users asked for them (chatwoot#4041, #6409, #7978, #11057, #11787, #12058, #12261, #13797): of each
/// turn, by people only, credited to who answered, begun anew after a conversation was closed.
#[test]
fn response_times_are_of_turns() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let [anna, ben] = ["anna", "ben"].map(|name| member(&service, name));
    let thread = api.make("conversations", json!({ "channel": "web", "address": "x", "assignee_id": ben }));
    let message = |author: &str, by: Option<&str>, sent_at: &str| {
        let direction = if author == "contact" { "inbound" } else { "outbound" };
        api.make(
            "messages",
            json!({ "conversation_id": thread, "author": author, "author_id": by, "direction": direction,
            "body": "hello", "sent_at": format!("2026-11-05T{sent_at}Z") }),
        )
    };
    let times = |query: &str| {
        let series = stats(api, &format!("response-times?from=2026-11-05&to=2026-11-05&{query}"));
        let row = |row: &Value| (row["group"].clone(), row["count"].clone(), row["mean_seconds"].clone());
        series["data"].as_array().expect("buckets").iter().map(row).collect::<Vec<_>>()
    };
    let sorted = |mut groups: [(&str, f64); 2]| {
        // As many of both: by their name.
        groups.sort_by(|a, b| a.0.cmp(b.0));
        groups.map(|(member, mean)| (json!(member), json!(1), json!(mean))).to_vec()
    };
    let all = |count: i64, mean: f64| vec![(Value::Null, json!(count), json!(mean))];
    // A greeting answers nobody; two questions are one turn, from the first one on. Models and automatic messages are no answers.
    message("user", Some(&ben), "08:00:00");
    message("contact", None, "09:00:00");
    message("ai", None, "09:00:05");
    message("contact", None, "09:02:00");
    message("system", None, "09:02:05");
    assert_eq!(times("")[0].1, json!(0));
    let answer = message("user", Some(&anna), "09:05:00");
    assert_eq!(times(""), all(1, 300.0));
    // A second answer answers the same question; the next question begins a turn.
    message("user", Some(&ben), "09:06:00");
    message("contact", None, "10:00:00");
    message("user", Some(&ben), "10:01:40");
    assert_eq!(times(""), all(2, 200.0));
    assert_eq!(times("group_by=member"), sorted([(anna.as_str(), 300.0), (ben.as_str(), 100.0)]));
    // One that failed was none, and neither is one that is deleted: the one after it was.
    service.database.run(&format!("UPDATE messages SET status = 'failed' WHERE id = '{answer}'"));
    assert_eq!(times(""), all(2, 230.0));
    service.database.run(&format!("UPDATE messages SET status = 'sent' WHERE id = '{answer}'"));
    assert_eq!(times(""), all(2, 200.0));
    api.delete(&format!("messages/{answer}")).expect(204);
    assert_eq!(times(""), all(2, 230.0));
    // A question that is answered by closing waits no more: what comes after that is a new turn.
    let before = "UPDATE conversation_closings SET closed_at = '2026-11-05T11:30:00Z'";
    message("contact", None, "11:00:00");
    api.patch(&format!("conversations/{thread}"), json!({ "status": "closed" })).expect(200);
    service.database.run(before);
    api.patch(&format!("conversations/{thread}"), json!({ "status": "active" })).expect(200);
    message("contact", None, "12:00:00");
    message("user", Some(&anna), "12:00:10");
    assert_eq!(times("")[0].1, json!(3));
    assert_eq!(times("")[0].2, json!(156.667));
    let overview = stats(api, "overview?from=2026-11-05&to=2026-11-05")["first_response"].clone();
    assert_eq!((&overview["count"], &overview["mean_seconds"]), (&json!(3), &json!(156.667)));
    // The greatest is 360 s, in the bucket from 332.0 to 362.0.
    assert_eq!(overview["p90_seconds"], json!(346.689));
    until("it is folded", || service.database.ask("SELECT count(*)::text FROM stat_deltas") == "0");
    assert_eq!(times("")[0].1, json!(3));
    service.database.run("DELETE FROM conversations");
    assert_eq!(times("")[0].1, json!(0));
}

/// What members did, live and as of last night.
#[test]
fn agent_metrics_are_of_every_member() {
    let service = Service::start();
    let api = &service.client;
    let [anna, ben] = ["anna", "ben"].map(|name| member(&service, name));
    let thread = api.make("conversations", json!({ "channel": "web", "address": "x", "assignee_id": ben }));
    let at = |minutes: i64| {
        (chrono::Utc::now() - chrono::TimeDelta::days(3) + chrono::TimeDelta::minutes(minutes)).to_rfc3339()
    };
    api.make("messages", json!({ "conversation_id": thread, "direction": "inbound", "body": "?", "sent_at": at(0) }));
    api.make("messages", json!({ "conversation_id": thread, "direction": "outbound", "author": "user", "author_id": anna, "body": "!", "sent_at": at(2) }));
    api.make(
        "leads",
        json!({ "title": "Roof", "assignee_id": ben, "status": "won", "value_minor": 500, "currency": "EUR" }),
    );
    let metrics = |query: &str| api.get(&format!("agent-metrics?{query}")).expect(200).json;
    let of = |answer: &Value, user: &str| {
        let rows = answer["data"].as_array().expect("members");
        assert_eq!(rows.len(), 2);
        rows.iter().find(|row| row["user_id"] == json!(user)).expect("the member").clone()
    };
    let live = metrics("window_days=7");
    let [a, b] = [of(&live, &anna), of(&live, &ben)];
    assert_eq!(
        (&a["messages"]["outbound"], &a["responses"]["count"], &a["conversations"]["started"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(
        (&b["messages"]["outbound"], &b["conversations"]["started"], &b["leads"]["closed_won"]),
        (&json!(0), &json!(1), &json!(1))
    );
    assert_eq!(
        api.get("agent-metrics?window_days=8&snap=true").expect(400).faults(),
        ["/query/snap", "/query/window_days"]
    );
    // Of the night: yesterday is its last day, so what is of today is not in it.
    api.get("agent-metrics?snapshot=true").expect(404);
    let key = crate::support::make_key(&service.database, service.business, Role::Owner);
    let working = Service::on(service.database.clone(), service.business, &key, &["--background-tasks", "on"]);
    let rows = "SELECT count(*)::text FROM agent_metrics";
    until("the snapshots are made", || working.database.ask(rows) == "6");
    let nightly = metrics("window_days=7&snapshot=true");
    let [a, b] = [of(&nightly, &anna), of(&nightly, &ben)];
    assert_eq!((&a["messages"]["outbound"], &b["leads"]["closed_won"]), (&json!(1), &json!(0)));
    assert_eq!(nightly["data"][0].as_object().map(|row| row.len()), live["data"][0].as_object().map(|row| row.len()));
    assert_eq!(nightly["time_zone"], json!("Europe/Berlin"));
    // One row of a member and window, however often: the next night replaces it.
    service.database.run("UPDATE agent_metrics SET ends_on = ends_on - 1, figures = '{}'");
    drop(working);
    let _working = Service::on(service.database.clone(), service.business, &key, &["--background-tasks", "on"]);
    until("they are made anew", || {
        service.database.ask("SELECT count(*)::text FROM agent_metrics WHERE figures = '{}'") == "0"
    });
    assert_eq!(service.database.ask(rows), "6");
}
