//! The counts of all tabs.

use chrono::Utc;
use serde_json::{Value, json};

use super::{member, message, thread};
use crate::support::Service;

/// After each of many random changes, each number is that of its list: for members, restricted agents and API keys, and from the cache.
#[test]
fn counts_after_random_changes_equal_the_lists() {
    const ROUNDS: usize = 40;
    let service = Service::start();
    let api = &service.client;
    let (boss, _) = member(&service, "boss", "owner");
    let (amina, her) = member(&service, "amina", "agent");
    api.patch(&format!("businesses/{}", service.business), json!({ "agent_visibility": "assigned" })).expect(200);
    let labels = ["a", "b"].map(|name| api.make("labels", json!({ "name": name })));
    let mut threads = vec![thread(api, "+447700900000")];
    let mut seed = 0x5eed_u64;
    let mut below = |most: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % most
    };
    for round in 0..ROUNDS {
        let id = threads[below(threads.len())].clone();
        let path = format!("conversations/{id}");
        let did = match below(12) {
            0 | 1 => {
                let channel = ["whatsapp", "email", "web"][below(3)];
                let body = json!({ "channel": channel, "address": format!("+44770090{round:04}") });
                threads.push(api.make("conversations", body));
                "begins"
            }
            2 | 3 => {
                message(api, &id, "inbound", json!({}));
                "is written to"
            }
            4 => {
                api.put(&format!("{path}/assignment"), json!({ "assignee_id": her })).expect(200);
                "is assigned"
            }
            5 => {
                let later = (Utc::now() + chrono::Duration::hours(1)).to_rfc3339();
                api.put(&format!("{path}/snooze"), json!({ "until": later }));
                "is snoozed"
            }
            6 => {
                api.put(&format!("{path}/closure"), json!({})).expect(200);
                "is closed"
            }
            7 => {
                api.delete(&format!("{path}/closure")).expect(200);
                "is reopened"
            }
            8 => {
                api.put(&format!("{path}/labels/{}", labels[below(2)]), json!({})).expect(200);
                "is labelled"
            }
            10 => {
                let handler = ["ai", "person"][below(2)];
                api.patch(&path, json!({ "handler": handler })).expect(200);
                "is handed over"
            }
            9 => {
                [&boss, &amina][below(2)].put(&format!("{path}/read-position"), json!({}));
                "is read"
            }
            _ => {
                api.patch(&path, json!({ "status": "pending", "unread_count": below(2) }));
                "is pending"
            }
        };
        for (who, client) in [("a key", api), ("the owner", &boss), ("an agent", &amina)] {
            let counts = [(); 2].map(|()| client.get("conversations/counts").expect(200));
            assert_eq!((counts[0].json.clone(), counts[1].queries()), (counts[1].json.clone(), 0));
            assert!(counts[0].queries() <= 1);
            let counts = &counts[0].json;
            let total = |query: &str| {
                let list = client.get(&format!("conversations?{query}&count=exact&limit=1")).expect(200);
                list.json["page"]["total"].clone()
            };
            let of =
                |name: &str, query: &str| assert_eq!(counts[name], total(query), "{name} for {who}, after {id} {did}");
            const OPEN: &str = "status=active,pending&snoozed=false";
            of("open", OPEN);
            of("active", "status=active&snoozed=false");
            of("pending", "status=pending&snoozed=false");
            of("snoozed", "snoozed=true");
            of("closed", "status=closed");
            of("unassigned", &format!("{OPEN}&assignee_id=none"));
            of("handled_by_ai", &format!("{OPEN}&handler=ai"));
            of("unread", &format!("{OPEN}&unread=true"));
            if who == "a key" {
                assert_eq!((&counts["mine"], &counts["unread_by_me"]), (&Value::Null, &Value::Null));
            } else {
                of("mine", &format!("{OPEN}&assignee_id=me"));
                of("unread_by_me", &format!("{OPEN}&unread_by=me"));
            }
            let sum = |name: &str, key: &str, value: &str| -> i64 {
                let all = counts[name].as_array().expect("counts").iter();
                all.filter(|one| one[key] == *value).map(|one| one["count"].as_i64().expect("a number")).sum()
            };
            for label in &labels {
                assert_eq!(
                    total(&format!("{OPEN}&label_id={label}")),
                    sum("by_label", "label_id", label),
                    "after {did}"
                );
            }
            for channel in ["whatsapp", "email", "web"] {
                assert_eq!(
                    total(&format!("{OPEN}&channel={channel}")),
                    sum("by_channel", "channel", channel),
                    "after {did}"
                );
            }
        }
    }
    assert_eq!(api.get("conversations/counts?status=active").expect(400).code(), "unknown_parameter");
    let (_, neighbour) = service.neighbour();
    assert_eq!(neighbour.get("conversations/counts").expect(200).json["open"], 0);
    service.stranger().get("conversations/counts").expect(401);
}
