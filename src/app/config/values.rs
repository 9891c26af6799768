//! Types and parsers of option values that are more than a number or a text.

use std::fmt;
use std::net::SocketAddr;

use ipnet::IpNet;

/// A value that is never printed: not in logs, not in errors, not in `/health/detailed`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self(value.to_owned()))
    }
}

/// Returns `text` as browsers send it as an origin: scheme, host and port, the host in lower-case ASCII and no port
/// that the scheme implies. Text that is no origin is only trimmed, for [`is_origin`] to reject.
pub fn canonical_origin(text: &str) -> Result<String, std::convert::Infallible> {
    let text = text.trim();
    Ok(origin(text).unwrap_or_else(|| text.to_owned()))
}

/// Whether `text` is an origin that a browser can send, or `*`.
pub fn is_origin(text: &str) -> bool {
    text == "*" || origin(text).as_deref() == Some(text)
}

fn origin(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty() && !host.contains('*'))?;
    let bare =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if !bare || !["", "/"].contains(&url.path()) {
        return None;
    }
    // Applications that are not web pages have schemes of their own (`capacitor://localhost`).
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{host}{port}", url.scheme()))
}

/// Where `/metrics` is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metrics {
    Off,
    On(SocketAddr),
}

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

pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("`on` or `off`".to_owned()),
    }
}

pub fn ttl(text: &str) -> Result<(String, u64), String> {
    let (resource, seconds) = text.split_once('=').ok_or("a resource and seconds, such as leads=600")?;
    match seconds.parse() {
        Ok(seconds @ 1..) => Ok((resource.trim().to_owned(), seconds)),
        _ => Err(format!("`{seconds}` is not a number of seconds from 1 on")),
    }
}

pub fn network(text: &str) -> Result<IpNet, String> {
    let one = text.trim().parse().map(|address: std::net::IpAddr| IpNet::from(address));
    one.or_else(|_| text.trim().parse())
        .map_err(|_| "an address like 192.0.2.7, or a network like 10.0.0.0/8".to_owned())
}

pub fn metrics_bind(text: &str) -> Result<Metrics, String> {
    match text {
        "off" => Ok(Metrics::Off),
        address => address.parse().map(Metrics::On).map_err(|_| "an address like 127.0.0.1:9090, or `off`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_origin_normalises_to_browser_form() {
        let read = |text| canonical_origin(text).expect("never fails");
        for (text, sent) in [
            (" https://b.example", "https://b.example"),
            ("HTTPS://A.example/", "https://a.example"),
            ("https://a.example:443", "https://a.example"),
            ("http://127.0.0.1:5173", "http://127.0.0.1:5173"),
            ("https://ex\u{e4}mple.de", "https://xn--exmple-cua.de"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("*", "*"),
        ] {
            assert_eq!(read(text), sent);
            assert!(is_origin(&read(text)), "{text}");
        }
        for text in [
            "",
            "null",
            "a.example",
            "https://*.example",
            "https://a.example/x",
            "https://a.example?x",
            "https://u@a.example",
        ] {
            assert!(!is_origin(&read(text)), "{text}");
        }
    }
}
