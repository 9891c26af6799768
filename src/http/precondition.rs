//! Conditional requests (RFC 9110, section 13): parses and compares lists of entity tags.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName};

use crate::base::error::{Error, Result};
use crate::cache::Coding;

/// Maximum number of entity tags in one `If-Match`. A client holds the tag of the row as it read it, or of a few
/// states; sixteen versions fit into two cache lines, which every write copies.
const MAX_TAGS: usize = 16;

/// Row versions at which `If-Match` allows a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IfMatch {
    versions: [i64; MAX_TAGS],
    /// Number of valid entries in `versions`; `None`: any version is allowed.
    count: Option<usize>,
}

impl IfMatch {
    /// No precondition, or `*`.
    pub const ANY: Self = Self { versions: [0; MAX_TAGS], count: None };

    /// Exactly this version.
    pub fn version(version: i64) -> Self {
        let mut one = Self { count: Some(1), ..Self::ANY };
        one.versions[0] = version;
        one
    }

    /// Parses the header; without one any version is allowed. Weak tags match nothing (section 13.1.1 compares
    /// strongly), nor do tags of other origin. Errors: 400 when it is not a list of at most 16 entity tags.
    pub fn read(request: &HttpRequest) -> Result<Self> {
        let Some(text) = combined(request.headers(), &header::IF_MATCH) else {
            return Ok(Self::ANY);
        };
        let refusal = |detail: String| Err(Error::malformed("invalid_etag", detail));
        let Some(tags) = text.as_deref().and_then(EntityTags::parse) else {
            return refusal(
                "`If-Match` takes the ETag of the row as it was answered, such as \"3\", several, or *.".into(),
            );
        };
        let EntityTags::List(tags) = tags else { return Ok(Self::ANY) };
        if tags.len() > MAX_TAGS {
            return refusal(format!(
                "`If-Match` takes {MAX_TAGS} ETags at most; send those of the states that you know."
            ));
        }
        let mut read = Self { count: Some(0), ..Self::ANY };
        for version in tags.iter().filter(|tag| !tag.weak).filter_map(|tag| version(tag.opaque)) {
            let place = read.count.get_or_insert(0);
            read.versions[*place] = version;
            *place += 1;
        }
        Ok(read)
    }

    /// Returns the allowed versions; `None`: any.
    pub fn versions(&self) -> Option<&[i64]> {
        self.count.map(|count| &self.versions[..count])
    }

    /// Whether a row of `version` may be changed; a row without a version only if any is allowed.
    pub fn allows(&self, version: Option<i64>) -> bool {
        self.versions().is_none_or(|versions| version.is_some_and(|version| versions.contains(&version)))
    }
}

/// Whether `If-None-Match` names `etag`, the tag of the uncompressed response. The comparison is weak (section 13.1.2),
/// and a tag of the same response in another coding matches too: it need not be sent again either.
pub fn is_known(request: &HttpRequest, etag: &str) -> bool {
    let known = combined(request.headers(), &header::IF_NONE_MATCH).flatten();
    match known.as_deref().and_then(EntityTags::parse) {
        Some(EntityTags::Any) => true,
        Some(EntityTags::List(tags)) => tags.iter().any(|tag| opaque(etag) == uncoded(tag.opaque)),
        None => false,
    }
}

/// Returns the tag of `etag`'s response in `coding`: another tag, because the bytes differ (section 8.8.3.3).
pub fn coded(etag: &str, coding: Coding) -> String {
    let weak = if etag.starts_with(WEAK) { WEAK } else { "" };
    format!("{weak}\"{}-{}\"", opaque(etag), coding.name())
}

/// Marks a tag as weak.
const WEAK: &str = "W/";

/// Returns what is between the quotation marks of a tag.
fn opaque(etag: &str) -> &str {
    etag.strip_prefix(WEAK).unwrap_or(etag).trim_matches('"')
}

/// Removes the coding suffix from a tag.
fn uncoded(opaque: &str) -> &str {
    let coding = Coding::ALL.into_iter().find_map(|coding| opaque.strip_suffix(coding.name())?.strip_suffix('-'));
    coding.unwrap_or(opaque)
}

/// Parses `3` or `3.0123456789abcdef`, with or without a coding suffix → 3.
fn version(opaque: &str) -> Option<i64> {
    let tag = uncoded(opaque);
    let (version, hash) = tag.split_once('.').unwrap_or((tag, "0000000000000000"));
    let plain = version.bytes().all(|byte| byte.is_ascii_digit()) && hash.len() == 16;
    if plain && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) { version.parse().ok() } else { None }
}

/// Joins all lines of the header `name` (section 5.3); `Some(None)` when a line is not visible ASCII.
fn combined(headers: &HeaderMap, name: &HeaderName) -> Option<Option<String>> {
    let mut lines = headers.get_all(name).peekable();
    lines.peek()?;
    let lines: Option<Vec<&str>> = lines.map(|line| line.to_str().ok()).collect();
    Some(lines.map(|lines| lines.join(",")))
}

/// `*`, or a list of entity tags.
#[derive(Debug, PartialEq)]
enum EntityTags<'t> {
    Any,
    List(Vec<EntityTag<'t>>),
}

#[derive(Debug, PartialEq)]
struct EntityTag<'t> {
    weak: bool,
    /// The text between the quotation marks.
    opaque: &'t str,
}

impl<'t> EntityTags<'t> {
    /// List elements may be empty (section 5.6.1.2), but not all of them.
    fn parse(text: &'t str) -> Option<Self> {
        let mut rest = text.trim();
        if rest == "*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                return (!tags.is_empty()).then_some(Self::List(tags));
            }
            let (weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |quoted| (true, quoted));
            let (opaque, after) = quoted.strip_prefix('"')?.split_once('"')?;
            if opaque.contains(|c: char| c == ' ' || c.is_ascii_control()) {
                return None;
            }
            tags.push(EntityTag { weak, opaque });
            rest = after.trim_start_matches([' ', '\t']);
            if !rest.is_empty() && !rest.starts_with(',') {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_entity_tag_list_follows_the_grammar() {
        let tag = |weak, opaque| EntityTag { weak, opaque };
        for (text, expected) in [
            ("*", Some(EntityTags::Any)),
            (" \"3\" ", Some(EntityTags::List(vec![tag(false, "3")]))),
            ("\"3\",W/\"4\"", Some(EntityTags::List(vec![tag(false, "3"), tag(true, "4")]))),
            (", \"a,b\" ,, \"\"", Some(EntityTags::List(vec![tag(false, "a,b"), tag(false, "")]))),
            ("", None),
            (",,", None),
            ("3", None),
            ("\"3", None),
            ("\"3\" \"4\"", None),
            ("\"3\", *", None),
            ("w/\"3\"", None),
            ("W/W/\"3\"", None),
            ("\"a b\"", None),
        ] {
            assert_eq!(EntityTags::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn version_parsed_from_row_etag() {
        for (opaque, expected) in [
            ("3", Some(3)),
            ("3.0123456789abcdef", Some(3)),
            ("3.0123456789abcdef-br", Some(3)),
            ("3.0123456789abcdef-gzip", Some(3)),
            ("0123456789abcdef", None),
            ("3.012", None),
            ("-", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(version(opaque), expected, "{opaque}");
        }
    }
}
