//! Tests of CORS: preflights from browsers on other origins, and errors that say which setting to change.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Answer, Client, Database, Program, Service};

const APP: &str = "https://app.example.com";

fn preflight(client: &Client, origin: &str, method: &str, headers: &str) -> Answer {
    let request = client.request("OPTIONS", "leads").header("origin", origin);
    let request = request.header("access-control-request-method", method);
    client.send(if headers.is_empty() { request } else { request.header("access-control-request-headers", headers) })
}

fn names(list: &str) -> BTreeSet<String> {
    list.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect()
}

#[test]
fn preflight_with_headers_of_front_ends_allowed() {
    let service = Service::with(&["--cors-origins", APP]);
    let api = service.stranger();
    let wanted = "accept-language,authorization,baggage,cache-control,content-type,idempotency-key,if-match,if-none-match,\
                  last-event-id,prefer,sentry-trace,traceparent,tracestate,x-request-id,x-requested-with";
    let answer = preflight(&api, APP, "PATCH", wanted).expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), APP);
    assert!(names(answer.header("access-control-allow-headers")).is_superset(&names(wanted)), "{:?}", answer.headers);
    // In the form in which some browsers send them.
    preflight(&api, APP, "POST", "Content-Type, Sentry-Trace , BAGGAGE").expect(200);
    preflight(&api, APP, "GET", "").expect(200);
}

#[test]
fn preflight_of_origins_with_spaces_case_or_port_allowed() {
    // A blank after the comma, capital letters, a default port, a slash at the end.
    let service = Service::with(&["--cors-origins", "https://a.example, https://b.example,HTTPS://C.example:443/"]);
    for origin in ["https://a.example", "https://b.example", "https://c.example"] {
        preflight(&service.stranger(), origin, "GET", "").expect(200);
    }
}

#[test]
fn refused_preflight_403_names_what_was_refused_and_the_option() {
    let service = Service::with(&["--cors-origins", APP]);
    let closed = Service::start();
    let (api, without) = (service.stranger(), closed.stranger());
    for (answer, code, named) in [
        (preflight(&api, "https://evil.example.com", "GET", ""), "cors_origin_refused", "`https://evil.example.com`"),
        // Another scheme or port is another origin.
        (preflight(&api, "http://app.example.com", "GET", ""), "cors_origin_refused", "`http://app.example.com`"),
        (preflight(&api, APP, "TRACE", ""), "cors_method_refused", "`TRACE`"),
        (
            preflight(&api, APP, "GET", "authorization, x-secret,x-other"),
            "cors_header_refused",
            "`x-secret`, `x-other`",
        ),
        (preflight(&without, APP, "GET", ""), "cors_origin_refused", "`https://app.example.com`"),
    ] {
        let answer = answer.expect(403);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.code(), code, "{}", answer.text);
        let detail = answer.json["detail"].as_str().expect("a detail");
        assert!(detail.contains(named) && detail.contains("RAPPORT_CORS_ORIGINS"), "{detail}");
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    // Not a preflight: any client may send OPTIONS to a path.
    api.send(api.request("OPTIONS", "leads")).expect(405);
    let anywhere = Service::with(&["--cors-origins", "*"]);
    preflight(&anywhere.stranger(), "https://evil.example.com", "GET", "if-match").expect(200);
}

#[test]
fn refused_preflight_is_logged_once() {
    let database = Database::create();
    let program = Program::serve(&[("DATABASE_URL", &database.url), ("RAPPORT_CORS_ORIGINS", APP)]);
    program.until_ready();
    let client = program.client("");
    for _ in 0..3 {
        preflight(&client, "https://new.example.com", "GET", "").expect(403);
        preflight(&client, APP, "GET", "x-unheard-of").expect(403);
    }
    let said = program.stop();
    assert_eq!(said.matches("https://new.example.com").count(), 1, "{said}");
    assert_eq!(said.matches("x-unheard-of").count(), 1, "{said}");
}

#[test]
fn documented_headers_are_allowed_and_exposed() {
    let service = Service::with(&["--cors-origins", APP]);
    let api = &service.client;
    let document = api.get("/openapi.json").expect(200).json;
    let resolve = |value: &Value| match value["$ref"].as_str() {
        Some(path) => document.pointer(path.trim_start_matches('#')).expect("what a reference names").clone(),
        None => value.clone(),
    };
    let (mut sent, mut answered) = (BTreeSet::new(), BTreeSet::new());
    for methods in document["paths"].as_object().expect("paths").values() {
        for operation in methods.as_object().expect("methods").values() {
            for parameter in operation["parameters"].as_array().into_iter().flatten().map(&resolve) {
                if parameter["in"] == "header" {
                    sent.insert(parameter["name"].as_str().expect("a name").to_ascii_lowercase());
                }
            }
            for response in operation["responses"].as_object().into_iter().flat_map(|all| all.values()).map(&resolve) {
                let headers = response["headers"].as_object().into_iter().flat_map(|all| all.keys().cloned());
                answered.extend(headers.map(|name| name.to_ascii_lowercase()));
            }
        }
    }
    assert!(sent.contains("if-match") && answered.contains("etag"), "the document was read: {sent:?} {answered:?}");
    let methods: BTreeSet<String> = document["paths"]
        .as_object()
        .expect("paths")
        .values()
        .flat_map(|path| path.as_object().expect("methods").keys().map(|method| method.to_ascii_uppercase()))
        .collect();
    assert!(methods.contains("PUT"), "{methods:?}");
    for method in methods {
        preflight(&service.stranger(), APP, &method, "authorization").expect(200);
    }
    let list = sent.into_iter().collect::<Vec<_>>().join(",");
    preflight(&service.stranger(), APP, "POST", &list).expect(200);

    // Headers of every response or file, documented or not.
    answered.extend(
        ["cache-status", "content-disposition", "server-timing", "www-authenticate", "x-request-id"].map(String::from),
    );
    let answer = api.send(api.request("GET", "leads").header("origin", APP)).expect(200);
    let exposed = names(answer.header("access-control-expose-headers"));
    assert!(exposed.is_superset(&answered), "not exposed: {:?}", answered.difference(&exposed));
}
