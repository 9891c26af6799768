//! Decides which IP addresses are public: neither private nor special-purpose (IANA's registries of special-purpose
//! addresses, RFC 6890), including IPv4 addresses which are embedded in IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 networks which are not public: first address, prefix length, description.
const SPECIAL: [([u8; 4], u8, &str); 19] = [
    ([0, 0, 0, 0], 8, "of this network"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "shared by a provider's customers"),
    ([127, 0, 0, 0], 8, "this machine"),
    ([169, 254, 0, 0], 16, "link-local, where clouds keep their metadata"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "reserved for protocols"),
    ([192, 0, 2, 0], 24, "for documentation"),
    ([192, 31, 196, 0], 24, "special"),
    ([192, 52, 193, 0], 24, "special"),
    ([192, 88, 99, 0], 24, "special"),
    ([192, 168, 0, 0], 16, "private"),
    ([192, 175, 48, 0], 24, "special"),
    ([198, 18, 0, 0], 15, "for benchmarks"),
    ([198, 51, 100, 0], 24, "for documentation"),
    ([203, 0, 113, 0], 24, "for documentation"),
    ([168, 63, 129, 16], 32, "where a cloud keeps its metadata"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([240, 0, 0, 0], 4, "reserved or broadcast"),
];

/// Describes `address` if it is not public.
pub fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

fn v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = u32::from(address);
    let holds = |network: [u8; 4], length: u8| (bits ^ u32::from_be_bytes(network)) >> (32 - u32::from(length)) == 0;
    SPECIAL.iter().find(|(network, length, _)| holds(*network, *length)).map(|(_, _, what)| *what)
}

/// Of IPv6 only global unicast (2000::/3) is public, and of IPv4 addresses embedded in IPv6 those which are public.
fn v6(address: Ipv6Addr) -> Option<&'static str> {
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("no address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("this machine"),
        // IPv4-mapped.
        [0, 0, 0, 0, 0, 0xffff, high, low] => embedded(high, low),
        // NAT64, with the well-known prefix.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x64, 0xff9b, ..] => Some("translated to a private network"),
        // 6to4.
        [0x2002, high, low, ..] => embedded(high, low),
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Some("for documentation"),
        // Teredo, benchmarks, ORCHID and others.
        [0x2001, 0..=0x01ff, ..] => Some("reserved for protocols"),
        [0x2000..=0x3fff, ..] => None,
        [0xfc00..=0xfdff, ..] => Some("private"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("site-local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        _ => Some("reserved"),
    }
}
