//! What an answer depends on, and how it stood.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A table's rows of one business, or one of their 16 buckets, by the place of their version: what `rapport_place` in the
/// database says of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope(i64);

/// The bucket that stands for all rows.
const WHOLE: i32 = -1;

impl Scope {
    /// All rows of `table`.
    pub fn table(business: Uuid, table: &'static str) -> Self {
        Self::new(business, table, WHOLE)
    }

    /// The rows that share a version with the row `id`, so that changes of most others do not matter.
    pub fn row(business: Uuid, table: &'static str, id: Uuid) -> Self {
        // `rapport_bucket`: the last four bits, which are random in a UUIDv7.
        Self::new(business, table, i32::from(id.as_bytes()[15] & 15))
    }

    fn new(business: Uuid, table: &str, bucket: i32) -> Self {
        // People are one row for all businesses, and so is their version.
        let business = if table == "users" { Uuid::nil() } else { business };
        let hash = Sha256::digest(format!("{business}:{table}:{bucket}"));
        Self(hash.iter().take(8).fold(0, |place, byte| place << 8 | i64::from(*byte)))
    }

    pub fn place(self) -> i64 {
        self.0
    }
}

/// The versions of some scopes, in their order, as one validation round found them. By default of nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Which life of which database: versions of different epochs mean nothing to each other.
    pub epoch: u64,
    pub versions: Box<[i64]>,
}

impl Stamp {
    /// The stamp of the first `count` scopes, and that of the others.
    pub fn split(&self, count: usize) -> (Self, Self) {
        let (first, rest) = self.versions.split_at(count.min(self.versions.len()));
        (Self { epoch: self.epoch, versions: first.into() }, Self { epoch: self.epoch, versions: rest.into() })
    }
}
