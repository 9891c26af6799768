//! Tests of rate limits: by credential, by address, across replicas, and which proxy headers are trusted.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use proptest::prelude::*;
use rapport::auth::Role;
use rapport::http::client_ip::{network, reported};
use serde_json::json;

use crate::sign_in::{PASSWORD, admit, sign_in};
use crate::support::{Answer, Client, Service, for_cases, make_key, redis};

/// The number of responses with 200, out of `count` requests.
fn good(client: &Client, count: usize) -> usize {
    (0..count).filter(|_| client.get("leads").status == 200).count()
}

/// Asserts an error with all that a client needs to back off.
#[track_caller]
fn refused(answer: Answer, policy: &str) {
    let answer = answer.expect(429);
    assert_eq!((answer.code(), answer.header("ratelimit-policy")), ("rate_limited", policy));
    assert!(answer.header("ratelimit").contains(";r=0;t="), "{}", answer.header("ratelimit"));
    assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    assert!(answer.json["detail"].as_str().is_some_and(|detail| detail.contains("try again")), "{}", answer.text);
}

#[test]
fn rate_limit_per_credential_headers_show_remaining_429() {
    // One token a minute is refilled: however slow the test is, the remaining quota is predictable.
    let service = Service::with(&["--rate-limit", "1", "--rate-burst", "4"]);
    admit(&service, "acme", "amina@example.com", "agent");
    let api = &service.client;
    let policy = "\"key\";q=1;w=60";
    for (answer, left) in [
        (api.get("leads").expect(200), 3),
        (api.post("leads", json!({ "title": "Roof" })).expect(201), 2),
        (api.get("leads?nonsense=1").expect(400), 1),
        (api.get("me").expect(200), 0),
    ] {
        assert_eq!(answer.header("ratelimit-policy"), policy);
        let told = answer.header("ratelimit");
        let seconds = told.strip_prefix(&format!("\"key\";r={left};t=")).expect(told).parse::<u64>().expect("seconds");
        assert!((1..=60 * (4 - left)).contains(&seconds), "{told}");
    }
    refused(api.get("leads"), policy);
    refused(api.post("leads", json!({ "title": "Wall" })), policy);

    // Another key of the business and a user have their own quotas.
    api.get("/health").expect(200);
    let other = service.client_as(Role::Agent);
    assert_eq!(good(&other, 6), 4);
    let pair = sign_in(&service, "amina@example.com").expect(201).json;
    let amina = Client::new(service.address, pair["access_token"].as_str().expect("a token"));
    assert!(amina.get("leads").expect(200).header("ratelimit").starts_with("\"session\";r=3;"));
    // A new token of the same session has the same quota.
    let renewed = service.stranger().post("auth/tokens", json!({ "refresh_token": pair["refresh_token"] })).expect(200);
    let again = Client::new(service.address, renewed.json["access_token"].as_str().expect("a token"));
    assert!(again.get("leads").expect(200).header("ratelimit").starts_with("\"session\";r=2;"));

    let page = Client::new(service.metrics, "").get("/metrics").expect(200).text;
    assert!(page.contains("rapport_rate_limited_total{kind=\"key\"}"), "{page}");
}

#[test]
fn rate_limit_refills_over_time_no_headers_when_off() {
    let service = Service::with(&["--rate-limit", "120", "--rate-burst", "2"]);
    let api = &service.client;
    while api.get("leads").status == 200 {}
    let began = Instant::now();
    while api.get("leads").status == 429 {
        assert!(began.elapsed() < Duration::from_secs(20), "it never comes back");
        std::thread::sleep(Duration::from_millis(50));
    }
    let unlimited = Service::with(&["--rate-limit-address", "0"]);
    for answer in [unlimited.client.get("leads").expect(200), unlimited.stranger().get("leads").expect(401)] {
        assert_eq!((answer.header("ratelimit"), answer.header("ratelimit-policy")), ("", ""));
    }
}

#[test]
fn invalid_credentials_limited_by_address_valid_unaffected() {
    let service = Service::with(&["--rate-limit-address", "5"]);
    admit(&service, "acme", "amina@example.com", "agent");
    let pair = sign_in(&service, "amina@example.com").expect(201);
    assert!(pair.header("ratelimit").starts_with("\"address\";r=4;"), "an open operation counts");
    let fresh = service.client_as(Role::Agent);
    let stranger = service.stranger();
    let policy = "\"address\";q=5;w=60";
    let nonsense = |number: usize| Client::new(service.address, &format!("rk_nonsense{number}")).get("leads");
    let first = nonsense(0).expect(401);
    assert_eq!((first.code(), first.header("ratelimit-policy")), ("unauthenticated", policy));
    stranger.get("leads").expect(401);
    Client::new(service.address, "a.forged.token").post("leads", json!({})).expect(401);
    nonsense(0).expect(401);
    for answer in [nonsense(0), nonsense(1), stranger.get("me"), stranger.get("/health/detailed")] {
        refused(answer, policy);
    }
    refused(sign_in(&service, "amina@example.com"), policy);
    refused(stranger.post("auth/tokens", json!({ "refresh_token": "rt_guessed" })), policy);

    // A cached key, an unknown one, and a token; even during a flood of other requests.
    std::thread::scope(|scope| {
        let flood: Vec<_> = (0..4)
            .map(|thread| scope.spawn(move || (0..20).map(|n| nonsense(100 * thread + n + 2).status).max()))
            .collect();
        let amina = Client::new(service.address, pair.json["access_token"].as_str().expect("a token"));
        for client in [&service.client, &fresh, &amina] {
            for _ in 0..10 {
                let answer = client.get("leads").expect(200);
                assert_eq!(answer.header("ratelimit"), "");
            }
        }
        assert!(flood.into_iter().all(|thread| thread.join().expect("answers") == Some(429)));
    });
    for path in ["/health", "/health/liveness", "/health/readiness", "/health/startup", "/openapi.json", "/docs/"] {
        assert_eq!(stranger.get(path).expect(200).header("ratelimit"), "", "{path}");
    }
}

/// Two replicas that share their quotas in `redis`, and a client of each with the same key.
fn replicas(redis: &str, prefix: &str) -> (Service, Service, Client) {
    let settings =
        ["--rate-limit", "1", "--rate-burst", "9", "--redis-url", redis, "--cache-prefix", prefix, "--cache", "off"];
    let one = Service::with(&settings);
    let key = make_key(&one.database, one.business, Role::Owner);
    let two = Service::on(one.database.clone(), one.business, &key, &settings);
    let there = Client::new(one.address, &key);
    (one, two, there)
}

#[test]
fn replicas_share_rate_limit_through_redis() {
    let Some(redis) = redis() else {
        println!("skipped: there is no redis-server on this machine");
        return;
    };
    let (_one, two, there) = replicas(&redis, "shared:");
    // The connection to Redis takes a moment, and local counts until then are not shared: so requests are sent one by
    // one.
    let mut taken = 0;
    let began = Instant::now();
    while taken < 9 {
        let here = two.client.get("leads").status == 200;
        let elsewhere = there.get("leads").status == 200;
        if !here && !elsewhere {
            break;
        }
        taken += usize::from(here) + usize::from(elsewhere);
        std::thread::sleep(Duration::from_millis(600));
        assert!(began.elapsed() < Duration::from_secs(60));
    }
    // Unshared quotas would allow 18.
    let rest = good(&two.client, 9) + good(&there, 9);
    assert!(taken + rest <= 12, "{taken} and {rest}");
}

#[test]
fn rate_limit_without_redis_applies_per_replica() {
    let (_one, two, there) = replicas("redis://127.0.0.1:1", "away:");
    assert_eq!((good(&there, 12), good(&two.client, 12)), (9, 9));
}

#[test]
fn concurrent_sign_in_guesses_get_no_extra_attempts() {
    let service = Service::with(&["--sign-in-attempts", "3"]);
    admit(&service, "acme", "amina@example.com", "agent");
    let guess = || {
        let wrong = json!({ "email": "amina@example.com", "password": "wrong" });
        service.stranger().post("auth/sessions", wrong).status
    };
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let guesses: Vec<_> = (0..30).map(|_| scope.spawn(guess)).collect();
        guesses.into_iter().map(|guess| guess.join().expect("an answer")).collect()
    });
    let of = |status| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((of(401), of(429)), (3, 27), "{answers:?}");
    // Successful attempts are refunded.
    admit(&service, "acme", "cy@example.com", "agent");
    for _ in 0..5 {
        sign_in(&service, "cy@example.com").expect(201);
    }
}

#[test]
fn rate_limit_behind_trusted_proxy_uses_client_address() {
    let settings =
        ["--trusted-proxies", "127.0.0.1,10.0.0.0/8", "--rate-limit-address", "2", "--sign-in-attempts", "1"];
    let service = Service::with(&settings);
    admit(&service, "acme", "amina@example.com", "agent");
    let from = |name: &str, value: &str| {
        let body = json!({ "email": "amina@example.com", "password": PASSWORD });
        let request = service.stranger().request("POST", "auth/sessions").header(name, value);
        service.stranger().send(request.json(&body))
    };
    for (value, seen) in [("203.0.113.7", "203.0.113.7"), ("1.2.3.4, 203.0.113.8, 10.1.2.3", "203.0.113.8")] {
        from("x-forwarded-for", value).expect(201);
        from("x-forwarded-for", value).expect(201);
        refused(from("x-forwarded-for", value), "\"address\";q=2;w=60");
        let shown = "SELECT DISTINCT address::text FROM sessions ORDER BY 1";
        assert!(service.database.rows::<1>(shown).iter().any(|[address]| address.starts_with(seen)));
    }
    // A /64 shares one limit, whichever header reports it.
    from("forwarded", "for=\"[2001:db8::1]:4711\";proto=https").expect(201);
    from("forwarded", "For=\"[2001:db8::2]\"").expect(201);
    refused(from("x-forwarded-for", "2001:db8::3"), "\"address\";q=2;w=60");
    from("x-forwarded-for", "2001:db8:0:1::3").expect(201);
}

/// The address that `headers` give a request whose peer is `peer`, with proxies in 10.0.0.0/8 and fd00::/8.
fn seen(peer: &str, headers: &[(&'static str, &[u8])]) -> String {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"));
    }
    let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].iter().map(|net| net.parse().expect("a network")).collect();
    reported(peer.parse().expect("an address"), &map, &trusted).to_string()
}

#[test]
fn client_ip_from_forwarded_headers_trusts_only_proxies() {
    let list = ["1.1.1.1"; 5_000].join(",");
    let all_trusted = ["10.9.9.9"; 5_000].join(",");
    for (value, expected) in [
        ("203.0.113.7", "203.0.113.7"),
        ("8.8.8.8, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("203.0.113.7:443", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443, fd00::1", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("203.0.113.7,", "203.0.113.7"),
        // An invalid address ends the chain at the proxy that reported it.
        ("", "10.0.0.1"),
        ("unknown", "10.0.0.1"),
        ("8.8.8.8, unknown", "10.0.0.1"),
        ("8.8.8.8, _hidden, 10.0.0.2", "10.0.0.2"),
        ("203.0.113.7:99999", "10.0.0.1"),
        ("[2001:db8::1", "10.0.0.1"),
        ("[203.0.113.7]", "10.0.0.1"),
        ("1.2.3.4.5", "10.0.0.1"),
        (&list, "1.1.1.1"),
        (&all_trusted, "10.9.9.9"),
    ] {
        let header = ("x-forwarded-for", value.as_bytes());
        assert_eq!(seen("10.0.0.1", &[header]), expected, "{:.60}", value);
        assert_eq!(seen("192.0.2.1", &[header]), "192.0.2.1", "nobody asked this peer");
    }
    for (value, expected) in [
        ("for=203.0.113.7", "203.0.113.7"),
        ("for=8.8.8.8, FOR=203.0.113.7;proto=https;by=10.0.0.1", "203.0.113.7"),
        ("for=\"[2001:db8::1]:4711\", for=10.0.0.2", "2001:db8::1"),
        ("for=unknown", "10.0.0.1"),
        ("proto=https", "10.0.0.1"),
        ("for=1.1.1.1;for=2.2.2.2", "10.0.0.1"),
        // A proxy quotes what the client wrote: a quoted string is not trusted.
        ("for=203.0.113.7;host=\"x, for=9.9.9.9;y=\"", "203.0.113.7"),
        ("for=203.0.113.7;host=\"x\\\", for=9.9.9.9;y=\"", "203.0.113.7"),
        ("for=\"x, for=203.0.113.7", "10.0.0.1"),
    ] {
        assert_eq!(seen("10.0.0.1", &[("forwarded", value.as_bytes())]), expected, "{value}");
    }
    let both: [(&str, &[u8]); 2] = [("forwarded", b"for=9.9.9.9"), ("x-forwarded-for", b"203.0.113.7")];
    assert_eq!(seen("10.0.0.1", &both), "203.0.113.7");
    let lines: [(&str, &[u8]); 2] = [("x-forwarded-for", b"9.9.9.9"), ("x-forwarded-for", b"203.0.113.7, 10.0.0.2")];
    assert_eq!(seen("10.0.0.1", &lines), "203.0.113.7");
    assert_eq!(seen("10.0.0.1", &[("x-forwarded-for", b"9.9.9.9, \xff\xfe")]), "10.0.0.1");
    let grouped = |address: &str| network(address.parse().expect("an address")).to_string();
    assert_eq!(
        (grouped("2001:db8:1:2:3:4:5:6").as_str(), grouped("192.0.2.7").as_str()),
        ("2001:db8:1:2::", "192.0.2.7")
    );
}

#[test]
fn client_ip_ignores_text_left_of_the_trusted_proxys_entry() {
    let hostile = prop_oneof![
        proptest::collection::vec(32u8..=255, 0..60).prop_filter("no DEL", |bytes| !bytes.contains(&127)),
        "[for=0-9.,;:\"\\\\\\[\\] ]{0,60}".prop_map(String::into_bytes),
    ];
    for_cases(2_000, hostile, |mut bytes| {
        bytes.extend_from_slice(b", 203.0.113.7");
        let told = seen("10.0.0.1", &[("x-forwarded-for", &bytes)]);
        // Non-ASCII bytes make the whole header unreadable; the proxy's own address is used.
        let readable = bytes.is_ascii();
        assert_eq!(told, if readable { "203.0.113.7" } else { "10.0.0.1" });
        let mut bytes = bytes[..bytes.len() - 13].to_vec();
        bytes.extend_from_slice(b", for=203.0.113.7;by=10.0.0.1");
        let told: IpAddr = seen("10.0.0.1", &[("forwarded", &bytes)]).parse().expect("an address");
        assert!(["203.0.113.7", "10.0.0.1"].contains(&told.to_string().as_str()), "{told}");
    });
}
