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
