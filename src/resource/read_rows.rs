//! Reads rows of a resource on one connection. Every function takes the [`Tenant`].

use diesel::pg::PgConnection;
use uuid::Uuid;

use super::definition::Resource;
use super::list_query::{COUNT_CAP, Count, Included, List, Projection};
use super::related_tags::related_tags;
use super::relation::Cardinality;
pub use super::row::Row;
use super::search_highlight::SearchedWords;
use super::{row_json, select};
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::cache::CacheTag;
use crate::db::{RawRow, Statement};

/// How long a deleted row can be restored.
pub const RESTORABLE_DAYS: i64 = 30;

/// The rows of a page, with their related rows.
pub struct Page {
    pub rows: Vec<RawRow>,
    pub related: RelatedRows,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// Reads a page. Queries: one, and one for each to-many relation.
pub fn page(conn: &mut PgConnection, tenant: &Tenant, list: &List) -> Result<Page> {
    let mut rows = select::page(list, tenant).rows(conn)?;
    let more = rows.len() > list.limit as usize;
    rows.truncate(list.limit as usize);
    let related = RelatedRows::load(conn, tenant, &list.projection, &rows)?;
    let next = match rows.last().filter(|_| more) {
        Some(last) => {
            let id = row_json::id(last);
            Some(list.cursor_after(id, last, width(list.resource, &list.projection)))
        }
        None => None,
    };
    Ok(Page { rows, related, next })
}

/// What was read, and the cache tags of its relations.
pub struct Tagged<T> {
    pub read: T,
    pub tags: Vec<CacheTag>,
}

/// Reads a page as its JSON document. Queries: those of [`page`], and one for a count.
pub fn list(conn: &mut PgConnection, tenant: &Tenant, list: &List) -> Result<Tagged<Vec<u8>>> {
    let Page { rows, related, next } = page(conn, tenant, list)?;
    let tags = related_tags(tenant.id(), list.resource, &list.projection, &rows);
    let mut out = Vec::with_capacity(256 + rows.len() * 1024);
    out.extend_from_slice(b"{\"data\":[");
    let searched = list.highlighted().map(SearchedWords::of);
    let body = list.resource.index("body");
    for (place, row) in rows.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        object(&mut out, list.resource, &list.projection, row, &related);
        if let Some(words) = &searched {
            // Another member of the object.
            out.pop();
            out.extend_from_slice(b",\"highlight\":");
            words.write_passage(&mut out, body.and_then(|index| row.get(index)).unwrap_or_default());
            out.push(b'}');
        }
    }
    out.extend_from_slice(b"],\"page\":{\"limit\":");
    out.extend_from_slice(list.limit.to_string().as_bytes());
    out.extend_from_slice(b",\"next\":");
    match next {
        Some(cursor) => out.extend_from_slice(format!("\"{cursor}\"").as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    total(conn, tenant, list, &mut out)?;
    out.extend_from_slice(b"}}");
    Ok(Tagged { read: out, tags })
}

fn total(conn: &mut PgConnection, tenant: &Tenant, list: &List, out: &mut Vec<u8>) -> Result<()> {
    let cap = match list.count {
        Count::No => return Ok(()),
        Count::Capped => COUNT_CAP,
        Count::Exact => 0,
    };
    let counted = select::count(list, tenant, cap).scalar::<i64>(conn)?.unwrap_or_default();
    let past = cap > 0 && counted > cap;
    let total = if past { cap } else { counted };
    out.extend_from_slice(format!(",\"total\":{total}").as_bytes());
    if past {
        out.extend_from_slice(b",\"at_least\":true");
    }
    Ok(())
}

/// Reads one row with its relations. `None`: it does not exist, is deleted, not visible, or belongs to another
/// business.
pub fn one(
    conn: &mut PgConnection,
    tenant: &Tenant,
    resource: &'static Resource,
    id: Uuid,
    view: &Projection,
) -> Result<Option<Row>> {
    Ok(one_tagged(conn, tenant, resource, id, view)?.read)
}

/// As [`one`], with the cache tags of its relations.
pub fn one_tagged(
    conn: &mut PgConnection,
    tenant: &Tenant,
    resource: &'static Resource,
    id: Uuid,
    view: &Projection,
) -> Result<Tagged<Option<Row>>> {
    let rows = select::by_ids(resource, tenant, view, vec![id]).rows(conn)?;
    let related = RelatedRows::load(conn, tenant, view, &rows)?;
    let tags = related_tags(tenant.id(), resource, view, &rows);
    Ok(Tagged { read: rows.first().map(|cells| row(resource, view, cells, &related)), tags })
}

/// Reads rows by id, in the order of `ids`, as `{"data":[…],"missing":[…]}`.
pub fn batch(
    conn: &mut PgConnection,
    tenant: &Tenant,
    resource: &'static Resource,
    ids: &[Uuid],
    view: &Projection,
) -> Result<Tagged<Vec<u8>>> {
    let rows = select::by_ids(resource, tenant, view, ids.to_vec()).rows(conn)?;
    let related = RelatedRows::load(conn, tenant, view, &rows)?;
    let tags = related_tags(tenant.id(), resource, view, &rows);
    let found: std::collections::HashMap<Uuid, &RawRow> = rows.iter().map(|row| (row_json::id(row), row)).collect();
    let mut out = b"{\"data\":[".to_vec();
    let mut missing = Vec::new();
    for id in ids {
        match found.get(id) {
            Some(cells) => {
                if out.last() != Some(&b'[') {
                    out.push(b',');
                }
                object(&mut out, resource, view, cells, &related);
            }
            None => missing.push(format!("\"{id}\"")),
        }
    }
    out.extend_from_slice(format!("],\"missing\":[{}]}}", missing.join(",")).as_bytes());
    Ok(Tagged { read: out, tags })
}

/// Reads the history of the row `id`, deleted or not, as the page that `list` selects. Queries: one more than a list.
/// Errors: 404.
pub fn history(
    conn: &mut PgConnection,
    tenant: &Tenant,
    resource: &'static Resource,
    id: Uuid,
    list: &List,
) -> Result<Tagged<Vec<u8>>> {
    let mut sql = Statement::new("SELECT t.id FROM ");
    sql.ident(resource.table).sql(" t");
    sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ").bind(id);
    sql.row(conn)?.ok_or_else(|| not_found(resource))?;
    self::list(conn, tenant, list)
}

/// Appends the rows whose `column` is one of `ids` as a JSON array: all fields, deleted rows too, the oldest first.
pub fn whole(
    conn: &mut PgConnection,
    tenant: &Tenant,
    resource: &'static Resource,
    column: &'static str,
    ids: Vec<Uuid>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let mut sql = Statement::new("SELECT ");
    sql.append(select::columns(resource, "t")).sql(" FROM ").ident(resource.table).sql(" t");
    sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.").ident(column).sql(" = ANY(").bind(ids);
    sql.sql(") ORDER BY t.created_at, t.id");
    out.push(b'[');
    for (place, cells) in sql.rows(conn)?.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        object(out, resource, &Projection::default(), cells, &RelatedRows::default());
    }
    out.push(b']');
    Ok(())
}

pub fn not_found(resource: &Resource) -> Error {
    Error::NotFound(format!("There is no such {}.", resource.name))
}

/// Builds a row's response from its cells.
pub fn row(resource: &'static Resource, view: &Projection, cells: &RawRow, related: &RelatedRows) -> Row {
    let mut json = Vec::with_capacity(1024);
    object(&mut json, resource, view, cells, related);
    let version = resource.index("version").and_then(|index| cells.int(index)).unwrap_or_default();
    Row { json, version }
}

/// Returns the number of cells of the resource and its joined relations, which is the index of the cell after them.
fn width(resource: &Resource, view: &Projection) -> usize {
    resource.fields.len() + select::joined(view).map(|(_, included)| included.resource.fields.len()).sum::<usize>()
}

fn object(out: &mut Vec<u8>, resource: &Resource, view: &Projection, cells: &RawRow, related: &RelatedRows) {
    out.push(b'{');
    let mut any = row_json::members(out, resource.fields, cells, 0, view.mask);
    let mut offset = resource.fields.len();
    for included in &view.include {
        let (relation, resource, shown) = (included.relation, included.resource, included.mask);
        if any {
            out.push(b',');
        }
        any = true;
        row_json::key(out, relation.name);
        if relation.arity == Cardinality::One {
            match cells.get(offset) {
                Some(_) => braced(out, resource, cells, offset, shown),
                None => out.extend_from_slice(b"null"),
            }
            offset += resource.fields.len();
        } else {
            related.write(out, included, row_json::id(cells));
        }
    }
    out.push(b'}');
}

fn braced(out: &mut Vec<u8>, resource: &Resource, cells: &RawRow, offset: usize, shown: row_json::FieldMask) {
    out.push(b'{');
    row_json::members(out, resource.fields, cells, offset, shown);
    out.push(b'}');
}

/// The rows of to-many relations, by relation and parent.
#[derive(Default)]
pub struct RelatedRows(Vec<(&'static str, Vec<(Uuid, RawRow)>)>);

impl RelatedRows {
    /// Loads them with one query for each to-many relation of `view`.
    fn load(conn: &mut PgConnection, tenant: &Tenant, view: &Projection, rows: &[RawRow]) -> Result<Self> {
        let mut loaded = Vec::new();
        for included in view.include.iter().filter(|included| included.relation.arity != Cardinality::One) {
            let relation = included.relation;
            let parents = rows.iter().map(row_json::id).collect();
            let parent = included.resource.fields.len();
            let found = select::related(relation, tenant, parents).rows(conn)?;
            let mut found: Vec<(Uuid, RawRow)> =
                found.into_iter().filter_map(|cells| Some((cells.uuid(parent)?, cells))).collect();
            // A stable sort keeps the order within each parent.
            found.sort_by_key(|(parent, _)| *parent);
            loaded.push((relation.name, found));
        }
        Ok(Self(loaded))
    }

    fn write(&self, out: &mut Vec<u8>, included: &Included, parent: Uuid) {
        let Included { relation, resource, mask } = *included;
        let rows = self.0.iter().find(|(name, _)| *name == relation.name).map(|(_, rows)| rows.as_slice());
        let rows = rows.unwrap_or_default();
        let from = rows.partition_point(|(id, _)| *id < parent);
        let mine = rows[from..].iter().take_while(|(id, _)| *id == parent);
        if relation.arity == Cardinality::First {
            match mine.into_iter().next() {
                Some((_, cells)) => braced(out, resource, cells, 0, mask),
                None => out.extend_from_slice(b"null"),
            }
            return;
        }
        out.push(b'[');
        for (place, (_, cells)) in mine.enumerate() {
            if place > 0 {
                out.push(b',');
            }
            braced(out, resource, cells, 0, mask);
        }
        out.push(b']');
    }
}
