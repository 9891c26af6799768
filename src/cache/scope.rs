//! What an answer depends on, and how it stood.

use uuid::Uuid;

/// A table's rows of one business, or one of their 16 buckets. `rapport_move` in the database moves their versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Nil for tables that belong to no business.
    pub business: Uuid,
    pub table: &'static str,
    /// All of them, if there is none.
    pub bucket: Option<u8>,
}

impl Scope {
    /// All rows of `table`.
    pub fn table(business: Uuid, table: &'static str) -> Self {
        Self { business: Self::owner(business, table), table, bucket: None }
    }

    /// The rows that share a version with the row `id`, so that changes of most others do not matter.
    pub fn row(business: Uuid, table: &'static str, id: Uuid) -> Self {
        Self { bucket: Some(bucket(id)), ..Self::table(business, table) }
    }

    /// People are one row for all businesses, and so is their version.
    fn owner(business: Uuid, table: &str) -> Uuid {
        if table == "users" { Uuid::nil() } else { business }
    }
}

/// `rapport_bucket` in the database: the last four bits, which are random in a UUIDv7.
fn bucket(id: Uuid) -> u8 {
    id.as_bytes()[15] & 15
}

/// The versions of some scopes, in their order, as one validation round found them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
