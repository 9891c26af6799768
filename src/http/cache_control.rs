//! `Cache-Control` of a request (RFC 9111, section 5.2.1).

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header;

/// What a request asks of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// The response is computed, and not stored.
    pub no_store: bool,
    /// The response may be as old without being validated: the lesser of `max-stale` and `max-age`. `None`: neither is given,
    /// or `no-cache` or `no-store` is.
    pub accepted_age: Option<Duration>,
}

impl CacheControl {
    /// Parses all fields of the request. Directives that are unknown or malformed are ignored, as the RFC demands.
    pub fn of(request: &HttpRequest) -> Self {
        let values = request.headers().get_all(header::CACHE_CONTROL);
        Self::parse(values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')))
    }

    fn parse<'d>(directives: impl Iterator<Item = &'d str>) -> Self {
        let mut control = Self::default();
        let mut no_cache = false;
        for directive in directives {
            let (name, value) =
                directive.split_once('=').map_or((directive, None), |(name, value)| (name, Some(value)));
            let seconds = value.map(|value| value.trim().trim_matches('"').parse::<u64>());
            let accepted = match (name.trim().to_ascii_lowercase().as_str(), seconds) {
                ("no-store", _) => {
                    control.no_store = true;
                    continue;
                }
                ("no-cache", _) => {
                    no_cache = true;
                    continue;
                }
                // Without a value: however old.
                ("max-stale", None) => Duration::MAX,
                ("max-stale" | "max-age", Some(Ok(seconds))) => Duration::from_secs(seconds),
                _ => continue,
            };
            control.accepted_age = Some(control.accepted_age.map_or(accepted, |age| age.min(accepted)));
        }
        if control.no_store || no_cache {
            control.accepted_age = None;
        }
        control
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::CacheControl;

    #[test]
    fn parse_takes_lesser_age_and_none_beside_no_cache() {
        let parse = |text: &str| CacheControl::parse(text.split(','));
        let age = |text| parse(text).accepted_age;
        assert_eq!(age("max-stale=5"), Some(Duration::from_secs(5)));
        assert_eq!(age("Max-Age = \"7\" , max-stale=9"), Some(Duration::from_secs(7)));
        assert_eq!(age("max-stale"), Some(Duration::MAX));
        for nothing in ["", "max-age", "max-age=-1", "max-stale=x", "min-fresh=3", "max-stale=5, no-cache"] {
            assert_eq!(age(nothing), None, "{nothing}");
        }
        assert!(!parse("max-stale=5").no_store && !parse("").no_store);
        assert_eq!(parse("max-age=9,NO-STORE"), CacheControl { no_store: true, accepted_age: None });
    }
}
