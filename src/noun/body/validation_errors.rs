//! The faults of a body, gathered until all of it has been read.

use crate::error::{Error, Fault, Result};
use crate::hint::shown;

/// Faults that an answer names; who has more has another problem.
pub const MOST_FAULTS: usize = 200;

/// The faults of a body, gathered.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// A fault of the field `name`.
    pub fn field(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        // More would not be told.
        if self.0.len() < MOST_FAULTS {
            let name = shown(name);
            self.0.push(Fault::new(format!("/{}", name.replace('~', "~0").replace('/', "~1")), code, detail));
        }
    }

    /// That one of `names` is required, said of the first of them. Not where one of them was given and is wrong: that is what to
    /// mend. A blank one counts as not given, and `detail` stands in the place of its fault.
    pub fn required(&mut self, names: &[&str], detail: &str) {
        let of = |fault: &Fault, name: &str| fault.pointer.strip_prefix('/') == Some(name);
        let is_wrong = |fault: &Fault| fault.code != "blank" && names.iter().any(|name| of(fault, name));
        if let (Some(first), false) = (names.first(), self.0.iter().any(is_wrong)) {
            self.0.retain(|fault| !of(fault, first));
            self.field(first, "required", detail);
        }
    }

    /// A fault at `pointer`.
    pub fn add(&mut self, pointer: String, code: &'static str, detail: impl Into<String>) {
        self.0.push(Fault::new(pointer, code, detail));
    }

    /// What was read, or written, of the member `name`; nothing, and its faults are added, where it has some.
    /// Errors: those after which nothing more can be tried, as when the database refused.
    pub fn member<T>(&mut self, name: &str, read: Result<T>) -> Result<Option<T>> {
        let refused = matches!(read, Err(Error::Database(_)));
        match read.map_err(|error| error.of_member(name)) {
            Ok(read) => Ok(Some(read)),
            Err(Error::Invalid(faults)) => {
                self.0.extend(faults);
                if refused { Err(Error::Invalid(std::mem::take(&mut self.0))) } else { Ok(None) }
            }
            Err(error) => Err(error),
        }
    }

    /// What was read last, if neither it nor anything before is at fault. Errors: 422 with the faults of all.
    pub fn and<T>(mut self, read: Result<T>) -> Result<T> {
        if let Err(Error::Invalid(faults)) = read {
            self.0.extend(faults);
            self.0.truncate(MOST_FAULTS);
            return Err(Error::Invalid(self.0));
        }
        self.into_result()?;
        read
    }

    /// Faults of a part of the body, whose pointers begin at `place`.
    pub fn part(&mut self, place: &str, faults: &[Fault]) {
        let below = |fault: &Fault| Fault { pointer: format!("{place}{}", fault.pointer), ..fault.clone() };
        self.0.extend(faults.iter().map(below));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_inner(mut self) -> Vec<Fault> {
        self.0.truncate(MOST_FAULTS);
        self.0
    }

    pub fn into_result(self) -> Result<()> {
        match self.into_inner() {
            faults if faults.is_empty() => Ok(()),
            faults => Err(Error::Invalid(faults)),
        }
    }
}
