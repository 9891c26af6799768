//! The funnel, dashboards, and response times within opening hours, through HTTP.

use serde_json::{Value, json};

use crate::sign_in::{admit, sign_in};
use crate::statistics::stats;
use crate::support::{Client, Service, until};

const NOVEMBER: &str = "from=2026-11-01&to=2026-11-30";

fn lead(api: &Client, status: &str, more: Value) -> String {
    let mut body = json!({ "title": "Roof", "status": status, "entered_at": "2026-11-05T08:00:00Z" });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    api.make("leads", body)
}

/// Stage, reached, current, lost.
fn stages(funnel: &Value) -> Vec<(String, i64, i64, i64)> {
    let number = |row: &Value, name: &str| row[name].as_i64().expect("a number");
    let row = |row: &Value| {
        let stage = row["stage"].as_str().expect("a stage").to_owned();
        (stage, number(row, "reached"), number(row, "current"), number(row, "lost"))
    };
    funnel.as_array().expect("stages").iter().map(row).collect()
}

/// A lead counts where it ever was: also once it is lost, or set back, however it was written.
#[test]
fn funnel_knows_how_far_leads_ever_came() {
    let service = Service::start();
    let api = &service.client;
    let (business, database) = (service.business, &service.database);
    lead(api, "new", json!({ "source": "web" }));
    let lost = lead(api, "new", json!({ "source": "web", "first_touch_at": "2026-11-05T08:10:00Z" }));
    for status in ["contacted", "proposal", "lost"] {
        api.patch(&format!("leads/{lost}"), json!({ "status": status })).expect(200);
    }
    let shown = api.get(&format!("leads/{lost}")).expect(200).json;
    assert_eq!((&shown["status"], &shown["furthest_stage"]), (&json!("lost"), &json!("proposal")));
    let back = lead(api, "qualified", json!({ "source": "fair" }));
    api.patch(&format!("leads/{back}"), json!({ "status": "contacted" })).expect(200);
    lead(api, "won", json!({ "source": "fair", "first_touch_at": "2026-11-05T08:30:00Z" }));
    lead(api, "lost", json!({}));
    lead(api, "won", json!({ "entered_at": "2026-10-05T08:00:00Z" }));
    // It is the database that keeps it, and clients cannot set it.
    let insert = |stage: &str| {
        format!(
            "INSERT INTO leads (business_id, title, entered_at, furthest_stage) VALUES ('{business}', 'psql', '2026-11-06T08:00:00Z', '{stage}')"
        )
    };
    assert!(database.fails(&insert("won")).contains("leads_furthest_stage_check"));
    database.run(&insert("new"));
    database.run("UPDATE leads SET status = 'qualified', furthest_stage = 'new' WHERE title = 'psql'");
    api.post("leads", json!({ "title": "x", "furthest_stage": "proposal" })).expect(422);
    let funnel = stats(api, &format!("leads/funnel?{NOVEMBER}&compare=previous"));
    let stage = |name: &str, reached, current, lost| (name.to_owned(), reached, current, lost);
    let expected = [
        stage("new", 6, 1, 1),
        stage("contacted", 4, 1, 0),
        stage("qualified", 4, 1, 0),
        stage("proposal", 2, 0, 1),
        stage("won", 1, 1, 0),
    ];
    assert_eq!(stages(&funnel["data"]), expected, "{funnel}");
    assert_eq!(funnel["data"][1]["conversion"], json!(0.6667));
    assert_eq!(funnel["data"][4]["from_previous"], json!(0.5));
    assert_eq!((&funnel["first_touch"]["count"], &funnel["first_touch"]["mean_seconds"]), (&json!(2), &json!(1200.0)));
    assert_eq!(funnel["previous"]["data"][4]["reached"], json!(1));
    // Divided by source: the parts add up, those without one are null.
    let by_source = stats(api, &format!("leads/funnel?{NOVEMBER}&group_by=source"));
    let reached = |group: Value| {
        let rows = by_source["data"].as_array().expect("stages").iter();
        rows.filter(|row| row["group"] == group)
            .map(|row| row["reached"].as_i64().expect("a number"))
            .collect::<Vec<_>>()
    };
    assert_eq!(reached(json!("web")), [2, 1, 1, 1, 0]);
    assert_eq!(reached(json!("fair")), [2, 2, 2, 1, 1]);
    assert_eq!(reached(Value::Null), [2, 1, 1, 0, 0]);
    assert_eq!(by_source["first_touch"]["count"], json!(2));
    let csv = api.get(&format!("stats/leads/funnel?{NOVEMBER}&format=csv")).expect(200).text;
    assert!(csv.starts_with("stage,reached,current,lost,conversion,from_previous\r\nnew,6,1,1,1.0,\r\n"), "{csv}");
    let nothing = "stats/leads/funnel?from=2020-01-01&to=2020-01-31&group_by=source&format=csv";
    assert_eq!(api.get(nothing).expect(200).text, "stage,group,reached,current,lost,conversion,from_previous\r\n");
    api.get("stats/leads/funnel?interval=day").expect(400);
    let differences = database.ask("SELECT count(*)::text FROM stat_differences");
    assert_eq!(differences, "0");
}

/// The view for reports says the same as the rows.
#[test]
fn lead_facts_say_how_long_things_took() {
    let service = Service::start();
    let lead = lead(
        &service.client,
        "won",
        json!({ "first_touch_at": "2026-11-05T08:10:00Z", "closed_at": "2026-11-06T08:00:00Z" }),
    );
    let facts = service.database.ask(&format!(
        "SELECT concat_ws(' ', closed_won_at AT TIME ZONE 'UTC', closed_lost_at, first_touch_seconds::int, closing_seconds::int) FROM lead_facts WHERE lead_id = '{lead}'"
    ));
    assert_eq!(facts, "2026-11-06 08:00:00 600 86400");
    service.client.delete(&format!("leads/{lead}")).expect(204);
    assert_eq!(service.database.ask("SELECT count(*)::text FROM lead_facts"), "0");
}

/// Nights, weekends and lunch do not count as waiting, by the opening hours of now; in the zone of the business.
#[test]
fn response_times_within_opening_hours() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let path = format!("businesses/{}", service.business);
    let thread = api.make("conversations", json!({ "channel": "web", "address": "x" }));
    let message = |author: &str, sent_at: &str| {
        let direction = if author == "contact" { "inbound" } else { "outbound" };
        api.make("messages", json!({ "conversation_id": thread, "author": author, "direction": direction, "body": "hello", "sent_at": sent_at }));
    };
    let times = || {
        let total = stats(api, &format!("response-times?{NOVEMBER}&hours=business"))["total"].clone();
        (total["count"].clone(), total["mean_seconds"].clone())
    };
    let refused = api.get("stats/response-times?hours=business").expect(400).json;
    assert_eq!(refused["errors"][0]["pointer"], json!("/query/hours"), "{refused}");
    let wrong = api.patch(&path, json!({ "opening_hours": "9 to 5" })).expect(422).json;
    assert_eq!(wrong["errors"][0]["pointer"], json!("/opening_hours"), "{wrong}");
    api.patch(&path, json!({ "opening_hours": "Mo-Fr 09:00-12:00,13:00-17:00" })).expect(200);
    assert_eq!(times(), (json!(0), Value::Null));
    // Friday 16:30 in Berlin to Monday 09:15: half an hour and a quarter.
    message("contact", "2026-11-06T15:30:00Z");
    message("user", "2026-11-09T08:15:00Z");
    assert_eq!(times(), (json!(1), json!(2700.0)));
    assert_eq!(stats(api, &format!("response-times?{NOVEMBER}"))["total"]["mean_seconds"], json!(233_100.0));
    // Over lunch: half an hour and half an hour. Folded or not.
    message("contact", "2026-11-10T10:30:00Z");
    message("user", "2026-11-10T12:30:00Z");
    assert_eq!(times(), (json!(2), json!(3150.0)));
    until("it is folded", || service.database.ask("SELECT count(*)::text FROM stat_deltas") == "0");
    assert_eq!(times(), (json!(2), json!(3150.0)));
    // Other hours are those of earlier answers, too, and a cached response knows.
    api.patch(&path, json!({ "opening_hours": "24/7" })).expect(200);
    assert_eq!(times().1, stats(api, &format!("response-times?{NOVEMBER}"))["total"]["mean_seconds"]);
    api.get("stats/overview?hours=business").expect(400);
}

#[test]
fn dashboards_answer_a_screen_in_one_request() {
    let service = Service::start();
    let api = &service.client;
    let campaign = api.make("campaigns", json!({ "name": "Spring" }));
    for (status, source) in [("new", "web"), ("proposal", "web"), ("contacted", "web"), ("won", "fair")] {
        lead(api, status, json!({ "source": source, "campaign_id": campaign, "value_minor": 500, "currency": "EUR" }));
    }
    lead(api, "new", json!({ "first_touch_at": "2026-11-05T09:00:00Z", "entered_at": "2026-10-20T08:00:00Z" }));
    let get = |screen: &str, query: &str| api.get(&format!("dashboards/{screen}?{query}")).expect(200).json;
    let sales = get("sales", NOVEMBER);
    assert_eq!((&sales["leads"]["entered"], &sales["previous"]["entered"]), (&json!(4), &json!(1)), "{sales}");
    assert_eq!(sales["data"].as_array().map(Vec::len), Some(30));
    assert_eq!((&sales["data"][4]["entered"], &sales["interval"]), (&json!(4), &json!("day")));
    assert_eq!((&sales["funnel"][3]["reached"], &sales["funnel"][4]["reached"]), (&json!(2), &json!(1)));
    assert_eq!((&sales["campaigns"][0]["name"], &sales["campaigns"][0]["entered"]), (&json!("Spring"), &json!(4)));
    assert_eq!((&sales["sources"][0]["group"], &sales["sources"][0]["entered"]), (&json!("web"), &json!(3)));
    // The one that is answered does not wait.
    assert_eq!((&sales["waiting_count"], sales["waiting"].as_array().map(Vec::len)), (&json!(1), Some(1)));
    assert_eq!(sales["won"][0]["value_minor"], json!(500));
    assert_eq!(get("sales", "period=this_year")["interval"], json!("month"));

    let thread = api.make("conversations", json!({ "channel": "web", "address": "x" }));
    let question = json!({ "conversation_id": thread, "author": "contact", "direction": "inbound", "body": "hello" });
    api.make("messages", question.clone());
    let inbox = get("inbox", "period=today");
    assert_eq!(
        (&inbox["open"]["active"], &inbox["open"]["unassigned"], &inbox["open"]["unread"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!((&inbox["waiting"][0]["id"], &inbox["waiting"][0]["unread_count"]), (&json!(thread), &json!(1)));
    // Cached until what it shows changes.
    assert!(api.get("dashboards/inbox?period=today").header("cache-status").contains("hit"));
    api.make("messages", question);
    assert_eq!(get("inbox", "period=today")["waiting"][0]["unread_count"], json!(2));

    let service_id = api.make("services", json!({ "name": "Cut", "duration_minutes": 30 }));
    let now = chrono::Utc::now();
    let booking = |code: &str, status: &str, hours: i64| {
        let starts_at = now + chrono::TimeDelta::hours(hours);
        api.make("bookings", json!({ "customer_name": code, "status": status, "service_id": service_id, "starts_at": starts_at.to_rfc3339(),
            "ends_at": (starts_at + chrono::TimeDelta::minutes(30)).to_rfc3339(), "price_minor": 900, "currency": "EUR" }))
    };
    let today = booking("Ola", "pending", 0);
    booking("Ana", "confirmed", 72);
    let calendar = get("bookings", "period=today");
    assert_eq!((&calendar["bookings"]["total"], &calendar["to_confirm"]), (&json!(1), &json!(1)), "{calendar}");
    assert_eq!(
        calendar["bookings_today"]
            .as_array()
            .expect("bookings")
            .iter()
            .map(|row| row["id"].clone())
            .collect::<Vec<_>>(),
        [json!(today)]
    );
    assert_eq!(calendar["services"][0]["name"], json!("Cut"));
    // A new name of what is ranked is shown at once.
    api.patch(&format!("services/{service_id}"), json!({ "name": "Trim" })).expect(200);
    assert_eq!(get("bookings", "period=today")["services"][0]["name"], json!("Trim"));

    api.get("dashboards/sales?group_by=source").expect(400);
    api.patch(&format!("businesses/{}", service.business), json!({ "agent_visibility": "assigned" })).expect(200);
    admit(&service, "acme", "amina@example.com", "agent");
    let session = sign_in(&service, "amina@example.com").expect(201).json;
    crate::sign_in::client(&service, &session).get("dashboards/sales").expect(403);
    let (_, neighbour) = service.neighbour();
    assert_eq!(neighbour.get(&format!("dashboards/sales?{NOVEMBER}")).expect(200).json["leads"]["entered"], json!(0));
}

/// What has names of members, campaigns and the like needs the permissions to read those.
#[test]
fn dashboards_need_permission_for_every_name_they_show() {
    let service = Service::start();
    let api = &service.client;
    let key = |permissions: &[&str]| {
        let body = json!({ "name": "Narrow", "role": "viewer", "permissions": permissions });
        Client::new(service.address, api.create("api-keys", body)["key"].as_str().expect("a key"))
    };
    let narrow = key(&["crm:read"]);
    narrow.get("stats/overview").expect(200);
    for path in
        ["dashboards/sales", "dashboards/inbox", "dashboards/bookings", "agent-metrics", "agent-metrics?snapshot=true"]
    {
        assert_ne!(api.get(path).status, 403, "{path}");
        assert_eq!(narrow.get(path).expect(403).code(), "forbidden", "{path}");
    }
    key(&["crm:read", "people:read"]).get("dashboards/inbox").expect(200);
    key(&["crm:read", "business:read"]).get("dashboards/bookings").expect(200);
}

/// A lead that entered and was won is one lead of its campaign.
#[test]
fn ranking_is_by_leads_that_entered() {
    let service = Service::start();
    let api = &service.client;
    let enter = |source: &str, status: &str, entered: &str| {
        let lead = json!({ "title": "Bicycle", "source": source, "status": status, "entered_at": entered });
        api.make("leads", lead);
    };
    let now = chrono::Utc::now().to_rfc3339();
    for (source, won) in [("a", 2), ("b", 2), ("c", 2), ("d", 2), ("e", 2)] {
        enter(source, "new", &now);
        (0..won).for_each(|_| enter(source, "won", "2020-01-01T00:00:00Z"));
    }
    (0..2).for_each(|_| enter("f", "new", &now));
    let sales = api.get("dashboards/sales?period=today").expect(200).json;
    let sources: Vec<&str> =
        sales["sources"].as_array().expect("a list").iter().filter_map(|row| row["group"].as_str()).collect();
    assert_eq!(sources, ["f", "a", "b", "c", "d"]);
}
