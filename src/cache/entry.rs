//! A cached answer: its bytes as they are sent, what they were made of, and its compressed forms.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix_web::http::header::HeaderValue;
use bytes::Bytes;

use super::scope::Stamp;

/// Bodies below this are not worth compressing.
const SMALLEST_PACKED: usize = 1024;
/// How much less, in percent, a compressed form must be to be kept.
const WORTH: usize = 10;
/// Quality of brotli and gzip: what they gain past these they lose in time.
const BROTLI_QUALITY: i32 = 5;

/// An answer as it was computed.
#[derive(Clone, Debug)]
pub struct Fresh {
    pub body: Vec<u8>,
    /// With its quotes.
    pub etag: String,
}

/// What identifies an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub business: uuid::Uuid,
    /// In which role it was asked for.
    pub role: &'static str,
    /// Whose answer: the noun's plural.
    pub noun: &'static str,
    /// The question in its normal form.
    pub question: std::sync::Arc<str>,
}

#[derive(Debug)]
pub struct Entry {
    pub stamp: Stamp,
    pub body: Bytes,
    pub etag: HeaderValue,
    /// How long it is kept at most; it bounds memory and nothing else.
    pub ttl: Duration,
    packed: OnceLock<Packed>,
    hits: AtomicU32,
}

/// Compressed forms, where they are worth it.
#[derive(Debug, Default)]
pub struct Packed {
    pub gzip: Option<Bytes>,
    pub brotli: Option<Bytes>,
}

impl Entry {
    pub fn new(stamp: Stamp, fresh: Fresh, ttl: Duration) -> Self {
        let etag = HeaderValue::try_from(fresh.etag).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
        Self { stamp, body: fresh.body.into(), etag, ttl, packed: OnceLock::new(), hits: AtomicU32::new(0) }
    }

    /// Counts a hit; the first says that compressing may pay.
    pub fn hit(&self) -> u32 {
        self.hits.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn hits(&self) -> u32 {
        self.hits.load(Ordering::Relaxed)
    }

    pub fn is_packable(&self) -> bool {
        self.body.len() >= SMALLEST_PACKED && self.packed.get().is_none()
    }

    pub fn packed(&self) -> Option<&Packed> {
        self.packed.get()
    }

    /// Compresses the body, once.
    pub fn pack(&self) {
        self.packed.get_or_init(|| Packed {
            gzip: kept(&self.body, gzip(&self.body)),
            brotli: kept(&self.body, brotli(&self.body)),
        });
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        let packed = self.packed.get().map_or(0, |packed| {
            packed.gzip.as_ref().map_or(0, Bytes::len) + packed.brotli.as_ref().map_or(0, Bytes::len)
        });
        self.body.len() + packed + self.stamp.versions.len() * 8 + 200
    }
}

fn kept(body: &Bytes, packed: std::io::Result<Vec<u8>>) -> Option<Bytes> {
    let packed = packed.ok()?;
    (packed.len() * 100 < body.len() * (100 - WORTH)).then(|| packed.into())
}

pub fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body)?;
    encoder.finish()
}

pub fn brotli(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let params = ::brotli::enc::BrotliEncoderParams { quality: BROTLI_QUALITY, ..Default::default() };
    let mut packed = Vec::new();
    ::brotli::BrotliCompress(&mut &body[..], &mut packed, &params)?;
    Ok(packed)
}
