//! The bodies in `tests/data/whatsapp`, each with its outcome, and all of them in any order, twice and at once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::deliver;
use crate::support::whatsapp::{APP_SECRET, VERIFY_TOKEN, signature};
use crate::support::{Client, Program, Service, until};

const OURS: [(&str, &str); 16] = [
    ("o24", "wamid.HRgNbzI0FQIAEhgUTzI0MDAwMDAwMDAwMDAA"),
    ("o26", "wamid.HRgNbzI2FQIAEhgUTzI2MDAwMDAwMDAwMDAA"),
    ("o38", "wamid.HRgNbzM4FQIAEhgUTzM4MDAwMDAwMDAwMDAA"),
    ("o60", "wamid.HRgNbzYwFQIAEhgUTzYwMDAwMDAwMDAwMDAA"),
    ("o61", "wamid.HRgNbzYxFQIAEhgUTzYxMDAwMDAwMDAwMDAA"),
    ("o63", "wamid.HRgNbzYzFQIAEhgUTzYzMDAwMDAwMDAwMDAA"),
    ("o64", "wamid.HRgNbzY0FQIAEhgUTzY0MDAwMDAwMDAwMDAA"),
    ("o65", "wamid.HRgNbzY1FQIAEhgUTzY1MDAwMDAwMDAwMDAA"),
    ("o66", "wamid.HRgNbzY2FQIAEhgUTzY2MDAwMDAwMDAwMDAA"),
    ("o67", "wamid.HRgNbzY3FQIAEhgUTzY3MDAwMDAwMDAwMDAA"),
    ("o68", "wamid.HRgNbzY4FQIAEhgUTzY4MDAwMDAwMDAwMDAA"),
    ("o69", "wamid.HRgNbzY5FQIAEhgUTzY5MDAwMDAwMDAwMDAA"),
    ("o70", "wamid.HRgNbzcwFQIAEhgUTzcwMDAwMDAwMDAwMDAA"),
    ("o71", "wamid.HRgNbzcxFQIAEhgUTzcxMDAwMDAwMDAwMDAA"),
    ("og47", "wamid.HRgNb2c0NxUCABIYFE9HNDcwMDAwMDAwMDAwAA=="),
    ("o72a", "wamid.HRgNbzcyYRUCABIYFE83MkEwMDAwMDAwMDAwAA=="),
];
const T01: &str = "wamid.HRgNdDAxFQIAEhgUVDAxMDAwMDAwMDAwMDAA";

pub struct Case {
    pub name: String,
    pub body: Vec<u8>,
    pub expected: Value,
}

/// All cases, by name.
pub fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/whatsapp");
    let read = |name: &str| std::fs::read(folder.join(name)).expect("a case");
    let expected: Value = serde_json::from_slice(&read("expected.json")).expect("JSON");
    let expected = expected.as_object().expect("an object").clone();
    let case = |(name, expected): (String, Value)| Case { body: read(&name), name, expected };
    let mut cases: Vec<Case> = expected.into_iter().map(case).collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(cases.len(), 32);
    cases
}

/// Two businesses with a number each, and what statuses speak of.
struct Shops {
    service: Service,
    ours: Client,
    theirs: Client,
}

impl Shops {
    fn open(settings: &'static [&'static str]) -> Self {
        let service = Service::with(settings);
        let (other, theirs) = service.neighbour();
        let ours = service.client.clone();
        service.database.run(&format!("UPDATE businesses SET country = 'BR' WHERE id = '{other}'; UPDATE businesses SET country = 'DE' WHERE id = '{}'", service.business));
        for (api, number, account) in
            [(&ours, "109900000000001", "220000000000001"), (&theirs, "109900000000002", "220000000000002")]
        {
            let body =
                json!({ "kind": "whatsapp", "name": "Front desk", "phone_number_id": number, "account_id": account });
            api.make("channels", body);
        }
        let thread = ours.make("conversations", json!({ "channel": "whatsapp", "address": "+447700900123" }));
        for (_, wamid) in OURS {
            ours.make(
                "messages",
                json!({ "conversation_id": thread, "direction": "outbound", "body": "x", "external_id": wamid,
                "status": "sent", "sent_at": "2026-11-28T08:00:00Z" }),
            );
        }
        theirs.make("contacts", json!({ "first_name": "Rafael", "phone": "+5511987654321" }));
        theirs.make("contacts", json!({ "first_name": "Stranger", "phone": "+5511933334444" }));
        ours.make("contacts", json!({ "first_name": "Guadalupe", "phone": "+525512345678" }));
        Self { service, ours, theirs }
    }

    /// All that updates may change, without ids and times of this service.
    fn fingerprint(&self) -> Vec<[String; 1]> {
        self.service.database.rows::<1>(FINGERPRINT)
    }

    fn message(&self, external_id: &str) -> Value {
        let find = |api: &Client| {
            api.get(&format!(
                "messages?external_id={external_id}&include=conversation,reply_to,reactions,author_contact"
            ))
            .expect(200)
            .rows()
            .first()
            .cloned()
        };
        find(&self.ours).or_else(|| find(&self.theirs)).unwrap_or_default()
    }
}

const FINGERPRINT: &str = "
    SELECT concat_ws('|', 'message', m.external_id, m.direction, m.author, m.kind, m.status, m.body, m.sent_at, m.delivered_at, m.read_at,
        m.failed_reason, m.error, m.pricing, m.payload, m.media, m.media_state, m.origin, m.edited_at, m.revoked_at, r.external_id, a.first_name,
        c.address, m.metadata)
    FROM messages m JOIN conversations c ON c.id = m.conversation_id LEFT JOIN messages r ON r.id = m.reply_to_id
        LEFT JOIN contacts a ON a.id = m.author_contact_id
    UNION ALL SELECT concat_ws('|', 'thread', c.address, c.status, c.unread_count, c.last_message_at, c.window_expires_at, c.window_closed_at, c.free_entry_expires_at,
        c.started_at, p.first_name, p.last_name, p.phone, l.title, l.source, l.entered_at, l.first_touch_at)
    FROM conversations c LEFT JOIN contacts p ON p.id = c.contact_id LEFT JOIN leads l ON l.id = c.lead_id WHERE c.deleted_at IS NULL
    UNION ALL SELECT concat_ws('|', 'contact', first_name, last_name, phone, email) FROM contacts
    UNION ALL SELECT concat_ws('|', 'identity', i.kind, i.scope, i.value, i.match_key, p.phone, p.first_name, i.superseded_at, i.marketing_opted_out_at,
        (SELECT string_agg(o.value, ',' ORDER BY o.value) FROM contact_identities o WHERE o.peer_id = i.peer_id))
    FROM contact_identities i LEFT JOIN contacts p ON p.id = i.contact_id
    UNION ALL SELECT concat_ws('|', 'reaction', m.external_id, r.emoji, r.external_id, r.reacted_at, r.deleted_at IS NULL)
    FROM message_reactions r JOIN messages m ON m.id = r.message_id
    UNION ALL SELECT concat_ws('|', 'waiting', kind, state, waits_for, error) FROM inbound_updates
    UNION ALL SELECT concat_ws('|', 'proposal', a.phone, b.phone) FROM duplicate_proposals d JOIN contacts a ON a.id = d.contact_id JOIN contacts b ON b.id = d.other_id
    ORDER BY 1";

#[test]
fn each_body_has_its_outcome() {
    let shops = Shops::open(&[]);
    let mut threads: HashMap<String, String> = HashMap::new();
    for case in cases() {
        deliver(&shops.service, &case.body);
        let messages = case.expected["messages"].as_array().cloned().unwrap_or_default();
        for expected in &messages {
            let name = expected["external_id"].as_str().expect("an id");
            let row = shops.message(name);
            assert_eq!(
                (&row["kind"], &row["direction"]),
                (&expected["kind"], &expected["direction"]),
                "{}: {row}",
                case.name
            );
            if let Some(body) = expected.get("body") {
                assert_eq!(&row["body"], body, "{}", case.name);
            }
            let thread = row["conversation_id"].as_str().expect("a thread").to_owned();
            let named = threads
                .entry(expected["thread"].as_str().expect("a name").to_owned())
                .or_insert_with(|| thread.clone());
            assert_eq!(*named, thread, "{}", case.name);
        }
        for (ours, status) in case.expected["status"].as_object().cloned().unwrap_or_default() {
            let (_, wamid) = OURS.iter().find(|(name, _)| *name == ours).expect("one of ours");
            assert_eq!(shops.message(wamid)["status"], status, "{}", case.name);
        }
    }
    let names: std::collections::HashSet<&String> = threads.values().collect();
    assert_eq!(names.len(), threads.len(), "{threads:?}");

    // What the table of cases says beside that.
    let isla = &shops.message("wamid.HRgNdDAyFQIAEhgUVDAyMDAwMDAwMDAwMDAA")["conversation"];
    let contact =
        shops.ours.get(&format!("contacts/{}", isla["contact_id"].as_str().expect("a contact"))).expect(200).json;
    assert_eq!(
        (&contact["first_name"], &contact["last_name"], &contact["phone"]),
        (&json!("Isla"), &json!("Reed"), &json!("+447700900456"))
    );
    let rafa = shops.message("wamid.HRgNdDA1FQIAEhgUVDA1MDAwMDAwMDAwMDAA");
    let same = shops.theirs.get("contacts?phone=%2B5511987654321").expect(200).rows()[0]["id"].clone();
    assert_eq!(
        (&rafa["conversation"]["contact_id"], &rafa["conversation"]["address"]),
        (&same, &json!("+551187654321"))
    );
    let bakery = shops.message("wamid.HRgNdDA3FQIAEhgUVDA3MDAwMDAwMDAwMDAA");
    let landline = shops.theirs.get("contacts?phone=%2B551133334444").expect(200).rows()[0].clone();
    assert_eq!((&bakery["conversation"]["contact_id"], &landline["first_name"]), (&landline["id"], &json!("Padaria")));
    let mexico = shops.message("wamid.HRgNdDA4FQIAEhgUVDA4MDAwMDAwMDAwMDAA");
    let same = shops.ours.get("contacts?phone=%2B525512345678").expect(200).rows()[0]["id"].clone();
    assert_eq!(
        (&mexico["conversation"]["contact_id"], &mexico["conversation"]["address"]),
        (&same, &json!("+5215512345678"))
    );
    let document = shops.message("wamid.HRgNdDE2FQIAEhgUVDE2MDAwMDAwMDAwMDAA");
    let safe = document["media"]["file_name"].as_str().expect("a name");
    assert!(!safe.contains(['/', '\u{202e}', '\u{7}']) && safe.ends_with(".pdf"), "{safe}");
    assert!(document["metadata"]["file_name"].as_str().expect("a name").starts_with("../../etc/"));
    assert_eq!((&document["body"], &document["media_state"]), (&json!("Rechnung"), &json!("pending")));
    let first = shops.message(T01);
    assert_eq!(
        (&first["body"], first["reactions"].as_array().map(Vec::len)),
        (&json!("Are you open on Sunday?"), Some(0))
    );
    assert!(first["edited_at"].is_string());
    let list = shops.message("wamid.HRgNdDI0FQIAEhgUVDI0MDAwMDAwMDAwMDAA");
    assert_eq!(
        (&list["body"], &list["payload"]["description"], &list["reply_to"]["external_id"]),
        (&json!("Mon 09:00"), &json!("with Jonas"), &json!(OURS[0].1))
    );
    let button = shops.message("wamid.HRgNdDI1FQIAEhgUVDI1MDAwMDAwMDAwMDAA");
    assert_eq!((&button["body"], &button["payload"]["payload"]), (&json!("Confirm"), &json!("CONFIRM:K7PM2XQ4")));
    let ad = shops.message("wamid.HRgNdDI4FQIAEhgUVDI4MDAwMDAwMDAwMDAA");
    assert_eq!(ad["payload"]["referral"]["source_type"], json!("ad"));
    let odd = shops.message("wamid.HRgNdDQwFQIAEhgUVDQwMDAwMDAwMDAwMDAA");
    assert_eq!(odd["body"], json!("before\u{fffd}after \u{fffd} lone"));
    let echo = shops.message("wamid.HRgNZTQyFQIAEhgURTQyMDAwMDAwMDAwMDAA");
    assert_eq!(
        (&echo["origin"], &echo["status"], &echo["author"], &echo["author_id"]),
        (&json!("phone_app"), &json!("sent"), &json!("user"), &Value::Null)
    );
    assert_eq!(echo["reply_to"]["external_id"], json!(T01));
    let group = shops.message("wamid.HRgNZzQ3FQIAEhgURzQ3MDAwMDAwMDAwMDAA");
    assert_eq!(
        (&group["conversation"]["address"], &group["author_contact"]["first_name"]),
        (&json!("Y2FwaV9ncm91cDoxMjM0NQ"), &json!("Mo"))
    );
    assert_eq!(shops.message(OURS[14].1)["status"], json!("sent"), "a group has not read for one participant");
    let read = shops.message(OURS[3].1);
    assert_eq!((&read["status"], &read["delivered_at"]), (&json!("read"), &read["read_at"]));
    let backwards = shops.message(OURS[4].1);
    assert_eq!(
        (&backwards["sent_at"], &backwards["pricing"]["category"]),
        (&json!("2026-11-28T10:50:10.000000Z"), &json!("utility"))
    );
    let failed = shops.message(OURS[5].1);
    assert_eq!((&failed["error"]["code"], &failed["error"]["retry"]), (&json!(131_047), &json!("as_template")));
    let late = shops.message(OURS[7].1);
    assert_eq!((&late["status"], &late["error"]["code"]), (&json!("delivered"), &json!(131_026)));
    let waiting = shops.ours.get("inbound-updates?state=waiting").expect(200);
    let awaited: Vec<&str> = waiting.rows().iter().filter_map(|row| row["waits_for"].as_str()).collect();
    assert!(awaited.contains(&"wamid.HRgNbzYyFQIAEhgUTzYyMDAwMDAwMDAwMDAA"), "{awaited:?}");
    // It is applied when the message comes.
    let thread = isla["id"].clone();
    shops.ours.make("messages", json!({ "conversation_id": thread, "direction": "outbound", "body": "x", "external_id": "wamid.HRgNbzYyFQIAEhgUTzYyMDAwMDAwMDAwMDAA" }));
    assert_eq!(shops.message("wamid.HRgNbzYyFQIAEhgUTzYyMDAwMDAwMDAwMDAA")["status"], json!("delivered"));
}

/// Compares two fingerprints, and says in what they differ.
#[track_caller]
fn assert_same(found: &[[String; 1]], expected: &[[String; 1]], how: &str) {
    let only = |some: &[[String; 1]], other: &[[String; 1]]| {
        some.iter().filter(|row| !other.contains(row)).cloned().collect::<Vec<_>>()
    };
    let (missing, extra) = (only(expected, found), only(found, expected));
    assert!(
        missing.is_empty() && extra.is_empty() && found.len() == expected.len(),
        "{how}\nmissing {missing:#?}\nextra {extra:#?}"
    );
}

/// Each alone on an empty pair of shops makes what it says, and again changes nothing: no row, no version, no event.
#[test]
fn body_delivered_again_changes_nothing() {
    let shops = Shops::open(&[]);
    cases().iter().for_each(|case| deliver(&shops.service, &case.body));
    let state = || {
        let versions = "SELECT concat_ws(' ', (SELECT sum(version) FROM messages), (SELECT sum(version) FROM conversations), (SELECT sum(version) FROM contacts),
            (SELECT sum(version) FROM leads), (SELECT sum(version) FROM contact_identities), (SELECT count(*) FROM change_log WHERE changed <> 'api_keys'))";
        (shops.fingerprint(), shops.service.database.ask(versions))
    };
    let before = state();
    cases().iter().for_each(|case| deliver(&shops.service, &case.body));
    let after = state();
    assert_eq!(after.0, before.0);
    assert_eq!(after.1, before.1, "versions, and changes in the log");
}

/// In any order, the same end: but for the number that changed and the history, which come last.
#[test]
fn bodies_in_any_order_end_the_same() {
    let ordered = |seed: u64| {
        let mut cases = cases();
        if seed > 0 {
            cases.sort_by_key(|case| xxhash_rust::xxh3::xxh3_64_with_seed(case.name.as_bytes(), seed));
        }
        cases.sort_by_key(|case| case.name.starts_with("30") || case.name.starts_with("44"));
        cases
    };
    let end = |seed: u64| {
        let shops = Shops::open(&[]);
        let bodies = ordered(seed);
        bodies.iter().for_each(|case| deliver(&shops.service, &case.body));
        let names: Vec<String> = bodies.into_iter().map(|case| case.name).collect();
        (shops.fingerprint(), names)
    };
    let (expected, _) = end(0);
    assert!(expected.len() > 60, "{expected:#?}");
    let seeds = std::env::var("RAPPORT_TEST_ORDERS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    for seed in 1..=seeds {
        let (found, order) = end(seed);
        assert_same(&found, &expected, &format!("in the order {order:?}"));
    }
}

/// After how many bodies the process is killed: half of them.
const KILLED_AFTER: usize = 30;

/// All of them twice, from eight clients at once, to two processes of which one is killed meanwhile (what it has not acknowledged is
/// delivered again, as WhatsApp does): the same end as one by one.
#[test]
fn bodies_twice_at_once_to_two_processes_end_the_same() {
    let calm = Shops::open(&[]);
    let last = |case: &Case| case.name.starts_with("30") || case.name.starts_with("44");
    let (end, begin): (Vec<Case>, Vec<Case>) = cases().into_iter().partition(last);
    begin.iter().chain(&end).for_each(|case| deliver(&calm.service, &case.body));

    let shops = Shops::open(&[]);
    let settings = [
        ("DATABASE_URL", shops.service.database.url.as_str()),
        ("RAPPORT_WHATSAPP_APP_SECRET", APP_SECRET),
        ("RAPPORT_WHATSAPP_VERIFY_TOKEN", VERIFY_TOKEN),
    ];
    let (left, doomed) = (Program::serve(&settings), Program::serve(&settings));
    [&left, &doomed].into_iter().for_each(Program::until_ready);
    let (safe, risky) = (Client::new(left.address, ""), Client::new(doomed.address, ""));
    let applied = || shops.service.database.ask("SELECT count(*)::text FROM inbound_bodies WHERE state = 'new'") == "0";
    let (doomed, delivered) = (Mutex::new(Some(doomed)), AtomicUsize::new(0));
    for part in [&begin, &end] {
        std::thread::scope(|scope| {
            for client in 0..8_usize {
                let (safe, risky, doomed, delivered) = (safe.clone(), risky.clone(), &doomed, &delivered);
                scope.spawn(move || {
                    let twice = part.iter().chain(part.iter()).enumerate();
                    for (place, case) in twice.filter(|(place, _)| place % 8 == client) {
                        if delivered.fetch_add(1, Ordering::Relaxed) == KILLED_AFTER {
                            // Dropped, it is killed.
                            drop(doomed.lock().take());
                        }
                        let signed = |to: &Client| {
                            let signature = signature(&case.body, APP_SECRET);
                            to.request("POST", "/webhooks/whatsapp")
                                .header("X-Hub-Signature-256", signature)
                                .body(case.body.clone())
                        };
                        let is_taken =
                            place % 2 == 0 && risky.attempt(signed(&risky)).is_some_and(|answer| answer.status == 200);
                        if !is_taken {
                            safe.send(signed(&safe)).expect(200);
                        }
                    }
                });
            }
        });
        // The leases of the one that died, over.
        shops.service.database.run("UPDATE inbound_bodies SET due_at = now() WHERE state = 'new'");
        until("all is applied", applied);
    }
    assert!(doomed.into_inner().is_none(), "it was not killed");
    assert_same(&shops.fingerprint(), &calm.fingerprint(), "at once");
}
