//! What a channel answers, and what becomes of the message: by code, without an answer, without the channel.

use serde_json::{Value, json};

use super::{attempts_of, begun_by, message, say, start, tell, until_status};
use crate::support::graph::{Graph, GraphCall, Reply};
use crate::support::until;

/// The text of a call says what it is answered the first time; then it is accepted.
fn by_text() -> Graph {
    Graph::start(|call, before| {
        let id = format!("wamid.{before}");
        match call.text().split_once(' ') {
            _ if call.callback_data().ends_with(":2") => Reply::Accepted(id),
            Some(("code", code)) => Reply::error(400, code.parse().expect("a code")),
            Some(("status", status)) => Reply::Answer(status.parse().expect("a status"), "<html>no</html>".into()),
            Some(("drop", _)) => Reply::Drop,
            _ => Reply::Accepted(id),
        }
    })
}

fn of(graph: &Graph, text: &str) -> Vec<GraphCall> {
    graph.calls().into_iter().filter(|call| call.text() == text).collect()
}

#[test]
fn message_is_handed_over_as_meta_documents_it() {
    let graph = Graph::accepting();
    let (service, channel) = start(&graph);
    let api = &service.client;
    let thread = begun_by(&service, "447700900123");
    let hi = api.get("messages?external_id=wamid.in.447700900123").expect(200).rows()[0]["id"].clone();
    let body = json!({ "body": "Hello", "reply_to_id": hi, "model": "gpt-5-mini", "author": "ai" });
    let sent = api.post(&format!("conversations/{thread}/messages"), body).expect(201).json;
    assert_eq!(sent["reply_to_id"], hi);
    until("it is accepted", || message(api, &sent["id"])["external_id"] == "wamid.0");
    let call = &graph.calls()[0];
    assert_eq!(call.path, "/v24.0/109900000000001/messages");
    assert_eq!(call.headers["authorization"], "Bearer EAAG-test-token");
    assert_eq!(
        call.body,
        json!({
            "messaging_product": "whatsapp", "recipient_type": "individual", "to": "447700900123", "type": "text",
            "text": { "body": "Hello", "preview_url": true }, "context": { "message_id": "wamid.in.447700900123" },
            "biz_opaque_callback_data": format!("{}:1", sent["id"].as_str().expect("an id")),
        })
    );
    // The answer says that Meta has it; a status says that it was sent.
    assert_eq!(message(api, &sent["id"])["status"], json!("queued"));
    tell(
        &service,
        json!({ "id": "wamid.0", "status": "delivered", "timestamp": chrono::Utc::now().timestamp().to_string() }),
    );
    until_status(api, &sent["id"], "delivered");
    let attempt = &attempts_of(api, &sent["id"])[0];
    assert_eq!((&attempt["state"], &attempt["channel_id"]), (&json!("accepted"), &json!(channel)));
    assert!(attempt["finished_at"].is_string());
    let included = api.get(&format!("messages/{}?include=attempts", sent["id"].as_str().expect("an id"))).expect(200);
    assert_eq!(included.json["attempts"][0]["external_id"], json!("wamid.0"));
}

/// Each code of the issue, with what becomes of the message.
#[test]
fn error_codes_have_their_outcomes() {
    let graph = by_text();
    let (service, _) = start(&graph);
    let api = &service.client;
    let threads = ["447700900001", "447700900002", "447700900003"].map(|from| begun_by(&service, from));
    let never = [131_026, 131_030, 131_051, 131_052, 131_053, 130_472, 132_000, 132_001, 132_015, 100];
    let finals = never.map(|code| (code, "never")).into_iter().chain([
        (131_047, "as_template"),
        (131_049, "after_a_day"),
        (131_050, "opted_out"),
    ]);
    let failing: Vec<(Value, i64, &str)> = finals
        .map(|(code, retry)| {
            // One that closes the window has a conversation of its own.
            let thread = if code == 131_047 { &threads[1] } else { &threads[0] };
            (say(api, thread, &format!("code {code}"))["id"].clone(), code, retry)
        })
        .collect();
    for (id, code, retry) in &failing {
        let failed = until_status(api, id, "failed");
        assert_eq!((&failed["error"]["code"], &failed["error"]["retry"]), (&json!(code), &json!(retry)));
        let retried = api.post(&format!("messages/{}/retry", id.as_str().expect("an id")), json!({})).expect(409);
        assert_eq!(retried.code(), if *code == 131_047 { "window_closed" } else { "not_retryable" });
        assert_eq!(of(&graph, &format!("code {code}")).len(), 1, "{code} is not tried again");
    }
    assert_eq!(api.get(&format!("conversations/{}", threads[1])).expect(200).json["can_reply"], json!(false));
    // These pass: they are tried again, after 1, 4, 16 seconds.
    for code in [1, 2, 130_429, 131_000, 131_016, 80_007, 131_056] {
        let text = format!("code {code}");
        let sent = say(api, &threads[2], &text);
        until("it was tried", || attempts_of(api, &sent["id"])[0]["tries"] == 1);
        let attempt = &attempts_of(api, &sent["id"])[0];
        assert_eq!((&attempt["state"], &attempt["error"]["code"]), (&json!("queued"), &json!(code)));
        assert_eq!((&message(api, &sent["id"])["status"], of(&graph, &text).len()), (&json!("queued"), 1));
        service.database.run("UPDATE message_attempts SET due_at = now() WHERE state = 'queued'");
        until("it was tried again", || attempts_of(api, &sent["id"])[0]["tries"] == 2);
        let waits = "SELECT (due_at > now() + interval '2 seconds')::text FROM message_attempts WHERE state = 'queued'";
        assert_eq!(service.database.ask(waits), "true", "{code} waits longer each time");
        // Until it was tried for long.
        service.database.run("UPDATE message_attempts SET due_at = now(), tries = 17 WHERE state = 'queued'");
        let failed = until_status(api, &sent["id"], "failed");
        assert_eq!(failed["error"]["retry"], json!("later"));
    }
}

/// chatwoot#14120: sending again sends, and camel#4327: what may have arrived is not sent again by itself.
#[test]
fn lost_answer_is_uncertain_and_settled_by_a_status_or_by_people() {
    let graph = by_text();
    let (service, _) = start(&graph);
    let api = &service.client;
    let thread = begun_by(&service, "447700900123");
    for text in ["drop 1", "status 500", "status 200"] {
        let sent = say(api, &thread, text);
        until_status(api, &sent["id"], "uncertain");
        let attempt = &attempts_of(api, &sent["id"])[0];
        assert_eq!((&attempt["state"], &attempt["error"]["code"]), (&json!("uncertain"), &json!("unknown_outcome")));
        let path = format!("messages/{}/retry", sent["id"].as_str().expect("an id"));
        let refused = api.post(&path, json!({})).expect(409);
        assert_eq!(refused.code(), "outcome_uncertain");
        assert!(refused.json["uncertain_until"].is_string());
        // A status with our id says that it arrived.
        let (id, callback) = (format!("wamid.of {text}"), of(&graph, text)[0].callback_data().to_owned());
        let at = chrono::Utc::now().timestamp().to_string();
        tell(
            &service,
            json!({ "id": id, "status": "delivered", "timestamp": at, "biz_opaque_callback_data": callback }),
        );
        let settled = until_status(api, &sent["id"], "delivered");
        assert_eq!((&settled["external_id"], &settled["error"]), (&json!(id), &Value::Null));
        assert_eq!(of(&graph, text).len(), 1, "{text}: it is not sent again");
    }
    // No status comes.
    let sent = say(api, &thread, "drop 2");
    until_status(api, &sent["id"], "uncertain");
    service.database.run("UPDATE message_attempts SET due_at = now() WHERE state = 'uncertain'");
    let failed = until_status(api, &sent["id"], "failed");
    assert_eq!(
        (&failed["error"]["code"], &failed["error"]["retry"]),
        (&json!("unknown_outcome"), &json!("if_not_received"))
    );
    let again =
        api.post(&format!("messages/{}/retry", sent["id"].as_str().expect("an id")), json!({})).expect(201).json;
    assert_eq!(again["number"], json!(2));
    until("the second attempt is accepted", || message(api, &sent["id"])["external_id"].is_string());
    let calls = of(&graph, "drop 2");
    assert_eq!(calls.len(), 2);
    assert!(calls[1].callback_data().ends_with(":2"));
    // A late status of the first attempt does not touch the second.
    let at = chrono::Utc::now().timestamp().to_string();
    let late = json!({ "id": "wamid.first", "status": "failed", "timestamp": at, "biz_opaque_callback_data": calls[0].callback_data(),
        "errors": [{ "code": 131026, "title": "Message undeliverable" }] });
    tell(&service, late);
    until("the first attempt is settled", || attempts_of(api, &sent["id"])[0]["state"] == "failed");
    assert_eq!(message(api, &sent["id"])["status"], json!("queued"));
    // One that was given up and arrives after all is delivered.
    let sent = say(api, &thread, "drop 3");
    until_status(api, &sent["id"], "uncertain");
    service.database.run("UPDATE message_attempts SET due_at = now() WHERE state = 'uncertain'");
    until_status(api, &sent["id"], "failed");
    let callback = of(&graph, "drop 3")[0].callback_data().to_owned();
    tell(
        &service,
        json!({ "id": "wamid.late", "status": "sent", "timestamp": at, "biz_opaque_callback_data": callback }),
    );
    let arrived = until_status(api, &sent["id"], "sent");
    assert_eq!((&arrived["error"], &arrived["failed_reason"]), (&Value::Null, &Value::Null));
}

/// A number that has sent too much is given a rest, and with it all its conversations.
#[test]
fn number_over_its_limit_rests() {
    let graph = Graph::start(|call, before| match call.text() {
        "too much" => Reply::error(429, 130_429),
        _ => Reply::Accepted(format!("wamid.{before}")),
    });
    let (service, channel) = start(&graph);
    let api = &service.client;
    let (one, other) = (begun_by(&service, "447700900123"), begun_by(&service, "447700900124"));
    let held = say(api, &one, "too much");
    let rests = format!(
        "SELECT coalesce(max(free_at) > now() + interval '3 seconds', false)::text FROM send_limits WHERE id = '{channel}'"
    );
    // 1 s, then 4, then 16.
    until("the number rests", || service.database.ask(&rests) == "true");
    let behind = say(api, &other, "Good morning");
    service.database.run("UPDATE send_limits SET free_at = now() + interval '1 hour'");
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert!(message(api, &behind["id"])["external_id"].is_null(), "it was sent meanwhile");
    assert_eq!(message(api, &held["id"])["status"], json!("queued"));
    service.database.run("UPDATE send_limits SET free_at = now()");
    until("it is accepted", || message(api, &behind["id"])["external_id"].is_string());
}

/// An error of the channel itself pauses it; its messages wait, and an owner has a task.
#[test]
fn channel_that_fails_is_paused_and_its_messages_wait() {
    let graph = Graph::start(|_, before| match before {
        0 => Reply::error(401, 190),
        _ => Reply::Accepted(format!("wamid.{before}")),
    });
    let (service, channel) = start(&graph);
    let api = &service.client;
    let thread = begun_by(&service, "447700900123");
    let path = format!("channels/{channel}");
    let first = say(api, &thread, "One");
    let second = say(api, &thread, "Two");
    until("the channel is paused", || api.get(&path).expect(200).json["state"] == "paused");
    let paused = api.get(&path).expect(200).json;
    assert!(paused["state_reason"].as_str().is_some_and(|reason| reason.contains("190")), "{paused}");
    let tasks = api.get("tasks").expect(200);
    assert_eq!((tasks.rows().len(), &tasks.rows()[0]["metadata"]["channel_id"]), (1, &json!(channel)));
    assert_eq!(tasks.rows()[0]["priority"], json!("urgent"));
    assert_eq!((&message(api, &first["id"])["status"], graph.calls().len()), (&json!("queued"), 1));
    api.patch(&path, json!({ "state": "active" })).expect(200);
    until("both are accepted", || {
        [&first, &second].iter().all(|sent| message(api, &sent["id"])["external_id"].is_string())
    });
    assert_eq!(graph.calls().iter().map(|call| call.text().to_owned()).collect::<Vec<_>>(), ["One", "One", "Two"]);
    // A status may say it, too: the account cannot pay.
    let at = chrono::Utc::now().timestamp().to_string();
    let unpaid = json!({ "id": "wamid.2", "status": "failed", "timestamp": at, "errors": [{ "code": 131042, "title": "Payment issue" }] });
    tell(&service, unpaid);
    until("the channel is paused", || api.get(&path).expect(200).json["state"] == "paused");
    assert_eq!(until_status(api, &second["id"], "failed")["error"]["retry"], json!("when_the_channel_works"));
}
