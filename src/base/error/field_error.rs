//! One validation error of the input, as problem documents list it.

/// One validation error of the input. All errors of a request are reported together.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body (`/email`), or `/query/<name>` for a parameter of the query string.
    pub pointer: String,
    /// Stable, for programs: `required`, `type`, `unknown_field`, …
    pub code: &'static str,
    /// For people: what is wrong and what to do.
    pub detail: String,
}

impl FieldError {
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, detail: detail.into() }
    }
}
