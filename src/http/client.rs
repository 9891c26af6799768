//! Where a request comes from.
//!
//! Anyone can write `X-Forwarded-For`, so it is read from its end, where our own proxies wrote, and only as far as each
//! address is that of a proxy we trust (`RAPPORT_TRUSTED_PROXIES`). What follows, to the left, is the client's word.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Once;

use actix_web::HttpRequest;
use actix_web::http::header::{FORWARDED, HeaderMap, HeaderValue, X_FORWARDED_FOR};
use actix_web::web::Data;
use ipnet::IpNet;

use crate::app::App;

/// Proxies that may stand one behind the other; what is further away is not looked at.
const MOST_HOPS: usize = 16;

/// The client's address, as far as those who report it are trusted; else that of who reports it.
pub fn address(request: &HttpRequest) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let trusted = request.app_data::<Data<App>>().map_or(&[][..], |app| &app.config.trusted_proxies);
    if trusted.is_empty() && request.headers().contains_key(X_FORWARDED_FOR) {
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            tracing::warn!(
                %peer,
                "a request came with X-Forwarded-For, which is not believed; if that was a proxy of yours, name it in \
                 RAPPORT_TRUSTED_PROXIES, or all who come by it count as one address"
            );
        });
    }
    reported(peer, request.headers(), trusted)
}

/// What is counted together: an IPv4 address, or the /64 that one subscriber of IPv6 has at least.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// The rightmost address that is none of `trusted`, of those that `headers` report behind `peer`. Where what a trusted
/// proxy reports is no address, it is that proxy's own.
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

/// What proxies have reported, the last one first; `None`: no address.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let (name, elements) = match headers.contains_key(X_FORWARDED_FOR) {
        true => (X_FORWARDED_FOR, listed as fn(&HeaderValue) -> Vec<Option<IpAddr>>),
        false => (FORWARDED, described as fn(&HeaderValue) -> Vec<Option<IpAddr>>),
    };
    // Each proxy may have added a line of its own.
    let lines: Vec<&HeaderValue> = headers.get_all(name).collect();
    lines.into_iter().rev().take(MOST_HOPS).flat_map(elements).take(MOST_HOPS).collect()
}

/// The elements of a line of `X-Forwarded-For`, the last first.
fn listed(line: &HeaderValue) -> Vec<Option<IpAddr>> {
    let Ok(text) = line.to_str() else { return vec![None] };
    text.rsplit(',').map(str::trim).filter(|text| !text.is_empty()).take(MOST_HOPS).map(parse).collect()
}

/// The elements of a line of `Forwarded` (RFC 7239), the last first.
fn described(line: &HeaderValue) -> Vec<Option<IpAddr>> {
    let Some(elements) = line.to_str().ok().and_then(|text| split(text, ',')) else { return vec![None] };
    elements.into_iter().rev().filter(|text| !text.is_empty()).take(MOST_HOPS).map(of_element).collect()
}

/// The one `for` of an element.
fn of_element(element: &str) -> Option<IpAddr> {
    let pairs = split(element, ';')?;
    let named = pairs.iter().filter_map(|pair| pair.split_once('='));
    let mut found = named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, value)| value.trim());
    let (Some(value), None) = (found.next(), found.next()) else { return None };
    let bare = value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'))?;
    parse(bare)
}

/// The parts of `text` between separators that are not within quotes. `None`: a quote has no end, so that what is within
/// and what is not cannot be told.
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

/// `192.0.2.7`, `192.0.2.7:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn parse(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(with_port).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}
