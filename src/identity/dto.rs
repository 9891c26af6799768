//! Fields of the request and response bodies of `/auth` and `/me`, for parsing and for the OpenAPI document.

use utoipa::openapi::OpenApi;
use utoipa::openapi::path::HttpMethod;

use super::api_keys::API_KEYS;
use super::passwords::{MAX_LEN, MIN_LEN};
use super::sessions;
use super::{email_flows, oidc};
use crate::auth::Role;
use crate::resource::openapi::{Act, Gives};
use crate::resource::{Field, FieldType};

pub const EMAIL: Field = Field::new("email", FieldType::Email, r#""amina@example.com""#, "Whatever its case.");

/// An existing password.
pub const fn password(name: &'static str, about: &'static str) -> Field {
    Field::new(name, FieldType::Secret { min: 1, max: MAX_LEN }, r#""correct horse battery""#, about)
}

/// A new password.
pub const fn new_password(name: &'static str, about: &'static str) -> Field {
    Field::new(name, FieldType::Secret { min: MIN_LEN, max: MAX_LEN }, r#""a longer sentence is better""#, about)
}

pub static SIGN_IN: [Field; 3] = [
    EMAIL.required(),
    password("password", "The password.").required(),
    Field::text("business", 63, r#""demo""#, "Slug of the business, for who belongs to several."),
];
pub static RENEWAL: [Field; 1] =
    [Field::text("refresh_token", 200, r#""rt_9Qa…""#, "The last one that was given. It counts once.").required()];
pub static PASSWORD_CHANGE: [Field; 2] = [
    password("current_password", "The password until now.").required(),
    new_password("new_password", "The password from now on.").required(),
];
pub static ROTATION: [Field; 1] = [Field::int(
    "overlap_seconds",
    0,
    30 * 24 * 3600,
    "86400",
    "How long the old key still works; a day, if left out.",
)];

const ACCESS: Field =
    Field::text("access_token", 2_000, r#""eyJhbGciOiJIUzI1NiJ9…""#, "Goes into `Authorization: Bearer`.").not_null();
const TYPE: Field = Field::text("token_type", 10, r#""Bearer""#, "Always `Bearer`.").not_null();
const EXPIRES: Field = Field::int("expires_in", 0, 86_400, "600", "Seconds until it must be renewed.").not_null();
const REFRESH: Field = Field::text("refresh_token", 200, r#""rt_9Qa…""#, "Renews the pair, once.").not_null();
const SESSION: Field =
    Field::new("session_id", FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c75""#, "The session.").not_null();

static TOKENS: [Field; 5] = [ACCESS, TYPE, EXPIRES, REFRESH, SESSION];
pub static SIGNED_IN: [Field; 8] = [
    ACCESS,
    TYPE,
    EXPIRES,
    REFRESH,
    SESSION,
    Field::new(
        "user",
        FieldType::Object,
        r#"{"id":"01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73","name":"Amina Diallo"}"#,
        "Who.",
    )
    .not_null(),
    Field::new(
        "business",
        FieldType::Object,
        r#"{"id":"01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c70","slug":"demo","name":"Demo"}"#,
        "Where.",
    )
    .not_null(),
    Field::choice("role", Role::NAMES, r#""agent""#, "The role in this business.").not_null(),
];
static ME: [Field; 5] = [
    Field::new(
        "principal",
        FieldType::Object,
        r#"{"kind":"user","id":"01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73","name":"Amina Diallo","email":"amina@example.com","session_id":"01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c75"}"#,
        "A `user` with a session, or an `api_key`.",
    )
    .not_null(),
    Field::new(
        "business",
        FieldType::Object,
        r#"{"id":"01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c70","country":"DE","time_zone":"Europe/Berlin","currency":"EUR"}"#,
        "The business that the credential is for.",
    )
    .not_null(),
    Field::choice("role", Role::NAMES, r#""agent""#, "The role in this business.").not_null(),
    Field::new("permissions", FieldType::Tags, r#"["crm:read","crm:write"]"#, "What the caller may do, as `area:action`.")
        .not_null(),
    Field::choice(
        "sees",
        &["all", "assigned"],
        r#""all""#,
        "`assigned`: of leads and conversations only those that are assigned to the caller, and what belongs to them.",
    )
    .not_null(),
];
static SESSIONS: [Field; 7] = {
    let [id, agent, address, created, used, expires] = sessions::FIELDS;
    let current = Field::new("current", FieldType::Bool, "true", "Whether it is the one that asks.").not_null();
    [id, agent, address, created, used, expires, current]
};

/// Adds the operations of sign-in, `/me` and API keys to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    let acts = [
        Act {
            method: HttpMethod::Get,
            path: "/me",
            tag: "auth",
            id: "me",
            summary: "Who is calling, and what they may do",
            about: "Of the credential that the request carries: a person's access token or an API key.",
            takes: &[],
            status: 200,
            gives: Gives::Object(&ME),
            problems: &[401, 503],
            open: false,
        },
        Act {
            method: HttpMethod::Post,
            path: "/auth/sessions",
            tag: "auth",
            id: "signIn",
            summary: "Sign in",
            about: "Answers with a short-lived access token and a refresh token. Who belongs to several businesses and \
                    names none gets 409 `choose_business` with their slugs. Wrong passwords are counted by account and \
                    by address; after too many, 429 says when to try again.",
            takes: &SIGN_IN,
            status: 201,
            gives: Gives::Object(&SIGNED_IN),
            problems: &[400, 401, 403, 408, 409, 413, 415, 422, 429, 503],
            open: true,
        },
        Act {
            method: HttpMethod::Get,
            path: "/auth/sessions",
            tag: "auth",
            id: "listSessions",
            summary: "List one's own sessions",
            about: "Of this business, the last used first; at most 100. For people only.",
            takes: &[],
            status: 200,
            gives: Gives::List(&SESSIONS),
            problems: &[401, 403, 503],
            open: false,
        },
        Act {
            method: HttpMethod::Delete,
            path: "/auth/sessions/{id}",
            tag: "auth",
            id: "signOut",
            summary: "Sign out",
            about: "Ends one's own session of this id, or the one that asks (`current`). Its tokens are refused from the \
                    next request on, on every replica.",
            takes: &[],
            status: 204,
            gives: Gives::Nothing,
            problems: &[401, 403, 404, 503],
            open: false,
        },
        Act {
            method: HttpMethod::Post,
            path: "/auth/tokens",
            tag: "auth",
            id: "renewTokens",
            summary: "Renew the tokens",
            about: "A refresh token counts once. One that comes again, later than a moment after, ends its session: \
                    either the person or a thief has used it before. Where one was sent twice within that moment, only one \
                    of the two that it gave may go on; so programs that share a session share its tokens.",
            takes: &RENEWAL,
            status: 200,
            gives: Gives::Object(&TOKENS),
            problems: &[400, 401, 408, 413, 415, 422, 503],
            open: true,
        },
        Act {
            method: HttpMethod::Post,
            path: "/auth/password-changes",
            tag: "auth",
            id: "changePassword",
            summary: "Change one's own password",
            about: "Ends all other sessions of the person, in every business.",
            takes: &PASSWORD_CHANGE,
            status: 204,
            gives: Gives::Nothing,
            problems: &[400, 401, 403, 408, 413, 415, 422, 429, 503],
            open: false,
        },
        Act {
            method: HttpMethod::Post,
            path: "/api-keys/{id}/rotation",
            tag: "api-keys",
            id: "rotateApiKey",
            summary: "Give an API key a new secret",
            about: "The new key is in the answer and is not shown again; the old one works for `overlap_seconds` more. \
                    While the one before that still does, another rotation is refused (409 `rotation_running`), unless \
                    `overlap_seconds` is 0: that ends both at once.",
            takes: &ROTATION,
            status: 200,
            gives: Gives::Created(&API_KEYS),
            problems: &[400, 401, 403, 404, 408, 409, 413, 415, 422, 503],
            open: false,
        },
    ];
    acts.into_iter().for_each(|act| act.describe(api));
    email_flows::describe(api);
    oidc::http::describe(api);
}
