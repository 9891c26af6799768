//! Collects the validation errors of a body until all of it is read.

use crate::base::error::{Error, FieldError, Result};
use crate::base::suggest::shown;

/// Maximum errors of one response; more would not help the client.
pub const MAX_ERRORS: usize = 200;

/// The validation errors of a body.
#[derive(Debug, Default)]
pub struct ValidationErrors(Vec<FieldError>);

impl ValidationErrors {
    /// Adds an error of the field `name`.
    pub fn field(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        let name = shown(name);
        self.at(format!("/{}", name.replace('~', "~0").replace('/', "~1")), code, detail);
    }

    /// Adds an error at `pointer`, unless there are so many that it would not be reported.
    pub fn at(&mut self, pointer: String, code: &'static str, detail: impl Into<String>) {
        if self.0.len() < MAX_ERRORS {
            self.0.push(FieldError::new(pointer, code, detail));
        }
    }

    /// Adds the errors of another part.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
        self.0.truncate(MAX_ERRORS);
    }

    /// Adds that one of `names` is required, at the first of them; not where one was given and is invalid, which is
    /// then the error to fix. A blank one counts as absent, and `detail` replaces its error.
    pub fn required(&mut self, names: &[&str], detail: &str) {
        let of = |fault: &FieldError, name: &str| fault.pointer.strip_prefix('/') == Some(name);
        let is_wrong = |fault: &FieldError| fault.code != "blank" && names.iter().any(|name| of(fault, name));
        if let (Some(first), false) = (names.first(), self.0.iter().any(is_wrong)) {
            self.0.retain(|fault| !of(fault, first));
            self.field(first, "required", detail);
        }
    }

    /// Adds an error at `pointer`.
    pub fn add(&mut self, pointer: String, code: &'static str, detail: impl Into<String>) {
        self.0.push(FieldError::new(pointer, code, detail));
    }

    /// Returns what was read or written of the member `name`; adds its validation errors, where it has some. Errors:
    /// those after which nothing more can be tried, as when the database rejected it.
    pub fn member<T>(&mut self, name: &str, read: Result<T>) -> Result<Option<T>> {
        let refused = matches!(read, Err(Error::Database(_)));
        match read.map_err(|error| error.nest_under(name)) {
            Ok(read) => Ok(Some(read)),
            Err(Error::Invalid(faults)) => {
                self.0.extend(faults);
                if refused { Err(Error::Invalid(std::mem::take(&mut self.0))) } else { Ok(None) }
            }
            Err(error) => Err(error),
        }
    }

    /// Returns what was read last, if neither it nor anything before has errors. Errors: 422 with the errors of all.
    pub fn and<T>(mut self, read: Result<T>) -> Result<T> {
        if let Err(Error::Invalid(faults)) = read {
            self.0.extend(faults);
            self.0.truncate(MAX_ERRORS);
            return Err(Error::Invalid(self.0));
        }
        self.into_result()?;
        read
    }

    /// Adds the errors of a part of the body, their pointers prefixed with `place`.
    pub fn part(&mut self, place: &str, faults: &[FieldError]) {
        let below = |fault: &FieldError| FieldError { pointer: format!("{place}{}", fault.pointer), ..fault.clone() };
        self.0.extend(faults.iter().map(below));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_inner(mut self) -> Vec<FieldError> {
        self.0.truncate(MAX_ERRORS);
        self.0
    }

    pub fn into_result(self) -> Result<()> {
        match self.into_inner() {
            faults if faults.is_empty() => Ok(()),
            faults => Err(Error::Invalid(faults)),
        }
    }
}
