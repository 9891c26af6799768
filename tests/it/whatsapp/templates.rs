//! Templates: how they are read from the channel, what it tells of them, and how they are filled.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rapport::auth::Tenant;
use rapport::channels::templates::prepare::prepare;
use serde_json::{Map, Value, json};

use super::deliver;
use super::webhook::{NUMBER, connect};
use crate::channels::KEY;
use crate::support::graph::{Graph, Reply};
use crate::support::receiver::Receiver;
use crate::support::whatsapp::AT;
use crate::support::{Answer, Client, Service, until};

const ACCOUNT: &str = "220000000000001";

/// A change of the account's templates, as WhatsApp delivers it.
fn change(field: &str, at: i64, more: Value) -> Vec<u8> {
    let mut value = json!({ "message_template_id": 806_312, "message_template_name": "order_update", "message_template_language": "en-US" });
    value.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let entry = json!([{ "id": ACCOUNT, "time": at, "changes": [{ "field": field, "value": value }] }]);
    json!({ "object": "whatsapp_business_account", "entry": entry }).to_string().into_bytes()
}

fn template(api: &Client, channel: &str, name: &str) -> Value {
    api.get(&format!("templates?channel_id={channel}&name={name}")).expect(200).rows()[0].clone()
}

/// A template that a synchronisation has found.
fn known(service: &Service, channel: &str) {
    service.database.run(&format!(
        "INSERT INTO templates (business_id, channel_id, external_id, name, language, category, status, status_at, components) VALUES
         ('{}', '{channel}', '806312', 'order_update', 'en_US', 'utility', 'pending', '2026-11-01', '{{\"body\": {{\"text\": \"Hi {{{{1}}}}\"}}, \"buttons\": []}}')",
        service.business
    ));
}

#[test]
fn loopback_has_templates_at_once() {
    let service = Service::start();
    let api = &service.client;
    let channel = api.make("channels", json!({ "kind": "loopback", "name": "Trial" }));
    let path = format!("channels/{channel}/template-sync");
    api.get(&path).expect(404);
    let synced = api.post(&path, Value::Null).expect(202);
    assert_eq!((&synced.json["state"], &synced.json["templates"]), (&json!("succeeded"), &json!(2)));
    assert_eq!(api.get(&path).expect(200).json, synced.json);
    let before = api.get("templates?sort=name&status=approved").expect(200).json;
    let names: Vec<&Value> = before["data"].as_array().expect("rows").iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["appointment_reminder", "welcome"]);
    assert_eq!(api.get("templates?q=remind").expect(200).rows().len(), 1);
    api.post(&path, Value::Null).expect(202);
    assert_eq!(
        api.get("templates?sort=name&status=approved").expect(200).json,
        before,
        "what is as known stays unchanged"
    );
    // A number of WhatsApp needs what reads its templates.
    let number = connect(api, NUMBER);
    let refused = api.post(&format!("channels/{number}/template-sync"), Value::Null).expect(409);
    assert_eq!(refused.code(), "channel_not_connected");
    api.post("templates", json!({ "name": "mine" })).expect(405);
}

#[test]
fn webhooks_change_templates_of_the_account_at_once() {
    let service = Service::start();
    let api = &service.client;
    let channel = connect(api, NUMBER);
    // Another number of the same account has the same templates.
    let second = connect(api, "109900000000009");
    for channel in [&channel, &second] {
        known(&service, channel);
    }
    let status = |event: &str, reason: Value, at: i64| {
        change("message_template_status_update", at, json!({ "event": event, "reason": reason }))
    };
    deliver(&service, &status("APPROVED", json!("NONE"), AT));
    for channel in [&channel, &second] {
        let row = template(api, channel, "order_update");
        assert_eq!((&row["status"], &row["rejected_reason"]), (&json!("approved"), &Value::Null));
    }
    deliver(&service, &status("DISABLED", json!("ABUSIVE_CONTENT"), AT + 10));
    // Late, and again.
    deliver(&service, &status("REJECTED", json!("SCAM"), AT + 5));
    deliver(&service, &status("FLAGGED", Value::Null, AT + 20));
    let row = template(api, &channel, "order_update");
    assert_eq!(
        (&row["status"], &row["rejected_reason"], &row["version"]),
        (&json!("disabled"), &json!("ABUSIVE_CONTENT"), &json!(3))
    );
    deliver(&service, &status("DISABLED", json!("ABUSIVE_CONTENT"), AT + 10));
    assert_eq!(template(api, &channel, "order_update")["version"], json!(3));
    deliver(&service, &status("REINSTATED", Value::Null, AT + 30));
    let syncs = || service.database.ask("SELECT count(*)::text FROM template_syncs WHERE state = 'queued'");
    assert_eq!(syncs(), "0");
    // Meta's example of a quality has the field of a status.
    deliver(
        &service,
        &change(
            "message_template_status_update",
            AT,
            json!({ "previous_quality_score": "GREEN", "new_quality_score": "YELLOW" }),
        ),
    );
    assert_eq!(syncs(), "2", "a list that is being read may be older, and says nothing of its time");
    service.database.run("DELETE FROM template_syncs");
    deliver(
        &service,
        &change("template_category_update", AT, json!({ "previous_category": "UTILITY", "new_category": "MARKETING" })),
    );
    let row = template(api, &channel, "order_update");
    assert_eq!(
        (&row["status"], &row["quality"], &row["category"]),
        (&json!("approved"), &json!("yellow"), &json!("marketing"))
    );
    assert_eq!(syncs(), "2");
    service.database.run("DELETE FROM template_syncs");
    deliver(
        &service,
        &change("message_template_components_update", AT, json!({ "message_template_element": "Hello {{1}}" })),
    );
    assert_eq!(template(api, &channel, "order_update")["components"]["body"]["text"], json!("Hello {{1}}"));
    assert_eq!(syncs(), "2", "buttons are read with the next synchronisation");
}

#[test]
fn webhook_of_an_unknown_template_starts_its_reading_only() {
    let service = Service::start();
    let api = &service.client;
    let channel = connect(api, NUMBER);
    deliver(&service, &change("message_template_status_update", AT, json!({ "event": "APPROVED" })));
    assert_eq!(api.get("templates").expect(200).rows().len(), 0);
    assert_eq!(api.get(&format!("channels/{channel}/template-sync")).expect(200).json["state"], json!("queued"));
    let parked = api.get("inbound-updates").expect(200);
    assert_eq!(parked.rows().len(), 0, "{}", parked.text);
    // Of an event of tomorrow.
    known(&service, &channel);
    service.database.run("UPDATE template_syncs SET state = 'succeeded', due_at = now() + interval '1 day'");
    deliver(&service, &change("message_template_status_update", AT, json!({ "event": "RESTYLED" })));
    assert_eq!(template(api, &channel, "order_update")["status"], json!("pending"));
    assert_eq!(api.get(&format!("channels/{channel}/template-sync")).expect(200).json["state"], json!("queued"));
}

/// A page of an account's list of templates, as Meta documents it.
fn page(names: &[&str], after: Option<&str>) -> (u16, String) {
    let one = |name: &&str| {
        json!({ "id": format!("id-{name}"), "name": name, "language": "en_US", "status": "APPROVED", "category": "UTILITY", "rejected_reason": "NONE",
            "quality_score": { "score": "GREEN", "date": 1_795_860_000 }, "components": [{ "type": "BODY", "text": "Hi {{1}}" }] })
    };
    let mut page = json!({ "data": names.iter().map(one).collect::<Vec<_>>(), "paging": { "cursors": { "before": "b", "after": after.unwrap_or("z") } } });
    if let Some(after) = after {
        page["paging"]["next"] = format!("https://graph.facebook.com/v24.0/x?after={after}").into();
    }
    answer(200, &page)
}

fn answer(status: u16, body: &Value) -> (u16, String) {
    let body = body.to_string();
    (status, format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

fn error(status: u16, code: i64) -> (u16, String) {
    answer(
        status,
        &json!({ "error": { "message": "Of the test", "type": "OAuthException", "code": code, "fbtrace_id": "A" } }),
    )
}

#[test]
fn sync_reads_all_pages_marks_the_missing_and_says_why_it_failed() {
    // What Meta answers next: by the query's cursor, or as the test sets it.
    let fails: Arc<Mutex<Option<(u16, String)>>> = Arc::default();
    let last: Arc<Mutex<Vec<&str>>> = Arc::new(Mutex::new(vec!["order_update"]));
    let (failing, lasting) = (fails.clone(), last.clone());
    let graph = Receiver::start(move |request, _| match failing.lock().clone() {
        Some(failure) => failure,
        None if request.path.contains("after=p2") => page(&lasting.lock(), None),
        None => page(&["welcome", "reminder"], Some("p2")),
    });
    let url = format!("http://{}/v24.0", graph.address);
    let settings = ["--background-tasks", "on", "--sealing-key", KEY, "--whatsapp-api-url", url.as_str()];
    let service = Service::with(&settings);
    let api = &service.client;
    let channel = connect(api, NUMBER);
    let path = format!("channels/{channel}/template-sync");
    api.post(
        &format!("channels/{channel}/secrets"),
        json!({ "kind": "access_token", "value": "a token of the account" }),
    )
    .expect(201);
    let ended = |state: &str| {
        until(state, || api.get(&path).json["state"] == json!(state));
        api.get(&path).expect(200).json
    };
    // By itself, once there is a token.
    assert_eq!(ended("succeeded")["templates"], json!(3));
    let first = &graph.got()[0];
    assert!(first.path.starts_with(&format!("/v24.0/{ACCOUNT}/message_templates?fields=")), "{}", first.path);
    assert_eq!(first.headers["authorization"], "Bearer a token of the account");
    let names = |status: &str| {
        let rows = api.get(&format!("templates?status={status}&sort=name")).expect(200);
        rows.rows().iter().map(|row| row["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("approved"), ["order_update", "reminder", "welcome"]);
    let welcome = template(api, &channel, "welcome");
    assert_eq!(
        (&welcome["quality"], &welcome["rejected_reason"], &welcome["version"]),
        (&json!("green"), &Value::Null, &json!(1))
    );
    // What is gone is marked, what is as before stays.
    *last.lock() = vec!["news"];
    let again = || {
        let before = service.database.ask("SELECT token::text FROM template_syncs");
        api.post(&path, Value::Null).expect(202);
        let is_over = format!("SELECT (token > {before} AND leased_until IS NULL)::text FROM template_syncs");
        until("it has run", || service.database.ask(&is_over) == "true");
    };
    again();
    assert_eq!(
        (names("approved"), names("deleted")),
        (vec!["news".into(), "reminder".into(), "welcome".into()], vec!["order_update".to_owned()])
    );
    assert_eq!(template(api, &channel, "welcome")["version"], json!(1));
    // An expired token waits for people; nothing is marked by half a list.
    *fails.lock() = Some(error(401, 190));
    again();
    let failed = ended("failed");
    assert_eq!(failed["error"], json!("Of the test (code 190)"));
    let due = |sync: &Value| {
        sync["due_at"].as_str().and_then(|text| text.parse::<chrono::DateTime<chrono::Utc>>().ok()).expect("a time")
    };
    assert!(due(&failed) > chrono::Utc::now() + chrono::TimeDelta::hours(23), "{failed}");
    // An outage passes: it is tried again soon.
    *fails.lock() = Some((500, "content-length: 5\r\n\r\nsorry".into()));
    again();
    let failed = ended("failed");
    assert!(due(&failed) < chrono::Utc::now() + chrono::TimeDelta::minutes(1), "{failed}");
    assert_eq!(names("approved").len(), 3);
    *fails.lock() = None;
    service.database.run("UPDATE template_syncs SET due_at = now()");
    assert_eq!(ended("succeeded")["error"], Value::Null);
    // A process was cut off: another one takes over when its lease has ended, with texts that PostgreSQL does not store.
    *last.lock() = vec!["news"];
    *fails.lock() = Some(page(&["odd\0name"], None));
    let before = service.database.ask("SELECT token::text FROM template_syncs");
    service.database.run(
        "UPDATE template_syncs SET state = 'running', leased_until = now() - interval '1 second', due_at = now() + interval '1 day'",
    );
    until("it is taken over", || {
        service.database.ask(&format!("SELECT (token > {before})::text FROM template_syncs")) == "true"
    });
    assert_eq!(ended("succeeded")["templates"], json!(1));
    assert_eq!(names("approved"), ["odd\u{fffd}name"]);
}

/// WhatsApp's rating of a number is read with its templates, and again when a webhook tells that it has changed.
#[test]
fn rating_of_a_number_is_read() {
    let rating: Arc<Mutex<&str>> = Arc::new(Mutex::new("GREEN"));
    let rated = rating.clone();
    let graph = Receiver::start(move |request, _| match request.path.contains("fields=quality_rating") {
        true => {
            assert!(request.path.starts_with(&format!("/v24.0/{NUMBER}?")), "{}", request.path);
            let body = json!({ "quality_rating": *rated.lock(), "id": NUMBER }).to_string();
            (200, format!("content-length: {}\r\n\r\n{body}", body.len()))
        }
        false => page(&["welcome"], None),
    });
    let url = format!("http://{}/v24.0", graph.address);
    let settings = ["--background-tasks", "on", "--sealing-key", KEY, "--whatsapp-api-url", url.as_str()];
    let service = Service::with(&settings);
    let api = &service.client;
    let channel = connect(api, NUMBER);
    let secret = json!({ "kind": "access_token", "value": "a token of the account" });
    api.post(&format!("channels/{channel}/secrets"), secret).expect(201);
    let is_rated = |quality: &str| api.get(&format!("channels/{channel}")).expect(200).json["quality"] == quality;
    until("the number is rated", || is_rated("green"));
    *rating.lock() = "RED";
    let update = json!({ "display_phone_number": "493023125010", "event": "FLAGGED", "current_limit": "TIER_1K" });
    let changes = json!([{ "field": "phone_number_quality_update", "value": update }]);
    let entry = json!([{ "id": ACCOUNT, "time": AT, "changes": changes }]);
    deliver(&service, json!({ "entry": entry }).to_string().as_bytes());
    until("the number is rated anew", || is_rated("red"));
}

#[test]
fn slow_account_holds_up_no_other() {
    let graph = Graph::start(|call, _| {
        if call.headers["authorization"] == "Bearer slow token" {
            std::thread::sleep(Duration::from_secs(8));
        }
        let (status, text) = page(&["welcome"], None);
        Reply::Answer(status, text.split_once("\r\n\r\n").expect("a head").1.to_owned())
    });
    let service = service_of(&graph);
    let api = &service.client;
    let connected = |number: &str, token: &str| {
        let channel = connect(api, number);
        let secret = json!({ "kind": "access_token", "value": token });
        api.post(&format!("channels/{channel}/secrets"), secret).expect(201);
        channel
    };
    let state = |channel: &str| api.get(&format!("channels/{channel}/template-sync")).json["state"].clone();
    let slow = connected(NUMBER, "slow token");
    until("the slow one is being read", || graph.all_calls().len() == 1);
    let quick = connected("109900000000009", "quick token");
    until("the other is read", || state(&quick) == json!("succeeded"));
    assert_eq!(state(&slow), json!("running"));
}

/// A service that reads templates from `graph` and sends to it.
fn service_of(graph: &Graph) -> Service {
    let url = graph.url();
    Service::with(&["--background-tasks", "on", "--sealing-key", KEY, "--whatsapp-api-url", &url])
}

#[test]
fn template_is_sent_outside_of_the_window() {
    let components = json!([
        { "type": "HEADER", "format": "TEXT", "text": "Order {{1}}" }, { "type": "BODY", "text": "Hi {{1}}, it comes on {{2}}." },
        { "type": "FOOTER", "text": "Thank you" },
        { "type": "BUTTONS", "buttons": [{ "type": "URL", "text": "Track", "url": "https://shop.example/{{1}}" }] },
    ]);
    let listed = json!({ "data": [{ "id": "806312", "name": "order_update", "language": "en_US", "status": "APPROVED", "category": "UTILITY",
        "components": components }] });
    let graph = Graph::start(move |call, before| match call.path.contains("/message_templates") {
        true => Reply::Answer(200, listed.to_string()),
        false => Reply::Accepted(format!("wamid.{before}")),
    });
    let service = service_of(&graph);
    let api = &service.client;
    let channel = connect(api, NUMBER);
    let token = json!({ "kind": "access_token", "value": "a token of the account" });
    api.post(&format!("channels/{channel}/secrets"), token).expect(201);
    until("it is known", || !api.get("templates").expect(200).rows().is_empty());
    let thread = api.make("conversations", json!({ "channel": "whatsapp", "address": "+447700900123" }));
    let path = format!("conversations/{thread}/messages");
    assert_eq!(api.post(&path, json!({ "body": "Hello" })).expect(409).code(), "window_closed");
    let template = |variables: Value| json!({ "template": { "name": "order_update", "language": "en_US", "variables": variables } });
    let pointers = |answer: &Answer| {
        let faults = answer.json["errors"].as_array().into_iter().flatten();
        faults.map(|fault| fault["pointer"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let wrong = api.post(&path, template(json!({ "header.1": "8601", "1": "Anna", "3": "x" }))).expect(422);
    assert_eq!(wrong.code(), "template_variables");
    assert_eq!(pointers(&wrong), ["/template/variables/2", "/template/variables/button.0", "/template/variables/3"]);
    let bare = api.post(&path, json!({ "kind": "template" })).expect(422);
    assert_eq!(pointers(&bare), ["/template"], "{}", bare.text);
    let given = json!({ "header.1": "8601", "1": "Anna", "2": "Friday", "button.0": "t/8601" });
    service.database.run("UPDATE templates SET status = 'paused'");
    let paused = api.post(&path, template(given.clone())).expect(409);
    assert_eq!((paused.code(), &paused.json["template_status"]), ("template_not_approved", &json!("paused")));
    assert_eq!(api.get("messages").expect(200).rows().len(), 0, "what is refused leaves nothing");
    service.database.run("UPDATE templates SET status = 'approved'");
    let sent = api.post(&path, template(given)).expect(201).json;
    assert_eq!(
        (&sent["kind"], &sent["body"]),
        (&json!("template"), &json!("Order 8601\n\nHi Anna, it comes on Friday.\n\nThank you"))
    );
    let calls = || graph.calls().into_iter().filter(|call| call.path.ends_with("/messages")).collect::<Vec<_>>();
    let id = sent["id"].as_str().expect("an id");
    until("it is accepted", || api.get(&format!("messages/{id}")).expect(200).json["external_id"].is_string());
    assert_eq!(calls().len(), 1, "nothing else was sent");
    let text = |text: &str| json!([{ "type": "text", "text": text }]);
    assert_eq!(
        calls()[0].body,
        json!({
            "messaging_product": "whatsapp", "recipient_type": "individual", "to": "447700900123", "type": "template",
            "template": { "name": "order_update", "language": { "code": "en_US" }, "components": [
                { "type": "header", "parameters": text("8601") },
                { "type": "body", "parameters": [{ "type": "text", "text": "Anna" }, { "type": "text", "text": "Friday" }] },
                { "type": "button", "sub_type": "url", "index": "0", "parameters": text("t/8601") },
            ] },
            "biz_opaque_callback_data": format!("{id}:1"),
        })
    );
}

/// What preparing a template gives.
fn prepared(service: &Service, channel: &str, name: &str, language: &str, variables: Value) -> Result<Value, Value> {
    let tenant = Tenant::for_operator(service.business);
    let (channel, name, language) = (channel.parse().expect("an id"), name.to_owned(), language.to_owned());
    let variables: Map<String, Value> = variables.as_object().expect("an object").clone();
    let own = tenant.clone();
    let preparing = service.db.for_tenant(&tenant).write("prepare", move |tx| {
        let prepared = prepare(tx, &own, channel, &name, &language, &variables)?;
        Ok(json!({ "components": prepared.components, "body": prepared.body, "category": prepared.category }))
    });
    actix_web::rt::System::new().block_on(preparing).map_err(|error| error.nest_under("template").problem())
}

#[test]
fn prepare_fills_an_approved_template_or_says_why_not() {
    let service = Service::start();
    let api = &service.client;
    let channel = api.make("channels", json!({ "kind": "loopback", "name": "Trial" }));
    api.post(&format!("channels/{channel}/template-sync"), Value::Null).expect(202);
    let given = json!({ "1": "Friday", "2": "10:00", "button.0": "K7PM2XQ4" });
    let reminder = prepared(&service, &channel, "appointment_reminder", "en", given).expect("a message");
    let text = "Your appointment\n\nSee you on Friday at 10:00. If you cannot come, please let us know.\n\nReply STOP to receive no more reminders.";
    assert_eq!((&reminder["body"], &reminder["category"]), (&json!(text), &json!("utility")));
    assert_eq!(reminder["components"].as_array().map(Vec::len), Some(2));
    let faults = |problem: &Value| {
        let faults = problem["errors"].as_array().into_iter().flatten();
        faults
            .map(|fault| [&fault["pointer"], &fault["code"]].map(|text| text.as_str().unwrap_or_default().to_owned()))
            .collect::<Vec<_>>()
    };
    let wrong = prepared(&service, &channel, "appointment_reminder", "en", json!({ "1": "Friday", "3": "x" }))
        .expect_err("faults");
    assert_eq!((&wrong["status"], &wrong["code"]), (&json!(422), &json!("template_variables")));
    let expected = [
        ["/template/variables/2", "required"],
        ["/template/variables/button.0", "required"],
        ["/template/variables/3", "unknown_field"],
    ];
    assert_eq!(faults(&wrong), expected.map(|fault| fault.map(str::to_owned)));
    let misspelt = prepared(&service, &channel, "appointment_remainder", "en", json!({})).expect_err("unknown");
    assert_eq!(faults(&misspelt), [["/template/name".to_owned(), "no_such_row".to_owned()]]);
    assert!(
        misspelt["detail"].as_str().is_some_and(|text| text.ends_with("Did you mean `appointment_reminder`?")),
        "{misspelt}"
    );
    let language = prepared(&service, &channel, "welcome", "fr", json!({})).expect_err("unknown");
    assert!(language["detail"].as_str().is_some_and(|text| text.contains("`fr`") && text.contains("en")), "{language}");
    service
        .database
        .run("UPDATE templates SET status = 'paused', rejected_reason = 'Low quality.' WHERE name = 'welcome'");
    let paused = prepared(&service, &channel, "welcome", "en", json!({ "first_name": "Anna" })).expect_err("paused");
    assert_eq!(
        (&paused["status"], &paused["code"], &paused["template_status"]),
        (&json!(409), &json!("template_not_approved"), &json!("paused"))
    );
}
