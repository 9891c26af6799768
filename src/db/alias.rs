//! Aliases of tables in a statement.

use std::borrow::Cow;

/// The alias of a table, or a numbered one; no part of it comes from outside the source code.
#[derive(Clone, Debug)]
pub struct Alias(Cow<'static, str>);

impl Alias {
    /// Returns `t_1` of `t`.
    pub fn numbered(&self, number: usize) -> Self {
        Self(format!("{}_{number}", self.0).into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Alias {
    fn from(name: &'static str) -> Self {
        Self(name.into())
    }
}
