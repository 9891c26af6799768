//! Parsers of option values, and defaults that depend on the machine.

use ipnet::IpNet;

/// Parses `on` and `off`.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("`on` or `off`".to_owned()),
    }
}

/// Parses a network, or one address as the network of it alone.
pub fn network(text: &str) -> Result<IpNet, String> {
    let one = text.trim().parse().map(|address: std::net::IpAddr| IpNet::from(address));
    one.or_else(|_| text.trim().parse())
        .map_err(|_| "an address like 192.0.2.7, or a network like 10.0.0.0/8".to_owned())
}

/// Whether it is a URL below which pages can be found.
pub fn is_page_url(text: &str) -> bool {
    let url = url::Url::parse(text);
    url.is_ok_and(|url| {
        matches!(url.scheme(), "https" | "http") && url.host().is_some() && url.query().or(url.fragment()).is_none()
    })
}

/// Returns the number of cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
