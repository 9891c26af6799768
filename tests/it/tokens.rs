//! Tests of forged and malformed access tokens: all are rejected with the same response.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use jsonwebtoken::{Algorithm, EncodingKey, crypto, get_current_timestamp};
use serde_json::{Value, json};

use crate::sign_in::{admit, sign_in};
use crate::support::{Answer, Client, Service};

const SECRET: &str = "a secret of more than thirty-two characters";

/// A token of these parts, unvalidated, signed with HMAC.
fn signed(header: &str, claims: &str, secret: &[u8], algorithm: Algorithm) -> String {
    let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), algorithm).expect("signed");
    format!("{message}.{signature}")
}

fn with_header(header: &Value, claims: &Value) -> String {
    signed(&header.to_string(), &claims.to_string(), SECRET.as_bytes(), Algorithm::HS256)
}

fn ours(claims: &Value) -> String {
    with_header(&json!({ "alg": "HS256", "typ": "JWT" }), claims)
}

/// A service, and the claims of a valid session.
fn begin() -> (Service, Value) {
    let service = Service::with(&["--token-secret", SECRET]);
    admit(&service, "acme", "amina@example.com", "owner");
    let pair = sign_in(&service, "amina@example.com").expect(201).json;
    let token = pair["access_token"].as_str().expect("a token");
    let claims = BASE64.decode(token.split('.').nth(1).expect("claims")).expect("base64");
    (service, serde_json::from_slice(&claims).expect("JSON"))
}

fn ask(service: &Service, token: &str) -> Answer {
    Client::new(service.address, token).get("leads")
}

/// The claims with `name` set to `value`, or without it.
fn changed(claims: &Value, name: &str, value: Option<Value>) -> Value {
    let mut claims = claims.clone();
    match value {
        Some(value) => claims[name] = value,
        None => drop(claims.as_object_mut().expect("an object").remove(name)),
    }
    claims
}

#[track_caller]
fn refused(service: &Service, what: &str, token: &str) {
    let answer = ask(service, token);
    let shape = (answer.status, answer.header("content-type"), answer.header("www-authenticate"), answer.code());
    assert_eq!(shape, (401, "application/problem+json", "Bearer", "unauthenticated"), "{what}: {}", answer.text);
    assert_eq!(answer.json["status"], 401, "{what}");
}

#[test]
fn access_token_other_algorithm_or_key_401() {
    let (service, claims) = begin();
    ask(&service, &ours(&claims)).expect(200);
    let text = claims.to_string();
    for alg in
        ["none", "None", "NONE", "nOnE", "", "HS384", "HS512", "RS256", "PS256", "ES256", "EdDSA", "hs256", "HS256 "]
    {
        let header = json!({ "alg": alg, "typ": "JWT" });
        // Even with our own secret, another algorithm is rejected.
        refused(&service, alg, &with_header(&header, &claims));
        let message = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(&text));
        refused(&service, alg, &format!("{message}."));
    }
    for (name, algorithm) in [("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)] {
        let header = json!({ "alg": name }).to_string();
        refused(&service, name, &signed(&header, &text, SECRET.as_bytes(), algorithm));
        // Our header over a foreign signature.
        refused(&service, name, &signed(r#"{"alg":"HS256"}"#, &text, SECRET.as_bytes(), algorithm));
    }
    for header in [
        "",
        "{",
        "null",
        "[]",
        r#""HS256""#,
        "{}",
        r#"{"alg":null}"#,
        r#"{"alg":256}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
    ] {
        refused(&service, header, &signed(header, &text, SECRET.as_bytes(), Algorithm::HS256));
    }
    // A key location in the header is ignored.
    let key = BASE64.encode("mine");
    let kids = [
        "../../../../dev/null",
        "/dev/null",
        "' OR '1'='1",
        "x' UNION SELECT 'mine' --",
        "mine",
        "\u{0}",
        "http://127.0.0.1:1/",
    ];
    for kid in kids.map(str::to_owned).into_iter().chain(["k".repeat(20_000)]) {
        for header in [
            json!({ "alg": "HS256", "kid": kid }),
            json!({ "alg": "HS256", "kid": kid, "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/" }),
            json!({ "alg": "HS256", "kid": kid, "jwk": { "kty": "oct", "k": key, "alg": "HS256" } }),
        ] {
            for secret in [&b"mine"[..], b"", kid.as_bytes(), b"rapport", b"secret"] {
                let token = signed(&header.to_string(), &text, secret, Algorithm::HS256);
                refused(&service, "kid", &token);
            }
        }
    }
    ask(&service, &ours(&claims)).expect(200);
}

#[test]
fn access_token_missing_invalid_or_repeated_claim_401() {
    let (service, claims) = begin();
    let now = get_current_timestamp();
    for name in ["iss", "sub", "biz", "sid", "exp", "iat"] {
        refused(&service, name, &ours(&changed(&claims, name, None)));
        for value in [json!(null), json!(""), json!([]), json!({}), json!(true), json!([claims[name]])] {
            refused(&service, &format!("{name}: {value}"), &ours(&changed(&claims, name, Some(value))));
        }
    }
    let odd = |name: &str, value: Value| ours(&changed(&claims, name, Some(value)));
    for iss in ["Rapport", "rapport ", "https://rapport", "r"] {
        refused(&service, iss, &odd("iss", json!(iss)));
    }
    for value in [
        json!(format!("{}", now + 60)),
        json!(-1),
        json!(-9_223_372_036_854_775_808i64),
        json!(18_446_744_073_709_551_615u64),
        json!(9_223_372_036_854_775_807u64),
        json!(1e300),
        json!(4_102_444_800u64),
        // Our tokens live for a day at most.
        json!(now + 2 * 86_400),
    ] {
        refused(&service, &format!("exp: {value}"), &odd("exp", value));
    }
    refused(&service, "nbf", &odd("nbf", json!(now + 60)));
    refused(&service, "nbf", &odd("nbf", json!("later")));
    refused(&service, "aud", &odd("aud", json!("another service")));
    for name in ["sub", "biz", "sid"] {
        refused(&service, name, &odd(name, json!(uuid::Uuid::now_v7())));
        refused(&service, name, &odd(name, json!(uuid::Uuid::nil())));
        refused(&service, name, &odd(name, json!("' OR '1'='1")));
        refused(&service, name, &odd(name, json!("x".repeat(50_000))));
    }
    // Duplicate claims: two parsers might read different ones.
    for name in ["iss", "sub", "biz", "sid", "exp", "iat"] {
        let twice = claims.to_string().replacen('{', &format!("{{\"{name}\":{},", claims[name]), 1);
        let token = signed(r#"{"alg":"HS256"}"#, &twice, SECRET.as_bytes(), Algorithm::HS256);
        refused(&service, &format!("{name} twice"), &token);
    }
    for text in ["", "null", "[]", "7", "{", "{}", "\u{feff}{}", &claims.to_string().replace('}', "} {}")] {
        refused(&service, text, &signed(r#"{"alg":"HS256"}"#, text, SECRET.as_bytes(), Algorithm::HS256));
    }
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    refused(&service, "deep", &signed(r#"{"alg":"HS256"}"#, &deep, SECRET.as_bytes(), Algorithm::HS256));
}

#[test]
fn access_token_clock_skew_over_ten_seconds_401() {
    let (service, claims) = begin();
    let at = |name: &str, seconds: i64| {
        let time = get_current_timestamp().saturating_add_signed(seconds);
        ask(&service, &ours(&changed(&claims, name, Some(json!(time)))))
    };
    at("exp", -5).expect(200);
    at("nbf", 5).expect(200);
    at("nbf", -3600).expect(200);
    at("iat", 5).expect(200);
    let over = at("exp", -15).expect(401);
    assert_eq!((over.code(), over.header("www-authenticate")), ("token_expired", "Bearer error=\"invalid_token\""));
    at("exp", -100_000_000).expect(401);
    assert_eq!(at("nbf", 15).expect(401).code(), "unauthenticated");
    // The maximum configurable lifetime, with a clock that is ahead.
    at("exp", 86_400 + 5).expect(200);
}

#[test]
fn access_token_truncated_or_padded_401() {
    let (service, claims) = begin();
    let token = ours(&claims);
    let parts: Vec<&str> = token.split('.').collect();
    let [header, body, signature] = parts[..] else { panic!("no token: {token}") };
    let padded = STANDARD.encode(BASE64.decode(signature).expect("base64"));
    let other =
        signed(r#"{"alg":"HS256"}"#, &claims.to_string(), b"another secret of thirty-two characters", Algorithm::HS256);
    let cases = [
        format!("{token}."),
        format!("{token}.{signature}"),
        format!("{token}garbage"),
        format!("{token}="),
        format!("{token} {token}"),
        format!("{token},{token}"),
        format!("{header} .{body}.{signature}"),
        format!("{header}. {body}.{signature}"),
        format!("{header}.{body}.\t{signature}"),
        format!("{header}.{body}"),
        format!("{header}.{body}."),
        format!("{header}..{signature}"),
        format!(".{body}.{signature}"),
        "eyJ..".to_owned(),
        "...".to_owned(),
        format!("{header}.{body}.{padded}"),
        format!("{header}.{body}.{}", &signature[1..]),
        format!("{header}.{body}.{}", &signature[..signature.len() - 1]),
        format!("{header}.{body}.{}", BASE64.encode([0; 32])),
        format!("\"{token}\""),
        token.to_lowercase(),
        other,
    ];
    for case in &cases {
        refused(&service, case, case);
    }
    // Long ones: rejected before parsing, or after.
    for length in [8_000, 64 * 1024, 300_000] {
        for long in [
            format!(
                "{}.{body}.{signature}",
                BASE64.encode(format!(r#"{{"alg":"HS256","x":"{}"}}"#, "x".repeat(length)))
            ),
            format!("{header}.{}.{signature}", "A".repeat(length)),
            format!("{header}.{body}.{}", "A".repeat(length)),
            "k".repeat(length),
        ] {
            // A connection that is closed while the header is still being sent counts as a rejection, too.
            let answer = Client::new(service.address, &long).try_get("leads");
            let status = answer.map(|answer| answer.status);
            assert!(matches!(status, None | Some(400 | 401 | 431)), "{length}: {status:?}");
        }
    }
    ask(&service, &token).expect(200);
}
