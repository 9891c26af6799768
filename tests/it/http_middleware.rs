//! Tests of metrics, response headers and probes.

use rapport::auth::Role;
use rapport::db::{Statement, WriteOptions};
use serde_json::json;

use crate::support::{Client, Service, open_db, redis};

#[test]
fn metrics_count_requests_pool_queries_and_retries() {
    let service = Service::with(&["--db-connections", "3"]);
    let api = &service.client;
    let lead = api.make("leads", json!({ "title": "Personal Words" }));
    api.get(&format!("leads/{lead}")).expect(200);
    api.get("leads?q=personal").expect(200);
    api.get("leads?nonsense=1").expect(400);
    service.stranger().get("leads").expect(401);
    api.get("/no/such/path").expect(404);
    // a refusal, not a failure
    api.get(&format!("messages/{lead}/media")).expect(404);

    let db = open_db(&service.database, &[]);
    let options = WriteOptions { attempts: 3, ..WriteOptions::default() };
    let hopeless = actix_web::rt::System::new().block_on(db.unscoped().write_with("forced_retry", options, |tx| {
        Ok(Statement::new("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$").run(tx)?)
    }));
    hopeless.expect_err("it never succeeds");

    let page = Client::new(service.metrics, "").get("/metrics").expect(200);
    assert!(page.header("content-type").starts_with("text/plain"));
    let text = &page.text;
    let requests = "rapport_http_request_duration_seconds_count";
    for line in [
        format!("{requests}{{method=\"GET\",route=\"/api/v1/leads\",status=\"200\"}}"),
        format!("{requests}{{method=\"GET\",route=\"/api/v1/leads\",status=\"400\"}}"),
        format!("{requests}{{method=\"GET\",route=\"/api/v1/leads\",status=\"401\"}}"),
        format!("{requests}{{method=\"POST\",route=\"/api/v1/leads\",status=\"201\"}}"),
        format!("{requests}{{method=\"GET\",route=\"/api/v1/leads/{{id}}\",status=\"200\"}}"),
        format!("{requests}{{method=\"GET\",route=\"-\",status=\"404\"}}"),
        "rapport_http_request_duration_seconds_bucket{method=\"GET\",route=\"/api/v1/leads\",status=\"200\",le=\"0.01\"}".into(),
        "rapport_db_operation_duration_seconds_count{name=\"list\"}".into(),
        "rapport_db_statements_total{name=\"create\"}".into(),
        "rapport_db_connections{state=\"allowed\"} 3".into(),
        "rapport_db_connections{state=\"idle\"}".into(),
        "rapport_db_connections{state=\"used\"}".into(),
        "rapport_db_queue_depth ".into(),
        "rapport_ready 1".into(),
        "rapport_db_retries_total{name=\"forced_retry\"} 2".into(),
        "rapport_db_failures_total{name=\"forced_retry\"} 3".into(),
        "rapport_db_failures_total{name=\"message_media\"} 0".into(),
    ] {
        assert!(text.contains(&line), "no {line} in\n{text}");
    }
    assert!(!text.contains(&lead) && !text.to_lowercase().contains("personal"), "a metric carries what people typed");
}

#[test]
fn every_response_has_security_headers() {
    let service = Service::start();
    let api = &service.client;
    for (answer, what) in [
        (api.get("leads").expect(200), "an answer"),
        (api.get("leads?nonsense=1").expect(400), "a refusal"),
        (service.stranger().get("leads").expect(401), "a stranger's refusal"),
        (api.get("/no/such/path").expect(404), "no path"),
        (api.send(api.request("PUT", "leads")).expect(405), "no method"),
        (api.get("/health").expect(200), "a probe"),
        (api.get("/openapi.json").expect(200), "the document"),
    ] {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "private, no-cache"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ] {
            assert_eq!(answer.header(name), value, "{name} of {what}");
        }
        assert!(answer.header("vary").contains("Authorization"), "vary of {what}");
        assert!(answer.header("server-timing").contains("total;dur="), "{what}");
    }
    let explorer = api.get("/docs/").expect(200);
    assert_eq!(explorer.header("referrer-policy"), "no-referrer");
    assert!(
        explorer.header("content-security-policy").contains("script-src")
            || explorer.header("content-security-policy").starts_with("default-src 'self'")
    );
}

#[test]
fn explorer_files_are_served_compressed_and_validated() {
    let service = Service::start();
    let api = &service.client;
    let page = api.get("/docs/").expect(200);
    assert_eq!(page.header("content-type"), "text/html");
    assert!(page.text.contains("<title>Rapport API</title>"), "{}", page.text);
    let needed: Vec<&str> = page
        .text
        .split(['"', '\''])
        .filter_map(|part| part.strip_prefix("./"))
        .filter(|name| !name.contains(char::is_whitespace))
        .collect();
    assert!(needed.len() >= 5, "{needed:?}");
    for name in needed.into_iter().chain(["index.css", "swagger-initializer.js"]) {
        assert!(!api.get(&format!("/docs/{name}")).expect(200).text.is_empty(), "{name}");
    }
    assert!(api.get("/docs/swagger-initializer.js").expect(200).text.contains("/openapi.json"));
    let bundle = "/docs/swagger-ui-bundle.js";
    let packed = api.send(api.request("GET", bundle).header("accept-encoding", "gzip"));
    let plain = api.send(api.request("GET", bundle).header("accept-encoding", "identity")).expect(200);
    assert_eq!((packed.status, packed.header("content-encoding")), (200, "gzip"));
    assert_eq!(plain.header("content-encoding"), "");
    for tag in [packed.header("etag"), plain.header("etag")] {
        api.send(api.request("GET", bundle).header("if-none-match", tag)).expect(304);
    }
    api.send(api.request("HEAD", bundle)).expect(200);
    assert_eq!(api.send(api.request("POST", "/docs/")).expect(405).header("allow"), "GET, HEAD");
    for path in ["/docs/nothing.js", "/docs/..%2fCargo.toml", "/docs/../Cargo.toml"] {
        assert_eq!(api.get(path).expect(404).code(), "not_found", "{path}");
    }
}

#[test]
fn request_id_valid_echoed_invalid_replaced() {
    let service = Service::start();
    let api = &service.client;
    let ask = |id: &str| api.send(api.request("GET", "leads?nonsense=1").header("x-request-id", id)).expect(400);

    let kept = ask("abc-123_4.5");
    assert_eq!(kept.header("x-request-id"), "abc-123_4.5");
    assert_eq!(kept.json["request_id"], "abc-123_4.5");
    for odd in ["two words", "<script>", &"x".repeat(65), ""] {
        let replaced = ask(odd);
        let id = replaced.header("x-request-id");
        assert!(uuid::Uuid::try_parse(id).is_ok(), "{odd:?} became {id:?}");
        assert_eq!(replaced.json["request_id"], id);
    }
    assert_ne!(api.get("leads").header("x-request-id"), api.get("leads").header("x-request-id"));
}

#[test]
fn cors_listed_origins_allowed_others_refused() {
    let service = Service::with(&["--cors-origins", "https://app.example.com,https://admin.example.com"]);
    let api = service.stranger();
    let preflight = |origin: &str, method: &str| {
        let request = api.request("OPTIONS", "leads").header("origin", origin);
        let wanted = request.header("access-control-request-method", method);
        api.send(wanted.header("access-control-request-headers", "authorization,content-type,if-match"))
    };
    for origin in ["https://app.example.com", "https://admin.example.com"] {
        let answer = preflight(origin, "PATCH").expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert!(answer.header("access-control-allow-methods").contains("PATCH"));
        assert!(answer.header("access-control-allow-headers").to_lowercase().contains("authorization"));
        assert_eq!(answer.header("access-control-max-age"), "3600");
    }
    for (origin, method) in [("https://evil.example.com", "GET"), ("https://app.example.com", "TRACE")] {
        let answer = preflight(origin, method);
        let allowed = answer.header("access-control-allow-origin") == origin && answer.status == 200;
        assert!(!allowed, "{origin} {method}: {} {:?}", answer.status, answer.headers);
    }

    let real = |origin: &str| service.client.request("GET", "leads").header("origin", origin);
    let answer = api.send(real("https://app.example.com")).expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example.com");
    let exposed = answer.header("access-control-expose-headers").to_lowercase();
    assert!(["etag", "location", "x-request-id"].iter().all(|name| exposed.contains(name)), "{exposed}");
    let refused = api.send(api.request("GET", "leads").header("origin", "https://app.example.com")).expect(401);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "https://app.example.com",
        "a browser must be able to read why it was refused"
    );
    let evil = api.send(real("https://evil.example.com"));
    assert_eq!(evil.header("access-control-allow-origin"), "");
    assert_eq!(Service::start().client.get("leads").expect(200).header("access-control-allow-origin"), "");
}

#[test]
fn health_detailed_below_manager_role_refused() {
    let service = Service::start();
    service.stranger().get("/health/detailed").expect(401);
    service.client_as(Role::Agent).get("/health/detailed").expect(403);
    let detailed = service.client_as(Role::Manager).get("/health/detailed").expect(200);
    assert_eq!(detailed.json["status"], "ready");
    assert_eq!(detailed.json["database"]["status"], "up");
    assert!(detailed.json["database"]["latency_ms"].as_f64().is_some_and(|ms| ms < 500.0));
    assert_eq!(detailed.json["pool"]["size"], 2);
    assert_eq!(detailed.json["redis"]["status"], "off");
    assert!(!detailed.text.contains("postgres://"));
}

#[test]
fn health_redis_down_reported_and_readiness_200() {
    let Some(url) = redis() else {
        println!("skipped: there is no redis-server on this machine");
        return;
    };
    let up = Service::with(&["--redis-url", &url]);
    let detailed = up.client.get("/health/detailed").expect(200);
    assert_eq!(detailed.json["redis"]["status"], "up", "{}", detailed.text);
    assert!(detailed.json["redis"]["latency_ms"].is_number());

    // A port without a listener, and a socket that does not exist.
    for away in ["redis://127.0.0.1:1", "unix:///var/tmp/no-such-redis.sock"] {
        let down = Service::with(&["--redis-url", away]);
        let detailed = down.client.get("/health/detailed").expect(200);
        assert_eq!(detailed.json["redis"]["status"], "down", "{}", detailed.text);
        assert_eq!(detailed.json["status"], "ready");
        down.stranger().get("/health/readiness").expect(200);
        down.client.get("leads").expect(200);
    }
}
