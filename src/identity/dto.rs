//! Fields of the request and response bodies of `/auth`, `/me` and the rotation of API keys.

use crate::auth::Role;
use crate::resource::{Field, FieldType};

/// Limits of a password, in characters. NIST SP 800-63B demands at least 8, and no composition rules.
pub const MIN_PASSWORD_LEN: usize = 10;
pub const MAX_PASSWORD_LEN: usize = 200;
/// Characters of a user agent which are stored.
pub const MAX_USER_AGENT_LEN: usize = 300;

pub const EMAIL: Field = Field::named("email", FieldType::Email, r#""amina@example.com""#, "Whatever its case.");

/// An existing password.
pub const fn password(name: &'static str, about: &'static str) -> Field {
    Field::named(name, FieldType::Secret { min: 1, max: MAX_PASSWORD_LEN }, r#""correct horse battery""#, about)
}

/// A new password.
pub const fn new_password(name: &'static str, about: &'static str) -> Field {
    Field::named(
        name,
        FieldType::Secret { min: MIN_PASSWORD_LEN, max: MAX_PASSWORD_LEN },
        r#""a longer sentence is better""#,
        about,
    )
}

pub static SIGN_IN: [Field; 3] = [
    EMAIL.required(),
    password("password", "The password.").required(),
    Field::named(
        "business",
        FieldType::Text { min: 1, max: 63 },
        r#""demo""#,
        "Slug of the business, for who belongs to several.",
    ),
];
pub static RENEWAL: [Field; 1] = [Field::named(
    "refresh_token",
    FieldType::Text { min: 1, max: 200 },
    r#""rt_9Qa…""#,
    "The last one that was given. It counts once.",
)
.required()];
pub static PASSWORD_CHANGE: [Field; 2] = [
    password("current_password", "The password until now.").required(),
    new_password("new_password", "The password from now on.").required(),
];
pub static ROTATION: [Field; 1] = [Field::named(
    "overlap_seconds",
    FieldType::Int { min: 0, max: 30 * 24 * 3600 },
    "86400",
    "How long the old key still works; a day, if left out.",
)];

const ACCESS: Field = Field::named(
    "access_token",
    FieldType::Text { min: 1, max: 2_000 },
    r#""eyJhbGciOiJIUzI1NiJ9…""#,
    "Goes into `Authorization: Bearer`.",
)
.not_null();
const TYPE: Field =
    Field::named("token_type", FieldType::Text { min: 1, max: 10 }, r#""Bearer""#, "Always `Bearer`.").not_null();
const EXPIRES: Field =
    Field::named("expires_in", FieldType::Int { min: 0, max: 86_400 }, "600", "Seconds until it must be renewed.")
        .not_null();
const REFRESH: Field =
    Field::named("refresh_token", FieldType::Text { min: 1, max: 200 }, r#""rt_9Qa…""#, "Renews the pair, once.")
        .not_null();
const SESSION: Field =
    Field::named("session_id", FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c75""#, "The session.").not_null();

pub static TOKENS: [Field; 5] = [ACCESS, TYPE, EXPIRES, REFRESH, SESSION];
pub static SIGNED_IN: [Field; 8] = [
    ACCESS,
    TYPE,
    EXPIRES,
    REFRESH,
    SESSION,
    Field::named(
        "user",
        FieldType::Object,
        r#"{"id":"01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73","name":"Amina Diallo"}"#,
        "Who.",
    )
    .not_null(),
    Field::named(
        "business",
        FieldType::Object,
        r#"{"id":"01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c70","slug":"demo","name":"Demo"}"#,
        "Where.",
    )
    .not_null(),
    Field::named("role", FieldType::Choice(Role::NAMES), r#""agent""#, "The role in this business.").not_null(),
];
pub static ME: [Field; 5] = [
    Field::named(
        "principal",
        FieldType::Object,
        r#"{"kind":"user","id":"01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73","name":"Amina Diallo","email":"amina@example.com","session_id":"01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c75"}"#,
        "A `user` with a session, or an `api_key`.",
    )
    .not_null(),
    Field::named(
        "business",
        FieldType::Object,
        r#"{"id":"01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c70","country":"DE","time_zone":"Europe/Berlin","currency":"EUR"}"#,
        "The business that the credential is for.",
    )
    .not_null(),
    Field::named("role", FieldType::Choice(Role::NAMES), r#""agent""#, "The role in this business.").not_null(),
    Field::named("permissions", FieldType::Tags, r#"["crm:read","crm:write"]"#, "What the caller may do, as `area:action`.")
        .not_null(),
    Field::named(
        "sees",
        FieldType::Choice(&["all", "assigned"]),
        r#""all""#,
        "`assigned`: of leads and conversations only those that are assigned to the caller, and what belongs to them.",
    )
    .not_null(),
];
/// The columns of a listed session.
pub const SESSION_COLUMNS: [Field; 6] = [
    Field::named(
        "id",
        FieldType::Uuid,
        r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#,
        "UUIDv7, so it sorts by creation.",
    )
    .read_only()
    .not_null(),
    Field::named(
        "user_agent",
        FieldType::Text { min: 1, max: MAX_USER_AGENT_LEN },
        r#""Mozilla/5.0""#,
        "The program that signed in.",
    ),
    Field::named("address", FieldType::Text { min: 1, max: 60 }, r#""203.0.113.7""#, "Where from."),
    Field::named("created_at", FieldType::Time, r#""2026-11-20T09:30:00Z""#, "When the row was made.")
        .read_only()
        .not_null(),
    Field::named("last_used_at", FieldType::Time, r#""2026-11-20T09:30:00Z""#, "When it was last used, to the minute.")
        .read_only(),
    Field::named("expires_at", FieldType::Time, r#""2026-11-20T09:30:00Z""#, "When it ends unless it is renewed.")
        .read_only(),
];
pub static SESSIONS: [Field; 7] = {
    let [id, agent, address, created, used, expires] = SESSION_COLUMNS;
    let current = Field::named("current", FieldType::Bool, "true", "Whether it is the one that asks.").not_null();
    [id, agent, address, created, used, expires, current]
};
pub static PASSWORD_RESET_REQUEST: [Field; 1] = [EMAIL.required()];
pub static PASSWORD_RESET: [Field; 2] = [
    Field::named(
        "token",
        FieldType::Text { min: 1, max: 200 },
        r#""pt_9Qa…""#,
        "From the link in the mail. It counts once.",
    )
    .required(),
    new_password("password", "The password from now on.").required(),
];
pub static INVITATION_ACCEPTANCE: [Field; 3] = [
    Field::named(
        "token",
        FieldType::Text { min: 1, max: 200 },
        r#""in_9Qa…""#,
        "From the link in the mail. It counts once.",
    )
    .required(),
    new_password("password", "For who has none yet; who has one keeps it."),
    Field::named(
        "name",
        FieldType::Text { min: 1, max: 200 },
        r#""Bo Lindqvist""#,
        "For who is new: as others will see it, if not as the invitation says.",
    ),
];
pub static COMPLETE_LOGIN: [Field; 4] = [
    Field::named(
        "code",
        FieldType::Text { min: 1, max: 4_000 },
        r#""SplxlOBeZQQYbYS6WxSbIA""#,
        "As the provider sent it back.",
    )
    .required(),
    Field::named("state", FieldType::Text { min: 1, max: 200 }, r#""af0ifjsldkj""#, "As the provider sent it back.")
        .required(),
    Field::named(
        "secret",
        FieldType::Text { min: 1, max: 200 },
        r#""oi_9Qa…""#,
        "Secret of the authorization; only the browser that began it has it.",
    )
    .required(),
    Field::named(
        "business",
        FieldType::Text { min: 1, max: 63 },
        r#""demo""#,
        "Slug of the business, for who belongs to several.",
    ),
];
pub static BEGIN_LOGIN: [Field; 3] = [
    Field::named(
        "authorization_url",
        FieldType::Text { min: 1, max: 4_000 },
        r#""https://id.example.com/authorize?…""#,
        "Send the browser there.",
    )
    .not_null(),
    Field::named(
        "secret",
        FieldType::Text { min: 1, max: 200 },
        r#""oi_9Qa…""#,
        "Keep it in the browser until it is back.",
    )
    .not_null(),
    Field::named("expires_in", FieldType::Int { min: 0, max: 86_400 }, "600", "Seconds until it must be back.")
        .not_null(),
];
