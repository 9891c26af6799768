//! Decides which host names are public.

/// Last labels which are not public (RFC 6761, 6762, 8375, ICANN's `internal`), or are commonly used for private names.
const NOT_PUBLIC: [&str; 12] = [
    "localhost",
    "local",
    "localdomain",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "arpa",
    "onion",
    "invalid",
];

/// Describes `name` if it is not public.
pub fn not_public(name: &str) -> Option<&'static str> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    match name.rsplit_once('.') {
        None => Some("a name of the network that this runs in"),
        Some((_, last)) if NOT_PUBLIC.contains(&last) => Some("a name of a private network"),
        Some(_) => None,
    }
}
