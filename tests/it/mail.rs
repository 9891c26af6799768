//! Tests of password resets and invitations by email, with a real SMTP server as the receiver.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use rapport::auth::Role;
use serde_json::{Value, json};

use crate::sign_in::{PASSWORD, admit, client, sign_in};
use crate::support::{Answer, Client, Post, Service, post};

const NEW: &str = "a longer sentence is better";

fn service() -> (Service, Post) {
    let post = Post::open();
    let settings = ["--smtp-url", &post.url, "--mail-from", "Rapport <crm@example.com>"];
    let service = Service::with(&[settings.as_slice(), &["--app-url", "https://app.example.com/"]].concat());
    (service, post)
}

fn ask(service: &Service, email: &str) -> Answer {
    service.stranger().post("auth/password-resets", json!({ "email": email }))
}

fn choose(service: &Service, token: &str, password: &str) -> Answer {
    service.stranger().post("auth/passwords", json!({ "token": token, "password": password }))
}

fn accept(service: &Service, body: Value) -> Answer {
    service.stranger().post("auth/invitations", body)
}

fn bo(role: &str) -> Value {
    json!({ "email": "bo@example.com", "name": "Bo", "role": role })
}

#[test]
fn password_reset_valid_token_works_once_and_ends_sessions() {
    let (service, post) = service();
    admit(&service, "acme", "amina@example.com", "agent");
    let before = client(&service, &sign_in(&service, "amina@example.com").expect(201).json);
    before.get("leads").expect(200);
    assert_eq!(ask(&service, "AMINA@example.com").expect(202).text, "");
    let (letter, other) = (post.next(), {
        ask(&service, "amina@example.com").expect(202);
        post.next()
    });
    assert_eq!(letter.to, "amina@example.com");
    assert!(letter.text.contains("From: \"Rapport\" <crm@example.com>"), "{}", letter.text);
    assert!(letter.text.contains("\nhttps://app.example.com/passwords#token=pt_"), "{}", letter.text);
    let stored = service.database.ask("SELECT string_agg(to_jsonb(t)::text, ' ') FROM password_tokens t");
    assert!(!stored.contains(&letter.token()), "{stored}");

    // An invalid password does not use up the token.
    assert_eq!(choose(&service, &letter.token(), "short").expect(422).faults(), ["/password"]);
    before.get("leads").expect(200);
    choose(&service, &letter.token(), NEW).expect(204);
    before.get("leads").expect(401);
    sign_in(&service, "amina@example.com").expect(401);
    let again = json!({ "email": "amina@example.com", "password": NEW });
    service.stranger().post("auth/sessions", again).expect(201);
    // Rejected: a used token, an earlier one of the same account, an expired one, and one that never existed.
    for token in [letter.token(), other.token(), "pt_nonsense".to_owned()] {
        assert_eq!(choose(&service, &token, PASSWORD).expect(401).code(), "token_over");
    }
    ask(&service, "amina@example.com").expect(202);
    let late = post.next();
    service.database.run("UPDATE password_tokens SET expires_at = now()");
    assert_eq!(choose(&service, &late.token(), PASSWORD).expect(401).code(), "token_over");
}

#[test]
fn concurrent_use_of_one_reset_token_one_wins() {
    let (service, post) = service();
    admit(&service, "acme", "amina@example.com", "agent");
    ask(&service, "amina@example.com").expect(202);
    let token = post.next().token();
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let used: Vec<_> = (0..2).map(|_| scope.spawn(|| choose(&service, &token, NEW).status)).collect();
        used.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 401]);
}

#[test]
fn password_reset_request_unknown_email_indistinguishable() {
    let (service, post) = service();
    admit(&service, "acme", "amina@example.com", "agent");
    // A response that depended on these tables would block here.
    let mut held = service.database.connect();
    held.batch_execute("BEGIN; LOCK TABLE users, password_tokens IN ACCESS EXCLUSIVE MODE").expect("a lock");
    let told = |email: &str| {
        let began = Instant::now();
        let answer = ask(&service, email).expect(202);
        assert!(began.elapsed() < Duration::from_secs(1), "{email} took {:?}", began.elapsed());
        let names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        (answer.text.clone(), names, answer.queries())
    };
    assert_eq!(told("amina@example.com"), told("nobody@example.com"));
    held.batch_execute("COMMIT").expect("an end");
    assert_eq!(post.next().to, "amina@example.com");
    post.expect_none();
    // Neither does the rate limit reveal it.
    for email in ["amina@example.com", "nobody@example.com"] {
        (0..4).for_each(|_| drop(ask(&service, email).expect(202)));
        let refused = ask(&service, email).expect(429);
        assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| (1..=900).contains(&seconds)));
    }
}

#[test]
fn send_email_smtp_451_retried() {
    let (service, post) = service();
    post.refuse(1);
    service.client.create("invitations", bo("agent"));
    assert_eq!(post.next().to, "bo@example.com");
    post.expect_none();
}

#[test]
fn accept_invitation_new_user_sets_password_once() {
    let (service, post) = service();
    let made = service.client.create("invitations", bo("agent"));
    let letter = post.next();
    assert!(letter.text.contains("\nhttps://app.example.com/invitations#token=in_"), "{}", letter.text);
    assert!(letter.text.contains("\"acme\""), "{}", letter.text);
    let token = letter.token();
    let listed = service.client.get("invitations").expect(200);
    assert_eq!(listed.rows(), [made]);
    let stored = service.database.ask("SELECT string_agg(to_jsonb(i)::text, ' ') FROM invitations i");
    assert!(!listed.text.contains("hash") && !stored.contains(&token));
    assert!(service.client.get("users").expect(200).rows().is_empty(), "they have not said yes");

    let refused = accept(&service, json!({ "token": token })).expect(422);
    assert_eq!((refused.faults(), &refused.json["errors"][0]["code"]), (vec!["/password"], &json!("required")));
    let joined = accept(&service, json!({ "token": token, "password": PASSWORD, "name": "Bo L" })).expect(201);
    assert_eq!(joined.header("cache-control"), "no-store");
    assert_eq!((&joined.json["role"], &joined.json["user"]["name"]), (&json!("agent"), &json!("Bo L")));
    client(&service, &joined.json).make("leads", json!({ "title": "Roof" }));
    sign_in(&service, "bo@example.com").expect(201);
    assert!(service.client.get("invitations").expect(200).rows().is_empty());
    assert_eq!(accept(&service, json!({ "token": token, "password": NEW })).expect(401).code(), "token_over");
    sign_in(&service, "bo@example.com").expect(201);
    let again =
        service.client.post("invitations", json!({ "email": "BO@example.com", "name": "Bo", "role": "viewer" }));
    assert_eq!((again.expect(409).code(), post.expect_none()), ("already_member", ()));
}

#[test]
fn invite_existing_user_undisclosed_keeps_password() {
    let (service, post) = service();
    let (_, neighbour) = service.neighbour();
    admit(&service, "neighbour", "amina@example.com", "owner");
    let invite = |email: &str| {
        service.client.create("invitations", json!({ "email": email, "name": "Mallory", "role": "manager" }))
    };
    let (known, unknown) = (invite("amina@example.com"), invite("nobody@example.com"));
    let told = |row: &Value| {
        let members = row.as_object().expect("a row").iter().filter(|(name, _)| *name == "name" || *name == "version");
        members.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told(&known), told(&unknown));
    let letters = [post.next(), post.next()];
    let letter = letters.iter().find(|letter| letter.to == "amina@example.com").expect("her letter");
    assert!(service.client.get("users").expect(200).rows().is_empty(), "they have not said yes");

    // An existing user keeps their password and name.
    let refused = accept(&service, json!({ "token": letter.token(), "password": NEW })).expect(422);
    assert_eq!((refused.faults(), &refused.json["errors"][0]["code"]), (vec!["/password"], &json!("has_password")));
    let joined = accept(&service, json!({ "token": letter.token(), "name": "Mallory" })).expect(201).json;
    assert_eq!((&joined["user"]["name"], &joined["business"]["slug"]), (&json!("Amina"), &json!("acme")));
    assert_eq!(client(&service, &joined).get("me").expect(200).json["role"], "manager");
    assert_eq!(neighbour.get("users").expect(200).rows()[0]["role"], "owner");
    assert_eq!(sign_in(&service, "amina@example.com").expect(409).code(), "choose_business");
}

#[test]
fn accept_invitation_withdrawn_replaced_or_expired_401() {
    let (service, post) = service();
    let invite = |client: &Client, role: &str| client.post("invitations", bo(role));
    let over = |token: &str| {
        let answer = accept(&service, json!({ "token": token, "password": PASSWORD })).expect(401);
        assert_eq!(answer.code(), "token_over");
    };
    let first = invite(&service.client, "agent").expect(201).json;
    let first_letter = post.next();
    let second = invite(&service.client, "viewer").expect(201).json;
    assert_eq!((&second["id"], &second["role"]), (&first["id"], &json!("viewer")));
    over(&first_letter.token());
    let second_letter = post.next();
    service.database.run("UPDATE invitations SET expires_at = now()");
    over(&second_letter.token());

    // Nobody grants, takes or replaces a role above their own.
    let (admin, manager) = (service.client_as(Role::Admin), service.client_as(Role::Manager));
    invite(&admin, "owner").expect(403);
    invite(&manager, "viewer").expect(403);
    let path =
        format!("invitations/{}", invite(&service.client, "owner").expect(201).json["id"].as_str().expect("an id"));
    let owners_letter = post.next();
    invite(&admin, "agent").expect(403);
    admin.delete(&path).expect(403);
    manager.delete(&path).expect(403);
    service.client.delete(&path).expect(204);
    over(&owners_letter.token());
    service.client.get(&path).expect(404);
    post.expect_none();
}

#[test]
fn invite_and_password_reset_without_smtp_503() {
    let service = Service::with(&["--database-url", "postgres://elsewhere"]);
    admit(&service, "acme", "amina@example.com", "agent");
    let invited = service.client.post("invitations", bo("agent"));
    for refused in [ask(&service, "amina@example.com"), ask(&service, "nobody@example.com"), invited] {
        assert_eq!(refused.expect(503).code(), "mail_not_configured");
    }
    assert!(service.client.get("invitations").expect(200).rows().is_empty());
}

/// `rapport serve` on a private server, killed on drop.
struct Private(Child, std::path::PathBuf);

impl Drop for Private {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

#[test]
fn serve_embedded_database_prints_emails_to_stdout() {
    let state = crate::support::folder().join("printed");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
    command.args(["serve", "--bind", "127.0.0.1:0", "--metrics-bind", "off", "--log", "info", "--log-format", "text"]);
    command.env_remove("DATABASE_URL").env("RAPPORT_STATE_DIR", &state).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut private = Private(command.spawn().expect("the binary"), state);
    let mut lines = BufReader::new(private.0.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut until =
        |text: &str| lines.find(|line| line.contains(text)).unwrap_or_else(|| panic!("no line with {text}"));
    let listening = until("Rapport is listening on ");
    let key = until("  API key ");
    until(" ready ");
    let address = listening.rsplit("http://").next().expect("an address").trim().parse().expect("an address");
    let api = Client::new(address, key.split_whitespace().last().expect("a key"));
    api.create("invitations", bo("agent"));
    let token = post::token(&until("http://localhost:3000/invitations#token=in_"));
    let body = json!({ "token": token, "password": PASSWORD });
    assert_eq!(Client::new(address, "").post("auth/invitations", body).expect(201).json["business"]["slug"], "demo");
}
