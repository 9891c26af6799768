//! Finds duplicate members of a JSON object, of which most parsers silently keep only the last.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// Names which the object `line` has more than once; empty if it is not an object.
pub fn repeated(line: &[u8]) -> BTreeSet<String> {
    serde_json::from_slice::<Repeated>(line).map(|repeated| repeated.0).unwrap_or_default()
}

struct Repeated(BTreeSet<String>);

impl<'de> Deserialize<'de> for Repeated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Repeated;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Repeated, A::Error> {
                let (mut seen, mut repeated) = (BTreeSet::new(), BTreeSet::new());
                while let Some((name, IgnoredAny)) = members.next_entry::<String, IgnoredAny>()? {
                    if let Some(name) = seen.replace(name) {
                        repeated.insert(name);
                    }
                }
                Ok(Repeated(repeated))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::repeated;

    #[test]
    fn repeated_of_duplicate_members_returns_their_names() {
        assert_eq!(repeated(br#"{"a":{"b":1,"b":2},"c":1,"\u0061":2}"#).into_iter().collect::<Vec<_>>(), ["a"]);
        assert!(repeated(br#"{"a":1,"b":1}"#).is_empty() && repeated(b"[1]").is_empty() && repeated(b"{").is_empty());
    }
}
