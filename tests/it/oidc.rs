//! Tests of sign-in with an OpenID Connect provider that runs beside the test.

use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::sign_in::{PASSWORD, admit, client};
use crate::support::provider::{Authentication, BACK, CLIENT, Provider, SECRET, Signing, curve_key, public_key};
use crate::support::{Answer, Service};

struct Front {
    service: Service,
    provider: Provider,
}

impl Front {
    fn open() -> Self {
        Self::with(Provider::start(), true)
    }

    /// A service that is a client of this provider, with or without a secret.
    fn with(provider: Provider, secret: bool) -> Self {
        let issuer = provider.issuer.clone();
        let mut settings = vec!["--oidc-issuer", &issuer, "--oidc-client-id", CLIENT, "--oidc-redirect-url", BACK];
        if secret {
            settings.extend(["--oidc-client-secret", SECRET]);
        }
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
        self.signed(claims, Signing::Rsa(0))
    }

    /// The same, with a token that is signed in another way.
    fn signed(&self, claims: Value, signing: Signing) -> Answer {
        let (url, secret) = self.depart();
        let (code, state) = self.provider.consent_with(&url, claims, signing);
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
        json!({ "email_verified": "false" }),
        json!({ "email_verified": "yes" }),
        json!({ "email_verified": 1 }),
        json!({ "email_verified": null }),
        json!({ "email": null }),
    ] {
        let refused = front.round(claims.clone()).expect(403);
        assert_eq!(refused.code(), "forbidden", "{claims}");
    }
    assert_eq!(front.service.database.ask("SELECT count(*)::text FROM identities"), "0");
    // Some providers send a string.
    front.round(json!({ "email_verified": "true" })).expect(201);
}

#[test]
fn oidc_sign_in_wrong_claim_401() {
    let front = Front::open();
    let now = jsonwebtoken::get_current_timestamp();
    for claims in [
        json!({ "aud": "another client" }),
        json!({ "aud": [] }),
        json!({ "aud": null }),
        json!({ "aud": [CLIENT, "another client"] }),
        json!({ "aud": [CLIENT, "another client"], "azp": CLIENT }),
        json!({ "aud": [CLIENT, "another client"], "azp": "another client" }),
        json!({ "azp": "another client" }),
        json!({ "iss": "https://elsewhere.example" }),
        json!({ "iss": format!("{}/", front.provider.issuer) }),
        json!({ "iss": [front.provider.issuer, "https://elsewhere.example"] }),
        json!({ "iss": null }),
        json!({ "exp": now - 60 }),
        json!({ "exp": now }),
        json!({ "exp": (now + 300).to_string() }),
        json!({ "exp": null }),
        json!({ "iat": null }),
        json!({ "nonce": "of another departure" }),
        json!({ "nonce": null }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": "x".repeat(256) }),
    ] {
        let refused = front.round(claims.clone()).expect(401);
        assert_eq!(refused.code(), "sign_in_refused", "{claims}");
    }
    assert_eq!(front.service.database.ask("SELECT count(*)::text FROM sessions"), "0");
    // The same client, several times, and as the party that the token was issued to.
    front.round(json!({ "aud": [CLIENT], "azp": CLIENT })).expect(201);
}

#[test]
fn oidc_sign_in_wrong_signature_401() {
    let provider = Provider::start();
    // Even a provider that offers these does not make them acceptable.
    provider.change_metadata(json!({ "id_token_signing_alg_values_supported": ["none", "HS256", "HS512", "RS256"] }));
    provider.change_keys(&[public_key(0, None), json!({ "kty": "oct", "alg": "HS256", "k": "c2VjcmV0" }), curve_key()]);
    let front = Front::with(provider, true);
    for signing in [
        Signing::Rsa(1),
        Signing::Nothing,
        Signing::PublicKey,
        Signing::Secret(Algorithm::HS256),
        Signing::Secret(Algorithm::HS512),
        // An algorithm that the metadata do not name, although there is a key for it.
        Signing::Curve,
        Signing::Header(0, json!({ "kid": "unknown" })),
        Signing::Header(0, json!({ "crit": ["exp"] })),
        Signing::Header(0, json!({ "cty": "JWT" })),
        Signing::Header(0, json!({ "typ": "at+jwt" })),
    ] {
        let refused = front.signed(json!({}), signing.clone()).expect(401);
        assert_eq!(refused.code(), "sign_in_refused", "{signing:?}");
    }
    assert_eq!(front.service.database.ask("SELECT count(*)::text FROM sessions"), "0");
    for header in [json!({ "typ": null }), json!({ "typ": "jwt" }), json!({ "typ": "application/JOSE" })] {
        front.signed(json!({}), Signing::Header(0, header)).expect(201);
    }
}

#[test]
fn oidc_sign_in_key_chosen_by_id_use_and_type() {
    let provider = Provider::start();
    provider.change_metadata(json!({ "id_token_signing_alg_values_supported": ["RS256", "ES256", "ES512"] }));
    let mut encrypts = public_key(1, Some("encrypts"));
    encrypts["use"] = json!("enc");
    let unknown = json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA" });
    let named = [public_key(0, Some("old")), public_key(1, Some("new")), encrypts, unknown, json!(1), curve_key()];
    provider.change_keys(&named);
    let front = Front::with(provider, true);
    front.signed(json!({}), Signing::Header(0, json!({ "kid": "old" }))).expect(201);
    front.signed(json!({}), Signing::Header(1, json!({ "kid": "new" }))).expect(201);
    // The only key on a curve needs no name.
    front.signed(json!({}), Signing::Curve).expect(201);
    for signing in [
        Signing::Header(0, json!({ "kid": "new" })),
        Signing::Header(1, json!({ "kid": "encrypts" })),
        // Two keys fit.
        Signing::Rsa(0),
    ] {
        front.signed(json!({}), signing).expect(401);
    }
}

#[test]
fn oidc_client_authentication_follows_metadata() {
    let methods = |names: &[&str]| json!({ "token_endpoint_auth_methods_supported": names });
    for (metadata, authentication) in [
        (methods(&["private_key_jwt", "client_secret_post"]), Authentication::Post),
        (methods(&["client_secret_post", "client_secret_basic"]), Authentication::Basic),
        (methods(&["none"]), Authentication::Public),
    ] {
        let provider = Provider::start();
        provider.change_metadata(metadata);
        provider.require(authentication);
        let front = Front::with(provider, authentication != Authentication::Public);
        front.round(json!({})).expect(201);
        // The endpoint refuses a code that it never gave.
        let (url, secret) = front.depart();
        let (_, state) = front.provider.consent(&url, json!({}));
        assert_eq!(front.arrive("nonsense", &state, &secret).expect(401).code(), "sign_in_refused");
    }
}

#[test]
fn oidc_metadata_of_another_issuer_or_incomplete_503() {
    let provider = Provider::start();
    let issuer = provider.issuer.clone();
    let front = Front::with(provider, true);
    for members in [
        json!({ "issuer": "https://elsewhere.example" }),
        json!({ "issuer": format!("{issuer}/") }),
        json!({ "issuer": null }),
        json!({ "jwks_uri": format!("{issuer}/nowhere") }),
        json!({ "token_endpoint": "nowhere" }),
        json!({ "authorization_endpoint": null }),
        json!({ "id_token_signing_alg_values_supported": null }),
        json!({ "padding": "x".repeat(1024 * 1024) }),
    ] {
        front.provider.change_metadata(members.clone());
        let refused = front.service.stranger().post("auth/oidc/authorizations", json!({})).expect(503);
        assert_eq!(refused.code(), "provider_unavailable", "{issuer} {}", &members.to_string()[..20]);
    }
    // Nothing of that was kept.
    front.provider.change_metadata(json!({}));
    front.round(json!({})).expect(201);
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

    let front = Front::open();
    front.provider.fail_tokens();
    assert_eq!(front.round(json!({})).expect(503).code(), "provider_unavailable");
}

#[test]
fn oidc_hanging_provider_503_after_one_time_out_for_all() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let issuer = format!("http://{}", listener.local_addr().expect("an address"));
    let (send, connections) = mpsc::channel();
    // Accepts connections, and says nothing.
    std::thread::spawn(move || listener.incoming().try_for_each(|connection| send.send(connection)));
    let settings = ["--oidc-issuer", &issuer, "--oidc-client-id", CLIENT, "--oidc-redirect-url", BACK];
    let service = Service::with(&settings);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let answer = service.stranger().post("auth/oidc/authorizations", json!({})).expect(503);
                assert_eq!(answer.code(), "provider_unavailable");
            });
        }
    });
    assert_eq!(connections.try_iter().count(), 1, "all shared one request");
}

/// Repeats a login until the keys are fetched again, which takes 5 seconds.
fn until_accepted(front: &Front, signing: &Signing) {
    let began = Instant::now();
    while front.signed(json!({}), signing.clone()).status != 201 {
        assert!(began.elapsed() < Duration::from_secs(15), "the new key is never accepted");
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn oidc_provider_rotates_keys_new_key_accepted() {
    let front = Front::open();
    front.round(json!({})).expect(201);
    front.provider.change_keys(&[public_key(1, None)]);
    until_accepted(&front, &Signing::Rsa(1));
    front.signed(json!({}), Signing::Rsa(0)).expect(401);
}

#[test]
fn oidc_provider_rotates_key_ids_new_id_accepted() {
    let front = Front::open();
    let named = |id: &str, key: usize| Signing::Header(key, json!({ "kid": id }));
    front.provider.change_keys(&[public_key(0, Some("first"))]);
    front.signed(json!({}), named("first", 0)).expect(201);
    // As yet unknown, and the keys were fetched just now.
    front.signed(json!({}), named("second", 1)).expect(401);
    front.provider.change_keys(&[public_key(0, Some("first")), public_key(1, Some("second"))]);
    until_accepted(&front, &named("second", 1));
    // During the transition both count, each under its own name.
    front.signed(json!({}), named("first", 0)).expect(201);
    front.signed(json!({}), named("second", 0)).expect(401);
}
