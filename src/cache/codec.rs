//! Encodes cache entries for Redis and decodes them. Stored bytes are untrusted input: anything that is not exactly an
//! entry for the requested key decodes to `None`.

use super::entry::{ComputedResponse, Entry, Key};
use super::snapshot::Snapshot;
use super::tags::CacheTag;

/// Version of the encoding. A process reads only its own.
const FORM: &[u8; 8] = b"rapport3";

/// An entry of Redis: what another process computed, and for each database node the epoch and the snapshot of the round after which
/// it did.
pub struct StoredEntry {
    pub nodes: Vec<(u64, Snapshot)>,
    pub tags: Vec<CacheTag>,
    pub response: ComputedResponse,
}

/// Layout: `form, checksum, nodes, tags, query, etag, body`; a node is `epoch, snapshot`. Integers are little-endian; every part of varying
/// length is preceded by its length as `u32`.
pub fn encode(key: &Key, entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(entry.body.len() + key.query.len() + 128);
    out.extend_from_slice(FORM);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&(entry.base.nodes.len() as u32).to_le_bytes());
    for node in &entry.base.nodes {
        out.extend_from_slice(&node.epoch.to_le_bytes());
        put(&mut out, node.snapshot.to_string().as_bytes());
    }
    put(&mut out, &entry.tags.iter().flat_map(|tag| tag.key().to_le_bytes()).collect::<Vec<u8>>());
    put(&mut out, key.query.as_bytes());
    put(&mut out, entry.etag.as_bytes());
    put(&mut out, &entry.body);
    let sum = checksum(key, &out[16..]);
    out[8..16].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Returns `None` when `bytes` are not a complete entry for `key`.
pub fn decode(key: &Key, bytes: &[u8]) -> Option<StoredEntry> {
    let rest = bytes.strip_prefix(FORM)?;
    let (sum, mut rest) = rest.split_first_chunk::<8>()?;
    if u64::from_le_bytes(*sum) != checksum(key, rest) {
        return None;
    }
    let count = u32::from_le_bytes(*take::<4>(&mut rest)?);
    let mut node = || {
        let epoch = u64::from_le_bytes(*take::<8>(&mut rest)?);
        Some((epoch, std::str::from_utf8(part(&mut rest)?).ok()?.parse().ok()?))
    };
    let nodes = (0..count).map(|_| node()).collect::<Option<Vec<(u64, Snapshot)>>>()?;
    let tags = part(&mut rest)?.chunks_exact(8).map(|tag| u64::from_le_bytes(tag.try_into().unwrap_or_default()));
    let tags: Vec<CacheTag> = tags.map(CacheTag::of_key).collect();
    if part(&mut rest)? != key.query.as_bytes() {
        return None;
    }
    let etag = std::str::from_utf8(part(&mut rest)?).ok()?.to_owned();
    let body = part(&mut rest)?.to_vec();
    let response = ComputedResponse { body, etag, tags: Vec::new() };
    rest.is_empty().then_some(StoredEntry { nodes, tags, response })
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
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::cache::validator::{NodeRound, Round};

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
            body: Vec<u8>, epoch: u64, tags: Vec<u64>, question: String, other: String, flip: proptest::sample::Index,
        ) {
            let snapshot: Snapshot = "10:15:10,12".parse().expect("a snapshot");
            let node = |epoch| NodeRound { epoch, snapshot: snapshot.clone(), ..NodeRound::default() };
            let base = Arc::new(Round { number: 1, nodes: [epoch, 7].map(node).into() });
            let tags: Vec<CacheTag> = tags.into_iter().map(CacheTag::of_key).collect();
            let response = ComputedResponse { body, etag: "\"1\"".into(), tags: Vec::new() };
            let entry = Entry::new(&tags, base, response, Duration::from_secs(1));
            let mut bytes = encode(&key(1, &question), &entry);
            let back = decode(&key(1, &question), &bytes).expect("the entry");
            prop_assert_eq!((back.nodes, back.tags), (vec![(epoch, snapshot.clone()), (7, snapshot)], tags));
            prop_assert_eq!((&back.response.body[..], &*back.response.etag), (&entry.body[..], "\"1\""));
            prop_assert!(decode(&key(2, &question), &bytes).is_none());
            prop_assert!(other == question || decode(&key(1, &other), &bytes).is_none());
            prop_assert!(decode(&key(1, &question), &bytes[..flip.index(bytes.len())]).is_none());
            let at = flip.index(bytes.len());
            bytes[at] ^= 1;
            prop_assert!(decode(&key(1, &question), &bytes).is_none());
        }

        #[test]
        fn decode_of_garbage_returns_none(bytes: Vec<u8>) {
            prop_assert!(decode(&key(1, ""), &bytes).is_none());
        }
    }
}
