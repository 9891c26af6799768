//! A cached answer: its bytes as they are sent, what they were made of, and its compressed forms.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use actix_web::http::header::HeaderValue;
use bytes::Bytes;

use super::scope::Stamp;

/// Bodies below this are not worth compressing.
const SMALLEST_PACKED: usize = 1024;
/// How much less, in percent, a compressed form must be to be kept.
const WORTH: usize = 10;
/// What is asked for less often under one version is not worth the time either: several hundred microseconds.
const PACKED_FROM: u32 = 3;
/// Quality of brotli and gzip: what they gain past these they lose in time.
const BROTLI_QUALITY: i32 = 4;
const GZIP_LEVEL: u32 = 4;

/// A content coding (RFC 9110, section 8.4.1), the better first.
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
    /// Of whom it shows the rows, where whoever asked is limited to their own.
    pub sees_only: Option<uuid::Uuid>,
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
    packed: [OnceLock<Option<Bytes>>; 2],
    /// Whether packing was asked for, by coding.
    asked: [AtomicBool; 2],
    hits: AtomicU32,
    confirmed: AtomicU64,
}

impl Entry {
    pub fn new(stamp: Stamp, fresh: Fresh, ttl: Duration) -> Self {
        let etag = HeaderValue::try_from(fresh.etag).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
        Self {
            stamp,
            body: fresh.body.into(),
            etag,
            ttl,
            packed: Default::default(),
            asked: Default::default(),
            hits: AtomicU32::new(0),
            confirmed: AtomicU64::new(0),
        }
    }

    /// Notes that a round of `generation` found exactly its stamp.
    pub fn confirm(&self, generation: u64) {
        self.confirmed.fetch_max(generation, Ordering::Relaxed);
    }

    /// The last generation of rounds that found its stamp; 0: none yet.
    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Relaxed)
    }

    pub fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub fn hits(&self) -> u32 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Its body in `coding`, where that was made and was worth it.
    pub fn packed(&self, coding: Coding) -> Option<&Bytes> {
        self.packed[coding as usize].get()?.as_ref()
    }

    /// Whether it should be packed now. Says so once.
    pub fn asks_to_be_packed(&self, coding: Coding) -> bool {
        self.body.len() >= SMALLEST_PACKED
            && self.hits() >= PACKED_FROM
            && !self.asked[coding as usize].swap(true, Ordering::Relaxed)
    }

    /// Compresses the body, once.
    pub fn pack(&self, coding: Coding) {
        self.packed[coding as usize].get_or_init(|| {
            let packed = match coding {
                Coding::Brotli => brotli(&self.body),
                Coding::Gzip => gzip(&self.body),
            };
            let packed = packed.ok()?;
            (packed.len() * 100 < self.body.len() * (100 - WORTH)).then(|| packed.into())
        });
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        let packed: usize = Coding::ALL.iter().filter_map(|coding| self.packed(*coding)).map(Bytes::len).sum();
        self.body.len() + packed + self.stamp.versions.len() * 8 + 200
    }
}

pub fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
    encoder.write_all(body)?;
    encoder.finish()
}

pub fn brotli(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let params = ::brotli::enc::BrotliEncoderParams { quality: BROTLI_QUALITY, ..Default::default() };
    let mut packed = Vec::new();
    ::brotli::BrotliCompress(&mut &body[..], &mut packed, &params)?;
    Ok(packed)
}
