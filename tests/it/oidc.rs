//! Signing in with an identity provider that runs beside the test.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::sign_in::{PASSWORD, admit, client};
use crate::support::provider::{BACK, CLIENT, Provider, SECRET};
use crate::support::{Answer, Service};

struct Front {
    service: Service,
    provider: Provider,
}

impl Front {
    fn open() -> Self {
        let provider = Provider::start();
        let issuer: &'static str = Box::leak(provider.issuer.clone().into_boxed_str());
        let settings = [
            "--oidc-issuer",
            issuer,
            "--oidc-client-id",
            CLIENT,
            "--oidc-client-secret",
            SECRET,
            "--oidc-redirect-url",
            BACK,
        ];
        let service = Service::with(&settings);
        admit(&service, "acme", "amina@example.com", "manager");
        Self { service, provider }
    }

    /// Where the browser is to go, and what it keeps.
    fn depart(&self) -> (String, String) {
        let answer = self.service.stranger().post("auth/oidc/departures", json!({})).expect(201);
        assert_eq!((answer.header("cache-control"), &answer.json["expires_in"]), ("no-store", &json!(600)));
        let text = |name: &str| answer.json[name].as_str().expect("a text").to_owned();
        (text("authorization_url"), text("secret"))
    }

    fn arrive(&self, code: &str, state: &str, secret: &str) -> Answer {
        let body = json!({ "code": code, "state": state, "secret": secret });
        self.service.stranger().post("auth/oidc/sessions", body)
    }

    /// There and back, with a token of these claims.
    fn round(&self, claims: Value) -> Answer {
        let (url, secret) = self.depart();
        let (code, state) = self.provider.consent(&url, claims);
        self.arrive(&code, &state, &secret)
    }
}

#[test]
fn a_person_signs_in_with_a_provider_and_is_known_by_its_name_for_them() {
    let front = Front::open();
    let session = front.round(json!({})).expect(201).json;
    assert_eq!((&session["role"], &session["business"]["slug"]), (&json!("manager"), &json!("acme")));
    let amina = client(&front.service, &session);
    assert_eq!(amina.get("me").expect(200).json["principal"]["email"], "amina@example.com");
    amina.make("leads", json!({ "title": "Roof" }));
    // With another address at the provider she is still herself.
    let later = front.round(json!({ "email": "amina@new.example", "email_verified": false })).expect(201).json;
    assert_eq!(later["user"]["id"], session["user"]["id"]);
    // Somebody else there, with her address, is whoever the provider says has it: it has verified that.
    let other = front.round(json!({ "sub": "other" })).expect(201).json;
    assert_eq!(other["user"]["id"], session["user"]["id"]);
    // Her password is left as it was.
    let body = json!({ "email": "amina@example.com", "password": PASSWORD });
    front.service.stranger().post("auth/sessions", body).expect(201);
    // Who is put out of the business is out.
    front.service.client.delete(&format!("users/{}", session["user"]["id"].as_str().expect("an id"))).expect(204);
    assert_eq!(front.round(json!({})).expect(403).code(), "forbidden");
}

#[test]
fn who_is_not_meant_or_not_verified_does_not_come_in() {
    let front = Front::open();
    for claims in [
        json!({ "email": "stranger@example.com" }),
        json!({ "email_verified": false }),
        json!({ "email_verified": null }),
        json!({ "email": null }),
    ] {
        let refused = front.round(claims.clone()).expect(403);
        assert_eq!(refused.code(), "forbidden", "{claims}");
    }
    assert_eq!(front.service.database.ask("SELECT count(*)::text FROM identities"), "0");
    front.round(json!({})).expect(201);
}

#[test]
fn a_token_that_is_not_for_us_now_is_refused() {
    let front = Front::open();
    let now = jsonwebtoken::get_current_timestamp();
    for claims in [
        json!({ "aud": "another client" }),
        json!({ "aud": [CLIENT, "another client"], "azp": "another client" }),
        json!({ "iss": "https://elsewhere.example" }),
        json!({ "exp": now - 60 }),
        json!({ "exp": null }),
        json!({ "nonce": "of another departure" }),
        json!({ "nonce": null }),
        json!({ "sub": null }),
    ] {
        let refused = front.round(claims.clone()).expect(401);
        assert_eq!(refused.code(), "sign_in_refused", "{claims}");
    }
    // Signed by someone else, or with what everybody could sign with.
    for (key, algorithm) in [(1, None), (0, Some(Algorithm::HS256)), (0, Some(Algorithm::HS512))] {
        let (url, secret) = front.depart();
        let (code, state) = front.provider.consent_with(&url, json!({}), key, algorithm);
        assert_eq!(front.arrive(&code, &state, &secret).expect(401).code(), "sign_in_refused", "{key} {algorithm:?}");
    }
    assert_eq!(front.service.database.ask("SELECT count(*)::text FROM sessions"), "0");
}

#[test]
fn the_way_back_is_used_once_by_the_browser_that_left() {
    let front = Front::open();
    let (url, secret) = front.depart();
    let (code, state) = front.provider.consent(&url, json!({}));
    // Someone who was sent the link has not the secret; trying costs the one who has nothing.
    let (_, anothers) = front.depart();
    for (state, secret) in
        [(state.as_str(), anothers.as_str()), (state.as_str(), "oi_nonsense"), ("nonsense", secret.as_str())]
    {
        assert_eq!(front.arrive(&code, state, secret).expect(401).code(), "sign_in_over");
    }
    front.arrive(&code, &state, &secret).expect(201);
    assert_eq!(front.arrive(&code, &state, &secret).expect(401).code(), "sign_in_over");

    // A code of another departure does not fit the verifier.
    let (first, second) = (front.depart(), front.depart());
    let (code, _) = front.provider.consent(&first.0, json!({}));
    let (_, state) = front.provider.consent(&second.0, json!({}));
    assert_eq!(front.arrive(&code, &state, &second.1).expect(401).code(), "sign_in_refused");

    let (url, secret) = front.depart();
    let (code, state) = front.provider.consent(&url, json!({}));
    front.service.database.run("UPDATE oidc_departures SET expires_at = now()");
    assert_eq!(front.arrive(&code, &state, &secret).expect(401).code(), "sign_in_over");
    // And what is over is swept with the next departure.
    front.depart();
    assert_eq!(front.service.database.ask("SELECT count(*)::text FROM oidc_departures"), "1");
    let faults = front.service.stranger().post("auth/oidc/sessions", json!({ "code": 1 })).expect(422);
    assert_eq!(faults.faults(), ["/code", "/secret", "/state"]);
}

#[test]
fn a_provider_that_is_not_there_or_not_configured_is_said_so() {
    let service = Service::start();
    let refused = service.stranger().post("auth/oidc/departures", json!({})).expect(404);
    assert!(refused.code() == "not_found" && refused.text.contains("RAPPORT_OIDC_ISSUER"), "{}", refused.text);
    let settings = ["--oidc-issuer", "http://127.0.0.1:9", "--oidc-client-id", CLIENT, "--oidc-redirect-url", BACK];
    let service = Service::with(&settings);
    assert_eq!(service.stranger().post("auth/oidc/departures", json!({})).expect(503).code(), "provider_unavailable");
    service.client.get("leads").expect(200);
}

#[test]
fn keys_that_the_provider_has_changed_are_fetched_again() {
    let front = Front::open();
    front.round(json!({})).expect(201);
    front.provider.change_keys();
    let signed_with = |key: usize| {
        let (url, secret) = front.depart();
        let (code, state) = front.provider.consent_with(&url, json!({}), key, None);
        front.arrive(&code, &state, &secret).status
    };
    let began = std::time::Instant::now();
    while signed_with(1) != 201 {
        assert!(began.elapsed() < std::time::Duration::from_secs(15), "the new key is never believed");
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    assert_eq!(signed_with(0), 401, "and the old one no longer");
}
