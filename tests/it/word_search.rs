//! The search for words: whichever way rows are found, the pages are those of the list without a search, of which the test chooses.

use std::collections::HashMap;

use diesel::connection::SimpleConnection;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::sign_in::{admit, client, sign_in};
use crate::support::{Client, Service, for_cases};

/// Messages: some more than are read in the order of the list before the index of words is.
const MESSAGES: usize = 24_000;
/// Pages of a list that are compared.
const PAGES: usize = 5;

type Fits = fn(&[&str]) -> bool;

/// A search, a filter, the limit, and whether the order is rising, an agent asks, and rows are joined.
type Case = (usize, usize, usize, bool, bool, bool);

/// What is searched for, and the texts that have it.
const SEARCHES: [(&str, Fits); 14] = [
    ("all ", |words| words.contains(&"all")),
    ("half ", |words| words.contains(&"half")),
    ("tenth ", |words| words.contains(&"tenth")),
    ("hundredth ", |words| words.contains(&"hundredth")),
    ("rare ", |words| words.contains(&"rare")),
    ("former ", |words| words.contains(&"former")),
    ("latest", |words| words.contains(&"latest")),
    ("hun", |words| words.contains(&"hundredth")),
    ("tenth half ", |words| words.contains(&"tenth") && words.contains(&"half")),
    ("half -tenth", |words| words.contains(&"half") && !words.contains(&"tenth")),
    ("rare or latest ", |words| words.contains(&"rare") || words.contains(&"latest")),
    // At the ends of the steps.
    ("border ", |words| words.contains(&"border")),
    ("verge ", |words| words.contains(&"verge")),
    ("none ", |_| false),
];

/// A service with messages in three conversations, of which the second is an agent's, and a client of the agent.
fn service() -> (Service, Client, [String; 3]) {
    let service = Service::start();
    let api = &service.client;
    admit(&service, "acme", "amina@example.com", "agent");
    let session = sign_in(&service, "amina@example.com").expect(201).json;
    let (agent, her) = (client(&service, &session), session["user"]["id"].clone());
    let visible = serde_json::json!({ "agent_visibility": "assigned" });
    api.patch(&format!("businesses/{}", service.business), visible).expect(200);
    let threads = [0, 1, 2].map(|place| {
        let assignee = if place == 1 { her.clone() } else { Value::Null };
        let address = format!("+4477009000{place:02}");
        let body = serde_json::json!({ "channel": "whatsapp", "address": address, "assignee_id": assignee });
        api.make("conversations", body)
    });
    // Three at a time, so that the order within an instant matters.
    let sql = format!(
        "SET session_replication_role = replica;
         INSERT INTO messages (business_id, id, conversation_id, direction, author, body, status, sent_at, deleted_at)
         SELECT '{}', md5('message' || i)::uuid, ('{{{}}}'::uuid[])[1 + CASE WHEN i % 9 < 6 THEN 0 WHEN i % 9 < 8 THEN 1 ELSE 2 END],
             CASE WHEN i % 5 = 0 THEN 'outbound' ELSE 'inbound' END, CASE WHEN i % 5 = 0 THEN 'user' ELSE 'contact' END,
             concat_ws(' ', 'all', CASE WHEN i % 2 = 0 THEN 'half' END, CASE WHEN i * 7 % 10 = 3 THEN 'tenth' END, CASE WHEN i * 37 % 100 = 5 THEN 'hundredth' END,
                 CASE WHEN i % 1000 = 11 THEN 'rare' END, CASE WHEN i < 3000 AND i % 3 = 0 THEN 'former' END, CASE WHEN i > {MESSAGES} - 40 THEN 'latest' END,
                 CASE WHEN abs({MESSAGES} - 2000 - i) < 9 OR abs({MESSAGES} - 22000 - i) < 9 THEN 'border' END,
                 CASE WHEN abs({MESSAGES} - 2000 - i) < 2 OR i < 20000 AND i % 2000 = 7 THEN 'verge' END),
             CASE WHEN i % 5 = 0 THEN 'failed' ELSE 'received' END, timestamptz '2026-11-01Z' + i / 3 * interval '1 minute', CASE WHEN i % 50 = 0 THEN now() END
         FROM generate_series(1, {MESSAGES}) i;
         RESET session_replication_role;
         ANALYZE messages",
        service.business,
        threads.join(",")
    );
    service.database.connect().batch_execute(&sql).unwrap_or_else(|error| panic!("{error}"));
    (service, agent, threads)
}

/// Random searches, filters, orders and limits: each page is that of a plain filter over all rows, and so is the count.
#[test]
fn searched_lists_equal_filtered_ones() {
    let (service, agent, threads) = service();
    let filters = [
        String::new(),
        format!("&conversation_id={}", threads[0]),
        format!("&conversation_id={}&direction=outbound", threads[1]),
        format!("&conversation_id={},{}", threads[1], threads[2]),
        "&status=failed".to_owned(),
        "&sent_after=2026-11-03T12:00:00Z".to_owned(),
        "&sent_before=2026-11-05T00:00:30Z&direction=inbound".to_owned(),
        "&deleted=true".to_owned(),
    ];
    let mut unsearched: HashMap<(bool, usize), Vec<Value>> = HashMap::new();
    let cases = (
        0..SEARCHES.len(),
        0..filters.len(),
        prop_oneof![Just(1_usize), Just(7), Just(50), Just(500)],
        any::<bool>(),
        prop::bool::weighted(0.25),
        any::<bool>(),
    );
    let mut compare = |(search, filter, limit, is_rising, is_agent, includes): Case| {
        let client = if is_agent { &agent } else { &service.client };
        let (text, fits) = SEARCHES[search];
        let text = text.replace(' ', "%20");
        let all = unsearched.entry((is_agent, filter)).or_insert_with(|| {
            client.all(&format!("messages?sort=-sent_at&limit=500&fields=id,body{}", filters[filter]))
        });
        let is_found = |row: &&Value| {
            let words: Vec<&str> = row["body"].as_str().expect("a body").split(' ').collect();
            fits(&words)
        };
        let mut expected: Vec<&str> = all.iter().filter(is_found).filter_map(|row| row["id"].as_str()).collect();
        if is_rising {
            expected.reverse();
        }
        let sort = if is_rising { "sent_at" } else { "-sent_at" };
        let include = if includes { "&include=conversation" } else { "" };
        let path = format!("messages?q={text}&sort={sort}&limit={limit}&fields=id{}{include}", filters[filter]);
        let mut cursor = String::new();
        for page in 0..PAGES {
            let count = if page == 0 { "&count=true" } else { "" };
            let found = client.get(&format!("{path}{cursor}{count}")).expect(200);
            let ids: Vec<&str> = found.rows().iter().filter_map(|row| row["id"].as_str()).collect();
            let from = (page * limit).min(expected.len());
            let to = (from + limit).min(expected.len());
            assert_eq!(ids, expected[from..to], "page {page}");
            if page == 0 {
                let total = (found.json["page"]["total"].as_u64(), found.json["page"]["at_least"].as_bool());
                let is_more = expected.len() > 10_000;
                assert_eq!(total, (Some(expected.len().min(10_000) as u64), is_more.then_some(true)));
            }
            match found.json["page"]["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => {
                    assert_eq!(to, expected.len());
                    break;
                }
            }
        }
    };
    // Words at the ends of the steps, in both orders.
    let at_ends = (12..14).flat_map(|search| [7, 50].map(|limit| (search, limit)));
    for (search, limit) in at_ends {
        compare((search, 0, limit, false, false, false));
        compare((search, 0, limit, true, false, false));
    }
    for_cases(90, cases, compare);
}

/// An export has all pages.
#[test]
fn searched_export_has_all_rows() {
    let (service, _, _) = service();
    for (text, fits) in [SEARCHES[3], SEARCHES[5]] {
        let export = service.client.get(&format!("messages/export?format=ndjson&q={text}&sort=-sent_at")).expect(200);
        let rows: Vec<Value> = export.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert!(rows.iter().all(|row| fits(&row["body"].as_str().expect("a body").split(' ').collect::<Vec<_>>())));
        let total = service.client.get(&format!("messages?q={text}&count=exact&limit=1")).expect(200);
        assert_eq!(Some(rows.len() as u64), total.json["page"]["total"].as_u64());
        let times: Vec<&str> = rows.iter().filter_map(|row| row["sent_at"].as_str()).collect();
        assert!(times.is_sorted_by(|a, b| a >= b));
    }
}

#[test]
fn search_with_highlight_shows_the_passage_part_by_part() {
    let service = Service::start();
    let api = &service.client;
    let thread = api.make("conversations", json!({ "channel": "web", "address": "visitor-1" }));
    let say =
        |body: &str| api.create("messages", json!({ "conversation_id": thread, "direction": "inbound", "body": body }));
    say("Is the <b>roof</b> \"dry\"? Roof tiles");
    let long = format!("{}the roof leaks {}", "before ".repeat(200), "after ".repeat(200));
    say(&long);
    say("No word of it.");
    let path = "messages?q=roof&highlight=true&sort=sent_at&fields=id,body";
    let found = api.get(path).expect(200);
    assert_eq!(found.queries(), 1);
    let parts = |row: &Value| -> Vec<(String, bool)> {
        let parts = row["highlight"].as_array().expect("parts").iter();
        parts.map(|part| (part["text"].as_str().expect("text").to_owned(), part["match"] == true)).collect()
    };
    let matching = |row: &Value| parts(row).into_iter().filter(|part| part.1).map(|part| part.0).collect::<Vec<_>>();
    assert_eq!(matching(&found.rows()[0]), ["roof", "Roof"]);
    let whole: String = parts(&found.rows()[0]).into_iter().map(|part| part.0).collect();
    assert_eq!(whole, "Is the <b>roof</b> \"dry\"? Roof tiles", "plain text, nothing of it lost");
    let cut: String = parts(&found.rows()[1]).into_iter().map(|part| part.0).collect();
    assert!(cut.contains("before the roof leaks after") && cut.len() < 500, "{cut}");
    // Also with relations, page by page, and as the same row without.
    let paged = api.get("messages?q=roof&highlight=true&include=conversation&limit=1").expect(200);
    assert_eq!(matching(&paged.rows()[0]), ["roof"]);
    let next = paged.json["page"]["next"].as_str().expect("a page").to_owned();
    let last = api.get(&format!("messages?q=roof&highlight=true&limit=1&cursor={next}")).expect(200);
    assert_eq!(matching(&last.rows()[0]), ["roof", "Roof"]);
    assert_eq!(api.get("messages?q=roof").expect(200).rows()[0]["highlight"], Value::Null);
    // An answer from the cache is the one that was asked for.
    for _ in 0..2 {
        assert_eq!(api.get(path).expect(200).text, found.text);
        assert!(!api.get(&path.replace("true", "false")).expect(200).text.contains("highlight"));
    }
    for wrong in ["messages?highlight=true", "messages?q=roof&highlight=yes", "contacts?q=anna&highlight=true"] {
        assert_eq!(api.get(wrong).expect(400).faults(), ["/query/highlight"]);
    }
    api.get("messages/export?q=roof&highlight=true").expect(400);
}
