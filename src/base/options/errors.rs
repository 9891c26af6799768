//! The errors of a configuration: all are reported together, each with what to do.

/// Collects the errors of options.
#[derive(Debug, Default)]
pub struct OptionErrors(Vec<String>);

impl OptionErrors {
    /// Adds `text` unless the option is `valid`.
    pub fn check(&mut self, valid: bool, text: &str) {
        if !valid {
            self.push(text);
        }
    }

    pub fn push(&mut self, text: impl Into<String>) {
        self.0.push(text.into());
    }

    pub fn into_vec(self) -> Vec<String> {
        self.0
    }
}

impl Extend<String> for OptionErrors {
    fn extend<T: IntoIterator<Item = String>>(&mut self, texts: T) {
        self.0.extend(texts);
    }
}
