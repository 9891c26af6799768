//! Tests that secrets appear in no log, error or operator page, even with all log levels on and many errors.

use rapport::auth::Role;
use serde_json::{Value, json};

use crate::sign_in::{PASSWORD, admit};
use crate::support::{Answer, Client, Program, Service, make_key};

const DATABASE: &str = "database-hunter2";
const REDIS: &str = "redis-hunter2";
const TOKENS: &str = "token-hunter2-of-more-than-thirty-two-characters";
const MISTYPED: &str = "mistyped-hunter2";

/// The URL of a test database with a password in it, which the server does not require.
fn with_password(url: &str, password: &str) -> String {
    url.replacen("rapport@", &format!("rapport:{password}@"), 1)
}

#[test]
fn logs_and_responses_never_contain_secrets() {
    let service = Service::start();
    admit(&service, "acme", "amina@example.com", "owner");
    let key = make_key(&service.database, service.business, Role::Owner);
    let program = Program::serve(&[
        ("DATABASE_URL", &with_password(&service.database.url, DATABASE)),
        ("REDIS_URL", &format!("redis://:{REDIS}@127.0.0.1:1")),
        ("RAPPORT_TOKEN_SECRET", TOKENS),
        ("RAPPORT_LOG", "trace"),
        ("RAPPORT_LOG_FORMAT", "json"),
    ]);
    program.until_ready();
    let (stranger, api) = (program.client(""), program.client(&key));
    let mut secrets: Vec<String> =
        [DATABASE, REDIS, TOKENS, MISTYPED, PASSWORD, key.as_str()].map(str::to_owned).into();
    let mut told: Vec<Answer> = Vec::new();
    let text =
        |value: &Value, name: &str| value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}")).to_owned();

    // Sign-in, successful and failed.
    let credentials = |password: Value| json!({ "email": "amina@example.com", "password": password });
    let pair = stranger.post("auth/sessions", credentials(json!(PASSWORD))).expect(201).json;
    let (access, refresh) = (text(&pair, "access_token"), text(&pair, "refresh_token"));
    secrets.extend([access.clone(), refresh.clone(), access.split('.').nth(2).expect("a signature").to_owned()]);
    told.push(stranger.post("auth/sessions", credentials(json!(MISTYPED))).expect(401));
    told.push(stranger.post("auth/sessions", credentials(json!([MISTYPED]))).expect(422));
    told.push(stranger.post("auth/sessions", credentials(json!(format!("{MISTYPED}\u{0}")))));
    told.push(stranger.post("auth/sessions", credentials(json!(MISTYPED.repeat(20)))));
    told.push(stranger.post("auth/sessions", json!({ "email": MISTYPED, "pasword": PASSWORD })).expect(422));
    let cut = format!("{{\"email\": \"amina@example.com\", \"password\": \"{PASSWORD}\" \"");
    let cut = stranger.request("POST", "auth/sessions").header("content-type", "application/json").body(cut);
    told.push(stranger.send(cut).expect(400));
    let form = stranger.request("POST", "auth/sessions").header("content-type", "application/x-www-form-urlencoded");
    told.push(stranger.send(form.body(format!("email=amina%40example.com&password={PASSWORD}"))).expect(415));
    // Token refresh: successful, failed, and with something that is no refresh token.
    let renew = |token: &str| stranger.post("auth/tokens", json!({ "refresh_token": token }));
    let renewed = renew(&refresh).expect(200).json;
    let amina = program.client(&text(&renewed, "access_token"));
    secrets.extend([text(&renewed, "access_token"), text(&renewed, "refresh_token")]);
    amina.get("leads").expect(200);
    told.push(renew(&format!("{refresh}x")).expect(401));
    told.push(renew(&key).expect(401));
    told.push(stranger.post("auth/tokens", json!({ "refresh-token": refresh })).expect(422));
    told.push(stranger.post("auth/tokens", json!([refresh])));
    // Password change: first with a wrong password.
    let change = |from: &str, to: &str| {
        amina.post("auth/password-changes", json!({ "current_password": from, "new_password": to }))
    };
    told.push(change(MISTYPED, PASSWORD));
    told.push(change(PASSWORD, "hunter2").expect(422));
    change(PASSWORD, PASSWORD).expect(204);
    // API keys: created, used, rotated; and credentials in the wrong places.
    let made = api.create("api-keys", json!({ "name": "Site", "role": "agent" }));
    let rotated = api.post(&format!("api-keys/{}/rotation", text(&made, "id")), json!({})).expect(200).json;
    for json in [&made, &rotated] {
        secrets.push(text(json, "key"));
        program.client(&text(json, "key")).get("leads").expect(200);
    }
    told.push(program.client(&format!("{key}x")).get("leads").expect(401));
    told.push(program.client(&format!("{access}x")).get("leads").expect(401));
    let basic = stranger.request("GET", "leads").header("Authorization", format!("Basic {PASSWORD}"));
    told.push(stranger.send(basic).expect(401));
    told.push(api.get(&format!("leads?access_token={access}&api_key={key}")).expect(400));
    told.push(api.get(&format!("leads/{key}")));
    told.push(api.post("api-keys", json!({ "name": "Mine", "role": "agent", "key": key })).expect(422));
    told.push(
        api.post("users", json!({ "email": "a@example.com", "name": "A", "role": "agent", "password": PASSWORD })),
    );
    // The second row violates the same constraint.
    api.create("companies", json!({ "name": "Brekke", "domain": "brekke.example" }));
    told.push(api.post("companies", json!({ "name": "Brekke", "domain": "brekke.example" })).expect(409));
    amina.delete("auth/sessions/current").expect(204);
    told.push(amina.get("leads").expect(401));
    told.push(renew(&refresh).expect(401));
    // Operator pages.
    let metrics = Client::new(program.metrics, "");
    told.extend([
        api.get("/health/detailed").expect(200),
        api.get("ops/cache").expect(200),
        metrics.get("/metrics").expect(200),
    ]);

    let logged = program.stop();
    assert!(logged.contains("\"TRACE\"") || logged.contains("\"DEBUG\""), "everything was logged");
    for secret in &secrets {
        assert!(!logged.contains(secret.as_str()), "{secret} was logged:\n{}", around(&logged, secret));
        for answer in &told {
            assert!(!answer.text.contains(secret.as_str()), "{secret} was told:\n{}", answer.text);
        }
    }
    assert!(!logged.contains("$argon2"), "{}", around(&logged, "$argon2"));
}

fn around<'t>(text: &'t str, word: &str) -> &'t str {
    text.lines().find(|line| line.contains(word)).unwrap_or_default()
}

#[test]
fn unreachable_or_invalid_database_url_hides_password() {
    let away = format!("postgres://rapport:{DATABASE}@127.0.0.1:1/rapport");
    let program =
        Program::serve(&[("DATABASE_URL", &away), ("RAPPORT_LOG", "trace"), ("RAPPORT_TOKEN_SECRET", TOKENS)]);
    program.until_said("waiting for the database");
    let probe = program.client("").get("/health/readiness").expect(503);
    let logged = program.stop() + &probe.text;
    assert!(!logged.contains(DATABASE) && !logged.contains(TOKENS), "{logged}");

    for password in [
        format!("{DATABASE}%"),
        format!("{DATABASE}%zz"),
        format!("a@{DATABASE}"),
        format!("a/{DATABASE}"),
        format!("1/{DATABASE}"),
        format!("[{DATABASE}"),
        format!("a@[{DATABASE}"),
        format!("a@b:{DATABASE}"),
    ] {
        let url = format!("postgres://rapport:{password}@127.0.0.1:1/rapport");
        let mut settings = vec![("DATABASE_URL", url.as_str()), ("RAPPORT_LOG", "trace")];
        for command in ["migrate", "serve"] {
            if password.starts_with('[') && command == "serve" {
                // It parses as a password, so the service would start.
                continue;
            }
            let (good, said) = Program::run(&[command], &settings);
            assert!(!good && !said.contains(DATABASE), "{password}: {said}");
            assert!(said.contains("DATABASE_URL") || password.starts_with('['), "{password}: {said}");
        }
        settings.push(("REDIS_URL", "redis://:redis-hunter2@[::1"));
        let (good, said) = Program::run(&["serve", "--help"], &settings);
        assert!(good && !said.contains("hunter2"), "{said}");
    }
}
