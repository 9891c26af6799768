//! Cache tags: what data a response depends on, and what a change concerns.

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// Rows of one table and one business: all of them, or those that are or refer to a certain row. A hash of the three: two tags
/// with the same hash only cost needless misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheTag(u64);

impl CacheTag {
    /// Returns the tag of all rows of `table`: any change of one concerns it.
    pub fn table(business: Uuid, table: &str) -> Self {
        Self::hashed(business, table, b"")
    }

    /// Returns the tag of the row `id` of `table`, and of the rows that refer to the row `id` of another table. What
    /// depends on it depends on [`CacheTag::whole`], too.
    pub fn row(business: Uuid, table: &str, id: Uuid) -> Self {
        Self::hashed(business, table, id.as_bytes())
    }

    /// Returns the tag of changes that do not say which rows they concern.
    pub fn whole(business: Uuid, table: &str) -> Self {
        Self::hashed(business, table, b"*")
    }

    /// Returns what a response depends on that shows the rows of `table` that are or refer to one of `ids`.
    pub fn rows(business: Uuid, table: &str, ids: impl IntoIterator<Item = Uuid>) -> Vec<Self> {
        let mut tags: Vec<Self> = ids.into_iter().map(|id| Self::row(business, table, id)).collect();
        tags.sort_unstable();
        tags.dedup();
        tags.push(Self::whole(business, table));
        tags
    }

    /// The hash.
    pub fn key(self) -> u64 {
        self.0
    }

    /// The tag of a hash.
    pub fn of_key(key: u64) -> Self {
        Self(key)
    }

    fn hashed(business: Uuid, table: &str, of: &[u8]) -> Self {
        // Users are shared by all businesses, and so are their changes.
        let business = if table == "users" { Uuid::nil() } else { business };
        let mut bytes = [0; 96];
        let length = 16 + of.len() + table.len();
        match bytes.get_mut(..length) {
            Some(bytes) => {
                bytes[..16].copy_from_slice(business.as_bytes());
                bytes[16..16 + of.len()].copy_from_slice(of);
                bytes[16 + of.len()..].copy_from_slice(table.as_bytes());
                // The seed separates a table's own tags from those of rows whose bytes look alike.
                Self(xxhash_rust::xxh3::xxh3_64_with_seed(bytes, of.len() as u64))
            }
            // No table has so long a name: PostgreSQL's limit is 63 bytes.
            None => Self(xxh3_64(table.as_bytes())),
        }
    }
}
