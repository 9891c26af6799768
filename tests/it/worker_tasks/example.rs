//! The worker of docs/examples, run.

use serde_json::json;

use super::{ask, conversation, make_due, open_tasks, task};
use crate::support::Service;

/// The program of Python, if there is one of a version that the example needs.
fn python() -> Option<&'static str> {
    let program = "import sys; sys.exit(sys.version_info < (3, 9))";
    let runs = |python: &&str| {
        let run = std::process::Command::new(python).args(["-c", program]).stderr(std::process::Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    };
    ["python3", "python"].into_iter().find(runs)
}

/// Runs docs/examples/worker.py until it has done `tasks`.
fn run_example(python: &str, service: &Service, key: &str, tasks: usize) {
    let output = std::process::Command::new(python)
        .args(["-c", &format!("import worker; worker.run({tasks})")])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("RAPPORT_URL", format!("http://{}", service.address))
        .env("RAPPORT_API_KEY", key)
        .output()
        .expect("a worker");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn example_worker_answers_each_burst_once() {
    let Some(python) = python() else {
        eprintln!("SKIPPED: no Python 3.9 or newer");
        return;
    };
    let service = Service::start();
    let api = &service.client;
    let key = json!({ "name": "Worker", "role": "agent",
        "permissions": ["workers:read", "workers:write", "crm:read", "crm:write"] });
    let key = api.create("api-keys", key);
    let key = key["key"].as_str().expect("a key");
    api.make("channels", json!({ "kind": "loopback", "name": "Trial", "default_handler": "ai" }));
    let talk = api.make("conversations", json!({ "channel": "whatsapp", "address": "+447700900123" }));
    ask(api, &talk);
    let asked = ask(api, &talk);
    // One fails before its model runs, another after: nothing can be sent there. The worker reports both, and goes on.
    let broken = api.make("worker-tasks", json!({ "kind": "reply", "priority": 0, "max_attempts": 1, "payload": {} }));
    let adrift = conversation(api);
    ask(api, &adrift);
    make_due(&service);
    run_example(python, &service, key, 3);
    let failed = task(api, &broken);
    assert_eq!(failed["status"], json!("failed"), "{failed}");
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("conversation_id")), "{failed}");
    let failed = api.get(&format!("worker-tasks?conversation_id={adrift}")).expect(200).rows()[0].clone();
    assert_eq!((&failed["status"], &failed["attempts"]), (&json!("failed"), &json!(1)), "{failed}");
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("no_channel")), "{failed}");
    let said = || api.get(&format!("messages?conversation_id={talk}&direction=outbound")).expect(200).rows().to_vec();
    let (first, count) = (said()[0].clone(), said().len());
    assert_eq!(
        (count, &first["status"], &first["author"], &first["model"]),
        (1, &json!("queued"), &json!("ai"), &json!("example"))
    );
    assert!(first["body"].as_str().is_some_and(|body| body.contains("Are you open?")), "{first}");
    assert!(first["latency_ms"].is_i64() && first["output_tokens"].is_i64(), "{first}");
    let run = service.database.ask("SELECT run_id FROM ai_runs WHERE outcome = 'sent'");
    assert_eq!(first["run_id"], json!(run));
    let usage = api.get("stats/ai-usage?period=today&time_zone=UTC").expect(200).json["total"].clone();
    assert_eq!((&usage["runs"], &usage["sent"], &usage["failed"]), (&json!(2), &json!(1), &json!(1)));
    // A question that was sent before the answer and came after it is open; the one that was answered is not.
    let before = (chrono::Utc::now() - chrono::Duration::hours(1)).to_rfc3339();
    let late = json!({ "conversation_id": talk, "direction": "inbound", "sent_at": before, "body": "And today?" });
    api.make("messages", late);
    let payload = json!({ "conversation_id": talk, "last_message_id": asked });
    let again = api.make("worker-tasks", json!({ "kind": "reply", "priority": 0, "payload": payload }));
    make_due(&service);
    run_example(python, &service, key, 2);
    let done = task(api, &again);
    assert_eq!((&done["status"], &done["result"]["sent"]), (&json!("completed"), &json!(false)), "{done}");
    let said = said();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0]["body"].as_str().is_some_and(|body| body.contains("And today?")), "{said:?}");
    assert!(open_tasks(api).is_empty());
}
