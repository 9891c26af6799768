//! What a response depends on through its relations: the rows that it shows, and not all of their tables.

use uuid::Uuid;

use super::definition::Resource;
use super::list_query::Projection;
use super::relation::Cardinality;
use super::row_json;
use crate::cache::CacheTag;
use crate::db::RawRow;

/// Related rows that are named one by one; a response with more depends on all rows of their table.
const MAX_NAMED: usize = 200;

/// Returns the cache tags of the relations that `view` includes, of a response that shows `rows` of `resource`.
pub fn related_tags(business: Uuid, resource: &Resource, view: &Projection, rows: &[RawRow]) -> Vec<CacheTag> {
    let mut tags = Vec::new();
    for included in &view.include {
        // The table of the related rows; of a view, the ids are those of its first table.
        let (first, others) = match included.resource.tables() {
            [first, others @ ..] => (*first, others),
            [] => continue,
        };
        if let Some(via) = included.relation.via {
            // Which rows are related is said by the table between; they themselves are few.
            let named = CacheTag::rows(business, via.name, rows.iter().map(row_json::id));
            match named.len() <= MAX_NAMED {
                true => tags.extend(named),
                false => tags.push(CacheTag::table(business, via.name)),
            }
            tags.extend(included.resource.tables().iter().map(|table| CacheTag::table(business, table)));
            continue;
        }
        let column = resource.index(included.relation.column);
        let ids: Vec<Uuid> = match (included.relation.arity, column) {
            (Cardinality::One, Some(column)) => rows.iter().filter_map(|row| row.uuid(column)).collect(),
            (Cardinality::One, None) => Vec::new(),
            // They name the row that includes them.
            _ => rows.iter().map(row_json::id).collect(),
        };
        let is_known = included.relation.arity != Cardinality::One || column.is_some();
        let named = CacheTag::rows(business, first, ids);
        if is_known && named.len() <= MAX_NAMED {
            tags.extend(named);
        } else {
            tags.push(CacheTag::table(business, first));
        }
        tags.extend(others.iter().map(|table| CacheTag::table(business, table)));
    }
    tags
}
