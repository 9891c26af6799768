//! The sender of emails, as an option.

use std::fmt;

/// The sender of emails.
#[derive(Clone, Debug)]
pub struct Sender {
    pub address: lettre::Address,
    name: String,
}

/// Formats it as in an email's header (RFC 5322, section 3.4).
impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "<{}>", self.address),
            name => write!(f, "\"{name}\" <{}>", self.address),
        }
    }
}

/// Parses `Rapport <crm@example.com>`, or a bare address.
pub fn sender(text: &str) -> Result<Sender, String> {
    let (name, address) = match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, address)) => (name.trim().trim_matches('"').to_owned(), address),
        None => (String::new(), text),
    };
    let plain = name.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
    match address.parse() {
        Ok(address) if plain => Ok(Sender { address, name }),
        _ => Err("an address such as `Rapport <crm@example.com>`, its name in ASCII".to_owned()),
    }
}
