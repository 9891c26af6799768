//! Statistics where reports of other products went wrong: their users' reports, as tests.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use rapport::base::zones;
use serde_json::{Value, json};

use crate::statistics::stats;
use crate::support::{Client, Service, until};

fn in_zone(service: &Service, zone: &str) {
    service.client.patch(&format!("businesses/{}", service.business), json!({ "time_zone": zone })).expect(200);
}

fn folded(service: &Service) {
    until("it is folded, in the zone of the business", || {
        service.database.ask(
            "SELECT ((SELECT count(*) FROM stat_deltas) + (SELECT count(*) FROM businesses b WHERE NOT EXISTS
                (SELECT FROM stat_zones z WHERE z.business_id = b.id AND z.zone = b.time_zone)))::text",
        ) == "0"
    });
}

/// Leads that entered at `first` and then every `step`, `count` of them.
fn leads(service: &Service, first: &str, step: &str, count: u32) {
    service.database.run(&format!(
        "INSERT INTO leads (business_id, title, source, entered_at)
         SELECT '{}', 'Roof', 'web', timestamptz '{first}' + n * interval '{step}' FROM generate_series(0, {count} - 1) n",
        service.business
    ));
}

/// The buckets and how many leads entered in each; those without any left out.
fn entered(api: &Client, query: &str) -> Vec<(String, i64)> {
    let series = stats(api, &format!("leads?{query}"));
    let bucket =
        |row: &Value| (row["bucket"].as_str().expect("a day").to_owned(), row["entered"].as_i64().expect("a number"));
    let all: Vec<(String, i64)> = series["data"].as_array().expect("buckets").iter().map(bucket).collect();
    assert!(all.windows(2).all(|two| two[0].0 < two[1].0), "a bucket comes twice: {all:?}");
    all.into_iter().filter(|(_, count)| *count != 0).collect()
}

fn day(text: &str, count: i64) -> (String, i64) {
    (text.to_owned(), count)
}

/// cube#4263: the same sums answer for every zone, also those half an hour and a quarter aside. cube#10096: after clocks were set, and on that
/// day, nothing is missing, with no process to restart.
#[test]
fn days_of_any_zone_come_from_the_same_sums() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    in_zone(&service, "Europe/Zurich");
    // Each quarter of an hour of three days, of which the second has 25 hours.
    leads(&service, "2025-10-24T22:00:00Z", "15 minutes", 73 * 4);
    let zurich = [day("2025-10-25", 96), day("2025-10-26", 100), day("2025-10-27", 96)];
    let query = "from=2025-10-20&to=2025-10-31";
    assert_eq!(entered(api, query), zurich);
    folded(&service);
    assert_eq!(entered(api, query), zurich);
    for (zone, expected) in [
        ("Asia/Kolkata", [day("2025-10-25", 82), day("2025-10-26", 96), day("2025-10-27", 96), day("2025-10-28", 18)]),
        (
            "Asia/Kathmandu",
            [day("2025-10-25", 81), day("2025-10-26", 96), day("2025-10-27", 96), day("2025-10-28", 19)],
        ),
        (
            "Pacific/Kiritimati",
            [day("2025-10-25", 48), day("2025-10-26", 96), day("2025-10-27", 96), day("2025-10-28", 52)],
        ),
        (
            "America/St_Johns",
            [day("2025-10-24", 18), day("2025-10-25", 96), day("2025-10-26", 96), day("2025-10-27", 82)],
        ),
    ] {
        assert_eq!(entered(api, &format!("{query}&time_zone={zone}")), expected, "{zone}");
    }
    // What comes after the clocks were set is there at once.
    leads(&service, "2025-10-28T08:00:00Z", "1 minute", 1);
    assert_eq!(entered(api, "from=2025-10-28&to=2025-10-28"), [day("2025-10-28", 1)]);
}

/// metabase#38399: a month in which clocks are set is one month.
#[test]
fn months_come_once() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    in_zone(&service, "America/Los_Angeles");
    // A quarter past midnight, every day from March to November: with both offsets.
    leads(&service, "2023-03-01T08:15:00Z", "1 day", 275);
    let expected: Vec<(String, i64)> = [31, 30, 31, 30, 31, 31, 30, 31, 30]
        .iter()
        .zip(3..)
        .map(|(days, month)| day(&format!("2023-{month:02}-01"), *days))
        .collect();
    for _ in 0..2 {
        assert_eq!(entered(api, "from=2023-01-01&to=2023-12-31&interval=month"), expected);
        folded(&service);
    }
    let weeks = entered(api, "from=2023-03-06&to=2023-03-19&interval=week");
    assert_eq!(weeks, [day("2023-03-06", 7), day("2023-03-13", 7)]);
}

/// timescaledb#10296: a write at once of rows over years is counted in whole, and so is its correction, after earlier ones were folded.
#[test]
fn bulk_writes_and_their_corrections_are_counted_in_whole() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    in_zone(&service, "Europe/Prague");
    leads(&service, "2025-01-01T12:00:00Z", "1 day", 10);
    folded(&service);
    leads(&service, "2024-01-01T12:00:00Z", "1 day", 731);
    let count = |query: &str| entered(api, query).iter().map(|(_, count)| count).sum::<i64>();
    let all = "from=2023-12-01&to=2026-02-28&interval=month";
    for _ in 0..2 {
        assert_eq!(count(all), 741);
        folded(&service);
    }
    // Each in one statement: a day later, then half of them won, then an upsert of all.
    service.database.run("UPDATE leads SET entered_at = entered_at + interval '1 day'");
    assert_eq!(count("from=2024-01-01&to=2024-01-01"), 0);
    service
        .database
        .run("UPDATE leads SET status = 'won', closed_at = entered_at WHERE extract(day FROM entered_at)::int % 2 = 0");
    service.database.run(
        "INSERT INTO leads (business_id, id, title, source, entered_at) SELECT business_id, id, title, source, entered_at FROM leads
         ON CONFLICT (business_id, id) DO UPDATE SET source = 'fair'",
    );
    for _ in 0..2 {
        assert_eq!(count(all), 741);
        assert_eq!(stats(api, &format!("leads?{all}&group_by=source"))["data"][0]["group"], json!("fair"));
        assert_eq!(service.database.ask("SELECT count(*)::text FROM stat_differences"), "0");
        folded(&service);
    }
}

/// SuiteCRM#9805: `from` and `to` are days, and no midnights somewhere else. espocrm#2964: today is the day of the business, and not the
/// server's.
#[test]
fn days_are_those_of_the_business() {
    let service = Service::start();
    let api = &service.client;
    for name in ["Pacific/Kiritimati", "Pacific/Pago_Pago", "America/Chicago"] {
        in_zone(&service, name);
        service.database.run("DELETE FROM leads");
        let zone = zones::get(name).expect("a zone");
        let today = zone.begun_day(Utc::now()).expect("a day");
        let start = |day: NaiveDate| zone.day_start(day).expect("an instant");
        let end = |day: NaiveDate| start(day + Days::new(1)) - TimeDelta::seconds(1);
        let made =
            |at: DateTime<Utc>| drop(api.make("leads", json!({ "title": "Roof", "entered_at": at.to_rfc3339() })));
        made(start(today));
        made(end(today));
        made(end(today - Days::new(1)));
        for (query, count) in [
            ("period=today".to_owned(), 2),
            ("period=yesterday".to_owned(), 1),
            (format!("from={today}&to={today}"), 2),
        ] {
            let found = entered(api, &query);
            assert_eq!(found.iter().map(|(_, count)| count).sum::<i64>(), count, "{query} in {name}: {found:?}");
        }
        assert_eq!(entered(api, "period=today")[0].0, today.to_string(), "{name}");
    }
}
