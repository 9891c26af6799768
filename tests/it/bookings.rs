//! Tests of bookings: one member of staff is never double-booked, and bookings are found by what a customer knows.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use crate::support::{Answer, Client, Service, until};

/// A booking with `staff` from `start` to `end` on 1 March 2027.
fn booking(staff: &str, start: &str, end: &str) -> Value {
    json!({
        "customer_name": "Anna",
        "staff_id": staff,
        "starts_at": format!("2027-03-01T{start}:00Z"),
        "ends_at": format!("2027-03-01T{end}:00Z"),
    })
}

fn staff(api: &Client) -> String {
    api.make("staff", json!({ "name": "Jonas" }))
}

/// Asserts that the error names the overlapping booking and its time.
#[track_caller]
fn names_what_is_in_the_way(answer: Answer, by: &Value) {
    let answer = answer.expect(409);
    assert_eq!(answer.code(), "overlapping_booking");
    assert_eq!(answer.faults(), ["/starts_at"]);
    let conflict = &answer.json["conflict"];
    assert_eq!(conflict["code"], by["code"]);
    for bound in ["starts_at", "ends_at"] {
        let instant = |value: &Value| value.as_str().and_then(|text| text.parse::<DateTime<Utc>>().ok());
        assert_eq!(instant(&conflict[bound]), instant(&by[bound]));
    }
}

#[test]
fn overlapping_booking_409_names_the_conflicting_booking() {
    let service = Service::start();
    let api = &service.client;
    let jonas = staff(api);
    let first = api.create("bookings", booking(&jonas, "10:00", "11:00"));

    for (start, end) in
        [("10:00", "11:00"), ("09:30", "10:01"), ("10:59", "12:00"), ("09:00", "12:00"), ("10:15", "10:30")]
    {
        names_what_is_in_the_way(api.post("bookings", booking(&jonas, start, end)), &first);
    }
    // Adjacent bookings are allowed, another member of staff is free, and bookings without staff never conflict.
    let before = api.create("bookings", booking(&jonas, "09:00", "10:00"));
    let after = api.create("bookings", booking(&jonas, "11:00", "12:00"));
    api.create("bookings", booking(&staff(api), "10:00", "11:00"));
    let free = json!({ "customer_name": "Bo", "starts_at": "2027-03-01T10:00:00Z", "ends_at": "2027-03-01T11:00:00Z" });
    api.create("bookings", free.clone());
    let nobodys = api.create("bookings", free);

    // Updates of time, staff and status are checked as well.
    let path = |row: &Value| format!("bookings/{}", row["id"].as_str().unwrap());
    names_what_is_in_the_way(api.patch(&path(&before), json!({ "ends_at": "2027-03-01T10:30:00Z" })), &first);
    names_what_is_in_the_way(api.patch(&path(&after), json!({ "starts_at": "2027-03-01T10:59:59Z" })), &first);
    names_what_is_in_the_way(api.patch(&path(&nobodys), json!({ "staff_id": jonas })), &first);
    api.patch(&path(&first), json!({ "starts_at": "2027-03-01T10:10:00Z" })).expect(200);
    let first = api.patch(&path(&first), json!({ "starts_at": "2027-03-01T10:00:00Z" })).expect(200).json;

    // Cancelled, completed and missed bookings free their time; each is reactivated only while the slot is free.
    for status in ["cancelled", "completed", "no_show"] {
        api.patch(&path(&first), json!({ "status": status })).expect(200);
        let second = api.create("bookings", booking(&jonas, "10:30", "11:00"));
        names_what_is_in_the_way(api.patch(&path(&first), json!({ "status": "held" })), &second);
        api.delete(&path(&second)).expect(204);
        api.patch(&path(&first), json!({ "status": "confirmed" })).expect(200);
        names_what_is_in_the_way(api.post(&format!("{}/restoration", path(&second)), json!({})), &first);
        api.get(&path(&second)).expect(404);
    }
    // A deleted cancelled booking blocks no time, so it can be restored.
    let cancelled = json!({ "status": "cancelled" });
    let mut body = booking(&jonas, "10:00", "11:00");
    body.as_object_mut().unwrap().extend(cancelled.as_object().unwrap().clone());
    let cancelled = api.create("bookings", body);
    api.delete(&path(&cancelled)).expect(204);
    api.post(&format!("{}/restoration", path(&cancelled)), json!({})).expect(200);
}

#[test]
fn end_and_price_follow_from_the_service() {
    let service = Service::start();
    let api = &service.client;
    let cut = json!({ "name": "Cut", "duration_minutes": 45, "price_minor": 3_500, "currency": "CHF" });
    let (cut, jonas) = (api.make("services", cut), staff(api));
    let wish =
        json!({ "service_id": cut, "staff_id": jonas, "customer_name": "Anna", "starts_at": "2027-03-01T10:00:00Z" });
    let booked = api.create("bookings", wish.clone());
    let of = |row: &Value| (row["ends_at"].clone(), row["price_minor"].clone(), row["currency"].clone());
    assert_eq!(of(&booked), (json!("2027-03-01T10:45:00.000000Z"), json!(3_500), json!("CHF")));
    names_what_is_in_the_way(api.post("bookings", wish.clone()), &booked);
    // What is given stays.
    let mut own = wish.clone();
    own["starts_at"] = json!("2027-03-01T12:00:00Z");
    own["price_minor"] = json!(0);
    own["currency"] = json!("EUR");
    let own = api.create("bookings", own);
    assert_eq!(of(&own), (json!("2027-03-01T12:45:00.000000Z"), json!(0), json!("EUR")));
    let batch = json!({ "items": [{ "service_id": cut, "customer_name": "Bo", "starts_at": "2027-03-02T10:00:00Z" }] });
    let made = api.post("bookings/batch/create", batch).expect(200).json;
    assert_eq!(made["results"][0]["row"]["ends_at"], json!("2027-03-02T10:45:00.000000Z"), "{made}");
    // A member may take another time, for another price.
    let service_id = json!({ "service_id": cut, "duration_minutes": 90, "price_minor": 5_000, "currency": "GBP" });
    api.post(&format!("staff/{jonas}/services"), service_id).expect(201);
    let mut theirs = wish.clone();
    theirs["starts_at"] = json!("2027-03-01T15:00:00Z");
    assert_eq!(of(&api.create("bookings", theirs)), (json!("2027-03-01T16:30:00.000000Z"), json!(5_000), json!("GBP")));
    // Without a service, nothing says when it ends.
    let refused =
        api.post("bookings", json!({ "customer_name": "Cy", "starts_at": "2027-03-03T10:00:00Z" })).expect(422);
    assert_eq!(refused.faults(), ["/ends_at"]);
    let nobodys = json!({ "service_id": jonas, "customer_name": "Cy", "starts_at": "2027-03-03T10:00:00Z" });
    assert_eq!(api.post("bookings", nobodys).expect(422).faults(), ["/service_id"]);
}

#[test]
fn booking_is_confirmed_moved_cancelled_and_ended() {
    let service = Service::start();
    let api = &service.client;
    let (jonas, mia) = (staff(api), staff(api));
    let mut wish = booking(&jonas, "10:00", "11:00");
    wish["status"] = json!("pending");
    let made = api.create("bookings", wish);
    let path = format!("bookings/{}", made["id"].as_str().unwrap());
    let act = |verb: &str, body: Value| api.post(&format!("{path}/{verb}"), body);
    let status = |verb: &str| act(verb, json!({})).expect(200).json["status"].as_str().unwrap().to_owned();
    assert_eq!((status("confirmation"), status("confirmation")), ("confirmed".to_owned(), "confirmed".to_owned()));
    assert_eq!(api.get(&path).expect(200).json["version"], json!(2), "what is so already changes nothing");
    // It is moved with its length and code; where that fails, it stays.
    let other = api.create("bookings", booking(&jonas, "14:00", "15:00"));
    names_what_is_in_the_way(act("reschedule", json!({ "starts_at": "2027-03-01T14:30:00Z" })), &other);
    assert_eq!(api.get(&path).expect(200).json["starts_at"], made["starts_at"]);
    let moved = act("reschedule", json!({ "starts_at": "2027-03-01T15:00:00Z" })).expect(200).json;
    assert_eq!(
        (&moved["starts_at"], &moved["ends_at"], &moved["code"]),
        (&json!("2027-03-01T15:00:00.000000Z"), &json!("2027-03-01T16:00:00.000000Z"), &made["code"])
    );
    let moved = act("reschedule", json!({ "starts_at": "2027-03-01T14:30:00Z", "staff_id": mia })).expect(200).json;
    assert_eq!(moved["staff_id"], json!(mia));
    assert_eq!(act("reschedule", json!({ "starts_at": "soon", "to": 1 })).expect(422).faults(), ["/starts_at", "/to"]);
    let stale = api.request("POST", &format!("{path}/cancellation"));
    api.send(stale.header("If-Match", "\"1\"").json(&json!({}))).expect(412);
    // Said again after a lost answer, it is done once.
    let again = || {
        let request = api.request("POST", &format!("{path}/reschedule")).header("Idempotency-Key", "move-1");
        api.send(request.json(&json!({ "starts_at": "2027-03-01T12:00:00Z" }))).expect(200)
    };
    let (first, second) = (again(), again());
    assert_eq!((first.text, second.header("idempotency-replayed")), (second.text.clone(), "true"));
    act("reschedule", json!({ "starts_at": "2027-03-01T14:30:00Z" })).expect(200);
    // It cannot have taken place before it has begun.
    assert_eq!(act("completion", json!({})).expect(409).code(), "too_early");
    assert_eq!((status("cancellation"), status("cancellation")), ("cancelled".to_owned(), "cancelled".to_owned()));
    api.create("bookings", booking(&mia, "14:30", "15:30"));
    for verb in ["confirmation", "completion", "no-show"] {
        assert_eq!(act(verb, json!({})).expect(409).code(), "booking_over", "{verb}");
    }
    assert_eq!(act("reschedule", json!({ "starts_at": "2027-03-01T17:00:00Z" })).expect(409).code(), "booking_over");
    let changes = api.get(&format!("{path}/history")).expect(200);
    assert!(changes.rows().len() >= 5, "{}", changes.text);

    let past = json!({ "customer_name": "Bo", "starts_at": "2026-03-01T10:00:00Z", "ends_at": "2026-03-01T11:00:00Z" });
    let past = api.make("bookings", past);
    for (verb, status) in [("no-show", "no_show"), ("completion", "completed"), ("completion", "completed")] {
        assert_eq!(api.post(&format!("bookings/{past}/{verb}"), json!({})).expect(200).json["status"], json!(status));
    }
    assert_eq!(api.post(&format!("bookings/{past}/cancellation"), json!({})).expect(409).code(), "booking_over");
    let (_, neighbour) = service.neighbour();
    neighbour.post(&format!("{path}/cancellation"), json!({})).expect(404);
    service.client_as(rapport::auth::Role::Viewer).post(&format!("{path}/cancellation"), json!({})).expect(403);
}

#[test]
fn concurrent_bookings_of_one_slot_one_wins() {
    let service = Service::with(&["--db-connections", "8"]);
    let api = &service.client;
    let jonas = staff(api);
    for start in ["10:00", "12:00", "14:00"] {
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..20)
                .map(|_| {
                    let end = format!("{}:45", &start[..2]);
                    scope.spawn(|| {
                        let end = end;
                        api.post("bookings", booking(&jonas, start, &end))
                    })
                })
                .collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
        assert_eq!((won.len(), lost.len()), (1, 19));
        for answer in lost {
            names_what_is_in_the_way(answer, &won[0].json);
        }
    }
    assert_eq!(api.get("bookings").expect(200).rows().len(), 3);
}

#[test]
fn list_bookings_by_code_phone_day_and_status_finds_matches() {
    let service = Service::start();
    let api = &service.client;
    let make = |name: &str, phone: &str, starts: &str, zone: &str, status: &str| {
        let starts: DateTime<Utc> = starts.parse().unwrap();
        let body = json!({
            "customer_name": name, "customer_phone": phone, "starts_at": starts, "ends_at": starts + Duration::hours(1),
            "time_zone": zone, "status": status,
        });
        api.create("bookings", body)
    };
    // 23:30 on the 1st in London is the 2nd in Berlin, and still the 1st in New York.
    let late = "2027-01-01T23:30:00Z";
    let berlin = make("Anna", "(415) 293-3313", late, "Europe/Berlin", "confirmed");
    let york = make("Bo", "+49 30 123456", late, "America/New_York", "held");
    let kiritimati = make("Cy", "ask for Tom", "2027-01-01T12:00:00Z", "Pacific/Kiritimati", "cancelled");
    assert_eq!(berlin["day"], "2027-01-02");
    assert_eq!(york["day"], "2027-01-01");
    assert_eq!(kiritimati["day"], "2027-01-02");

    let found = |query: &str| -> Vec<String> {
        let page = api.get(&format!("bookings?sort=created_at&{query}")).expect(200);
        page.rows().iter().map(|row| row["customer_name"].as_str().unwrap().to_owned()).collect()
    };
    let code = berlin["code"].as_str().unwrap();
    assert!(code.len() == 8 && code.bytes().all(|byte| b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ".contains(&byte)));
    assert_eq!(found(&format!("code={code}")), ["Anna"]);
    assert_eq!(found(&format!("q={}", code.to_lowercase())), ["Anna"]);
    for phone in ["%2B14152933313", "415.293.3313", "1-415-293-3313", "(415)%20293%203313"] {
        assert_eq!(found(&format!("customer_phone={phone}")), ["Anna"], "{phone}");
    }
    assert_eq!(found("customer_phone=ask%20for%20Tom"), ["Cy"]);
    assert_eq!(found("day=2027-01-02"), ["Anna", "Cy"]);
    assert_eq!(found("day=2027-01-02&status=held,confirmed"), ["Anna"]);
    assert_eq!(found("day=2027-01-01,2027-01-02"), ["Anna", "Bo", "Cy"]);
    assert_eq!(found("day_before=2027-01-02"), ["Bo"]);
    assert_eq!(found("status=cancelled,held"), ["Bo", "Cy"]);
    assert_eq!(found("starts_after=2027-01-01T23:00:00Z&starts_before=2027-01-02T00:00:00Z"), ["Anna", "Bo"]);

    // `day` follows the start and the time zone.
    let path = format!("bookings/{}", york["id"].as_str().unwrap());
    assert_eq!(api.patch(&path, json!({ "time_zone": "Europe/Berlin" })).expect(200).json["day"], "2027-01-02");
    let moved = api.patch(&path, json!({ "starts_at": "2027-01-01T22:30:00Z" })).expect(200).json;
    assert_eq!(moved["day"], "2027-01-01");
    api.patch(&path, json!({ "ends_at": "2027-01-01T22:30:00Z" })).expect(422);
    api.patch(&path, json!({ "code": "AAAAAAAA" })).expect(422);
}

#[test]
fn booking_of_inactive_staff_or_invalid_duration_422() {
    let service = Service::start();
    let api = &service.client;
    let jonas = staff(api);
    let kept = api.create("bookings", booking(&jonas, "10:00", "11:00"));
    api.patch(&format!("staff/{jonas}"), json!({ "active": false })).expect(200);
    let refused = api.post("bookings", booking(&jonas, "12:00", "13:00")).expect(422);
    assert_eq!(
        (refused.json["errors"][0]["code"].as_str(), refused.faults()),
        (Some("not_bookable"), vec!["/staff_id"])
    );
    // Existing bookings stay and can be moved.
    let path = format!("bookings/{}", kept["id"].as_str().unwrap());
    api.patch(&path, json!({ "ends_at": "2027-03-01T11:30:00Z" })).expect(200);

    for (start, end) in [("10:00:00Z", "10:00:30Z"), ("10:00:00Z", "09:00:00Z")] {
        let body = json!({ "customer_name": "Bo", "starts_at": format!("2027-03-01T{start}"), "ends_at": format!("2027-03-01T{end}") });
        assert_eq!(api.post("bookings", body).expect(422).faults(), ["/ends_at"]);
    }
    let body = json!({ "customer_name": "Bo", "starts_at": "2027-03-01T10:00:00Z", "ends_at": "3027-03-01T10:00:00Z" });
    assert_eq!(api.post("bookings", body).expect(422).faults(), ["/ends_at"]);
}

#[test]
fn bookings_day_follows_the_bundled_zone_data() {
    let service = Service::start();
    let api = &service.client;
    // In each of these zones, data of 2025 give the day before or the day after.
    for (zone, start, day) in [
        ("America/Vancouver", "2026-12-01T07:30:00Z", "2026-12-01"),
        ("America/Winnipeg", "2026-12-01T05:30:00Z", "2026-12-01"),
        ("America/Havana", "2026-12-01T04:30:00Z", "2026-12-01"),
        ("Africa/Casablanca", "2026-11-30T23:30:00Z", "2026-11-30"),
    ] {
        let start: DateTime<Utc> = start.parse().expect("an instant");
        let asked = json!({ "customer_name": "Anna", "time_zone": zone, "starts_at": start, "ends_at": start + Duration::hours(1) });
        let booked = api.create("bookings", asked);
        assert_eq!(booked["day"], day, "{zone}");
    }
    let wrong = json!({ "customer_name": "Anna", "time_zone": "europe/berlin",
        "starts_at": "2026-12-01T08:00:00Z", "ends_at": "2026-12-01T09:00:00Z" });
    assert_eq!(api.post("bookings", wrong).expect(422).faults(), ["/time_zone"]);
    let zones = api.get("/health/detailed").expect(200).json["time_zones"].clone();
    assert_eq!(zones["source"], "bundled");
    assert!(zones["version"].as_str().is_some_and(|version| version >= "2026f"), "{zones}");
}

/// Since November 2026 Vancouver is an hour ahead of what older data say: days that were stored by them are corrected once. (The bookings are
/// far from now: reminders would change them.)
#[test]
fn stored_days_follow_new_rules_of_a_zone() {
    let service = Service::start();
    let api = &service.client;
    let made = |at: &str, zone: &str| {
        let end = at.replace(":00:00Z", ":30:00Z");
        api.create("bookings", json!({ "customer_name": "Anna", "starts_at": at, "ends_at": end, "time_zone": zone }))
    };
    let moved = made("2046-12-02T07:00:00Z", "America/Vancouver");
    let other = made("2046-12-02T07:00:00Z", "America/Los_Angeles");
    let id = moved["id"].as_str().expect("an id");
    assert_eq!((&moved["day"], &other["day"]), (&json!("2046-12-02"), &json!("2046-12-01")));
    service.database.run(&format!("UPDATE bookings SET day = '2046-12-01' WHERE id = '{id}'"));
    let path = format!("bookings/{id}");
    assert_eq!(api.get(&path).expect(200).json["day"], json!("2046-12-01"));
    let key = crate::support::make_key(&service.database, service.business, rapport::auth::Role::Owner);
    let working = Service::on(service.database.clone(), service.business, &key, &["--background-tasks", "on"]);
    let checked = "SELECT string_agg(release, ',') FROM booking_day_checks";
    until("it is checked", || working.database.rows::<1>(checked)[0][0] == rapport::base::zones::data().version);
    // By the cache of another process, too.
    assert_eq!(api.get(&path).expect(200).json["day"], json!("2046-12-02"));
    let untouched = api.get(&format!("bookings/{}", other["id"].as_str().expect("an id"))).expect(200).json;
    assert_eq!((&untouched["day"], &untouched["version"]), (&json!("2046-12-01"), &other["version"]));
}
