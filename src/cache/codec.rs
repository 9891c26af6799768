//! Encodes cache entries for Redis and decodes them. Stored bytes are untrusted input: anything that is not exactly an
//! entry for the requested key decodes to `None`.

use std::sync::Arc;
use std::time::Duration;

use super::entry::{ComputedResponse, Entry, Key};
use super::tags::VersionStamp;

/// Version of the encoding. A process reads only its own.
const FORM: &[u8; 8] = b"rapport1";

/// Layout: `form, checksum, epoch, versions, query, etag, body`. Integers are little-endian; every part of varying
/// length is preceded by its length as `u32`.
pub fn encode(key: &Key, entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(entry.body.len() + key.query.len() + 128);
    out.extend_from_slice(FORM);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&entry.stamp.epoch.to_le_bytes());
    put(&mut out, &entry.stamp.versions.iter().flat_map(|version| version.to_le_bytes()).collect::<Vec<u8>>());
    put(&mut out, key.query.as_bytes());
    put(&mut out, entry.etag.as_bytes());
    put(&mut out, &entry.body);
    let sum = checksum(key, &out[16..]);
    out[8..16].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Returns `None` when `bytes` are not a complete entry for `key`.
pub fn decode(key: &Key, bytes: &[u8], ttl: Duration) -> Option<Arc<Entry>> {
    let rest = bytes.strip_prefix(FORM)?;
    let (sum, mut rest) = rest.split_first_chunk::<8>()?;
    if u64::from_le_bytes(*sum) != checksum(key, rest) {
        return None;
    }
    let epoch = u64::from_le_bytes(*take::<8>(&mut rest)?);
    let versions = part(&mut rest)?;
    let versions = versions.chunks_exact(8).map(|v| i64::from_le_bytes(v.try_into().unwrap_or_default())).collect();
    if part(&mut rest)? != key.query.as_bytes() {
        return None;
    }
    let etag = std::str::from_utf8(part(&mut rest)?).ok()?.to_owned();
    let body = part(&mut rest)?.to_vec();
    rest.is_empty()
        .then(|| Arc::new(Entry::new(VersionStamp { epoch, versions }, ComputedResponse { body, etag }, ttl)))
}

/// The checksum covers the key's owner too, so that an entry copied to another owner's key is rejected.
fn checksum(key: &Key, bytes: &[u8]) -> u64 {
    let owner = xxhash_rust::xxh3::xxh3_64(key.business.as_bytes())
        ^ xxhash_rust::xxh3::xxh3_64(key.role.as_bytes()).rotate_left(1)
        ^ xxhash_rust::xxh3::xxh3_64(key.resource.as_bytes()).rotate_left(2)
        ^ key.restricted_to.map_or(0, |person| xxhash_rust::xxh3::xxh3_64(person.as_bytes()).rotate_left(3));
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, owner)
}

fn put(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&(part.len() as u32).to_le_bytes());
    out.extend_from_slice(part);
}

fn take<'b, const N: usize>(rest: &mut &'b [u8]) -> Option<&'b [u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(taken)
}

fn part<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = u32::from_le_bytes(*take::<4>(rest)?) as usize;
    let (part, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn key(business: u128, question: &str) -> Key {
        Key {
            business: Uuid::from_u128(business),
            role: "agent",
            restricted_to: None,
            resource: "leads",
            query: question.into(),
        }
    }

    proptest! {
        #[test]
        fn decode_returns_the_entry_only_for_its_own_key(
            body: Vec<u8>, epoch: u64, versions: Vec<i64>, question: String, other: String, flip: proptest::sample::Index,
        ) {
            let ttl = Duration::from_secs(1);
            let stamp = VersionStamp { epoch, versions: versions.into() };
            let entry = Entry::new(stamp, ComputedResponse { body, etag: "\"1\"".into() }, ttl);
            let mut bytes = encode(&key(1, &question), &entry);
            let back = decode(&key(1, &question), &bytes, ttl);
            prop_assert!(back.is_some_and(|back| back.stamp == entry.stamp && back.body == entry.body && back.etag == entry.etag));
            prop_assert!(decode(&key(2, &question), &bytes, ttl).is_none());
            prop_assert!(other == question || decode(&key(1, &other), &bytes, ttl).is_none());
            prop_assert!(decode(&key(1, &question), &bytes[..flip.index(bytes.len())], ttl).is_none());
            let at = flip.index(bytes.len());
            bytes[at] ^= 1;
            prop_assert!(decode(&key(1, &question), &bytes, ttl).is_none());
        }

        #[test]
        fn decode_of_garbage_returns_none(bytes: Vec<u8>) {
            prop_assert!(decode(&key(1, ""), &bytes, Duration::ZERO).is_none());
        }
    }
}
