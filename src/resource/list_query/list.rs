//! A parsed list query.

use uuid::Uuid;

use super::predicate::Predicate;
use super::projection::Projection;
use crate::db::RawRow;
use crate::resource::cursor::Cursor;
use crate::resource::definition::Resource;
use crate::resource::field::Field;
use crate::resource::list_filter::ListFilter;
use crate::resource::sort::Sort;

pub const DEFAULT_LIMIT: u32 = 50;
pub const MAX_LIMIT: u32 = 500;
/// A count that is not requested as exact stops here.
pub const COUNT_CAP: i64 = 10_000;

#[derive(Clone, Debug)]
pub struct Filter {
    pub field: &'static Field,
    pub predicate: Predicate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    No,
    Capped,
    Exact,
}

/// A parsed list query.
#[derive(Clone, Debug)]
pub struct List {
    pub resource: &'static Resource,
    /// In the order of the resource's fields, so that equal requests make equal SQL.
    pub filters: Vec<Filter>,
    pub search: Option<String>,
    /// Whether the last word of the search is a whole one, and not the beginning of any: where rows are changed that it finds.
    pub is_whole_words: bool,
    /// Whether rows have the passage in which the search found something.
    pub highlights: bool,
    pub sort: &'static Sort,
    pub descending: bool,
    pub limit: u32,
    pub cursor: Option<Cursor>,
    pub projection: Projection,
    pub count: Count,
    pub deleted: bool,
}

impl List {
    /// Returns the ids of the rows that all rows of the list are or refer to by one column, if a filter names them: no other
    /// row can enter or leave it.
    pub fn linked_ids(&self) -> Option<Vec<Uuid>> {
        let mut by_column = self.filters.iter().filter(|filter| self.resource.field(filter.field.name).is_some());
        by_column.find_map(|filter| filter.predicate.ids())
    }

    /// Returns the filters that are no fields, with what they ask for.
    pub fn special_filters(&self) -> impl Iterator<Item = (&'static ListFilter, &Predicate)> + '_ {
        self.filters
            .iter()
            .filter_map(|filter| Some((self.resource.list_filter(filter.field.name)?, &filter.predicate)))
    }

    /// Returns the search whose findings are shown with each row.
    pub fn highlighted(&self) -> Option<&str> {
        self.search.as_deref().filter(|_| self.highlights)
    }

    /// Hashes everything that a cursor depends on: resource, sort, filters, search and `deleted`.
    pub fn fingerprint(&self) -> u64 {
        let text = format!(
            "{}|{}|{}|{:?}|{:?}|{}",
            self.resource.plural,
            self.sort.name,
            self.descending,
            self.filters.iter().map(|f| (f.field.name, &f.predicate)).collect::<Vec<_>>(),
            self.search,
            self.deleted
        );
        xxhash_rust::xxh3::xxh3_64(text.as_bytes())
    }

    /// Returns the cursor after `row`, whose sort key is the cell at `key`.
    pub fn cursor_after(&self, id: Uuid, row: &RawRow, key: usize) -> String {
        Cursor::encode(self.fingerprint(), self.sort.field_type, id, row, key)
    }

    /// Decodes a cursor of this list; `None` if it is damaged or was made for another list.
    pub fn decode_cursor(&self, text: &str) -> Option<Cursor> {
        Cursor::decode(text, self.fingerprint(), self.sort.field_type)
    }
}
