//! Origins of browsers (RFC 6454): parsing and the canonical form.

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
