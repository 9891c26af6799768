//! The egress policy: which URLs and addresses requests may go to.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use url::{Host, Url};

use super::{ip_policy, name_policy};

/// Maximum length of a URL, in characters.
pub const MAX_URL_LEN: usize = 2_000;

/// Where requests may go.
#[derive(Clone, Debug, Default)]
pub struct EgressPolicy {
    /// Networks which are allowed although they are not public, also without TLS.
    allowed: Arc<[IpNet]>,
}

impl EgressPolicy {
    pub fn new(allowed: &[IpNet]) -> Self {
        Self { allowed: allowed.into() }
    }

    fn is_allowed(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed.iter().any(|network| network.contains(&address))
    }

    /// Why requests to `address` are refused, with TLS or without; `None`: they are allowed.
    pub(super) fn refusal(&self, address: IpAddr, tls: bool) -> Option<String> {
        if self.is_allowed(address) {
            return None;
        }
        if let Some(what) = ip_policy::not_public(address) {
            return Some(format!("{address} is {what}"));
        }
        if tls { None } else { Some(format!("{address} needs https: it is reached over other people's networks")) }
    }

    /// Parses and checks the URL `text`, without resolving its name. Errors: a message for people.
    pub fn read(&self, text: &str) -> Result<Url, String> {
        if text.chars().count() > MAX_URL_LEN {
            return Err(format!("must have at most {MAX_URL_LEN} characters."));
        }
        // The URL parser drops them silently.
        if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err("must not contain spaces, line breaks or backslashes.".into());
        }
        let url =
            Url::parse(text).map_err(|error| format!("is no address such as https://example.com/hook: {error}."))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(format!("must begin with https://, not with {other}:.")),
        };
        if !url.username().is_empty()
            || url.password().is_some()
            || text.split(['/', '?', '#']).nth(2).is_some_and(|authority| authority.contains('@'))
        {
            return Err("must not contain a user or a password. What is sent is signed.".into());
        }
        if url.fragment().is_some() {
            return Err("must not contain `#`: what follows it is never sent.".into());
        }
        let refused = match url.host() {
            None => Some("it names no host".to_owned()),
            Some(Host::Ipv4(address)) => self.refusal(address.into(), tls),
            Some(Host::Ipv6(address)) => self.refusal(address.into(), tls),
            Some(Host::Domain(name)) if self.allowed.is_empty() => match name_policy::not_public(name) {
                Some(what) => Some(format!("`{name}` is {what}")),
                None if !tls => Some("it must begin with https://".to_owned()),
                None => None,
            },
            // Checked when the name is resolved: it may lead to an allowed network.
            Some(Host::Domain(_)) => None,
        };
        refused.map_or(Ok(url), |why| Err(format!("leads to where nothing is sent: {why}.")))
    }
}
