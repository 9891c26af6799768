//! Request bodies of `/auth` and of the rotation of API keys, and the values in them.

use deserr::Deserr;
use utoipa::ToSchema;

use crate::resource::FieldType;
use crate::resource::body::{BodyErrors, value_type};

/// Limits of a password, in characters. NIST SP 800-63B demands at least 8, and no composition rules.
pub const MIN_PASSWORD_LEN: usize = 10;
pub const MAX_PASSWORD_LEN: usize = 200;
/// How long the old secret of an API key works at most after a rotation, in seconds.
const MAX_OVERLAP: i64 = 30 * 24 * 3600;

value_type! {
    /// An e-mail address.
    pub EmailAddress(String): FieldType::Email, r#""amina@example.com""#;
    /// A password as it was chosen.
    pub Password(String): FieldType::Secret { min: 1, max: MAX_PASSWORD_LEN }, r#""correct horse battery""#;
    /// A password to be set.
    pub NewPassword(String): FieldType::Secret { min: MIN_PASSWORD_LEN, max: MAX_PASSWORD_LEN },
        r#""a longer sentence is better""#;
    /// The slug of a business: its name in addresses.
    pub BusinessSlug(String): FieldType::Text { min: 1, max: 63 }, r#""demo""#;
    /// What a person is called.
    pub PersonName(String): FieldType::Text { min: 1, max: 200 }, r#""Bo Lindqvist""#;
    /// A refresh token.
    pub RefreshToken(String): FieldType::Text { min: 1, max: 200 }, r#""rt_9Qa…""#;
    /// The token in the link of a mail. It counts once.
    pub MailToken(String): FieldType::Text { min: 1, max: 200 }, r#""pt_9Qa…""#;
    /// The code that an identity provider sends a browser back with.
    pub AuthorizationCode(String): FieldType::Text { min: 1, max: 4_000 }, r#""SplxlOBeZQQYbYS6WxSbIA""#;
    /// The state that an identity provider sends a browser back with.
    pub AuthorizationState(String): FieldType::Text { min: 1, max: 200 }, r#""af0ifjsldkj""#;
    /// Secret of an authorization; only the browser that began it has it.
    pub AuthorizationSecret(String): FieldType::Text { min: 1, max: 200 }, r#""oi_9Qa…""#;
    /// How long something still works, in seconds.
    pub OverlapSeconds(i64): FieldType::Int { min: 0, max: MAX_OVERLAP }, "86400";
}

/// Address and password of a person.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "email": "amina@example.com", "password": "correct horse battery", "business": "demo" })))]
pub struct SignInRequest {
    /// Whatever its case.
    pub email: EmailAddress,
    /// The password.
    pub password: Password,
    /// Slug of the business, for who belongs to several.
    #[deserr(default)]
    pub business: Option<BusinessSlug>,
}

/// The refresh token of a session.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "refresh_token": "rt_9Qa…" })))]
pub struct RenewTokensRequest {
    /// The last one that was given. It counts once.
    pub refresh_token: RefreshToken,
}

/// A person's own password, and the one that takes its place.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "current_password": "correct horse battery", "new_password": "a longer sentence is better",
})))]
pub struct ChangePasswordRequest {
    /// The password until now.
    pub current_password: Password,
    /// The password from now on.
    pub new_password: NewPassword,
}

/// Whose password is to be chosen anew.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "email": "amina@example.com" })))]
pub struct PasswordResetRequest {
    /// Whatever its case.
    pub email: EmailAddress,
}

/// A new password, with the token of a mail.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "token": "pt_9Qa…", "password": "a longer sentence is better" })))]
pub struct ResetPasswordRequest {
    /// From the link in the mail. It counts once.
    pub token: MailToken,
    /// The password from now on.
    pub password: NewPassword,
}

/// The acceptance of an invitation, with the token of a mail.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "token": "in_9Qa…", "password": "a longer sentence is better", "name": "Bo Lindqvist",
})))]
pub struct AcceptInvitationRequest {
    /// From the link in the mail. It counts once.
    pub token: MailToken,
    /// For who has none yet; who has one keeps it.
    #[deserr(default)]
    pub password: Option<NewPassword>,
    /// For who is new: as others will see it, if not as the invitation says.
    #[deserr(default)]
    pub name: Option<PersonName>,
}

/// What an identity provider sent a browser back with.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "code": "SplxlOBeZQQYbYS6WxSbIA", "state": "af0ifjsldkj", "secret": "oi_9Qa…", "business": "demo",
})))]
pub struct CompleteOidcSignInRequest {
    /// As the provider sent it back.
    pub code: AuthorizationCode,
    /// As the provider sent it back.
    pub state: AuthorizationState,
    /// As it was given when the authorization was begun.
    pub secret: AuthorizationSecret,
    /// Slug of the business, for who belongs to several.
    #[deserr(default)]
    pub business: Option<BusinessSlug>,
}

/// How an API key is rotated.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "overlap_seconds": 86400 })))]
pub struct RotateApiKeyRequest {
    /// How long the old key still works; a day, if left out.
    #[deserr(default)]
    pub overlap_seconds: Option<OverlapSeconds>,
}
