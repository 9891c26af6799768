//! Connection options added to a URL that does not set them: they bound how long a thread waits on a network that
//! accepts data and returns nothing. libpq has no limit of its own when waiting for results.

use std::ffi::{CStr, CString};

/// Option and value; over a Unix socket only the first has an effect.
const DEFAULTS: [(&CStr, &str, &str); 6] = [
    // Seconds to connect, including the server's greeting: a load balancer may accept the connection and then be
    // silent.
    (c"connect_timeout", "connect_timeout", "4"),
    (c"keepalives", "keepalives", "1"),
    // A connection that is idle or waiting for a result is probed after 5 s and dropped 6 s later.
    (c"keepalives_idle", "keepalives_idle", "5"),
    (c"keepalives_interval", "keepalives_interval", "2"),
    (c"keepalives_count", "keepalives_count", "3"),
    // Milliseconds for sent data to be acknowledged: longer than a route change takes, shorter than a request may take.
    (c"tcp_user_timeout", "tcp_user_timeout", "6000"),
];

/// Returns `url` with the options that it does not set.
pub fn with_timeouts(url: &str) -> String {
    let known = known(url);
    let mut joint = if url.contains('?') { '&' } else { '?' };
    let mut whole = url.to_owned();
    for (keyword, name, value) in DEFAULTS {
        if !known.iter().any(|found| found.as_c_str() == keyword) {
            whole.push_str(&format!("{joint}{name}={value}"));
            joint = '&';
        }
    }
    whole
}

/// Returns the options that `url` sets; all of them where libpq cannot parse it, so that libpq's error is about the
/// original URL.
fn known(url: &str) -> Vec<CString> {
    let everything = || DEFAULTS.iter().map(|(keyword, ..)| (*keyword).to_owned()).collect();
    let Ok(text) = CString::new(url) else { return everything() };
    // SAFETY: libpq reads a NUL-terminated string, and returns a list that ends with an option without a keyword, which
    // is read before it is freed.
    unsafe {
        let options = pq_sys::PQconninfoParse(text.as_ptr(), std::ptr::null_mut());
        if options.is_null() {
            return everything();
        }
        let mut known = Vec::new();
        let mut option = options;
        while !(*option).keyword.is_null() {
            if !(*option).val.is_null() {
                known.push(CStr::from_ptr((*option).keyword).to_owned());
            }
            option = option.add(1);
        }
        pq_sys::PQconninfoFree(options);
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_timeouts_keeps_url_options_and_adds_missing_once() {
        let all = with_timeouts("postgres://rapport:p%40ss@db.example.com/rapport");
        assert!(
            all.starts_with("postgres://rapport:p%40ss@db.example.com/rapport?connect_timeout=4&keepalives=1&"),
            "{all}"
        );
        assert_eq!(with_timeouts(&all), all);
        let own = with_timeouts("postgres://db.example.com/rapport?sslmode=require&connect_timeout=30");
        assert!(own.contains("?sslmode=require&connect_timeout=30&keepalives=1&"), "{own}");
        assert_eq!(own.matches("connect_timeout").count(), 1);
        assert_eq!(with_timeouts("postgres://[broken"), "postgres://[broken");
    }
}
