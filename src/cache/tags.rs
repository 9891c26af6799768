//! Cache tags (what data a response depends on) and version stamps (the versions of that data).

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The rows of a table that belong to one business, or one of their 16 buckets, identified by the scope key of their
/// version, as `rapport_scope_key` in the database computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheTag(i64);

/// The bucket number that stands for all rows.
const TABLE_WIDE: i32 = -1;

impl CacheTag {
    /// Returns the tag of all rows of `table`.
    pub fn table(business: Uuid, table: &'static str) -> Self {
        Self::new(business, table, TABLE_WIDE)
    }

    /// Returns the tag of the bucket with the row `id`, so that changes of most other rows do not matter.
    pub fn row(business: Uuid, table: &'static str, id: Uuid) -> Self {
        // As `rapport_bucket`: the last four bits, which are random in a UUIDv7.
        Self::new(business, table, i32::from(id.as_bytes()[15] & 15))
    }

    fn new(business: Uuid, table: &str, bucket: i32) -> Self {
        // Users are shared by all businesses, and so is their version.
        let business = if table == "users" { Uuid::nil() } else { business };
        let hash = Sha256::digest(format!("{business}:{table}:{bucket}"));
        Self(hash.iter().take(8).fold(0, |place, byte| place << 8 | i64::from(*byte)))
    }

    pub fn key(self) -> i64 {
        self.0
    }
}

/// The versions of some cache tags, in their order, as one validation round found them. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VersionStamp {
    /// Identifies the database and its epoch: versions of different epochs cannot be compared.
    pub epoch: u64,
    pub versions: Box<[i64]>,
}

impl VersionStamp {
    /// Splits into the stamp of the first `count` tags and that of the others.
    pub fn split(&self, count: usize) -> (Self, Self) {
        let (first, rest) = self.versions.split_at(count.min(self.versions.len()));
        (Self { epoch: self.epoch, versions: first.into() }, Self { epoch: self.epoch, versions: rest.into() })
    }
}
