//! Tests of sign-in with passwords, of sessions with tokens, and of their immediate end after sign-out or removal.

use std::process::{Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use rapport::auth::{Role, Tenant};
use rapport::db;
use rapport::identity::{passwords, provisioning};
use serde_json::{Value, json};

use crate::support::{Answer, Client, Service, make_key};

pub const PASSWORD: &str = "correct horse battery";

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// Makes `email` a member with [`PASSWORD`], like the command line ([`create_user`]), without a process and a hash each
/// time.
pub fn admit(service: &Service, slug: &str, email: &str, role: &str) {
    static HASH: LazyLock<String> = LazyLock::new(|| passwords::hash_now(PASSWORD).expect("a hash"));
    let business = service.database.ask(&format!("SELECT id::text FROM businesses WHERE slug = '{slug}'"));
    let tenant = Tenant::for_operator(business.parse().expect("an id"));
    let role = Role::named(role).expect("a role");
    let admitted = db::in_transaction(&mut service.database.connect(), |tx| {
        provisioning::admit(tx, &tenant, (email, "Amina"), role, &HASH, true)
    });
    assert!(admitted.expect("a member"), "the password is theirs");
}

fn create_user(service: &Service, (slug, email, role): (&str, &str, &str), password: &str) -> Output {
    use std::io::Write;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_rapport"))
        .args(["user", "create", "--business", slug, "--email", email, "--name", "Amina", "--role", role])
        .args(["--password-stdin", "--database-url", &service.database.url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    child.stdin.take().expect("its input").write_all(format!("{password}\n").as_bytes()).expect("a line");
    child.wait_with_output().expect("an end")
}

pub fn sign_in(service: &Service, email: &str) -> Answer {
    service.stranger().post("auth/sessions", json!({ "email": email, "password": PASSWORD }))
}

pub fn client(service: &Service, pair: &Value) -> Client {
    Client::new(service.address, text(pair, "access_token"))
}

#[test]
fn sign_in_grants_role_permissions_until_sign_out() {
    let service = Service::start();
    let made = create_user(&service, ("acme", "amina@example.com", "agent"), PASSWORD);
    assert!(made.status.success(), "{made:?}");
    assert!(!String::from_utf8_lossy(&made.stdout).contains(PASSWORD));
    let answer = sign_in(&service, "AMINA@example.com").expect(201);
    assert_eq!((answer.header("cache-control"), text(&answer.json, "token_type")), ("no-store", "Bearer"));
    assert_eq!((&answer.json["role"], &answer.json["business"]["slug"]), (&json!("agent"), &json!("acme")));
    let amina = client(&service, &answer.json);

    let me = amina.get("me").expect(200).json;
    assert_eq!((&me["principal"]["kind"], &me["principal"]["email"]), (&json!("user"), &json!("amina@example.com")));
    assert_eq!(
        me["permissions"],
        json!([
            "crm:read",
            "crm:write",
            "business:read",
            "people:read",
            "channels:read",
            "workers:read",
            "workers:write"
        ])
    );
    let lead = amina.make("leads", json!({ "title": "Roof" }));
    assert_eq!(amina.get(&format!("leads/{lead}")).expect(200).json["title"], "Roof");
    amina.delete(&format!("leads/{lead}")).expect(403);
    amina.get("api-keys").expect(403);

    // A cache hit costs a session no more queries than an API key.
    for caller in [&amina, &service.client] {
        caller.get("leads").expect(200);
        let again = caller.get("leads").expect(200);
        assert_eq!((again.header("cache-status"), again.queries()), ("rapport; hit; detail=local", 0));
    }

    // A changed role applies to the next request, and so does the end of the session.
    let user = text(&me["principal"], "id").to_owned();
    service.client.patch(&format!("users/{user}"), json!({ "role": "viewer" })).expect(200);
    amina.post("leads", json!({ "title": "Wall" })).expect(403);
    amina.delete("auth/sessions/current").expect(204);
    amina.get("leads").expect(401);
    let refresh = json!({ "refresh_token": answer.json["refresh_token"] });
    assert_eq!(service.stranger().post("auth/tokens", refresh).expect(401).code(), "session_over");
}

#[test]
fn session_ended_next_request_401_on_every_replica() {
    let one = Service::start();
    admit(&one, "acme", "amina@example.com", "agent");
    let key = make_key(&one.database, one.business, Role::Owner);
    let two = Service::on(one.database.clone(), one.business, &key, &[]);
    for round in 0..6 {
        let pair = sign_in(&one, "amina@example.com").expect(201).json;
        let (here, there) = (client(&one, &pair), client(&two, &pair));
        here.get("leads").expect(200);
        there.get("leads").expect(200);
        let sessions = there.get("auth/sessions").expect(200).json;
        assert_eq!(sessions["data"][0]["current"], true, "{sessions}");
        match round % 3 {
            0 => here.delete(&format!("auth/sessions/{}", text(&pair, "session_id"))).expect(204),
            1 => {
                let change = json!({ "current_password": PASSWORD, "new_password": PASSWORD });
                let other = client(&one, &sign_in(&one, "amina@example.com").expect(201).json);
                other.post("auth/password-changes", change).expect(204)
            }
            _ => {
                let user = here.get("me").expect(200).json["principal"]["id"].as_str().expect("an id").to_owned();
                one.client.delete(&format!("users/{user}")).expect(204);
                admit(&one, "acme", "amina@example.com", "agent");
                continue;
            }
        };
        there.get("leads").expect(401);
        here.get("leads").expect(401);
    }
}

#[test]
fn refresh_token_reuse_tolerated_briefly_then_ends_session() {
    let service = Service::start();
    admit(&service, "acme", "amina@example.com", "agent");
    let stranger = service.stranger();
    let renew = |pair: &Value| stranger.post("auth/tokens", json!({ "refresh_token": pair["refresh_token"] }));
    let first = sign_in(&service, "amina@example.com").expect(201).json;
    let second = renew(&first).expect(200).json;
    assert_eq!(first["session_id"], second["session_id"]);
    // If the response was lost, the client may retry for a moment.
    let again = renew(&first).expect(200).json;
    assert_ne!(second["refresh_token"], again["refresh_token"]);
    // Once the new token was used, it may not.
    renew(&second).expect(200);
    let reader = client(&service, &again);
    reader.get("leads").expect(200);
    assert_eq!(renew(&first).expect(401).code(), "session_over");
    reader.get("leads").expect(401);
    renew(&again).expect(401);

    // Nor after that moment.
    let first = sign_in(&service, "amina@example.com").expect(201).json;
    renew(&first).expect(200);
    service.database.run("UPDATE refresh_tokens SET used_at = used_at - interval '11 seconds'");
    renew(&first).expect(401);
    assert_eq!(service.database.ask("SELECT count(*)::text FROM sessions"), "0");
    assert_eq!(service.database.ask("SELECT count(*)::text FROM refresh_tokens"), "0");
}

#[test]
fn refresh_with_both_successors_of_one_token_ends_session() {
    let service = Service::start();
    admit(&service, "acme", "amina@example.com", "agent");
    let renew =
        |pair: &Value| service.stranger().post("auth/tokens", json!({ "refresh_token": pair["refresh_token"] }));
    let first = sign_in(&service, "amina@example.com").expect(201).json;
    // The user and a thief refresh at the same moment.
    let (one, other) = (renew(&first).expect(200).json, renew(&first).expect(200).json);
    let next = renew(&one).expect(200).json;
    renew(&next).expect(200);
    let reader = client(&service, &next);
    reader.get("leads").expect(200);
    assert_eq!(renew(&other).expect(401).code(), "session_over");
    reader.get("leads").expect(401);
}

#[test]
fn concurrent_refresh_of_one_token_all_succeed() {
    let service = Service::with(&["--db-connections", "4"]);
    admit(&service, "acme", "amina@example.com", "agent");
    let first = sign_in(&service, "amina@example.com").expect(201).json;
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let renew = || service.stranger().post("auth/tokens", json!({ "refresh_token": first["refresh_token"] }));
        let asked: Vec<_> = (0..20).map(|_| scope.spawn(renew)).collect();
        asked.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    });
    for answer in answers {
        client(&service, &answer.expect(200).json).get("leads").expect(200);
    }
}

#[test]
fn sign_in_member_of_two_tenants_409_choose_business() {
    let service = Service::start();
    let (_, neighbour) = service.neighbour();
    admit(&service, "acme", "amina@example.com", "agent");
    admit(&service, "neighbour", "amina@example.com", "viewer");
    let asked = sign_in(&service, "amina@example.com").expect(409);
    assert_eq!((asked.code(), asked.json["businesses"].as_array().map(Vec::len)), ("choose_business", Some(2)));
    let into = |slug: &str| {
        let body = json!({ "email": "amina@example.com", "password": PASSWORD, "business": slug });
        service.stranger().post("auth/sessions", body)
    };
    into("elsewhere").expect(403);
    let at_the_neighbours = client(&service, &into("neighbour").expect(201).json);
    let lead = neighbour.make("leads", json!({ "title": "Next door" }));
    at_the_neighbours.get(&format!("leads/{lead}")).expect(200);
    at_the_neighbours.patch(&format!("leads/{lead}"), json!({ "title": "Mine" })).expect(403);
    client(&service, &into("acme").expect(201).json).get(&format!("leads/{lead}")).expect(404);
}

#[test]
fn sign_in_guesses_rate_limited_and_indistinguishable() {
    let service = Service::with(&["--sign-in-attempts", "3"]);
    admit(&service, "acme", "amina@example.com", "agent");
    let guess = |email: &str, password: &str| {
        service.stranger().post("auth/sessions", json!({ "email": email, "password": password }))
    };
    let (there, nobody) =
        (guess("amina@example.com", "wrong").expect(401), guess("bo@example.com", "wrong").expect(401));
    let told = |answer: &Answer| {
        let mut told = answer.json.clone();
        told["request_id"] = Value::Null;
        told
    };
    assert_eq!((told(&there), there.code()), (told(&nobody), "wrong_password"));
    guess("amina@example.com", "wrong").expect(401);
    guess("AMINA@example.com", "wrong").expect(401);
    let refused = guess("amina@example.com", PASSWORD).expect(429);
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| (1..=900).contains(&seconds)));
    admit(&service, "acme", "cy@example.com", "agent");
    sign_in(&service, "cy@example.com").expect(201);
}

#[test]
fn forged_access_token_401() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let service = Service::with(&["--token-seconds", "30"]);
    admit(&service, "acme", "amina@example.com", "owner");
    let pair = sign_in(&service, "amina@example.com").expect(201).json;
    let token = text(&pair, "access_token");
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("no token: {token}") };
    let part = |json: Value| BASE64.encode(json.to_string());
    let other = |name: &str, value: Value| {
        let bytes = BASE64.decode(claims).expect("base64");
        let mut claims: Value = serde_json::from_slice(&bytes).expect("JSON");
        claims[name] = value;
        part(claims)
    };
    let session = |claims: &str, header: Value| {
        // Signed with keys that an attacker might guess.
        use jsonwebtoken::{Algorithm, EncodingKey, crypto};
        let message = format!("{}.{claims}", part(header));
        let signed =
            crypto::sign(message.as_bytes(), &EncodingKey::from_secret(b""), Algorithm::HS256).expect("a signature");
        format!("{message}.{signed}")
    };
    let forged = [
        format!("{}.{claims}.", part(json!({ "alg": "none", "typ": "JWT" }))),
        format!("{}.{claims}.{signature}", part(json!({ "alg": "none" }))),
        format!("{}.{claims}.{signature}", part(json!({ "alg": "HS512", "typ": "JWT" }))),
        format!("{}.{claims}.{signature}", part(json!({ "alg": "RS256", "typ": "JWT" }))),
        format!("{header}.{}.{signature}", other("exp", json!(4_102_444_800u64))),
        format!("{header}.{}.{signature}", other("sub", json!(uuid::Uuid::nil()))),
        format!("{header}.{claims}.{}", BASE64.encode([0; 32])),
        format!("{header}.{claims}.{signature}A"),
        format!("{header}.{claims}"),
        session(claims, json!({ "alg": "HS256", "typ": "JWT" })),
        session(claims, json!({ "alg": "HS256", "kid": "../../dev/null" })),
        text(&pair, "refresh_token").to_owned(),
    ];
    for token in &forged {
        let answer = Client::new(service.address, token).get("leads").expect(401);
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{token}");
    }
    client(&service, &pair).get("leads").expect(200);
}

#[test]
fn access_token_of_expired_session_401_token_expired() {
    let service = Service::with(&["--token-seconds", "30"]);
    admit(&service, "acme", "amina@example.com", "agent");
    let pair = sign_in(&service, "amina@example.com").expect(201).json;
    // Expires the session without waiting.
    service.database.run("UPDATE sessions SET expires_at = now() + interval '1 second'");
    let reader = client(&service, &pair);
    reader.get("leads").expect(200);
    std::thread::sleep(Duration::from_millis(1_600));
    let over = reader.get("leads").expect(401);
    assert_eq!((over.code(), over.header("www-authenticate")), ("token_expired", "Bearer error=\"invalid_token\""));
    let refresh = json!({ "refresh_token": pair["refresh_token"] });
    service.stranger().post("auth/tokens", refresh).expect(401);
}

#[test]
fn api_key_expired_401_rotated_valid_until_overlap_ends() {
    let service = Service::start();
    let api = &service.client;
    let past = json!({ "name": "Late", "role": "agent", "expires_at": "2020-01-01T00:00:00Z" });
    assert_eq!(api.post("api-keys", past).expect(422).faults(), ["/expires_at"]);
    let soon = chrono::Utc::now() + Duration::from_millis(1_500);
    let made = api.create("api-keys", json!({ "name": "Short", "role": "agent", "expires_at": soon.to_rfc3339() }));
    let short = Client::new(service.address, text(&made, "key"));
    short.get("leads").expect(200);

    let made = api.create("api-keys", json!({ "name": "Site", "role": "agent" }));
    let (id, old) = (text(&made, "id"), Client::new(service.address, text(&made, "key")));
    old.get("leads").expect(200);
    let rotated = api.post(&format!("api-keys/{id}/rotation"), json!({ "overlap_seconds": 1 })).expect(200).json;
    assert_eq!((&rotated["id"], &rotated["role"]), (&made["id"], &made["role"]));
    assert_ne!(rotated["prefix"], made["prefix"]);
    let new = Client::new(service.address, text(&rotated, "key"));
    new.get("leads").expect(200);
    old.get("leads").expect(200);
    std::thread::sleep(Duration::from_millis(2_200));
    new.get("leads").expect(200);
    old.get("leads").expect(401);
    short.get("leads").expect(401);
    // A rotation does not end the overlap of an earlier one, unless it revokes all earlier keys.
    let rotate = |body: Value| api.post(&format!("api-keys/{id}/rotation"), body);
    let rotated = rotate(json!({})).expect(200);
    assert_eq!(rotated.header("cache-control"), "no-store");
    let newer = Client::new(service.address, text(&rotated.json, "key"));
    assert_eq!(rotate(json!({ "overlap_seconds": 60 })).expect(409).code(), "rotation_running");
    new.get("leads").expect(200);
    newer.get("leads").expect(200);
    let newest = Client::new(service.address, text(&rotate(json!({ "overlap_seconds": 0 })).expect(200).json, "key"));
    newest.get("leads").expect(200);
    new.get("leads").expect(401);
    newer.get("leads").expect(401);
    let (admin, manager) = (service.client_as(Role::Admin), service.client_as(Role::Manager));
    let owners = api.create("api-keys", json!({ "name": "Mine", "role": "owner" }));
    let path = format!("api-keys/{}", text(&owners, "id"));
    admin.post(&format!("{path}/rotation"), json!({})).expect(403);
    admin.patch(&path, json!({ "expires_at": "2100-01-01T00:00:00Z" })).expect(403);
    manager.post(&format!("{path}/rotation"), json!({})).expect(403);
    api.post("api-keys/nonsense/rotation", json!({})).expect(404);
    // API keys have no sessions.
    api.get("auth/sessions").expect(403);
    assert_eq!(api.get("me").expect(200).json["principal"]["kind"], "api_key");
}

/// Waits until a connection waits for a lock in the service's database.
fn until_somebody_waits(service: &Service) {
    let waiting =
        "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let began = std::time::Instant::now();
    while service.database.ask(waiting) == "0" {
        assert!(began.elapsed() < Duration::from_secs(10), "nobody waits");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The response of `request` when `change` is committed during it: after its reads, before its writes.
fn answered_amid(service: &Service, change: &str, request: impl FnOnce() -> Answer + Send) -> Answer {
    let mut other = service.database.connect();
    other.batch_execute(&format!("BEGIN; {change}")).expect("a change");
    std::thread::scope(|scope| {
        let answer = scope.spawn(request);
        until_somebody_waits(service);
        other.batch_execute("COMMIT").expect("an end");
        answer.join().expect("an answer")
    })
}

#[test]
fn sign_in_password_replaced_meanwhile_refused() {
    let service = Service::start();
    admit(&service, "acme", "amina@example.com", "agent");
    let amina = client(&service, &sign_in(&service, "amina@example.com").expect(201).json);
    let sessions = || service.database.ask("SELECT count(*)::text FROM sessions");
    let replaced = "UPDATE passwords SET hash = hash || 'another'";
    let answer = answered_amid(&service, replaced, || sign_in(&service, "amina@example.com"));
    assert_eq!((answer.expect(401).code(), sessions().as_str()), ("wrong_password", "1"));

    admit(&service, "acme", "bo@example.com", "agent");
    let bo = client(&service, &sign_in(&service, "bo@example.com").expect(201).json);
    let change = json!({ "current_password": PASSWORD, "new_password": "another long password" });
    let answer = answered_amid(&service, replaced, || bo.post("auth/password-changes", change));
    assert_eq!(answer.expect(422).faults(), ["/current_password"]);
    let kept = "SELECT bool_and(hash LIKE '%another')::text FROM passwords";
    assert_eq!(service.database.ask(kept), "true");
    amina.get("leads").expect(200);
}

#[test]
fn sign_in_membership_removed_meanwhile_403() {
    let service = Service::start();
    admit(&service, "acme", "amina@example.com", "agent");
    let answer = answered_amid(&service, "DELETE FROM memberships", || sign_in(&service, "amina@example.com"));
    assert_eq!(answer.expect(403).code(), "forbidden");
}

#[test]
fn sign_in_caps_sessions_and_purges_expired() {
    let service = Service::start();
    let (_, neighbour) = service.neighbour();
    admit(&service, "acme", "amina@example.com", "agent");
    admit(&service, "neighbour", "bo@example.com", "agent");
    service.database.run(
        "INSERT INTO sessions (business_id, id, user_id, last_used_at, expires_at)
             SELECT m.business_id, rapport_uuid_v7(), m.user_id, now() - n * interval '1 minute', now() + interval '1 day'
             FROM memberships m JOIN users u ON u.id = m.user_id, generate_series(1, 60) n WHERE u.email LIKE 'amina%';
         INSERT INTO sessions (business_id, id, user_id, expires_at)
             SELECT business_id, rapport_uuid_v7(), user_id, now() - interval '1 minute' FROM memberships",
    );
    let pair = sign_in(&service, "amina@example.com").expect(201).json;
    assert_eq!(service.database.ask("SELECT count(*)::text FROM sessions"), "50");
    let oldest = "SELECT (min(last_used_at) > now() - interval '50 minutes')::text FROM sessions";
    assert_eq!(service.database.ask(oldest), "true", "those that were used longest ago");
    let listed = client(&service, &pair).get("auth/sessions").expect(200);
    assert!(listed.rows().iter().any(|session| session["current"] == true));
    neighbour.get("users").expect(200);
}

#[test]
fn user_create_cli_last_owner_or_blank_password_refused() {
    let service = Service::start();
    admit(&service, "acme", "amina@example.com", "owner");
    let refused = |email: &str, role: &str, password: &str, why: &str| {
        let output = create_user(&service, ("acme", email, role), password);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{said}");
    };
    refused("amina@example.com", "agent", PASSWORD, "at least one owner");
    refused("bo@example.com", "agent", "            ", "blank");
    assert_eq!(service.client.get("users?role=owner").expect(200).rows().len(), 1);
    for (email, role) in [("cy@example.com", "owner"), ("amina@example.com", "agent")] {
        let made = create_user(&service, ("acme", email, role), PASSWORD);
        assert!(made.status.success(), "{made:?}");
    }
}
