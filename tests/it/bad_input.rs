//! Tests of invalid and hostile input: each request gets a clear 4xx and changes nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use proptest::prelude::*;
use rapport::app::registry::RESOURCES;
use rapport::resource::{FieldType, Mutability};
use serde_json::{Value, json};

use crate::support::{Answer, Client, Database, Samples, Service, for_cases};

/// How many rows each table has.
fn counts(database: &Database) -> String {
    let union = database.ask(
        "SELECT string_agg(format('SELECT %L || count(*) AS line FROM %I', table_name || ': ', table_name), ' UNION ALL ')
         FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
           -- that a credential was used is logged as a change of it
           AND table_name <> 'change_log'",
    );
    database.ask(&format!("SELECT string_agg(line, ', ' ORDER BY line) FROM ({union}) lines"))
}

/// Asserts a useful problem document that reveals no internals.
#[track_caller]
fn refused(answer: Answer, status: u16, about: &str) {
    assert_eq!(answer.status, status, "{about}: {}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json", "{about}");
    assert_eq!(answer.json["status"], status, "{about}");
    for member in ["type", "title", "detail", "code", "request_id"] {
        assert!(answer.json[member].as_str().is_some_and(|text| !text.is_empty()), "{about}: no {member}");
    }
    for inside in ["SELECT ", "INSERT ", "syntax error", "diesel", "panicked", "src/"] {
        assert!(!answer.text.contains(inside), "{about}: {}", answer.text);
    }
}

#[test]
fn malformed_request_4xx_problem_document_and_no_change() {
    let service = Service::start();
    let api = &service.client;
    let (_, neighbour) = service.neighbour();
    let theirs = neighbour.make("companies", json!({ "name": "Theirs" }));
    let lead = api.make("leads", json!({ "title": "Roof" }));
    api.get("leads").expect(200);
    let nobody = "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71";
    let before = counts(&service.database);

    // Bodies, as bytes: sent to a create and, where it makes sense, to a patch.
    let long = "x".repeat(201);
    let deep =
        |levels: usize| format!("{{\"title\":\"a\",\"metadata\":{}1{}}}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let tags = |count: usize| format!("[{}]", (0..count).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(","));
    let title = |rest: &str| format!("{{\"title\":\"a\",{rest}}}");
    let bodies: Vec<(&str, Vec<u8>, u16)> = [
        ("nothing", String::new(), 400),
        ("a space", " ".into(), 400),
        ("half an object", "{\"title\":".into(), 400),
        ("two objects", "{\"title\":\"a\"}{}".into(), 400),
        ("a comma too many", "{\"title\":\"a\",}".into(), 400),
        ("a comment", "{\"title\":\"a\"/**/}".into(), 400),
        ("single quotes", "{'title':'a'}".into(), 400),
        ("NaN", title("\"score\":NaN"), 400),
        ("a form", "title=a".into(), 400),
        ("a byte order mark", "\u{feff}{\"title\":\"a\"}".into(), 400),
        ("an array", "[{\"title\":\"a\"}]".into(), 400),
        ("a text", "\"title\"".into(), 400),
        ("a number", "1".into(), 400),
        ("null", "null".into(), 400),
        ("nesting past the limit", deep(16), 400),
        ("nesting far past the limit", deep(120), 400),
        ("nesting without end", "[".repeat(200_000), 400),
        ("a number past a double", title("\"score\":1e400"), 400),
        ("a number past a double, deep inside", title("\"metadata\":{\"a\":-1e400}"), 400),
        ("a lone high surrogate", title("\"source\":\"\\ud800\""), 400),
        ("a lone low surrogate", title("\"metadata\":{\"a\":\"\\udc00\"}"), 400),
        ("a raw control character", title("\"source\":\"\u{1}\""), 400),
        ("NUL in a text", title("\"source\":\"a\\u0000b\""), 422),
        ("NUL in a tag", title("\"tags\":[\"a\\u0000\"]"), 422),
        ("NUL in a value of metadata", title("\"metadata\":{\"a\":{\"b\":[\"\\u0000\"]}}"), 422),
        ("NUL in a key of metadata", title("\"metadata\":{\"a\":{\"\\u0000\":1}}"), 422),
        ("NUL in a field's name", title("\"\\u0000\":1"), 422),
        ("an unknown field", title("\"titel\":1"), 422),
        ("another's field", title("\"business_id\":\"01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71\""), 422),
        ("a column that is not shown", title("\"deleted_at\":null"), 422),
        ("a field that the service sets", title("\"version\":7"), 422),
        ("__proto__", title("\"__proto__\":{}"), 422),
        ("an empty text", "{\"title\":\"\"}".into(), 422),
        ("a long text", format!("{{\"title\":\"{long}\"}}"), 422),
        ("null where there must be a value", "{\"title\":null}".into(), 422),
        ("a number for a text", "{\"title\":1}".into(), 422),
        ("an object for a text", "{\"title\":{\"a\":1}}".into(), 422),
        ("a text for a number", title("\"score\":\"1\""), 422),
        ("a fraction for a whole number", title("\"score\":1.5"), 422),
        ("a number above its range", title("\"score\":101"), 422),
        ("a number below its range", title("\"score\":-1"), 422),
        ("money past what JavaScript holds", title("\"value_minor\":9007199254740992"), 422),
        ("money past 64 bits", title("\"value_minor\":18446744073709551616"), 422),
        ("money below nothing", title("\"value_minor\":-1"), 422),
        ("a long number", title(&format!("\"value_minor\":{}", "9".repeat(300))), 422),
        ("no choice", title("\"status\":\"nwe\""), 422),
        ("a choice in capitals", title("\"status\":\"NEW\""), 422),
        ("no UUID", title("\"company_id\":\"7\""), 422),
        ("a number for a UUID", title("\"company_id\":7"), 422),
        ("a link to nothing", title(&format!("\"company_id\":\"{nobody}\"")), 422),
        ("a link to a neighbour's row", title(&format!("\"company_id\":\"{theirs}\"")), 422),
        ("a link to a row of another resource", title(&format!("\"company_id\":\"{lead}\"")), 422),
        ("no time", title("\"entered_at\":\"soon\""), 422),
        ("a time without a zone", title("\"entered_at\":\"2026-01-01T00:00:00\""), 422),
        ("a day for a time", title("\"entered_at\":\"2026-01-01\""), 422),
        ("a number for a time", title("\"entered_at\":1700000000"), 422),
        ("30 February", title("\"entered_at\":\"2026-02-30T00:00:00Z\""), 422),
        ("hour 24", title("\"entered_at\":\"2026-01-01T24:00:00Z\""), 422),
        ("year 0", title("\"entered_at\":\"0000-06-01T00:00:00Z\""), 422),
        ("year 0, once in UTC", title("\"entered_at\":\"0001-01-01T00:00:00+14:00\""), 422),
        ("year 10000", title("\"entered_at\":\"10000-01-01T00:00:00Z\""), 422),
        ("year 10000, once in UTC", title("\"entered_at\":\"9999-12-31T23:59:59-14:00\""), 422),
        ("a year of BC", title("\"entered_at\":\"-0044-03-15T00:00:00Z\""), 422),
        ("infinity", title("\"entered_at\":\"infinity\""), 422),
        ("no currency", title("\"currency\":\"Euro\""), 422),
        ("too many tags", title(&format!("\"tags\":{}", tags(51))), 422),
        ("an empty tag", title("\"tags\":[\"\"]"), 422),
        ("a number as a tag", title("\"tags\":[1]"), 422),
        ("a text for tags", title("\"tags\":\"vip\""), 422),
        ("an array for metadata", title("\"metadata\":[]"), 422),
        ("null for metadata in an object", title("\"metadata\":1"), 422),
        ("large metadata", title(&format!("\"metadata\":{{\"a\":\"{}\"}}", "x".repeat(65_536))), 422),
        ("a body past the limit", title(&format!("\"source\":\"{}\"", "x".repeat(1_048_576))), 413),
    ]
    .into_iter()
    .map(|(about, body, status)| (about, body.into_bytes(), status))
    .chain([
        ("no UTF-8", b"{\"title\":\"\xff\xfe\"}".to_vec(), 400),
        ("UTF-16", "{\"title\":\"a\"}".encode_utf16().flat_map(u16::to_le_bytes).collect(), 400),
        ("overlong UTF-8", b"{\"title\":\"\xc0\x80\"}".to_vec(), 400),
    ])
    .collect();
    for (about, body, status) in &bodies {
        for (method, path) in [("POST", "leads".to_owned()), ("PATCH", format!("leads/{lead}"))] {
            let request = api.request(method, &path).header("Content-Type", "application/json");
            refused(api.send(request.body(body.clone())), *status, &format!("{method} with {about}"));
        }
    }
    // Fields of other resources.
    for (about, path, body) in [
        ("no e-mail address", "contacts", json!({ "email": "anna" })),
        ("an e-mail address with a line break", "contacts", json!({ "email": "a@b.example\r\nBcc: c@d.example" })),
        ("a long e-mail address", "contacts", json!({ "email": format!("{}@b.example", "a".repeat(250)) })),
        ("an empty phone number", "contacts", json!({ "phone": "  " })),
        ("a phone number of two lines", "contacts", json!({ "phone": "1\n2" })),
        ("a contact without anything", "contacts", json!({ "title": "Dr" })),
        ("no zone", "staff", json!({ "name": "a", "time_zone": "Europe/Atlantis" })),
        ("a fixed offset for a zone", "staff", json!({ "name": "a", "time_zone": "+02:00" })),
        ("a text for a flag", "staff", json!({ "name": "a", "active": "true" })),
        ("no day", "campaigns", json!({ "name": "a", "starts_on": "2026-2-3" })),
        ("30 February", "campaigns", json!({ "name": "a", "starts_on": "2026-02-30" })),
        ("year 0", "campaigns", json!({ "name": "a", "starts_on": "0000-01-01" })),
        ("a time for a day", "campaigns", json!({ "name": "a", "starts_on": "2026-01-01T00:00:00Z" })),
        (
            "an end before its beginning",
            "campaigns",
            json!({ "name": "a", "starts_on": "2026-02-01", "ends_on": "2026-01-31" }),
        ),
        (
            "nothing that lasts",
            "bookings",
            json!({ "customer_name": "a", "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z" }),
        ),
        (
            "a day past the calendar in its own zone",
            "bookings",
            json!({ "customer_name": "a", "starts_at": "9999-12-31T23:00:00Z", "ends_at": "9999-12-31T23:30:00Z" }),
        ),
        ("no minutes", "services", json!({ "name": "a", "duration_minutes": 0 })),
        (
            "a float for money",
            "messages",
            json!({ "conversation_id": nobody, "direction": "outbound", "body": "a", "cost": 0.1 }),
        ),
        (
            "money in words",
            "messages",
            json!({ "conversation_id": nobody, "direction": "outbound", "body": "a", "cost": "1e3" }),
        ),
        (
            "money with seven decimals",
            "messages",
            json!({ "conversation_id": nobody, "direction": "outbound", "body": "a", "cost": "0.0000001" }),
        ),
        (
            "money below nothing",
            "messages",
            json!({ "conversation_id": nobody, "direction": "outbound", "body": "a", "cost": "-1" }),
        ),
        ("a message to nobody", "messages", json!({ "conversation_id": nobody, "direction": "outbound", "body": "a" })),
        ("no role", "users", json!({ "email": "a@b.example", "name": "a", "role": "root" })),
        ("no ids", "leads/batch/read", json!({ "ids": [] })),
        ("too many ids", "leads/batch/read", json!({ "ids": vec![nobody; 1_001] })),
        ("ids that are none", "leads/batch/read", json!({ "ids": [1, null, "x", {}] })),
        ("an unknown relation", "leads/batch/read", json!({ "ids": [nobody], "include": ["secrets"] })),
    ] {
        refused(api.post(path, body), 422, &format!("{path} with {about}"));
    }

    // Query strings.
    let many = vec![nobody; 101].join(",");
    let (ten, sql) = ("x".repeat(10_000), "1'%3B%20DROP%20TABLE%20leads%3B--");
    for query in [
        "limit=0",
        "limit=-1",
        "limit=501",
        "limit=99999999999999999999",
        "limit=1.5",
        "limit=",
        "limit=%00",
        "limit=NaN",
        "count=maybe",
        "deleted=maybe",
        "sort=",
        "sort=-",
        "sort=--score",
        "sort=score,value",
        "sort=score%20DESC",
        "sort=version",
        "cursor=",
        "cursor=%F0%9F",
        "cursor=AAAA",
        "cursor=../../etc/passwd",
        "status=",
        "status=,",
        "status=%00",
        "status=%FF",
        "score=ten",
        "score=1e400",
        "score_min=",
        "score_max=1%202",
        "created_after=2026-13-01T00:00:00Z",
        "created_after=0000-01-01T00:00:00Z",
        "created_before=10000-01-01T00:00:00Z",
        "created_before=infinity",
        "company_id=7",
        "company_id=none,none",
        "assignee_id=me",
        "q=%C3%28abc",
        "q=%ED%A0%80abc",
        "q=a%00bc",
        "metadata.=1",
        "metadata.a%00b=1",
        "metadata.a=%00",
        "metadata=1",
        "fields=version,secret",
        "fields=company.name",
        "fields=*",
        "include=company.contacts",
        "include=*",
        "business_id=1",
        "id=1",
        "%00=1",
        "=1",
        "a[]=1",
        "status[]=new",
        "$where=1",
        "__proto__=1",
        "include=%FF",
    ] {
        refused(api.get(&format!("leads?{query}")), 400, query);
    }
    for name in
        ["sort", "limit", "cursor", "include", "fields", "status", "company_id", "created_after", "score", "nonsense"]
    {
        refused(api.get(&format!("leads?{name}={ten}")), 400, &format!("10,000 characters of {name}"));
        refused(api.get(&format!("leads?{name}={sql}")), 400, &format!("SQL as {name}"));
    }
    refused(api.get(&format!("leads?q={ten}")), 400, "a long search");
    refused(api.get(&format!("leads?{ten}=1")), 400, "a long name");
    refused(api.get(&format!("leads?company_id={many}")), 400, "too many values");
    refused(api.get(&format!("leads/{lead}?limit=1")), 400, "a list's parameter for a single row");

    // Paths.
    for path in [
        "leads/7",
        "leads/null",
        "leads/%00",
        "leads/%FF%FE",
        "leads/%2e%2e%2fusers",
        "leads/1%27%20OR%20%271%27=%271",
        "leads/{}",
        "leads//",
        "leads/",
        "leads/*",
        "leads/01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c7",
        "leads/01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71/restoration/x",
        "leads/batch",
        "lead",
        "LEADS",
        "leads.json",
        "leads;x=1",
        "%6Ceads%00",
        "",
        "/api/v2/leads",
        "/api",
        "/.env",
        "/%2e%2e/%2e%2e/etc/passwd",
    ] {
        refused(api.get(path), 404, path);
    }
    refused(api.get(&format!("leads/{}", "9".repeat(10_000))), 404, "a long path");

    // Headers.
    for (name, value, status) in [
        ("Content-Type", "text/plain", 415),
        ("Content-Type", "application/x-www-form-urlencoded", 415),
        ("Content-Type", "multipart/form-data; boundary=x", 415),
        ("Content-Type", "application/xml", 415),
        ("Content-Type", "nonsense", 415),
        ("Content-Encoding", "gzip", 415),
        ("Content-Encoding", "identity, br", 415),
    ] {
        let mut request = api.request("POST", "leads").header(name, value).body("{\"title\":\"a\"}");
        if name != "Content-Type" {
            request = request.header("Content-Type", "application/json");
        }
        refused(api.send(request), status, &format!("{name}: {value}"));
    }
    refused(api.send(api.request("POST", "leads").body("{\"title\":\"a\"}")), 415, "no Content-Type");
    for (tag, status) in [
        ("", 400),
        ("nonsense", 400),
        ("1e3", 400),
        ("W/", 400),
        ("\u{fc}", 400),
        // Entity tags that do not match the row.
        ("\"\"", 412),
        ("\"x\"", 412),
        ("\"-\"", 412),
        ("\"99999999999999999999\"", 412),
    ] {
        let patch =
            api.request("PATCH", &format!("leads/{lead}")).header("If-Match", tag).json(&json!({ "title": "b" }));
        refused(api.send(patch), status, &format!("PATCH If-Match: {tag}"));
        let delete = api.request("DELETE", &format!("leads/{lead}")).header("If-Match", tag);
        refused(api.send(delete), status, &format!("DELETE If-Match: {tag}"));
    }
    for tag in ["nonsense", "\"", "W/W/W/", ",,,", "\u{fc}"] {
        api.send(api.request("GET", &format!("leads/{lead}")).header("If-None-Match", tag)).expect(200);
    }
    // A client's request id is accepted only if it is plain text, so that logs stay legible.
    let request = api.request("GET", "leads").header("X-Request-Id", "a b\" c");
    assert_ne!(api.send(request).expect(200).header("x-request-id"), "a b\" c");

    assert_eq!(counts(&service.database), before);
    assert_eq!(api.get(&format!("leads/{lead}")).expect(200).json["version"], 1);
}

#[test]
fn sql_and_markup_in_text_fields_stored_verbatim() {
    let service = Service::start();
    let api = &service.client;
    let mut samples = Samples::new(api);
    for text in [
        "'; DROP TABLE leads; --",
        "\\'; SELECT pg_sleep(9); --",
        "$1 :name ? %s {0}",
        "<script>alert(1)</script>",
        "\u{5d0}\u{1f600}\u{301}",
    ] {
        for resource in RESOURCES.into_iter().filter(|resource| resource.operations.create) {
            let mut body = samples.body(resource);
            let free = |kind: FieldType| matches!(kind, FieldType::Text { max, .. } if max > text.chars().count() + 10);
            let names: Vec<&str> = resource
                .fields
                .iter()
                .filter(|field| field.mutability != Mutability::ReadOnly && free(field.field_type))
                // A URL is validated beyond plain text: tests/it/webhooks.rs.
                .filter(|field| field.name != "url")
                // A market is one of Meta's: tests/it/whatsapp/costs.rs.
                .filter(|field| resource.plural != "message-rates" || !matches!(field.name, "market" | "category"))
                // Ids of Meta's are digits: tests/it/channels.rs.
                .filter(|field| resource.plural != "channels" || !field.name.ends_with("_id"))
                .map(|field| field.name)
                .collect();
            for name in &names {
                body.insert(name.to_string(), json!(text));
            }
            if resource.field("metadata").is_some() {
                body.insert("metadata".into(), json!({ text: { text: [text] } }));
            }
            if resource.field("tags").is_some() {
                body.insert("tags".into(), json!([text]));
            }
            // Unique values conflict once a text was used; the response is a 409, never a failure.
            let made = api.post(resource.plural, Value::Object(body.clone()));
            assert_eq!(made.status, 201, "{} {text}: {}", resource.plural, made.text);
            let read =
                api.get(&format!("{}/{}", resource.plural, made.json["id"].as_str().expect("an id"))).expect(200).json;
            for name in names.iter().copied().chain(["metadata", "tags"]).filter(|name| body.contains_key(*name)) {
                assert_eq!(read[name], body[name], "{}.{name}", resource.plural);
            }
            let parameter = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            for name in ["q", &format!("metadata.{}", parameter(text)), "tags"] {
                let status = api.get(&format!("{}?{name}={}", resource.plural, parameter(text))).status;
                assert!(status == 200 || status == 400, "{}?{name}={text}: {status}", resource.plural);
            }
        }
    }
    assert!(counts(&service.database).contains("leads: 6"), "{}", counts(&service.database));
}

#[test]
fn list_with_arbitrary_filter_text_200_or_400() {
    let service = Service::start();
    let api = &service.client;
    api.create("contacts", json!({ "phone": "+14152933313", "first_name": "Anna" }));
    let parameters = [
        "contacts?phone",
        "contacts?q",
        "contacts?email",
        "contacts?tags",
        "contacts?metadata.x",
        "notes?q",
        "bookings?day",
        "leads?cursor",
        "leads?score_min",
    ];
    let typed = prop_oneof![
        any::<String>(),
        "[0-9+() .x;=ext-]{1,50}",
        "[0-9٠-٩０-９+]{1,20}",
        "[\"():*&|!<> a-z'\\\\%_-]{1,60}",
        "[0-9]{1,5}-[0-9]{1,3}-[0-9]{1,3}",
    ];
    let cases = (prop::sample::select(parameters.to_vec()), typed);
    for_cases(300, cases, |(parameter, text)| {
        let value: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let status = api.get(&format!("{parameter}={value}")).status;
        assert!(status == 200 || status == 400, "{} for {}={:?}", status, parameter, text);
        if parameter == "contacts?phone" {
            let made = api.post("contacts", json!({ "phone": text }));
            // The same text may be drawn twice.
            let is_known = made.status == 409 && made.code() == "possible_duplicate";
            assert!(made.status == 201 || made.status == 422 || is_known, "{} for {:?}", made.status, text);
        }
    });
}

/// Sends `parts` over its own connection, with a pause after each, and reads one response.
fn raw(service: &Service, parts: &[&[u8]], pause: Duration) -> String {
    let mut stream = TcpStream::connect(service.address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
    for part in parts {
        // The server may have closed the connection already.
        if stream.write_all(part).is_err() {
            break;
        }
        std::thread::sleep(pause);
    }
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[test]
fn send_body_or_headers_too_slowly_408() {
    let service = Service::with(&["--body-timeout-ms", "150", "--header-timeout-ms", "300"]);
    let key = service.client.create("api-keys", json!({ "name": "raw", "role": "owner" }))["key"]
        .as_str()
        .expect("a key")
        .to_owned();
    let head = format!(
        "POST /api/v1/leads HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    );
    let before = counts(&service.database);
    let pause = Duration::from_millis(100);

    let known = format!("{head}Content-Length: 100\r\n\r\n");
    let answer = raw(&service, &[known.as_bytes(), b"{\"title\"", b":", b"\"a\"", b"}"], pause);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("\"code\":\"request_timeout\""), "{answer}");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let answer = raw(&service, &[chunked.as_bytes(), b"1\r\n{\r\n", b"1\r\n \r\n", b"1\r\n \r\n"], pause);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    // Headers that arrive a few bytes at a time.
    let answer =
        raw(&service, &[b"GET /api/v1/leads HTT", b"P/1.1\r\n", b"Host: x\r\n", b"A: b\r\n", b"C: d\r\n"], pause);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    // A body that ends before its declared length.
    let mut stream = TcpStream::connect(service.address).expect("a connection");
    let part = format!("{known}{{\"title\":\"a\"}}");
    stream.write_all(part.as_bytes()).expect("room");
    stream.shutdown(std::net::Shutdown::Write).expect("an end");
    let mut answer = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");

    assert_eq!(counts(&service.database), before);
    service.client.get("leads").expect(200);
}

#[test]
fn invalid_http_bytes_refused_next_request_served() {
    let service = Service::start();
    let get = |rest: &str| format!("GET /api/v1/leads{rest}");
    let large = format!("{}A: {}\r\n\r\n", get(" HTTP/1.1\r\nHost: x\r\n"), "x".repeat(200_000));
    let many = format!("{}{}\r\n", get(" HTTP/1.1\r\nHost: x\r\n"), "A: b\r\n".repeat(5_000));
    for (about, bytes) in [
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("noise", vec![0xff; 64]),
        ("NUL in the path", get("/\0 HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()),
        ("raw bytes in the path", b"GET /api/v1/leads/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a version of its own", get(" HTTP/9.9\r\nHost: x\r\n\r\n").into_bytes()),
        ("a header without a name", get(" HTTP/1.1\r\n: x\r\n\r\n").into_bytes()),
        ("two lengths", b"POST /api/v1/leads HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}".to_vec()),
        ("a negative length", b"POST /api/v1/leads HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}".to_vec()),
        ("length and chunks", b"POST /api/v1/leads HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec()),
        ("large headers", large.into_bytes()),
        ("many headers", many.into_bytes()),
    ] {
        let mut stream = TcpStream::connect(service.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{about}: {answer}");
        service.client.get("leads").expect(200);
    }
    Client::new(service.address, "").get("/health").expect(200);
}

#[test]
fn small_request_body_yields_bounded_response() {
    let service = Service::start();
    let api = &service.client;
    // Five bytes of input that PostgreSQL would write as three hundred digits.
    for number in [json!(1e308), json!(1e-300), json!(1e16)] {
        let refused = api.post("leads", json!({ "title": "x", "metadata": { "n": [number] } })).expect(422);
        assert_eq!(refused.faults(), ["/metadata"]);
    }
    api.post("leads", json!({ "title": "x", "metadata": { "n": [0, 0.5, -3, 9_007_199_254_740_991_i64] } }))
        .expect(201);
    // The number of reported errors is bounded.
    let many: serde_json::Map<String, serde_json::Value> = (0..5_000).map(|n| (format!("f{n}"), json!(1))).collect();
    let refused = api.post("leads", many.into()).expect(422);
    assert!(refused.faults().len() <= 200 && refused.text.len() < 100_000);
    // Projection parameters of a batch belong in its body.
    let id = api.make("leads", json!({ "title": "x" }));
    api.post("leads/batch/read?fields=id", json!({ "ids": [id] })).expect(400);
}
