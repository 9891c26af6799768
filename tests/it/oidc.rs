//! Tests of sign-in with an OpenID Connect provider that runs beside the test.

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

    /// Begins a login: the URL of the provider, and the secret that the browser keeps.
    fn depart(&self) -> (String, String) {
        let answer = self.service.stranger().post("auth/oidc/authorizations", json!({})).expect(201);
        assert_eq!((answer.header("cache-control"), &answer.json["expires_in"]), ("no-store", &json!(600)));
        let text = |name: &str| answer.json[name].as_str().expect("a text").to_owned();
        (text("authorization_url"), text("secret"))
    }

    fn arrive(&self, code: &str, state: &str, secret: &str) -> Answer {
        let body = json!({ "code": code, "state": state, "secret": secret });
        self.service.stranger().post("auth/oidc/sessions", body)
    }

    /// A complete login, with these claims in the token.
    fn round(&self, claims: Value) -> Answer {
        let (url, secret) = self.depart();
        let (code, state) = self.provider.consent(&url, claims);
        self.arrive(&code, &state, &secret)
    }
}

#[test]
fn oidc_sign_in_matches_user_by_subject_or_verified_email() {
    let front = Front::open();
    let session = front.round(json!({})).expect(201).json;
    assert_eq!((&session["role"], &session["business"]["slug"]), (&json!("manager"), &json!("acme")));
    let amina = client(&front.service, &session);
    assert_eq!(amina.get("me").expect(200).json["principal"]["email"], "amina@example.com");
    amina.make("leads", json!({ "title": "Roof" }));
    // With another email address at the provider, she is still the same user.
    let later = front.round(json!({ "email": "amina@new.example", "email_verified": false })).expect(201).json;
    assert_eq!(later["user"]["id"], session["user"]["id"]);
    // Another account at the provider with her address signs in as her, because the provider has verified the address.
    let other = front.round(json!({ "sub": "other" })).expect(201).json;
    assert_eq!(other["user"]["id"], session["user"]["id"]);
    // Her password is unchanged.
    let body = json!({ "email": "amina@example.com", "password": PASSWORD });
    front.service.stranger().post("auth/sessions", body).expect(201);
    // A user removed from the business cannot sign in.
    front.service.client.delete(&format!("users/{}", session["user"]["id"].as_str().expect("an id"))).expect(204);
    assert_eq!(front.round(json!({})).expect(403).code(), "forbidden");
}

#[test]
fn oidc_sign_in_unknown_or_unverified_email_403() {
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
fn oidc_sign_in_invalid_id_token_401() {
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
    // Signed with another key, or with an algorithm that needs no private key.
    for (key, algorithm) in [(1, None), (0, Some(Algorithm::HS256)), (0, Some(Algorithm::HS512))] {
        let (url, secret) = front.depart();
        let (code, state) = front.provider.consent_with(&url, json!({}), key, algorithm);
        assert_eq!(front.arrive(&code, &state, &secret).expect(401).code(), "sign_in_refused", "{key} {algorithm:?}");
    }
    assert_eq!(front.service.database.ask("SELECT count(*)::text FROM sessions"), "0");
}

#[test]
fn oidc_callback_accepted_once_and_only_with_its_secret() {
    let front = Front::open();
    let (url, secret) = front.depart();
    let (code, state) = front.provider.consent(&url, json!({}));
    // A client that only has the link lacks the secret; wrong attempts do not use up the login.
    let (_, anothers) = front.depart();
    for (state, secret) in
        [(state.as_str(), anothers.as_str()), (state.as_str(), "oi_nonsense"), ("nonsense", secret.as_str())]
    {
        assert_eq!(front.arrive(&code, state, secret).expect(401).code(), "sign_in_over");
    }
    front.arrive(&code, &state, &secret).expect(201);
    assert_eq!(front.arrive(&code, &state, &secret).expect(401).code(), "sign_in_over");

    // A code of another login attempt does not match the verifier.
    let (first, second) = (front.depart(), front.depart());
    let (code, _) = front.provider.consent(&first.0, json!({}));
    let (_, state) = front.provider.consent(&second.0, json!({}));
    assert_eq!(front.arrive(&code, &state, &second.1).expect(401).code(), "sign_in_refused");

    let (url, secret) = front.depart();
    let (code, state) = front.provider.consent(&url, json!({}));
    front.service.database.run("UPDATE oidc_login_attempts SET expires_at = now()");
    assert_eq!(front.arrive(&code, &state, &secret).expect(401).code(), "sign_in_over");
    // Expired login attempts are purged with the next one.
    front.depart();
    assert_eq!(front.service.database.ask("SELECT count(*)::text FROM oidc_login_attempts"), "1");
    let faults = front.service.stranger().post("auth/oidc/sessions", json!({ "code": 1 })).expect(422);
    assert_eq!(faults.faults(), ["/code", "/secret", "/state"]);
}

#[test]
fn oidc_unconfigured_404_unreachable_provider_503() {
    let service = Service::start();
    let refused = service.stranger().post("auth/oidc/authorizations", json!({})).expect(404);
    assert!(refused.code() == "not_found" && refused.text.contains("RAPPORT_OIDC_ISSUER"), "{}", refused.text);
    let settings = ["--oidc-issuer", "http://127.0.0.1:9", "--oidc-client-id", CLIENT, "--oidc-redirect-url", BACK];
    let service = Service::with(&settings);
    assert_eq!(
        service.stranger().post("auth/oidc/authorizations", json!({})).expect(503).code(),
        "provider_unavailable"
    );
    service.client.get("leads").expect(200);
}

#[test]
fn oidc_provider_rotates_keys_new_key_accepted() {
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
