//! What can be booked, by whom and when: rules of services, who performs what, weekly hours, days off.

use rapport::auth::Role;
use serde_json::{Value, json};

use crate::support::{Client, Service};

fn staff(api: &Client, name: &str) -> String {
    api.make("staff", json!({ "name": name }))
}

fn service(api: &Client, name: &str) -> String {
    api.make("services", json!({ "name": name, "duration_minutes": 60 }))
}

fn id(row: &Value) -> &str {
    row["id"].as_str().expect("an id")
}

#[test]
fn rules_of_services_and_staff_have_defaults_and_bounds() {
    let server = Service::start();
    let api = &server.client;
    let made = api.create("services", json!({ "name": "Cut", "duration_minutes": 30 }));
    let defaults = json!({
        "buffer_before_minutes": 0, "buffer_after_minutes": 0, "slot_interval_minutes": 15, "min_notice_minutes": 0, "horizon_days": 90,
        "capacity": 1, "max_per_day": null, "cancel_until_minutes": null, "reschedule_until_minutes": null, "requires_confirmation": false,
    });
    for (name, default) in defaults.as_object().expect("an object") {
        assert_eq!(&made[name], default, "{name}");
    }
    let wrong = json!({
        "buffer_before_minutes": 1441, "buffer_after_minutes": -1, "slot_interval_minutes": 4, "min_notice_minutes": 525_601, "horizon_days": 0,
        "capacity": 0, "max_per_day": 0, "cancel_until_minutes": -1, "reschedule_until_minutes": 525_601, "requires_confirmation": "no",
    });
    let refused = api.patch(&format!("services/{}", id(&made)), wrong.clone()).expect(422);
    assert_eq!(refused.faults().len(), wrong.as_object().map_or(0, serde_json::Map::len), "{}", refused.text);
    let bo = api.create("staff", json!({ "name": "Bo", "max_per_day": 8 }));
    assert_eq!((&bo["priority"], &bo["max_per_day"]), (&json!(50), &json!(8)));
    let path = format!("staff/{}", id(&bo));
    assert_eq!(api.patch(&path, json!({ "priority": 1001, "max_per_day": 0 })).expect(422).faults().len(), 2);
    assert_eq!(api.patch(&path, json!({ "priority": 0, "max_per_day": null })).expect(200).json["priority"], 0);
}

#[test]
fn services_of_staff_are_added_once_and_removed() {
    let server = Service::start();
    let api = &server.client;
    let (_, neighbour) = server.neighbour();
    let (bo, cut, color) = (staff(api, "Bo"), service(api, "Cut"), service(api, "Color"));
    let path = format!("staff/{bo}/services");
    let added = api.post(&path, json!({ "service_id": cut })).expect(201);
    assert_eq!(added.header("location"), format!("/api/v1/staff-services/{}", id(&added.json)));
    assert_eq!((&added.json["staff_id"], &added.json["service_id"]), (&json!(bo), &json!(cut)));
    assert_eq!((&added.json["duration_minutes"], &added.json["price_minor"]), (&Value::Null, &Value::Null));
    let again = api.post(&path, json!({ "service_id": cut })).expect(409);
    assert_eq!((again.code(), again.faults()), ("already_exists", vec!["/service_id"]));
    // Twice with one key is once.
    let key = |body: Value| api.request("POST", &path).header("Idempotency-Key", "one").json(&body);
    let body = json!({ "service_id": color, "duration_minutes": 90, "price_minor": 9900 });
    let [first, second] = [(); 2].map(|()| api.send(key(body.clone())).expect(201));
    assert_eq!((first.json["currency"].is_string(), &first.json), (true, &second.json));

    // All errors of a body at once; the member is that of the path.
    let wrong = json!({ "service_id": "x", "duration_minutes": 0, "price_minor": -1, "currency": "Euro", "staff_id": bo, "serivce": 1 });
    let mut faults = api.post(&path, wrong).expect(422).faults().into_iter().map(str::to_owned).collect::<Vec<_>>();
    faults.sort();
    assert_eq!(faults, ["/currency", "/duration_minutes", "/price_minor", "/serivce", "/service_id", "/staff_id"]);
    let nobody = "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71";
    assert_eq!(api.post(&path, json!({ "service_id": nobody })).expect(422).faults(), ["/service_id"]);
    assert_eq!(api.post(&path, json!({})).expect(422).faults(), ["/service_id"]);
    api.post(&format!("staff/{nobody}/services"), json!({ "service_id": cut })).expect(404);
    let gone = staff(api, "Gone");
    api.delete(&format!("staff/{gone}")).expect(204);
    api.post(&format!("staff/{gone}/services"), json!({ "service_id": cut })).expect(404);

    // Lists from both sides, cached, and changed with what they show.
    let of = |query: &str| {
        let lists = [(); 2].map(|()| api.get(&format!("staff-services?{query}")).expect(200));
        assert_eq!(lists[0].json, lists[1].json);
        lists[1].rows().to_vec()
    };
    let include = format!("staff_id={bo}&include=service&sort=created_at");
    assert_eq!(of(&include).iter().map(|row| row["service"]["name"].clone()).collect::<Vec<_>>(), ["Cut", "Color"]);
    assert_eq!(of(&format!("service_id={cut}&include=staff"))[0]["staff"]["name"], "Bo");
    let row = api.patch(&format!("staff-services/{}", id(&added.json)), json!({ "duration_minutes": 45 })).expect(200);
    assert_eq!(of(&include)[0]["duration_minutes"], 45);
    let history = api.get(&format!("staff-services/{}/history", id(&added.json))).expect(200);
    assert_eq!(history.rows().iter().map(|entry| entry["action"].clone()).collect::<Vec<_>>(), ["updated", "created"]);

    // At the version that was read, and by those who may.
    let one = format!("{path}/{cut}");
    let at = |etag: &str| api.send(api.request("DELETE", &one).header("If-Match", etag));
    at("\"1\"").expect(412);
    server.client_as(Role::Agent).delete(&one).expect(403);
    server.client_as(Role::Agent).post(&path, json!({ "service_id": cut })).expect(403);
    assert_eq!(
        server.client_as(Role::Viewer).get(&format!("staff-services?staff_id={bo}")).expect(200).rows().len(),
        2
    );
    let theirs = service(&neighbour, "Cut");
    api.post(&path, json!({ "service_id": theirs })).expect(422);
    neighbour.post(&path, json!({ "service_id": theirs })).expect(404);
    neighbour.delete(&one).expect(404);
    at(row.header("etag")).expect(204);
    api.delete(&one).expect(404);
    assert_eq!(of(&include).len(), 1);
    server.client_as(Role::Manager).delete(&format!("{path}/{color}")).expect(204);
    assert!(of(&include).is_empty());
}

#[test]
fn weekly_hours_are_replaced_as_a_whole() {
    let server = Service::start();
    let api = &server.client;
    let bo = api.make("staff", json!({ "name": "Bo", "time_zone": "America/Vancouver" }));
    let path = format!("staff/{bo}/schedule");
    let shown = || {
        let reads = [(); 2].map(|()| api.get(&path).expect(200));
        assert_eq!((reads[1].queries(), reads[0].header("etag")), (0, reads[1].header("etag")));
        reads[1].json.clone()
    };
    assert_eq!(shown(), json!({ "weekly": [], "time_zone": "America/Vancouver" }));
    assert_eq!(api.get(&format!("staff/{bo}")).expect(200).json["schedule_set_at"], Value::Null);

    // Exactly as scripts send it.
    let put =
        api.put(&path, json!({ "weekly": [{ "weekday": "monday", "start": "09:00", "end": "17:00" }] })).expect(200);
    let monday = json!([{ "weekday": "monday", "start": "09:00", "end": "17:00", "breaks": [] }]);
    assert_eq!(put.json, json!({ "weekly": monday, "time_zone": "America/Vancouver" }));
    assert_eq!(shown(), put.json);
    let member = api.get(&format!("staff/{bo}")).expect(200);
    assert_eq!((&member.json["version"], member.json["schedule_set_at"].is_string()), (&json!(2), true));
    let entry = api.get(&format!("staff/{bo}/history")).expect(200).rows()[0].clone();
    assert_eq!(
        (&entry["action"], entry["changes"].as_object().map(|all| all.keys().cloned().collect::<Vec<_>>())),
        (&json!("updated"), Some(vec!["schedule_set_at".to_owned()]))
    );

    // In order, past midnight, with breaks; and back as it was read, which changes nothing.
    let week = json!({ "weekly": [
        { "weekday": "sunday", "start": "22:00", "end": "30:00", "breaks": [{ "start": "25:00", "end": "25:30" }, { "start": "23:00", "end": "00:00" }] },
        { "weekday": "monday", "start": "13:00", "end": "00:00" },
        { "weekday": "monday", "start": "09:00", "end": "13:00", "breaks": [{ "start": "12:00", "end": "12:30" }] },
    ] });
    let replaced = api.put(&path, week).expect(200);
    let expected = json!([
        { "weekday": "monday", "start": "09:00", "end": "13:00", "breaks": [{ "start": "12:00", "end": "12:30" }] },
        { "weekday": "monday", "start": "13:00", "end": "24:00", "breaks": [] },
        { "weekday": "sunday", "start": "22:00", "end": "30:00", "breaks": [{ "start": "23:00", "end": "24:00" }, { "start": "25:00", "end": "25:30" }] },
    ]);
    assert_eq!((&replaced.json["weekly"], shown()), (&expected, replaced.json.clone()));
    let again = api.put(&path, replaced.json.clone()).expect(200);
    assert_eq!((again.header("etag"), &again.json), (replaced.header("etag"), &replaced.json));
    api.patch(&format!("staff/{bo}"), json!({ "time_zone": "Europe/Berlin" })).expect(200);
    assert_eq!(shown()["time_zone"], "Europe/Berlin");
    assert_eq!(api.put(&path, replaced.json).expect(422).faults(), ["/time_zone"]);

    // At the version that was read: the schedule's, or the member's.
    let at = |etag: &str, weekly: Value| {
        api.send(api.request("PUT", &path).header("If-Match", etag).json(&json!({ "weekly": weekly })))
    };
    at("\"1\"", json!([])).expect(412);
    assert_eq!(shown()["weekly"], expected);
    let emptied = at(api.get(&format!("staff/{bo}")).expect(200).header("etag"), json!([])).expect(200);
    assert_eq!(shown()["weekly"], json!([]));
    assert!(api.get(&format!("staff/{bo}")).expect(200).json["schedule_set_at"].is_string(), "no hours are a schedule");
    at(emptied.header("etag"), monday).expect(200);
}

#[test]
fn wrong_weekly_hours_are_refused_with_every_error() {
    let server = Service::start();
    let api = &server.client;
    let (_, neighbour) = server.neighbour();
    let bo = staff(api, "Bo");
    let path = format!("staff/{bo}/schedule");
    let entry = |weekday: &str, start: &str, end: &str| json!({ "weekday": weekday, "start": start, "end": end });
    let refused = api
        .put(
            &path,
            json!({ "weekly": [
                entry("funday", "9am", "25:60"),
                entry("friday", "22:00", "02:00"),
                entry("monday", "09:00", "12:00"),
                entry("monday", "11:00", "13:00"),
                { "weekday": "tuesday", "start": "09:00", "end": "17:00", "breaks": [{ "start": "17:00", "end": "18:00" }, { "start": "12:00" }] },
                entry("sunday", "24:00", "48:01"),
            ], "hours": [] }),
        )
        .expect(422);
    let mut faults = refused.faults();
    faults.sort_unstable();
    assert_eq!(
        faults,
        [
            "/hours",
            "/weekly/0/end",
            "/weekly/0/start",
            "/weekly/0/weekday",
            "/weekly/1/end",
            "/weekly/3",
            "/weekly/4/breaks/0",
            "/weekly/4/breaks/1/end",
            "/weekly/5/end",
            "/weekly/5/start"
        ]
    );
    assert!(refused.text.contains("26:00"), "the form past midnight: {}", refused.text);
    let many: Vec<Value> = (0..51).map(|_| entry("monday", "09:00", "17:00")).collect();
    assert_eq!(api.put(&path, json!({ "weekly": many })).expect(422).faults(), ["/weekly"]);
    for body in [json!({}), json!({ "weekly": null }), json!({ "weekly": {} }), json!({ "weekly": "always" })] {
        assert_eq!(api.put(&path, body).expect(422).faults(), ["/weekly"]);
    }
    api.put(&path, json!([])).expect(400);
    api.put(&format!("{path}?dry_run=true"), json!({ "weekly": [] })).expect(400);

    let empty = json!({ "weekly": [] });
    let hours = json!({ "weekly": [entry("monday", "00:00", "48:00")] });
    for (role, status) in [(Role::Viewer, 403), (Role::Agent, 403), (Role::Manager, 200)] {
        server.client_as(role).put(&path, hours.clone()).expect(status);
        server.client_as(role).get(&path).expect(200);
    }
    neighbour.put(&path, empty.clone()).expect(404);
    neighbour.get(&path).expect(404);
    api.put("staff/01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71/schedule", empty.clone()).expect(404);
    api.get("staff/nobody/schedule").expect(404);
    assert_eq!(api.get(&path).expect(200).json["weekly"][0]["end"], "48:00");
    // Who is deleted has none, and is read anew.
    api.delete(&format!("staff/{bo}")).expect(204);
    api.get(&path).expect(404);
    api.put(&path, empty).expect(404);
}

#[test]
fn days_off_and_days_with_other_hours_are_one_each() {
    let server = Service::start();
    let api = &server.client;
    let (_, neighbour) = server.neighbour();
    let bo = staff(api, "Bo");
    let day = |day: &str, hours: Value| json!({ "staff_id": bo, "day": day, "hours": hours, "reason": "Fair" });
    let hour = |start: &str, end: &str| json!({ "start": start, "end": end });

    // Hours are kept in order, and none is a day without work.
    let made =
        api.create("schedule-overrides", day("2026-12-24", json!([hour("13:00", "00:00"), hour("09:00", "12:00")])));
    assert_eq!(made["hours"], json!([hour("09:00", "12:00"), hour("13:00", "24:00")]));
    api.create("schedule-overrides", day("2026-12-23", json!([])));
    let again = api.post("schedule-overrides", day("2026-12-24", json!([]))).expect(409);
    assert_eq!((again.code(), again.faults()), ("already_exists", vec!["/day"]));
    let wrong = json!([hour("09:00", "08:00"), 7, hour("10:00", "12:00"), hour("11:00", "11:30"), { "start": "x", "breaks": [] }]);
    let path = format!("schedule-overrides/{}", id(&made));
    for refused in
        [api.post("schedule-overrides", day("2026-12-26", wrong.clone())), api.patch(&path, json!({ "hours": wrong }))]
    {
        let refused = refused.expect(422);
        let mut faults = refused.faults();
        faults.sort_unstable();
        assert_eq!(
            faults,
            ["/hours/0/end", "/hours/1", "/hours/3", "/hours/4/breaks", "/hours/4/end", "/hours/4/start"]
        );
    }
    for wrong in [json!(null), json!("closed"), json!({}), json!(vec![hour("09:00", "10:00"); 21])] {
        assert_eq!(api.patch(&path, json!({ "hours": wrong })).expect(422).faults(), ["/hours"]);
    }
    assert_eq!(
        api.post("schedule-overrides", json!({ "staff_id": bo, "day": "2026-12-27" })).expect(422).faults(),
        ["/hours"]
    );
    let changed = api.patch(&path, json!({ "hours": [hour("22:00", "26:00")] })).expect(200);
    assert_eq!(changed.json["hours"], json!([hour("22:00", "26:00")]));
    let sent_back = api.patch(&path, changed.json.clone()).expect(200);
    assert_eq!((sent_back.header("etag"), &sent_back.json), (changed.header("etag"), &changed.json));

    // Pages in the order of days, in both directions.
    let days = |query: &str| -> Vec<String> {
        let mut found = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = api.get(&format!("schedule-overrides?limit=1&{query}{cursor}")).expect(200);
            found.extend(page.rows().iter().map(|row| row["day"].as_str().expect("a day").to_owned()));
            match page.json["page"]["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    };
    api.create("schedule-overrides", day("1999-12-31", json!([])));
    let ordered = ["1999-12-31", "2026-12-23", "2026-12-24"];
    assert_eq!(days(&format!("staff_id={bo}")), ordered);
    assert_eq!(days("sort=-day"), ordered.iter().rev().copied().collect::<Vec<_>>());
    assert_eq!(days("day_after=2026-12-24"), ["2026-12-24"]);

    // A holiday of everybody, and one of a member, on one day.
    let holiday = |more: Value| {
        let mut body = json!({ "day": "2026-12-25", "name": "Christmas Day" });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        api.post("holidays", body)
    };
    let all = holiday(json!({})).expect(201).json;
    let own = holiday(json!({ "staff_id": bo })).expect(201).json;
    assert_eq!(
        (holiday(json!({})).expect(409).code(), holiday(json!({ "staff_id": bo })).expect(409).code()),
        ("already_exists", "already_exists")
    );
    let listed = |query: &str| -> Vec<String> {
        api.get(&format!("holidays?{query}")).expect(200).rows().iter().map(|row| id(row).to_owned()).collect()
    };
    assert_eq!(
        (listed("staff_id=none"), listed(&format!("staff_id={bo}"))),
        (vec![id(&all).to_owned()], vec![id(&own).to_owned()])
    );
    let theirs = staff(&neighbour, "Cy");
    assert_eq!(holiday(json!({ "staff_id": theirs })).expect(422).faults(), ["/staff_id"]);
    neighbour.get(&path).expect(404);
    assert!(neighbour.get("holidays").expect(200).rows().is_empty());
    for role in [Role::Viewer, Role::Agent] {
        server.client_as(role).get("holidays").expect(200);
        server.client_as(role).post("holidays", json!({ "day": "2026-12-26", "name": "Boxing Day" })).expect(403);
    }
    let manager = server.client_as(Role::Manager);
    manager.post("holidays", json!({ "day": "2026-12-26", "name": "Boxing Day" })).expect(201);
    manager.delete(&format!("holidays/{}", id(&all))).expect(403);
    api.delete(&format!("holidays/{}", id(&all))).expect(204);
    holiday(json!({})).expect(201);
}
