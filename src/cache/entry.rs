//! A cache entry: a response body with its `ETag`, what it depends on and since when, and its compressed forms.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::http::header::HeaderValue;
use bytes::Bytes;

use super::tags::CacheTag;
use super::validator::Round;

/// Bodies below this many bytes are not compressed.
const MIN_COMPRESSED_BYTES: usize = 1024;
/// A compressed form is kept only when it saves more than this many percent.
const MIN_SAVING: usize = 10;
/// Hits before an entry is compressed: compression takes several hundred microseconds, which rarer entries do not
/// repay.
const COMPRESS_AFTER_HITS: u32 = 3;
/// Quality of brotli and gzip: beyond these, the time grows faster than the saving.
const BROTLI_QUALITY: i32 = 4;
const GZIP_LEVEL: u32 = 4;

/// A content coding (RFC 9110, section 8.4.1), in order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Brotli,
    Gzip,
}

impl Coding {
    pub const ALL: [Self; 2] = [Self::Brotli, Self::Gzip];

    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// A computed response, before it becomes an entry.
#[derive(Clone, Debug)]
pub struct ComputedResponse {
    pub body: Vec<u8>,
    /// Including its quotes.
    pub etag: String,
    /// What it depends on, besides what its query says.
    pub tags: Vec<CacheTag>,
}

/// Identifies a cache entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub business: uuid::Uuid,
    /// The caller's role.
    pub role: &'static str,
    /// The user whose rows are visible, where the caller is restricted to their own.
    pub restricted_to: Option<uuid::Uuid>,
    /// Plural name of the resource.
    pub resource: &'static str,
    /// The query in canonical form.
    pub query: std::sync::Arc<str>,
}

#[derive(Debug)]
pub struct Entry {
    /// What the response depends on.
    pub tags: Box<[CacheTag]>,
    /// The round after which it was computed: it is valid while no later one finds a change of its tags.
    pub base: Arc<Round>,
    pub body: Bytes,
    pub etag: HeaderValue,
    /// TTL in the local tier and in Redis; it bounds memory and has no part in correctness.
    pub ttl: Duration,
    packed: [OnceLock<Option<Bytes>>; 2],
    /// Whether compression was requested, by coding.
    asked: [AtomicBool; 2],
    hits: AtomicU32,
}

impl Entry {
    /// `tags` are those of its query.
    pub fn new(tags: &[CacheTag], base: Arc<Round>, fresh: ComputedResponse, ttl: Duration) -> Self {
        let etag = HeaderValue::try_from(fresh.etag).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
        Self {
            tags: tags.iter().chain(&fresh.tags).copied().collect(),
            base,
            // Without the space in which it grew: up to as much again.
            body: fresh.body.into_boxed_slice().into(),
            etag,
            ttl,
            packed: Default::default(),
            asked: Default::default(),
            hits: AtomicU32::new(0),
        }
    }

    /// Returns a response that is not cached.
    pub fn uncached(fresh: ComputedResponse) -> Self {
        Self::new(&[], Arc::default(), fresh, Duration::ZERO)
    }

    pub fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub fn hits(&self) -> u32 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Returns the body in `coding`, if it was compressed and the saving was large enough.
    pub fn compressed(&self, coding: Coding) -> Option<&Bytes> {
        self.packed[coding as usize].get()?.as_ref()
    }

    /// Whether the entry should be compressed now. Returns `true` at most once for each coding.
    pub fn wants_compression(&self, coding: Coding) -> bool {
        self.body.len() >= MIN_COMPRESSED_BYTES
            && self.hits() >= COMPRESS_AFTER_HITS
            && !self.asked[coding as usize].swap(true, Ordering::Relaxed)
    }

    /// Compresses the body, once.
    pub fn compress(&self, coding: Coding) {
        self.packed[coding as usize].get_or_init(|| {
            let packed = match coding {
                Coding::Brotli => brotli(&self.body),
                Coding::Gzip => gzip(&self.body),
            };
            let packed = packed.ok()?;
            (packed.len() * 100 < self.body.len() * (100 - MIN_SAVING)).then(|| packed.into_boxed_slice().into())
        });
    }

    /// Bytes of memory that the entry takes, approximately.
    pub fn bytes(&self) -> usize {
        let packed: usize = Coding::ALL.iter().filter_map(|coding| self.compressed(*coding)).map(Bytes::len).sum();
        self.body.len() + packed + self.tags.len() * 8 + 200
    }
}

pub fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
    encoder.write_all(body)?;
    encoder.finish()
}

pub fn brotli(body: &[u8]) -> std::io::Result<Vec<u8>> {
    // A window as large as the body: the default takes several megabytes for each of them.
    let window = body.len().next_power_of_two().ilog2().clamp(10, 22) as i32;
    let params = ::brotli::enc::BrotliEncoderParams {
        quality: BROTLI_QUALITY,
        lgwin: window,
        size_hint: body.len(),
        ..Default::default()
    };
    let mut packed = Vec::new();
    ::brotli::BrotliCompress(&mut &body[..], &mut packed, &params)?;
    Ok(packed)
}
