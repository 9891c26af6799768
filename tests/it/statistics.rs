//! The endpoints of statistics, through HTTP.

use rapport::auth::Role;
use serde_json::{Value, json};

use crate::sign_in::{admit, sign_in};
use crate::support::{Client, Service, until};

/// A booking of the business, whose staff is free.
fn booking(api: &Client, starts_at: &str, status: &str, more: Value) -> String {
    let ends_at: chrono::DateTime<chrono::Utc> = starts_at.parse().expect("an instant");
    let ends_at = (ends_at + chrono::TimeDelta::minutes(30)).to_rfc3339();
    let mut body = json!({ "customer_name": "Ola", "starts_at": starts_at, "ends_at": ends_at, "status": status });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    api.make("bookings", body)
}

pub fn stats(api: &Client, path: &str) -> Value {
    api.get(&format!("stats/{path}")).expect(200).json
}

/// Every figure of the overview, of rows on both sides of the midnights that bound the period.
#[test]
fn overview_counts_the_days_of_the_business() {
    let service = Service::start();
    let api = &service.client;
    let price = |amount: i64, currency: &str| json!({ "price_minor": amount, "currency": currency });
    // Berlin is an hour ahead: November begins at 23:00 UTC.
    booking(api, "2026-10-31T22:59:00Z", "confirmed", json!({}));
    booking(api, "2026-10-31T23:00:00Z", "confirmed", json!({}));
    booking(api, "2026-11-10T10:00:00Z", "completed", price(5_000, "EUR"));
    booking(api, "2026-11-11T10:00:00Z", "completed", price(3_000, "EUR"));
    booking(api, "2026-11-12T10:00:00Z", "completed", price(700, "USD"));
    booking(api, "2026-11-13T10:00:00Z", "no_show", price(9_900, "EUR"));
    booking(api, "2026-11-30T22:59:00Z", "cancelled", json!({}));
    booking(api, "2026-11-30T23:00:00Z", "confirmed", json!({}));
    let gone = booking(api, "2026-11-20T10:00:00Z", "confirmed", json!({}));
    api.delete(&format!("bookings/{gone}")).expect(204);
    let thread = api.make("conversations", json!({ "channel": "whatsapp", "address": "+4930111" }));
    service.database.run("UPDATE conversations SET started_at = '2026-11-05T08:00:00Z'");
    let message = |author: &str, sent_at: &str, more: Value| {
        let mut body = json!({ "conversation_id": thread, "author": author, "body": "hello", "sent_at": sent_at,
            "direction": if author == "contact" { "inbound" } else { "outbound" } });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        api.make("messages", body)
    };
    message("contact", "2026-11-05T08:00:00Z", json!({}));
    message(
        "ai",
        "2026-11-05T08:00:10Z",
        json!({ "model": "gpt-5-mini", "input_tokens": 800, "output_tokens": 60, "ai_cost": "0.000310" }),
    );
    message("system", "2026-11-05T09:00:00Z", json!({ "cost": "0.0125", "cost_currency": "EUR" }));
    message("system", "2026-11-05T09:30:00Z", json!({ "cost": "0.02", "cost_currency": "USD" }));
    message("contact", "2026-12-01T08:00:00Z", json!({}));
    api.make("leads", json!({ "title": "Roof", "entered_at": "2026-11-03T08:00:00Z" }));
    api.make(
        "leads",
        json!({ "title": "Wall", "status": "won", "value_minor": 120_000, "currency": "EUR",
        "entered_at": "2026-10-03T08:00:00Z", "closed_at": "2026-11-03T08:00:00Z" }),
    );

    let answer = api.get("stats/overview?from=2026-11-01&to=2026-11-30").expect(200);
    assert_eq!(answer.queries(), 1);
    let mut overview = answer.json;
    let as_of = overview.as_object_mut().expect("an object").shift_remove("as_of").expect("a time");
    assert!(as_of.as_str().is_some_and(|time| time.ends_with('Z') && time.len() == 24), "{as_of}");
    let expected = json!({
        "from": "2026-11-01",
        "to": "2026-11-30",
        "time_zone": "Europe/Berlin",
        "bookings": { "total": 6, "held": 0, "pending": 0, "confirmed": 1, "completed": 3, "cancelled": 1, "no_show": 1,
            "no_show_rate": 0.25 },
        "messages": { "inbound": 1, "outbound": 3, "total": 4, "failed": 0 },
        "conversations": { "started": 1, "active": 1, "pending": 0, "closed": 0 },
        "leads": { "entered": 1, "new": 1, "contacted": 0, "qualified": 0, "proposal": 0, "won": 0, "lost": 0, "closed_won": 1,
            "closed_lost": 0, "win_rate": 1.0, "won_value": [{ "currency": "EUR", "amount": 120_000 }] },
        "cost": [{ "currency": "EUR", "amount": "0.0125" }, { "currency": "USD", "amount": "0.02" }],
        "revenue": [{ "currency": "EUR", "amount": 8_000 }, { "currency": "USD", "amount": 700 }],
        "ai": { "messages": 1, "input_tokens": 800, "output_tokens": 60, "cost": "0.00031" },
        "no_show_rate": 0.25,
        "first_response": { "count": 0, "mean_seconds": null, "p50_seconds": null, "p90_seconds": null },
    });
    assert_eq!(overview, expected);
    // The days of another zone; and those of no rows.
    let bookings = |query: &str| stats(api, &format!("overview?{query}"))["bookings"]["total"].clone();
    assert_eq!(bookings("from=2026-11-01&to=2026-11-30&time_zone=UTC"), json!(6));
    assert_eq!(bookings("from=2026-10-31&to=2026-10-31&time_zone=UTC"), json!(2));
    assert_eq!(bookings("from=2026-11-01&to=2026-11-01&time_zone=Pacific/Kiritimati"), json!(2));
    assert_eq!(bookings("from=2030-01-01&to=2030-01-31"), json!(0));
    let compared = stats(api, "overview?from=2026-11-11&to=2026-11-11&compare=previous");
    assert_eq!(compared["revenue"][0]["amount"], json!(3_000));
    assert_eq!(
        (&compared["previous"]["from"], &compared["previous"]["to"]),
        (&json!("2026-11-10"), &json!("2026-11-10"))
    );
    assert_eq!(compared["previous"]["revenue"][0]["amount"], json!(5_000));
}

/// A statistic has each day, week or month once, also where nothing is, and clocks that are set make no difference.
#[test]
fn series_have_every_bucket_once() {
    let service = Service::start();
    let api = &service.client;
    api.patch(&format!("businesses/{}", service.business), json!({ "time_zone": "America/Havana" })).expect(200);
    // In Havana the hour after midnight comes twice on 1 November 2026 in older data; by today's rules it does not.
    for at in [
        "2026-10-31T03:59:00Z",
        "2026-10-31T04:00:00Z",
        "2026-11-01T03:59:00Z",
        "2026-11-02T04:59:00Z",
        "2026-11-02T05:00:00Z",
    ] {
        booking(api, at, "confirmed", json!({}));
    }
    let totals = |query: &str| -> Vec<(String, i64)> {
        let series = stats(api, &format!("bookings?{query}"));
        let data = series["data"].as_array().expect("buckets").clone();
        data.iter()
            .map(|row| (row["bucket"].as_str().expect("a date").to_owned(), row["total"].as_i64().expect("a number")))
            .collect()
    };
    let days = totals("from=2026-10-29&to=2026-11-03");
    let dates: Vec<&str> = days.iter().map(|(date, _)| date.as_str()).collect();
    assert_eq!(dates, ["2026-10-29", "2026-10-30", "2026-10-31", "2026-11-01", "2026-11-02", "2026-11-03"]);
    assert_eq!(days.iter().map(|(_, total)| total).sum::<i64>(), 5);
    assert_eq!(days[1].1, 1, "{days:?}");
    let months = totals("from=2026-10-15&to=2026-12-15&interval=month");
    assert_eq!(months, [("2026-10-01".into(), 3), ("2026-11-01".into(), 2), ("2026-12-01".into(), 0)]);
    let weeks = totals("from=2026-10-28&to=2026-11-08&interval=week");
    assert_eq!(weeks, [("2026-10-26".into(), 3), ("2026-11-02".into(), 2)]);
    let series = stats(api, "bookings?from=2026-11-01&to=2026-11-02&compare=previous");
    assert_eq!(series["previous"]["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(series["previous"]["total"]["total"], json!(3));
    assert_eq!(series["total"]["total"], json!(2));
}

/// Groups add up to the whole, with rows that have none; and messages are credited to who wrote them.
#[test]
fn groups_add_up_to_the_total() {
    let service = Service::start();
    let api = &service.client;
    let campaign = api.make("campaigns", json!({ "name": "Spring", "channel": "email" }));
    let lead = |source: Option<&str>, campaign: Option<&str>, status: &str| {
        api.make(
            "leads",
            json!({ "title": "Roof", "source": source, "campaign_id": campaign, "status": status,
            "entered_at": "2026-11-03T08:00:00Z", "value_minor": 500, "currency": "EUR",
            "closed_at": if status == "won" { json!("2026-11-04T08:00:00Z") } else { Value::Null } }),
        )
    };
    lead(Some("trade/fair"), Some(&campaign), "won");
    lead(Some("trade/fair"), None, "new");
    lead(Some("web"), Some(&campaign), "new");
    lead(None, None, "new");
    let groups = |path: &str| -> Vec<(Value, Value, Value)> {
        let series = stats(api, path);
        let data = series["data"].as_array().expect("buckets").clone();
        data.into_iter().map(|row| (row["group"].clone(), row["entered"].clone(), row["closed_won"].clone())).collect()
    };
    let month = "from=2026-11-01&to=2026-11-30&interval=month";
    let row = |group: Value, entered: i64, won: i64| (group, json!(entered), json!(won));
    let expected = vec![row(json!("trade/fair"), 2, 1), row(Value::Null, 1, 0), row(json!("web"), 1, 0)];
    assert_eq!(groups(&format!("leads?{month}&group_by=source")), expected);
    let campaigns = vec![row(json!(campaign), 2, 1)];
    assert_eq!(groups(&format!("campaigns?{month}")), campaigns);
    let by_campaign = groups(&format!("leads?{month}&group_by=campaign"));
    assert_eq!(by_campaign, vec![row(json!(campaign), 2, 1), row(Value::Null, 2, 0)]);
    let one = api.get(&format!("campaigns/{campaign}/statistics?{month}")).expect(200).json;
    assert_eq!((&one["total"]["entered"], &one["total"]["won_value"][0]["amount"]), (&json!(2), &json!(500)));
    let other = api.make("campaigns", json!({ "name": "Autumn", "channel": "email" }));
    let none = api.get(&format!("campaigns/{other}/statistics?{month}")).expect(200).json;
    assert_eq!(
        (&none["total"]["entered"], &none["data"][0]["entered"], &none["group_by"]),
        (&json!(0), &json!(0), &Value::Null)
    );
    api.get("campaigns/01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71/statistics").expect(404);
    let statuses = stats(api, &format!("leads?{month}&group_by=status"));
    assert_eq!(statuses["total"]["entered"], json!(4));
}

/// An answer comes from the cache until a row changes that it counts, and is equal to one that is computed anew.
#[test]
fn cached_until_what_it_counts_changes() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let path = "stats/overview?from=2026-11-01&to=2026-11-30";
    let status = || api.get(path).expect(200).header("cache-status").to_owned();
    let total = || api.get(path).expect(200).json["bookings"]["total"].clone();
    // The sequencer's first pass over a copied database gives all changes another transaction: they outdate what they concern once more.
    until("the sequencer has begun", || service.database.ask("SELECT count(*)::text FROM audit_log") != "0");
    assert!(status().contains("fwd=miss"));
    assert!(status().contains("hit"));
    let id = booking(api, "2026-11-10T10:00:00Z", "confirmed", json!({}));
    assert_eq!(total(), json!(1));
    // Folding changes no answer.
    until("it is folded", || service.database.ask("SELECT count(*)::text FROM stat_deltas") == "0");
    until("it is in a day", || service.database.ask("SELECT count(*)::text FROM stat_days") != "0");
    assert!(status().contains("hit"));
    api.make("companies", json!({ "name": "Brekke" }));
    assert!(status().contains("hit"));
    let known = api.get(path).expect(200).header("etag").to_owned();
    assert!(known.starts_with("W/"), "{known}");
    api.send(api.request("GET", path).header("If-None-Match", &known)).expect(304);
    let fresh = api.send(api.request("GET", path).header("Cache-Control", "no-store")).expect(200);
    assert_eq!(fresh.header("etag"), known);
    service.database.run(&format!("UPDATE bookings SET starts_at = starts_at + interval '1 month', ends_at = ends_at + interval '1 month' WHERE id = '{id}'"));
    assert_eq!(total(), json!(0));
    // Another zone of the business is another answer at once.
    service.database.run(&format!(
        "UPDATE bookings SET starts_at = '2026-10-31T20:00:00Z', ends_at = '2026-10-31T21:00:00Z' WHERE id = '{id}'"
    ));
    assert_eq!(total(), json!(0));
    api.patch(&format!("businesses/{}", service.business), json!({ "time_zone": "Asia/Tokyo" })).expect(200);
    assert_eq!(total(), json!(1));
    until("its days are of Tokyo", || {
        service.database.ask("SELECT count(*)::text FROM stat_zones WHERE zone = 'Asia/Tokyo'") == "1"
    });
    assert_eq!(total(), json!(1));
    assert_eq!(service.database.ask("SELECT max(day)::text FROM stat_days WHERE n <> 0"), "2026-11-01");
}

#[test]
fn answers_need_permission_and_valid_parameters() {
    let service = Service::start();
    let api = &service.client;
    for (query, codes) in [
        ("from=2026-11-01T00:00:00%2B02:00&to=2026-11-30", vec!["/query/from"]),
        ("period=last_month&from=2026-11-01", vec!["/query/period"]),
        ("time_zone=Europe/Berln&interval=day", vec!["/query/interval", "/query/time_zone"]),
    ] {
        let answer = api.get(&format!("stats/overview?{query}")).expect(400);
        assert_eq!(answer.faults(), codes, "{}", answer.text);
    }
    assert!(api.get("stats/overview?time_zone=Europe/Berln").text.contains("Did you mean `Europe/Berlin`?"));
    service.client_as(Role::Viewer).get("stats/overview").expect(200);
    let (_, neighbour) = service.neighbour();
    booking(api, "2026-11-10T10:00:00Z", "confirmed", json!({}));
    assert_eq!(stats(&neighbour, "overview?from=2026-11-01&to=2026-11-30")["bookings"]["total"], json!(0));
    // Who sees their own rows only learns nothing of the others.
    api.patch(&format!("businesses/{}", service.business), json!({ "agent_visibility": "assigned" })).expect(200);
    admit(&service, "acme", "amina@example.com", "agent");
    let session = sign_in(&service, "amina@example.com").expect(201).json;
    let agent = crate::sign_in::client(&service, &session);
    agent.get("stats/overview").expect(403);
    agent.get("stats/overview?format=csv").expect(403);
    let own = agent.get("agent-metrics").expect(200).json;
    assert_eq!(own["data"].as_array().map(Vec::len), Some(1));
}

/// What a trigger missed while it was gone is counted when it is repaired; and one business that cannot be folded keeps no other.
#[test]
fn repaired_trigger_counts_what_it_missed() {
    let service = Service::start();
    let api = &service.client;
    let differences = || service.database.ask("SELECT count(*)::text FROM stat_differences");
    api.make("leads", json!({ "title": "Roof", "entered_at": "2026-11-03T08:00:00Z" }));
    let business = service.business;
    service.database.run("DROP TRIGGER count_rows ON leads");
    service.database.run(&format!(
        "INSERT INTO leads (business_id, title, status, entered_at) VALUES ('{business}', 'Wall', 'new', '2026-11-04T08:00:00Z')"
    ));
    assert_eq!(differences(), "1");
    let (well, said) = crate::support::Program::run(&["migrate"], &[("DATABASE_URL", &service.database.url)]);
    assert!(well && said.contains("count_rows"), "{said}");
    assert_eq!(differences(), "0");
    assert_eq!(stats(api, "leads?from=2026-11-01&to=2026-11-30")["total"]["entered"], json!(2));
    // Without the repair of a trigger, the command finds it, and corrects it when it is asked to.
    service.database.run(&format!(
        "ALTER TABLE leads DISABLE TRIGGER count_rows; INSERT INTO leads (business_id, title, entered_at) VALUES ('{business}', 'Gate', '2026-11-04T08:00:00Z');
         ALTER TABLE leads ENABLE ALWAYS TRIGGER count_rows"
    ));
    let check = |more: &[&str]| {
        let arguments = [&["statistics", "check"], more].concat();
        crate::support::Program::run(&arguments, &[("DATABASE_URL", &service.database.url)])
    };
    let (well, said) = check(&["--business", "acme"]);
    assert!(
        !well && said.contains("acme leads new/new 2026-11-04T08:00:00+00:00: 1 too few") && said.contains("--repair"),
        "{said}"
    );
    assert!(check(&["--repair"]).1.contains("Sums corrected: 1."));
    let (well, said) = check(&[]);
    assert!(well && said.contains("equal to the recount"), "{said}");
    assert!(!check(&["--business", "nobody"]).0);
    // Turns, too; and cached answers learn of the correction.
    let thread = api.make("conversations", json!({ "channel": "web", "address": "x" }));
    let times = || stats(api, "response-times?from=2026-11-05&to=2026-11-05")["total"]["mean_seconds"].clone();
    for (author, direction, minute) in [("contact", "inbound", 0), ("user", "outbound", 5)] {
        let sent_at = format!("2026-11-05T08:0{minute}:00Z");
        api.make("messages", json!({ "conversation_id": thread, "author": author, "direction": direction, "body": "x", "sent_at": sent_at }));
    }
    service
        .database
        .run("SELECT rapport_correct_all_statistics(); DELETE FROM stat_deltas WHERE conversation_id IS NOT NULL");
    check(&["--repair"]);
    assert_eq!(times(), json!(300.0));
    service.database.run(
        "ALTER TABLE messages DISABLE TRIGGER count_rows; UPDATE messages SET sent_at = sent_at - interval '1 minute' WHERE author = 'contact';
         ALTER TABLE messages ENABLE ALWAYS TRIGGER count_rows",
    );
    assert!(!check(&[]).0);
    let (well, said) = check(&["--repair"]);
    assert!(well && said.contains("Sums corrected: ") && !said.contains("Sums corrected: 0."), "{said}");
    assert_eq!(times(), json!(360.0));
    service.database.run("DELETE FROM messages; DELETE FROM conversations");
    service.database.run("DELETE FROM leads WHERE title = 'Gate'");
    // Nothing is corrected twice, and not by an older snapshot.
    service.database.run("SELECT rapport_correct_all_statistics()");
    let older = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT rapport_correct_all_statistics()";
    assert!(service.database.fails(older).contains("read committed"));
    // TRUNCATE has no rows, and corrects itself; so does the deletion of a business, once it is folded.
    service.database.run("TRUNCATE messages, leads CASCADE");
    assert_eq!(differences(), "0");
    let (other, neighbour) = service.neighbour();
    neighbour.make("leads", json!({ "title": "Roof" }));
    api.make("leads", json!({ "title": "Floor" }));
    // A sum that cannot be written, as after a defect of the disk.
    let broken = format!("ALTER TABLE stat_quarters ADD CONSTRAINT broken CHECK (business_id <> '{other}')");
    service.database.run(&broken);
    let key = crate::support::make_key(&service.database, business, Role::Owner);
    let working = Service::on(service.database.clone(), business, &key, &["--background-tasks", "on"]);
    let left = |table: &str, business: uuid::Uuid| {
        service.database.ask(&format!("SELECT count(*)::text FROM {table} WHERE business_id = '{business}'"))
    };
    until("the others are folded", || left("stat_deltas", business) == "0");
    assert_ne!(left("stat_deltas", other), "0");
    // Days that were changed by hand.
    let spoiled = service.database.ask(&format!("WITH s AS (UPDATE stat_days SET n = n + 7 WHERE business_id = '{business}' RETURNING 1) SELECT count(*)::text FROM s"));
    assert_ne!(spoiled, "0");
    let (well, said) = check(&["--business", "acme"]);
    assert!(!well && said.contains("differ from their quarters"), "{said}");
    check(&["--business", "acme", "--repair"]);
    until("its days are made anew", || left("stat_zones", business) == "1");
    assert!(check(&["--business", "acme"]).0);
    service
        .database
        .run(&format!("ALTER TABLE stat_quarters DROP CONSTRAINT broken; DELETE FROM businesses WHERE id = '{other}'"));
    until("nothing is left of it", || {
        ["stat_deltas", "stat_quarters", "stat_days", "stat_zones"].iter().all(|table| left(table, other) == "0")
    });
    drop(working);
}

#[test]
fn csv_has_a_line_for_each_bucket() {
    let service = Service::start();
    let api = &service.client;
    booking(api, "2026-11-02T10:00:00Z", "completed", json!({ "price_minor": 500, "currency": "EUR" }));
    let answer = api.get("stats/revenue?from=2026-11-01&to=2026-11-03&format=csv").expect(200);
    assert_eq!(answer.text, "bucket,bookings,revenue.EUR\r\n2026-11-01,0,\r\n2026-11-02,1,500\r\n2026-11-03,0,\r\n");
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"revenue-2026-11-01-2026-11-03.csv\"");
    let overview = api.get("stats/overview?from=2026-11-01&to=2026-11-03&format=csv").expect(200).text;
    assert!(overview.starts_with("from,to,time_zone,as_of,bookings.total,"), "{overview}");
    assert_eq!(overview.lines().count(), 2);
    api.get("stats/revenue?format=xml").expect(400);
}
