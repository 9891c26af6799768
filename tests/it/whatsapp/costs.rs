//! What messages cost: by the rates of the recipient's market, once, whatever statuses come.

use rapport::auth::Role;
use serde_json::{Value, json};

use super::cases::cases;
use super::deliver;
use super::webhook::{NUMBER, connect};
use crate::import_api::{counts, id, rested};
use crate::statistics::stats;
use crate::support::whatsapp::{AT, body};
use crate::support::{Client, Service, until};

fn rate(api: &Client, market: &str, category: &str, valid_from: &str, amount: &str) -> String {
    let body = json!({ "market": market, "category": category, "valid_from": valid_from, "amount": amount, "currency": "EUR" });
    api.make("message-rates", body)
}

/// A message to `address` that a program sent, to which the statuses of `external_id` belong.
fn sent(api: &Client, address: &str, external_id: &str, more: Value) {
    let known = api.get(&format!("conversations?address={}", address.replace('+', "%2B"))).expect(200);
    let thread = known.rows().first().map(|row| row["id"].as_str().expect("an id").to_owned());
    let thread =
        thread.unwrap_or_else(|| api.make("conversations", json!({ "channel": "whatsapp", "address": address })));
    let mut body = json!({ "conversation_id": thread, "direction": "outbound", "body": "x", "external_id": external_id, "status": "sent" });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    api.make("messages", body);
}

/// A status of a message to `to`, at `at`, as WhatsApp prices it.
fn status(external_id: &str, to: &str, status: &str, at: i64, pricing: Value) -> Vec<u8> {
    let mut update = json!({ "id": external_id, "status": status, "timestamp": at.to_string(), "recipient_id": to });
    if !pricing.is_null() {
        update["pricing"] = pricing;
    }
    body(NUMBER, &json!({ "statuses": [update] }))
}

fn charged(category: &str) -> Value {
    json!({ "billable": true, "pricing_model": "PMP", "category": category, "type": "regular" })
}

fn message(api: &Client, external_id: &str) -> Value {
    api.get(&format!("messages?external_id={external_id}")).expect(200).rows()[0].clone()
}

fn cost(api: &Client, external_id: &str) -> (Value, Value) {
    let row = message(api, external_id);
    (short(&row["cost"]), row["cost_currency"].clone())
}

/// A decimal without the zeros at its end.
fn short(amount: &Value) -> Value {
    amount.as_str().map_or(Value::Null, |amount| amount.trim_end_matches('0').into())
}

/// A body of `tests/data/whatsapp`.
fn real_body(name: &str) -> Vec<u8> {
    cases().into_iter().find(|case| case.name == name).expect("the case").body
}

/// The sum of all costs, which the statistics must show.
fn sum(service: &Service) -> String {
    let today = chrono::Utc::now().date_naive() + chrono::Days::new(1);
    let shown = stats(&service.client, &format!("overview?from=2026-01-01&to={today}"))["cost"].clone();
    let stored = service.database.rows::<2>(
        "SELECT cost_currency, trim_scale(sum(cost))::text FROM messages WHERE cost IS NOT NULL AND deleted_at IS NULL GROUP BY 1 ORDER BY 1",
    );
    let stored: Vec<Value> =
        stored.into_iter().map(|[currency, amount]| json!({ "currency": currency, "amount": amount })).collect();
    assert_eq!(shown, json!(stored));
    shown[0]["amount"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn charged_message_costs_the_latest_rate_of_its_day_once() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    rate(api, "GB", "service", "2026-01-01", "0.02");
    rate(api, "GB", "service", "2026-11-28", "0.0125");
    rate(api, "United Kingdom", "service", "2026-12-01", "0.5");
    rate(api, "GB", "marketing", "2026-01-01", "0.9");
    // The real body has all three statuses, each with the price; reversed, and one by one, it is the same.
    let real = String::from_utf8(real_body("68-service-charged.json")).expect("a text");
    let wamid = "wamid.HRgNbzY4FQIAEhgUTzY4MDAwMDAwMDAwMDAA";
    let mut reversed: Value = serde_json::from_str(&real).expect("JSON");
    let statuses = &mut reversed["entry"][0]["changes"][0]["value"]["statuses"];
    statuses.as_array_mut().expect("a list").reverse();
    let reversed = reversed.to_string().replace(wamid, "wamid.reversed");
    for external_id in [wamid, "wamid.reversed"] {
        sent(api, "+447700900123", external_id, json!({}));
    }
    deliver(&service, real.as_bytes());
    deliver(&service, reversed.as_bytes());
    for external_id in [wamid, "wamid.reversed"] {
        assert_eq!(cost(api, external_id), (json!("0.0125"), json!("EUR")));
    }
    assert_eq!(sum(&service), "0.025");
    let version = message(api, wamid)["version"].clone();
    deliver(&service, real.as_bytes());
    assert_eq!(message(api, wamid)["version"], version, "what comes again changes nothing");
    // A status that came before its message.
    deliver(&service, real.replace(wamid, "wamid.later").as_bytes());
    sent(api, "+447700900123", "wamid.later", json!({}));
    assert_eq!(cost(api, "wamid.later").0, json!("0.0125"));
    // Half an hour before midnight in London, it is December in the business' Berlin.
    sent(api, "+447700900123", "wamid.night", json!({}));
    deliver(&service, &status("wamid.night", "447700900123", "sent", 1_796_081_400, charged("service")));
    assert_eq!(cost(api, "wamid.night").0, json!("0.5"));
    // What a rate becomes afterwards changes no cost.
    let first = api.get("message-rates?market=GB&category=service&sort=-created_at").expect(200).rows()[1].clone();
    api.patch(&format!("message-rates/{}", first["id"].as_str().expect("an id")), json!({ "amount": "7" })).expect(200);
    deliver(&service, real.as_bytes());
    assert_eq!(cost(api, wamid).0, json!("0.0125"));
    assert_eq!(sum(&service), "0.5375");
}

#[test]
fn cost_stays_null_without_charge_or_rate_and_as_people_set_it() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    rate(api, "GB", "marketing", "2026-01-01", "0.05");
    rate(api, "GB", "utility", "2027-01-01", "0.05");
    rate(api, "Rest of Africa", "marketing", "2026-11-01", "0.02");
    rate(api, "Other", "marketing", "2026-11-01", "0.04");
    rate(api, "MA", "marketing", "2026-10-01", "0.03");
    let free =
        json!({ "billable": false, "pricing_model": "PMP", "category": "marketing", "type": "free_customer_service" });
    let unflagged = json!({ "pricing_model": "PMP", "category": "marketing", "type": "regular" });
    let cases = [
        ("wamid.free", "+447700900123", free.clone(), json!({}), Value::Null),
        ("wamid.unpriced", "+447700900123", Value::Null, json!({}), Value::Null),
        ("wamid.category", "+447700900123", charged("authentication"), json!({}), Value::Null),
        ("wamid.tomorrow", "+447700900123", charged("utility"), json!({}), Value::Null),
        ("wamid.market", "+4915112345678", charged("marketing"), json!({}), Value::Null),
        (
            "wamid.ours",
            "+447700900123",
            charged("marketing"),
            json!({ "cost": "0.7", "cost_currency": "USD" }),
            json!("0.7"),
        ),
        ("wamid.type", "+447700900123", unflagged, json!({}), json!("0.05")),
        ("wamid.region", "+254712123456", charged("marketing_lite"), json!({}), json!("0.02")),
        ("wamid.other", "+3545551234", charged("marketing"), json!({}), json!("0.04")),
        ("wamid.jersey", "+447797712345", charged("marketing"), json!({}), json!("0.05")),
        ("wamid.country", "+212650123456", charged("marketing"), json!({}), json!("0.03")),
    ];
    for (external_id, address, pricing, more, expected) in cases {
        sent(api, address, external_id, more);
        deliver(&service, &status(external_id, &address[1..], "delivered", AT, pricing));
        assert_eq!(cost(api, external_id).0, expected, "{external_id}");
    }
    assert_eq!(cost(api, "wamid.ours").1, json!("USD"));
    // Said to be free first, and charged then.
    deliver(&service, &status("wamid.free", "447700900123", "read", AT + 1, charged("marketing")));
    assert_eq!(cost(api, "wamid.free").0, json!("0.05"));
    deliver(&service, &status("wamid.free", "447700900123", "sent", AT - 1, free));
    assert_eq!(message(api, "wamid.free")["pricing"]["billable"], json!(true));
    // A rate that was written beside the status: any later one finds it, also one that says nothing new.
    rate(api, "DE", "marketing", "2026-01-01", "0.06");
    let again = status("wamid.market", "4915112345678", "delivered", AT, charged("marketing"));
    deliver(&service, &again);
    assert_eq!(cost(api, "wamid.market").0, json!("0.06"));
    let version = message(api, "wamid.market")["version"].clone();
    rate(api, "DE", "marketing", "2026-11-01", "0.07");
    deliver(&service, &again);
    assert_eq!((cost(api, "wamid.market").0, &message(api, "wamid.market")["version"]), (json!("0.06"), &version));
    rate(api, "GB", "authentication", "2026-01-01", "0.01");
    deliver(&service, &status("wamid.category", "447700900123", "read", AT + 1, Value::Null));
    assert_eq!(cost(api, "wamid.category").0, json!("0.01"));
    // Of the app on the business' phone.
    deliver(&service, &real_body("42-echo.json"));
    let wamid = "wamid.HRgNZTQyFQIAEhgURTQyMDAwMDAwMDAwMDAA";
    deliver(&service, &status(wamid, "447700900123", "delivered", AT, charged("marketing")));
    assert_eq!(cost(api, wamid), (Value::Null, Value::Null));
    sum(&service);
}

#[test]
fn rate_card_imported_later_prices_the_messages_of_90_days() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    connect(api, NUMBER);
    let now = chrono::Utc::now().timestamp();
    for (external_id, address, more) in [
        ("wamid.gb", "+447700900123", json!({})),
        ("wamid.ke", "+254712123456", json!({})),
        ("wamid.old", "+447700900123", json!({})),
        ("wamid.de", "+4915112345678", json!({})),
        ("wamid.ours", "+447700900123", json!({ "cost": "0.7", "cost_currency": "EUR" })),
    ] {
        sent(api, address, external_id, more);
        let days = if external_id == "wamid.old" { 100 } else { 5 };
        deliver(&service, &status(external_id, &address[1..], "sent", now - days * 86_400, charged("marketing")));
    }
    let card = "Market,Category,Valid from,Amount,Currency\n\
        United Kingdom,marketing,2026-01-01,0.0526,EUR\n\
        Rest of Africa,marketing,2026-01-01,0.0186,EUR\n\
        Rest of Africa,service,2026-01-01,0.001,EUR\n\
        Atlantis,marketing,2026-01-01,0.1,EUR\n";
    let upload = |card: &str| {
        let answer = api.upload("imports?resource=message-rates", "text/csv", card.to_owned()).expect(202);
        rested(api, &id(&answer))
    };
    let import = upload(card);
    assert_eq!(counts(&import)[..5], [4, 3, 0, 0, 1], "{import}");
    let errors = api.get(&format!("imports/{}/errors", import["id"].as_str().expect("an id"))).expect(200).text;
    assert!(errors.contains("not_a_choice") && errors.contains("Atlantis"), "{errors}");
    until("they are priced", || cost(api, "wamid.gb").0 == json!("0.0526"));
    until("the job is over", || api.get("ops/jobs?kind=message_costs&state=succeeded").expect(200).rows().len() == 1);
    assert_eq!(cost(api, "wamid.ke"), (json!("0.0186"), json!("EUR")));
    for external_id in ["wamid.old", "wamid.de"] {
        assert_eq!(cost(api, external_id).0, Value::Null, "{external_id}");
    }
    assert_eq!(cost(api, "wamid.ours").0, json!("0.7"));
    assert_eq!(sum(&service), "0.7712");
    // The same card again changes nothing, a corrected one the rates that differ.
    assert_eq!(counts(&upload(card))[..5], [4, 0, 0, 3, 1]);
    let rates = api.get("message-rates?sort=created_at").expect(200);
    let shown: Vec<&Value> = rates.rows().iter().map(|row| &row["external_id"]).collect();
    assert_eq!(
        shown,
        ["GB:marketing:2026-01-01", "rest_of_africa:marketing:2026-01-01", "rest_of_africa:service:2026-01-01"]
    );
    assert_eq!(counts(&upload(&card.replace("0.0526", "0.0527")))[..5], [4, 0, 1, 2, 1]);
    until("its job is over", || api.get("ops/jobs?kind=message_costs&state=succeeded").expect(200).rows().len() == 2);
    assert_eq!(cost(api, "wamid.gb").0, json!("0.0526"), "a cost stays");
}

#[test]
fn import_of_rates_needs_the_permissions_of_rates() {
    let service = Service::start();
    let api = &service.client;
    let card = "market,category,valid_from,amount\nGB,marketing,2026-01-01,0.05\n";
    let kept = api.upload("imports?resource=message-rates&start=false", "text/csv", card.to_owned()).expect(201);
    let path = format!("imports/{}", id(&kept));
    let key = json!({ "name": "CRM", "permissions": ["crm:read", "crm:write", "crm:delete"] });
    let key = api.create("api-keys", key);
    let narrow = Client::new(service.address, key["key"].as_str().expect("a key"));
    for client in [&service.client_as(Role::Agent), &narrow] {
        for job in ["trial", "execution", "reversion"] {
            client.post(&format!("{path}/{job}"), json!({})).expect(403);
        }
    }
    let manager = service.client_as(Role::Manager);
    manager.post(&format!("{path}/trial"), json!({})).expect(202);
    // Only those who may delete rates take them back.
    manager.post(&format!("{path}/reversion"), json!({})).expect(403);
}

#[test]
fn create_rate_of_a_known_market_once() {
    let service = Service::start();
    let api = &service.client;
    let body =
        |market: &str| json!({ "market": market, "category": "utility", "valid_from": "2026-10-01", "amount": "0.01" });
    let made = api.create("message-rates", body("Rest of Central & Eastern Europe"));
    assert_eq!((&made["market"], &made["currency"]), (&json!("rest_of_central_eastern_europe"), &json!("EUR")));
    let again = api.post("message-rates", body("rest_of_central_eastern_europe")).expect(409);
    assert_eq!(again.code(), "already_exists");
    let wrong = api.post("message-rates", body("rest_of_africca")).expect(422);
    assert!(wrong.text.contains("Did you mean `rest_of_africa`?"), "{}", wrong.text);
    // What was read can be sent back, and what identifies a rate stays.
    let path = format!("message-rates/{}", made["id"].as_str().expect("an id"));
    api.patch(&path, made.clone()).expect(200);
    api.patch(&path, json!({ "market": "DE" })).expect(422);
    let named = api.create("message-rates", json!({ "market": "de", "category": "utility", "valid_from": "2026-10-01", "amount": "0.01", "external_id": "mine" }));
    let same = json!({ "market": "DE", "category": "utility", "valid_from": "2026-10-01", "amount": "0.02" });
    let changed = api.patch(&format!("message-rates/{}", named["id"].as_str().expect("an id")), same).expect(200).json;
    assert_eq!((&changed["external_id"], &short(&changed["amount"])), (&json!("mine"), &json!("0.02")));
}
