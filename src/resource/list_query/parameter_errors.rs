//! Collects the errors of parameters until all of them are read.

use crate::base::error::{Error, FieldError};
use crate::base::suggest::shown;
use crate::resource::body::MAX_ERRORS;

/// The errors of a query's parameters.
pub(super) struct ParameterErrors {
    /// Prefix of the pointers of the errors.
    pub(super) place: &'static str,
    errors: Vec<FieldError>,
}

impl ParameterErrors {
    pub(super) fn at(place: &'static str) -> Self {
        Self { place, errors: Vec::new() }
    }

    /// Adds an error of the parameter `name`.
    pub(super) fn add(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        // Further errors would not be reported.
        if self.errors.len() < MAX_ERRORS {
            let name = shown(name).replace('~', "~0").replace('/', "~1");
            self.errors.push(FieldError::new(format!("{}/{name}", self.place), code, detail.into()));
        }
    }

    /// Returns `value`, unless there are errors. Errors: 400 with all of them.
    pub(super) fn unless_any<T>(self, value: T) -> Result<T, Error> {
        if self.errors.is_empty() { Ok(value) } else { Err(Error::parameters(self.errors)) }
    }
}
