//! Determines the client's IP address, behind trusted proxies or without.
//!
//! Any client can send `X-Forwarded-For`, so it is read from its end, where trusted proxies append, and only as long as
//! each address is that of a trusted proxy (`RAPPORT_TRUSTED_PROXIES`). Entries further left are unverified.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Once;

use actix_web::HttpRequest;
use actix_web::http::header::{FORWARDED, HeaderMap, HeaderValue, X_FORWARDED_FOR};
use actix_web::web::Data;
use ipnet::IpNet;

use super::settings::HttpSettings;

/// Maximum number of proxies in a chain; entries beyond it are ignored.
const MAX_HOPS: usize = 16;

/// Returns the client's address: that of the nearest hop that is not a trusted proxy; see [`reported`].
pub fn address(request: &HttpRequest) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let trusted = request.app_data::<Data<HttpSettings>>().map_or(&[][..], |settings| &settings.trusted_proxies);
    if trusted.is_empty() && request.headers().contains_key(X_FORWARDED_FOR) {
        static WARNED: Once = Once::new();
        WARNED.call_once(|| {
            tracing::warn!(
                %peer,
                "a request came with X-Forwarded-For, which is not believed; if that was a proxy of yours, name it in \
                 RAPPORT_TRUSTED_PROXIES, or all who come by it count as one address"
            );
        });
    }
    reported(peer, request.headers(), trusted)
}

/// Returns the network that requests are counted by: an IPv4 address, or the /64 that an IPv6 subscriber has at least.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// Returns the rightmost address that `headers` report behind `peer` and that is not in `trusted`. An element that is
/// not an address ends the search at the proxy that reported it.
pub fn reported(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut nearest = peer.to_canonical();
    if !is_trusted(&nearest) {
        return nearest;
    }
    for hop in hops(headers) {
        let Some(address) = hop else { break };
        nearest = address;
        if !is_trusted(&address) {
            break;
        }
    }
    nearest
}

/// Reported addresses, the last one first; `None`: not an address.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let (name, elements) = match headers.contains_key(X_FORWARDED_FOR) {
        true => (X_FORWARDED_FOR, listed as fn(&HeaderValue) -> Vec<Option<IpAddr>>),
        false => (FORWARDED, described as fn(&HeaderValue) -> Vec<Option<IpAddr>>),
    };
    // Each proxy may have added its own header line.
    let lines: Vec<&HeaderValue> = headers.get_all(name).collect();
    lines.into_iter().rev().take(MAX_HOPS).flat_map(elements).take(MAX_HOPS).collect()
}

/// Parses the elements of one `X-Forwarded-For` line, the last first.
fn listed(line: &HeaderValue) -> Vec<Option<IpAddr>> {
    let Ok(text) = line.to_str() else { return vec![None] };
    text.rsplit(',').map(str::trim).filter(|text| !text.is_empty()).take(MAX_HOPS).map(parse).collect()
}

/// Parses the elements of one `Forwarded` line (RFC 7239), the last first.
fn described(line: &HeaderValue) -> Vec<Option<IpAddr>> {
    let Some(elements) = line.to_str().ok().and_then(|text| split(text, ',')) else { return vec![None] };
    elements.into_iter().rev().filter(|text| !text.is_empty()).take(MAX_HOPS).map(of_element).collect()
}

/// Parses the single `for` parameter of an element.
fn of_element(element: &str) -> Option<IpAddr> {
    let pairs = split(element, ';')?;
    let named = pairs.iter().filter_map(|pair| pair.split_once('='));
    let mut found = named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, value)| value.trim());
    let (Some(value), None) = (found.next(), found.next()) else { return None };
    let bare = value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'))?;
    parse(bare)
}

/// Splits `text` at separators outside quotes. `None`: a quote is not closed, so the boundaries are ambiguous.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut begin) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (place, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if char == separator && !quoted => {
                parts.push(text[begin..place].trim());
                begin = place + char.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text[begin..].trim());
    (!quoted).then_some(parts)
}

/// Parses `192.0.2.7`, `192.0.2.7:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn parse(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(with_port).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}
