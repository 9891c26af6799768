//! What the operations on secrets of channels take and return.

use deserr::Deserr;
use serde::Serialize;
use utoipa::ToSchema;

use super::store::{ChannelSecret, SecretKind};
use crate::base::error::{Error, FieldError, Result};
use crate::channels::args::MAX_SECRET_LEN;
use crate::resource::FieldType;
use crate::resource::body::{BodyErrors, value_type};

/// Longest name of a file.
const MAX_FILE_LEN: usize = 64;

value_type! {
    /// What a secret is for.
    pub SecretKindName(String): FieldType::Choice(SecretKind::NAMES), r#""app_secret""#;
    /// The secret itself. It is never shown.
    pub SecretValue(String): FieldType::Secret { min: 8, max: MAX_SECRET_LEN }, r#""3f8a1d2b5c71939d5e6f3a7b219c4e00""#;
    /// A file in the folder of the business: letters, digits, `_`, `-` and dots between them.
    pub SecretFileName(String): FieldType::Text { min: 1, max: MAX_FILE_LEN }, r#""front-desk.token""#;
}

/// A secret for a channel: its value, or the file that has it.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "kind": "app_secret", "value": "3f8a1d2b5c71939d5e6f3a7b219c4e00" })))]
pub struct AddSecretRequest {
    kind: SecretKindName,
    /// Sealed before it is stored.
    #[deserr(default)]
    value: Option<SecretValue>,
    /// Or a file of the operator's, which is read when the secret is needed. Not for verify tokens.
    #[deserr(default)]
    file: Option<SecretFileName>,
}

/// Where a new secret is.
#[derive(Clone)]
pub enum SecretPlace {
    Value(String),
    File(String),
}

impl AddSecretRequest {
    /// Returns the kind, and the value or the file. Errors: 422 unless the body says one of both.
    pub fn parts(self) -> Result<(SecretKind, SecretPlace)> {
        let kind = SecretKind::named(&self.kind.0).ok_or_else(|| Error::Internal("a kind of no name".into()))?;
        let fault = |name: &str, code, detail: &str| {
            Error::Invalid(vec![FieldError::new(format!("/{name}"), code, detail.to_owned())])
        };
        match (self.value, self.file) {
            (Some(SecretValue(value)), None) => Ok((kind, SecretPlace::Value(value))),
            (None, Some(_)) if kind == SecretKind::VerifyToken => {
                Err(fault("file", "out_of_range", "A verify token is given as `value`: the channel is found by it."))
            }
            (None, Some(SecretFileName(file))) if is_file_name(&file) => Ok((kind, SecretPlace::File(file))),
            (None, Some(_)) => Err(fault(
                "file",
                "format",
                "A file name has letters, digits, `_`, `-`, and dots between them; no path.",
            )),
            _ => Err(fault("value", "required", "Give either `value` or `file`.")),
        }
    }
}

/// Whether it names a file and no path.
fn is_file_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    name.split('.').all(is_part)
}

/// The secrets of a channel.
#[derive(Serialize, ToSchema)]
pub struct ChannelSecrets {
    pub data: Vec<ChannelSecret>,
}
