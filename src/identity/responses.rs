//! Responses of `/auth` and `/me`.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::sessions::Session;
use crate::auth::{Permission, Role};

/// A short-lived access token, and the token that renews it.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "access_token": "eyJhbGciOiJIUzI1NiJ9…", "token_type": "Bearer", "expires_in": 600, "refresh_token": "rt_9Qa…",
    "session_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c75",
})))]
pub struct TokenPair {
    /// Goes into `Authorization: Bearer`.
    #[schema(max_length = 2000)]
    pub access_token: String,
    pub token_type: TokenType,
    /// Seconds until it must be renewed.
    #[schema(maximum = 86400)]
    pub expires_in: u32,
    /// Renews the pair, once.
    #[schema(max_length = 200)]
    pub refresh_token: String,
    /// The session.
    pub session_id: Uuid,
}

/// How an access token is presented (RFC 6750).
#[derive(Serialize, ToSchema)]
pub enum TokenType {
    Bearer,
}

/// A session that begins: its tokens, who is signed in, and where.
#[derive(Serialize, ToSchema)]
pub struct SignedIn {
    #[serde(flatten)]
    pub tokens: TokenPair,
    pub user: UserSummary,
    pub business: BusinessSummary,
    /// The role in this business.
    pub role: Role,
}

/// A person.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73", "name": "Amina Diallo" })))]
pub struct UserSummary {
    pub id: Uuid,
    pub name: String,
}

/// A business.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c70", "slug": "demo", "name": "Demo" })))]
pub struct BusinessSummary {
    pub id: Uuid,
    /// Its name in addresses.
    pub slug: String,
    pub name: String,
}

/// The caller, the business that the credential is for, and what the caller may do there.
#[derive(Serialize, ToSchema)]
pub struct Me {
    pub principal: Principal,
    pub business: BusinessSettings,
    /// The role in this business.
    pub role: Role,
    /// What the caller may do.
    pub permissions: Vec<Permission>,
    pub sees: Visibility,
}

/// Whose credential a request carries.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "kind": "user", "id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73", "name": "Amina Diallo", "email": "amina@example.com",
    "session_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c75",
})))]
pub struct Principal {
    pub kind: PrincipalKind,
    /// Of the person or the key.
    pub id: Uuid,
    /// What the person or the key is called.
    #[schema(required = true)]
    pub name: Option<String>,
    /// The person's address; null for a key.
    #[schema(required = true)]
    pub email: Option<String>,
    /// The person's session; null for a key.
    #[schema(required = true)]
    pub session_id: Option<Uuid>,
}

/// A person with a session, or a program with an API key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    User,
    ApiKey,
}

/// A business, with the settings that are its rows' defaults.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c70", "country": "DE", "time_zone": "Europe/Berlin", "currency": "EUR",
})))]
pub struct BusinessSettings {
    pub id: Uuid,
    /// How phone numbers without a country code are read: ISO 3166-1 alpha-2.
    #[schema(pattern = "^[A-Z]{2}$")]
    pub country: String,
    /// In which its days begin: a name of IANA's.
    #[schema(pattern = "^[A-Za-z0-9_+/-]+$")]
    pub time_zone: String,
    /// Of amounts without one: ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$")]
    pub currency: String,
}

/// `assigned`: of leads and conversations only those that are assigned to the caller, and what belongs to them.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    All,
    Assigned,
}

/// A person's sessions in this business, the last used first.
#[derive(Serialize, ToSchema)]
pub struct SessionList {
    #[schema(max_items = 100)]
    pub data: Vec<Session>,
}

/// A sign-in with an identity provider that has begun.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "authorization_url": "https://id.example.com/authorize?…", "secret": "oi_9Qa…", "expires_in": 600,
})))]
pub struct OidcAuthorization {
    /// Send the browser there.
    #[schema(max_length = 4000)]
    pub authorization_url: String,
    /// Keep it in the browser until it is back.
    #[schema(max_length = 200)]
    pub secret: String,
    /// Seconds until it must be back.
    #[schema(maximum = 86400)]
    pub expires_in: u32,
}
