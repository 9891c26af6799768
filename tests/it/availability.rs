//! Availability: what is offered, to the minute, whatever it depends on changes.

use chrono::{Datelike, Days, NaiveDate, Utc};
use serde_json::{Value, json};

use crate::support::{Client, Service};

/// A Monday in two weeks.
fn monday() -> NaiveDate {
    let soon = Utc::now().date_naive() + Days::new(14);
    soon + Days::new(u64::from(7 - soon.weekday().num_days_from_monday()))
}

fn service(api: &Client, more: Value) -> String {
    let mut body = json!({ "name": "Cut", "duration_minutes": 60, "slot_interval_minutes": 60 });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    api.make("services", body)
}

/// A member who works on Mondays.
fn works(api: &Client, name: &str, start: &str, end: &str) -> String {
    let staff = api.make("staff", json!({ "name": name, "time_zone": "UTC" }));
    let weekly = json!({ "weekly": [{ "weekday": "monday", "start": start, "end": end }] });
    api.put(&format!("staff/{staff}/schedule"), weekly).expect(200);
    staff
}

fn path(service: &str, more: &str) -> String {
    let day = monday();
    format!("availability?service_id={service}&from={day}&to={day}&time_zone=UTC{more}")
}

/// The hours that are offered, each with the first letters of who performs it.
fn offered(api: &Client, path: &str) -> Vec<String> {
    let answer = api.get(path).expect(200);
    let slot = |slot: &Value| slot["starts_at"].as_str().expect("a time")[11..16].to_owned();
    answer.rows().iter().map(slot).collect()
}

#[test]
fn slots_are_the_hours_of_staff_without_what_is_booked() {
    let service = Service::start();
    let api = &service.client;
    let cut = self::service(api, json!({}));
    let (anna, day) = (works(api, "Anna", "08:00", "12:00"), monday());
    let first = api.get(&path(&cut, "")).expect(200);
    let slot = json!({ "starts_at": format!("{day}T08:00:00.000000Z"), "ends_at": format!("{day}T09:00:00.000000Z"), "staff_id": anna });
    assert_eq!(first.rows()[0], slot);
    assert_eq!(first.queries(), 3, "whatever is booked");
    assert_eq!(offered(api, &path(&cut, "")), ["08:00", "09:00", "10:00", "11:00"]);
    assert_eq!(offered(api, &path(&cut, &format!("&staff_id={anna}"))), offered(api, &path(&cut, "&staff_id=any")));
    let booked = json!({ "service_id": cut, "staff_id": anna, "customer_name": "Bo", "starts_at": format!("{day}T09:00:00Z"), "ends_at": format!("{day}T10:00:00Z") });
    let booking = api.make("bookings", booked);
    assert_eq!(offered(api, &path(&cut, "")), ["08:00", "10:00", "11:00"]);
    // Buffers of both are free beside each other; one that has them keeps more.
    api.patch(&format!("services/{cut}"), json!({ "buffer_after_minutes": 30 })).expect(200);
    assert_eq!(offered(api, &path(&cut, "")), ["11:00"]);
    api.patch(&format!("bookings/{booking}"), json!({ "status": "cancelled" })).expect(200);
    assert_eq!(offered(api, &path(&cut, "")).len(), 4);
    // By another day's end: who looks from Kiritimati sees Monday there.
    let of_tuesday = format!("availability?service_id={cut}&from={day}&to={day}&time_zone=Pacific/Kiritimati");
    assert_eq!(offered(api, &of_tuesday), ["08:00", "09:00"]);
    let night = format!("availability?service_id={cut}&from={day}T10:00:00Z&to={day}T11:00:00Z");
    assert_eq!(offered(api, &night), ["10:00"]);
}

/// A cached answer is the one of this moment, whatever it depends on changes, from wherever.
#[test]
fn each_change_of_a_calendar_shows_at_once() {
    let service = Service::start();
    let api = &service.client;
    let cut = self::service(api, json!({}));
    let anna = works(api, "Anna", "09:00", "11:00");
    let any = path(&cut, "");
    let mut before = offered(api, &any);
    let mut changes = |what: &str, change: &dyn Fn()| {
        // It is in the cache, unless a minute has just begun.
        assert_eq!(offered(api, &any), before, "before {what}");
        change();
        let after = api.get(&any).expect(200).text;
        let fresh = api.send(api.request("GET", &any).header("Cache-Control", "no-store")).expect(200).text;
        assert_eq!(after, fresh, "{what}");
        let after = offered(api, &any);
        assert_ne!(after, before, "{what}");
        before = after;
    };
    let bert = std::cell::OnceCell::new();
    changes("another member", &|| drop(bert.set(works(api, "Bert", "10:00", "12:00"))));
    let bert = bert.get().expect("a member");
    let nails = self::service(api, json!({ "name": "Nails" }));
    changes("a list of services that lacks it", &|| {
        drop(api.post(&format!("staff/{bert}/services"), json!({ "service_id": nails })).expect(201))
    });
    changes("and one that has it", &|| {
        drop(
            api.post(&format!("staff/{bert}/services"), json!({ "service_id": cut, "duration_minutes": 30 }))
                .expect(201),
        )
    });
    changes("a member who leaves", &|| {
        drop(api.patch(&format!("staff/{bert}"), json!({ "active": false })).expect(200))
    });
    let cleo = std::cell::OnceCell::new();
    changes("one more", &|| drop(cleo.set(works(api, "Cleo", "13:00", "14:00"))));
    let cleo = cleo.get().expect("a member");
    changes("a member who is deleted", &|| drop(api.delete(&format!("staff/{cleo}")).expect(204)));
    changes("a day off", &|| drop(api.make("holidays", json!({ "day": monday(), "name": "Closed" }))));
    // Who has hours of that day works all the same.
    changes("the hours of a day", &|| {
        drop(api.make(
            "schedule-overrides",
            json!({ "staff_id": anna, "day": monday(), "hours": [{ "start": "08:00", "end": "09:00" }] }),
        ))
    });
}

#[test]
fn what_cannot_be_asked_is_named() {
    let service = Service::start();
    let api = &service.client;
    let cut = self::service(api, json!({}));
    let refused = api.get("availability?service=1&staff_id=x&from=2027-13-01").expect(400);
    assert_eq!(
        refused.faults(),
        ["/query/from", "/query/service", "/query/service_id", "/query/staff_id", "/query/to"]
    );
    api.get(&format!("availability?service_id={cut}&from=2027-01-01&to=2027-06-01")).expect(400);
    api.get(&path("0192d0c6-2f3b-7b57-a56f-9f1b6f0e7c11", "")).expect(404);
    let gone = self::service(api, json!({ "name": "Perm" }));
    api.delete(&format!("services/{gone}")).expect(204);
    api.get(&path(&gone, "")).expect(404);
    let (_, neighbour) = service.neighbour();
    neighbour.get(&path(&cut, "")).expect(404);
    assert_eq!(api.get(&path(&cut, "")).expect(200).json, json!({ "data": [] }));
    service.stranger().get(&path(&cut, "")).expect(401);
}
