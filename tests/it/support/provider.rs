//! A fake OpenID Connect provider: discovery, keys, and codes that are exchanged for signed tokens by a client with the
//! PKCE verifier and the client secret. Its user consents to the claims that the test chooses.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::web::{self, Data, Form};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const CLIENT: &str = "rapport";
pub const SECRET: &str = "the client's secret & more";
pub const BACK: &str = "http://localhost:3000/oidc";

/// The provider's RSA keys: the second is a foreign key, or the next one after a key rotation. They serve these tests
/// only; to generate keys takes seconds in a build without optimisation.
static KEYS: LazyLock<[EncodingKey; 2]> = LazyLock::new(|| {
    let keys: [&[u8]; 2] = [include_bytes!("keys/rsa0.der"), include_bytes!("keys/rsa1.der")];
    keys.map(EncodingKey::from_rsa_der)
});
/// Its key on the curve P-256.
static CURVE_KEY: LazyLock<EncodingKey> =
    LazyLock::new(|| EncodingKey::from_ec_der(&rcgen::KeyPair::generate().expect("a key").serialize_der()));

/// How a token is signed.
#[derive(Clone, Debug)]
pub enum Signing {
    /// With the RSA key of this number.
    Rsa(usize),
    /// The same, by a header that names the key and has these other members.
    Header(usize, Value),
    /// With the key on a curve.
    Curve,
    /// With the client secret.
    Secret(Algorithm),
    /// With HS256, whose secret is the modulus of the public key of number 0.
    PublicKey,
    /// Not at all.
    Nothing,
}

struct Consent {
    challenge: String,
    claims: Value,
    signing: Signing,
}

pub struct Provider {
    pub issuer: String,
    shared: Data<Shared>,
}

/// What the provider's handlers share with the test.
struct Shared {
    issuer: String,
    codes: Mutex<HashMap<String, Consent>>,
    /// Members that replace those of the metadata.
    metadata: Mutex<Value>,
    keys: Mutex<Vec<Value>>,
    /// How the client must authenticate itself.
    authentication: Mutex<Authentication>,
    /// Whether the token endpoint fails.
    fails: AtomicBool,
}

/// How a client authenticates itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    Basic,
    Post,
    Public,
}

impl Provider {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let issuer = format!("http://127.0.0.1:{}", listener.local_addr().expect("an address").port());
        let shared = Data::new(Shared {
            issuer: issuer.clone(),
            codes: Mutex::default(),
            metadata: Mutex::new(json!({})),
            keys: Mutex::new(vec![public_key(0, None)]),
            authentication: Mutex::new(Authentication::Basic),
            fails: AtomicBool::new(false),
        });
        let state = shared.clone();
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
        Self { issuer, shared }
    }

    /// The user consents to the request in `url`; `claims` replaces or, by null, removes claims of the token. Returns
    /// the code and the state with which the browser returns.
    pub fn consent(&self, url: &str, claims: Value) -> (String, String) {
        self.consent_with(url, claims, Signing::Rsa(0))
    }

    /// Like [`Provider::consent`], with a token that is signed in another way.
    pub fn consent_with(&self, url: &str, claims: Value, signing: Signing) -> (String, String) {
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
        merge(&mut all, &claims);
        let code = uuid::Uuid::now_v7().to_string();
        let consent = Consent { challenge: asked["code_challenge"].clone(), claims: all, signing };
        self.shared.codes.lock().insert(code.clone(), consent);
        (code, asked["state"].clone())
    }

    /// Replaces or, by null, removes members of the metadata.
    pub fn change_metadata(&self, members: Value) {
        *self.shared.metadata.lock() = members;
    }

    /// Publishes these keys only.
    pub fn change_keys(&self, keys: &[Value]) {
        *self.shared.keys.lock() = keys.to_vec();
    }

    /// The token endpoint answers 502 from now on.
    pub fn fail_tokens(&self) {
        self.shared.fails.store(true, Ordering::Relaxed);
    }

    /// Requires the client to authenticate itself like this.
    pub fn require(&self, authentication: Authentication) {
        *self.shared.authentication.lock() = authentication;
    }
}

/// The public key of this number, with this id.
pub fn public_key(number: usize, id: Option<&str>) -> Value {
    let mut json = public(&KEYS[number], Algorithm::RS256);
    merge(&mut json, &json!({ "use": "sig", "kid": id }));
    json
}

/// The public key on a curve.
pub fn curve_key() -> Value {
    public(&CURVE_KEY, Algorithm::ES256)
}

fn public(key: &EncodingKey, algorithm: Algorithm) -> Value {
    serde_json::to_value(Jwk::from_encoding_key(key, algorithm).expect("a key")).expect("JSON")
}

/// Replaces or, by null, removes members.
fn merge(object: &mut Value, members: &Value) {
    for (name, value) in members.as_object().expect("an object") {
        match value {
            Value::Null => drop(object.as_object_mut().expect("an object").remove(name)),
            value => object[name] = value.clone(),
        }
    }
}

async fn discovery(state: Data<Shared>) -> HttpResponse {
    let issuer = &state.issuer;
    let mut metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    merge(&mut metadata, &state.metadata.lock());
    HttpResponse::Ok().json(metadata)
}

async fn keys(state: Data<Shared>) -> HttpResponse {
    let keys = json!({ "keys": *state.keys.lock() });
    HttpResponse::Ok().content_type("application/jwk-set+json; charset=utf-8").body(keys.to_string())
}

async fn token(state: Data<Shared>, request: HttpRequest, form: Form<HashMap<String, String>>) -> HttpResponse {
    if state.fails.load(Ordering::Relaxed) {
        return HttpResponse::BadGateway().finish();
    }
    let refused = |error: &str| HttpResponse::BadRequest().json(json!({ "error": error }));
    if !is_authentic(*state.authentication.lock(), &request, &form) {
        return HttpResponse::Unauthorized().json(json!({ "error": "invalid_client" }));
    }
    let code = form.get("code").and_then(|code| state.codes.lock().remove(code));
    let Some(consent) = code else { return refused("invalid_grant") };
    let verifier = form.get("code_verifier").map(|verifier| URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)));
    if verifier != Some(consent.challenge) || form.get("redirect_uri").map(String::as_str) != Some(BACK) {
        return refused("invalid_grant");
    }
    let token = sign(&consent.claims, consent.signing);
    HttpResponse::Ok()
        .json(json!({ "access_token": "at", "token_type": "Bearer", "expires_in": 300, "id_token": token }))
}

/// Whether the request is authenticated in this way, and in no other.
fn is_authentic(way: Authentication, request: &HttpRequest, form: &HashMap<String, String>) -> bool {
    let form_encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{form_encoded}")));
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let field = |name: &str| form.get(name).map(String::as_str);
    let found = (header, field("client_id"), field("client_secret"));
    found
        == match way {
            Authentication::Basic => (Some(basic.as_str()), None, None),
            Authentication::Post => (None, Some(CLIENT), Some(SECRET)),
            Authentication::Public => (None, Some(CLIENT), None),
        }
}

fn sign(claims: &Value, signing: Signing) -> String {
    let rsa = Header::new(Algorithm::RS256);
    let token = match signing {
        Signing::Rsa(key) => encode(&rsa, claims, &KEYS[key]),
        Signing::Header(key, members) => {
            let mut header = serde_json::to_value(rsa).expect("JSON");
            merge(&mut header, &members);
            encode(&serde_json::from_value(header).expect("a header"), claims, &KEYS[key])
        }
        Signing::Curve => encode(&Header::new(Algorithm::ES256), claims, &CURVE_KEY),
        Signing::Secret(algorithm) => {
            encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(SECRET.as_bytes()))
        }
        Signing::PublicKey => {
            let modulus = public_key(0, None)["n"].as_str().map(|n| URL_SAFE_NO_PAD.decode(n).expect("base64"));
            encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(&modulus.expect("a modulus")))
        }
        Signing::Nothing => {
            let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
            Ok(format!("{}.{}.", part(&json!({ "alg": "none", "typ": "JWT" })), part(claims)))
        }
    };
    token.expect("a token")
}
