//! A fake OpenID Connect provider: discovery, keys, and codes that are exchanged for signed tokens by a client with the
//! PKCE verifier and the client secret. Its user consents to the claims that the test chooses.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, LazyLock};

use actix_web::web::{self, Data, Form};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use parking_lot::Mutex;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const CLIENT: &str = "rapport";
pub const SECRET: &str = "the client's secret & more";
pub const BACK: &str = "http://localhost:3000/oidc";

/// The provider's keys: the second is a foreign key, or the next one after a key rotation.
static KEYS: LazyLock<[rsa::RsaPrivateKey; 2]> = LazyLock::new(|| {
    let make = || rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).expect("a key");
    [make(), make()]
});

#[derive(Default)]
struct Consent {
    challenge: String,
    claims: Value,
    key: usize,
    algorithm: Option<Algorithm>,
}

pub struct Provider {
    pub issuer: String,
    codes: Arc<Mutex<HashMap<String, Consent>>>,
    shown: Arc<Mutex<usize>>,
}

impl Provider {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let issuer = format!("http://127.0.0.1:{}", listener.local_addr().expect("an address").port());
        let provider = Self { issuer: issuer.clone(), codes: Arc::default(), shown: Arc::default() };
        let state = Data::new((issuer, provider.codes.clone(), provider.shown.clone()));
        std::thread::spawn(move || {
            let app = move || {
                App::new()
                    .app_data(state.clone())
                    .route("/.well-known/openid-configuration", web::get().to(discovery))
                    .route("/jwks", web::get().to(keys))
                    .route("/token", web::post().to(token))
            };
            let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).expect("a server");
            actix_web::rt::System::new().block_on(server.run()).expect("it serves");
        });
        provider
    }

    /// The user consents to the request in `url`; `claims` replaces or, by null, removes claims of the token. Returns
    /// the code and the state with which the browser returns.
    pub fn consent(&self, url: &str, claims: Value) -> (String, String) {
        self.consent_with(url, claims, 0, None)
    }

    /// Like [`Provider::consent`], with a token signed by the key of this number, or with another algorithm.
    pub fn consent_with(&self, url: &str, claims: Value, key: usize, algorithm: Option<Algorithm>) -> (String, String) {
        let asked: HashMap<String, String> = url::Url::parse(url).expect("a URL").query_pairs().into_owned().collect();
        assert!(url.starts_with(&format!("{}/authorize?", self.issuer)), "{url}");
        assert_eq!((asked["client_id"].as_str(), asked["redirect_uri"].as_str()), (CLIENT, BACK));
        assert_eq!((asked["response_type"].as_str(), asked["code_challenge_method"].as_str()), ("code", "S256"));
        assert_eq!(asked["scope"], "openid email profile");
        let now = jsonwebtoken::get_current_timestamp();
        let mut all = json!({
            "iss": self.issuer, "aud": CLIENT, "sub": "248289761001", "iat": now, "exp": now + 300,
            "nonce": asked["nonce"], "email": "amina@example.com", "email_verified": true, "name": "Amina",
        });
        for (name, value) in claims.as_object().expect("claims") {
            match value {
                Value::Null => drop(all.as_object_mut().expect("an object").remove(name)),
                value => all[name] = value.clone(),
            }
        }
        let code = uuid::Uuid::new_v4().to_string();
        let consent = Consent { challenge: asked["code_challenge"].clone(), claims: all, key, algorithm };
        self.codes.lock().insert(code.clone(), consent);
        (code, asked["state"].clone())
    }

    /// Rotates to the other key.
    pub fn change_keys(&self) {
        *self.shown.lock() = 1;
    }
}

type State = Data<(String, Arc<Mutex<HashMap<String, Consent>>>, Arc<Mutex<usize>>)>;

async fn discovery(state: State) -> HttpResponse {
    let issuer = &state.0;
    HttpResponse::Ok().json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

async fn keys(state: State) -> HttpResponse {
    let key = &KEYS[*state.2.lock()];
    let number = |number: rsa::BigUint| URL_SAFE_NO_PAD.encode(number.to_bytes_be());
    let (n, e) = (number(key.n().clone()), number(key.e().clone()));
    HttpResponse::Ok().json(json!({ "keys": [{ "kty": "RSA", "use": "sig", "alg": "RS256", "n": n, "e": e }] }))
}

async fn token(state: State, request: HttpRequest, form: Form<HashMap<String, String>>) -> HttpResponse {
    let refused = |error: &str| HttpResponse::BadRequest().json(json!({ "error": error }));
    let form_encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let client = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{form_encoded}")));
    if request.headers().get("authorization").and_then(|value| value.to_str().ok()) != Some(client.as_str()) {
        return HttpResponse::Unauthorized().json(json!({ "error": "invalid_client" }));
    }
    let code = form.get("code").and_then(|code| state.1.lock().remove(code));
    let Some(consent) = code else { return refused("invalid_grant") };
    let verifier = form.get("code_verifier").map(|verifier| URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)));
    if verifier != Some(consent.challenge) || form.get("redirect_uri").map(String::as_str) != Some(BACK) {
        return refused("invalid_grant");
    }
    let signed = match consent.algorithm {
        Some(algorithm) => {
            encode(&Header::new(algorithm), &consent.claims, &EncodingKey::from_secret(SECRET.as_bytes()))
        }
        None => {
            let der = KEYS[consent.key].to_pkcs1_der().expect("DER");
            encode(&Header::new(Algorithm::RS256), &consent.claims, &EncodingKey::from_rsa_der(der.as_bytes()))
        }
    };
    let token = signed.expect("a token");
    HttpResponse::Ok()
        .json(json!({ "access_token": "at", "token_type": "Bearer", "expires_in": 300, "id_token": token }))
}
