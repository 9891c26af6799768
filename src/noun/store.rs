//! A noun's reads and writes against one connection. Every function takes the [`Tenant`].

use actix_web::http::StatusCode;
use diesel::pg::PgConnection;
use uuid::Uuid;

use super::params::{COUNT_CAP, Count, List, View};
use super::{Arity, Change, Draft, Noun, Relation, assignments, cursor::Cursor, json, links, select};
use crate::auth::Tenant;
use crate::db::{Cells, Statement, Tx, Value};
use crate::error::{Error, Result};
use crate::http::once::Answer;
use crate::http::precondition::IfMatch;

/// How long a deleted row can be brought back.
pub const RESTORABLE_DAYS: i64 = 30;

/// One row as an answer: its JSON and its version.
#[derive(Clone, Debug)]
pub struct Row {
    pub json: Vec<u8>,
    pub version: i64,
}

impl Row {
    /// Its version, and a hash of what is shown: an answer can change where the version does not (a link that was emptied
    /// because the other end is gone, a row changed from psql), and shows more or less with `include` and `fields`. Any
    /// ETag of a row can be sent back as `If-Match`, which looks at the version only.
    pub fn etag(&self) -> String {
        format!("\"{}.{:016x}\"", self.version, xxhash_rust::xxh3::xxh3_64(&self.json))
    }

    /// 201, at `path`.
    pub fn created(self, path: String) -> Answer {
        let etag = self.etag();
        Answer::new(StatusCode::CREATED, self.json).location(path).etag(etag)
    }

    /// 200.
    pub fn answer(self) -> Answer {
        let etag = self.etag();
        Answer::new(StatusCode::OK, self.json).etag(etag)
    }
}

/// The rows of a page, with what they are shown with.
pub struct Page {
    pub rows: Vec<Cells>,
    pub related: Related,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// Reads a page. Queries: one, and one for each relation of many.
pub fn page(conn: &mut PgConnection, tenant: &Tenant, list: &List) -> Result<Page> {
    let mut rows = select::page(list, tenant).rows(conn)?;
    let more = rows.len() > list.limit as usize;
    rows.truncate(list.limit as usize);
    let related = Related::load(conn, tenant, &list.view, &rows)?;
    let next = match rows.last().filter(|_| more) {
        Some(last) => {
            let id = last.uuid(0).ok_or_else(|| Error::Internal("a row without id".into()))?;
            Some(Cursor::encode(list, id, last, width(list.noun, &list.view)))
        }
        None => None,
    };
    Ok(Page { rows, related, next })
}

/// A page as its JSON document. Queries: those of [`page`], and one for a count.
pub fn list(conn: &mut PgConnection, tenant: &Tenant, list: &List) -> Result<Vec<u8>> {
    let Page { rows, related, next } = page(conn, tenant, list)?;
    let mut out = Vec::with_capacity(256 + rows.len() * 1024);
    out.extend_from_slice(b"{\"data\":[");
    for (place, row) in rows.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        object(&mut out, list.noun, &list.view, row, &related);
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
    Ok(out)
}

fn total(conn: &mut PgConnection, tenant: &Tenant, list: &List, out: &mut Vec<u8>) -> Result<()> {
    let cap = match list.count {
        Count::No => return Ok(()),
        Count::Capped => COUNT_CAP,
        Count::Exact => 0,
    };
    let counted = select::count(list, tenant, cap).row(conn)?.and_then(|row| row.int(0)).unwrap_or_default();
    let past = cap > 0 && counted > cap;
    let total = if past { cap } else { counted };
    out.extend_from_slice(format!(",\"total\":{total}").as_bytes());
    if past {
        out.extend_from_slice(b",\"at_least\":true");
    }
    Ok(())
}

/// One row with its relations. `None`: not there, deleted, or a neighbour's.
pub fn one(
    conn: &mut PgConnection,
    tenant: &Tenant,
    noun: &'static Noun,
    id: Uuid,
    view: &View,
) -> Result<Option<Row>> {
    let rows = select::by_ids(noun, tenant, view, vec![id]).rows(conn)?;
    let related = Related::load(conn, tenant, view, &rows)?;
    Ok(rows.first().map(|cells| row(noun, view, cells, &related)))
}

/// Rows by id, in the order asked, as `{"data":[…],"missing":[…]}`.
pub fn batch(
    conn: &mut PgConnection,
    tenant: &Tenant,
    noun: &'static Noun,
    ids: &[Uuid],
    view: &View,
) -> Result<Vec<u8>> {
    let rows = select::by_ids(noun, tenant, view, ids.to_vec()).rows(conn)?;
    let related = Related::load(conn, tenant, view, &rows)?;
    let found: std::collections::HashMap<Uuid, &Cells> =
        rows.iter().filter_map(|row| Some((row.uuid(0)?, row))).collect();
    let mut out = b"{\"data\":[".to_vec();
    let mut missing = Vec::new();
    for id in ids {
        match found.get(id) {
            Some(cells) => {
                if out.last() != Some(&b'[') {
                    out.push(b',');
                }
                object(&mut out, noun, view, cells, &related);
            }
            None => missing.push(format!("\"{id}\"")),
        }
    }
    out.extend_from_slice(format!("],\"missing\":[{}]}}", missing.join(",")).as_bytes());
    Ok(out)
}

/// What happened to the row `id` of `noun`, deleted or not, as the page that `list` asks for. Queries: one more than a list.
/// Errors: 404.
pub fn history(
    conn: &mut PgConnection,
    tenant: &Tenant,
    noun: &'static Noun,
    id: Uuid,
    list: &List,
) -> Result<Vec<u8>> {
    let mut sql = Statement::new(format!("SELECT t.id FROM {} t", noun.table));
    sql.append(select::scoped(noun, tenant)).push(" AND t.id = ").bind(Value::Uuid(Some(id)));
    sql.row(conn)?.ok_or_else(|| missing(noun))?;
    self::list(conn, tenant, list)
}

/// Appends the rows of `noun` whose `column` is one of `ids` as a JSON array: whole, deleted ones too, the oldest first.
pub fn whole(
    conn: &mut PgConnection,
    tenant: &Tenant,
    noun: &'static Noun,
    column: &'static str,
    ids: Vec<Uuid>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let mut sql = Statement::new(format!("SELECT {} FROM {} t", select::columns(noun, "t"), noun.table));
    sql.append(select::scoped(noun, tenant)).push(&format!(" AND t.{column} = ANY(")).bind(Value::Uuids(ids));
    sql.push(") ORDER BY t.created_at, t.id");
    out.push(b'[');
    for (place, cells) in sql.rows(conn)?.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        object(out, noun, &View::default(), cells, &Related::default());
    }
    out.push(b']');
    Ok(())
}

/// Makes a row. Errors: 409 and 422 from constraints, and those of the noun's hooks.
pub fn create(tx: &mut Tx<'_>, tenant: &Tenant, change: Change) -> Result<(Uuid, Row)> {
    let (noun, draft) = (change.noun, checked(tx, tenant, Draft::of_new(tenant, change))?);
    let mut sql = Statement::new(format!("INSERT INTO {} AS t ({}, id", noun.table, noun.tenant));
    for (field, _) in draft.change.values() {
        sql.push(", ").push(field.name);
    }
    sql.push(") VALUES (").bind(Value::Uuid(Some(tenant.id()))).push(", ").bind(Value::Uuid(Some(draft.id)));
    for (_, value) in draft.change.values() {
        sql.push(", ").bind(value.clone());
    }
    sql.push(") RETURNING ").push(&select::columns(noun, "t"));
    let cells = sql.row(tx)?.ok_or_else(|| Error::Internal("an insert returned no row".into()))?;
    (noun.hooks.after)(tx, tenant, &[&draft])?;
    Ok((draft.id, row(noun, &View::default(), &cells, &Related::default())))
}

/// Changes a row, if `expected` allows its version. A change after which the row would be as it is leaves it alone, with its version.
/// Errors: 404; 412 when the version lost; and those of [`create`].
pub fn update(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, change: Change, expected: IfMatch) -> Result<Row> {
    let noun = change.noun;
    if change.values().is_empty() {
        return unchanged(tx, tenant, noun, id, expected);
    }
    let draft = checked(tx, tenant, Draft::new(id, change))?;
    let Some(cells) = assignments::update(tenant, id, &draft.change, expected).row(tx)? else {
        return unchanged(tx, tenant, noun, id, expected);
    };
    (noun.hooks.after)(tx, tenant, &[&draft])?;
    Ok(row(noun, &View::default(), &cells, &Related::default()))
}

/// A set of one, after all that is looked at before it is written ([`super::batch`] does the same for many).
fn checked(tx: &mut Tx<'_>, tenant: &Tenant, draft: Draft) -> Result<Draft> {
    links::follow(tx, tenant, &draft)?;
    let mut set = [draft];
    (set[0].change.noun.hooks.before)(tx, tenant, &mut set)?;
    let [draft] = set;
    draft.settled()
}

/// Deletes a row: marks it, where it can be restored. Errors: 404 and 412.
pub fn delete(tx: &mut Tx<'_>, tenant: &Tenant, noun: &'static Noun, id: Uuid, expected: IfMatch) -> Result<()> {
    let mut sql = match noun.soft_delete() {
        true => Statement::new(format!(
            "UPDATE {} AS t SET deleted_at = now(), version = version + 1, updated_at = now()",
            noun.table
        )),
        false => Statement::new(format!("DELETE FROM {} AS t", noun.table)),
    };
    sql.append(addressed(noun, tenant, id, expected));
    if sql.run(tx)? == 0 {
        return Err(lost(tx, tenant, noun, id)?);
    }
    (noun.hooks.removed_or_restored)(tx, tenant, &[id])
}

/// Brings a deleted row back. A row that is not deleted is left as it is. Errors: 404 when there is none or its time
/// is over; 409 when something else has its place by now.
pub fn restore(tx: &mut Tx<'_>, tenant: &Tenant, noun: &'static Noun, id: Uuid) -> Result<Row> {
    let mut sql = Statement::new(format!(
        "UPDATE {} AS t SET deleted_at = NULL, version = version + 1, updated_at = now()",
        noun.table
    ));
    sql.append(select::scoped(noun, tenant)).push(" AND t.id = ").bind(Value::Uuid(Some(id)));
    sql.push(&format!(" AND t.deleted_at > now() - interval '{RESTORABLE_DAYS} days' RETURNING "));
    sql.push(&select::columns(noun, "t"));
    if let Some(cells) = sql.row(tx)? {
        (noun.hooks.removed_or_restored)(tx, tenant, &[id])?;
        return Ok(row(noun, &View::default(), &cells, &Related::default()));
    }
    one(tx, tenant, noun, id, &View::default())?.ok_or_else(|| missing(noun))
}

/// The row as it is, where a change makes nothing else of it. Errors: 404; 412 when the version lost.
fn unchanged(tx: &mut Tx<'_>, tenant: &Tenant, noun: &'static Noun, id: Uuid, expected: IfMatch) -> Result<Row> {
    let row = one(tx, tenant, noun, id, &View::default())?.ok_or_else(|| missing(noun))?;
    if expected.allows(Some(row.version)) { Ok(row) } else { Err(Error::Stale) }
}

pub fn missing(noun: &Noun) -> Error {
    Error::NotFound(format!("There is no such {}.", noun.name))
}

/// ` WHERE` this tenant's row `id`, alive, at a version that `expected` allows.
pub(super) fn addressed(noun: &Noun, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Statement {
    let mut sql = select::scoped(noun, tenant);
    sql.push(" AND t.id = ").bind(Value::Uuid(Some(id)));
    select::alive(&mut sql, noun);
    if let Some(versions) = expected.versions() {
        sql.push(" AND t.version = ANY(").bind(Value::Ints(versions.to_vec())).push(")");
    }
    sql
}

/// Why a write found no row: it is not there, or its version has moved on.
fn lost(tx: &mut Tx<'_>, tenant: &Tenant, noun: &'static Noun, id: Uuid) -> Result<Error> {
    Ok(match one(tx, tenant, noun, id, &View::default())? {
        Some(_) => Error::Stale,
        None => missing(noun),
    })
}

/// Builds a row's answer from its cells.
pub fn row(noun: &'static Noun, view: &View, cells: &Cells, related: &Related) -> Row {
    let mut json = Vec::with_capacity(1024);
    object(&mut json, noun, view, cells, related);
    let version = noun.index("version").and_then(|index| cells.int(index)).unwrap_or_default();
    Row { json, version }
}

/// How many cells precede the one after the noun's own and its joined ones.
fn width(noun: &Noun, view: &View) -> usize {
    noun.fields.len() + select::joined(view).map(|(_, relation)| relation.noun.fields.len()).sum::<usize>()
}

fn object(out: &mut Vec<u8>, noun: &Noun, view: &View, cells: &Cells, related: &Related) {
    out.push(b'{');
    let mut any = json::members(out, noun.fields, cells, 0, view.shown);
    let mut offset = noun.fields.len();
    for (relation, shown) in &view.include {
        if any {
            out.push(b',');
        }
        any = true;
        json::key(out, relation.name);
        if relation.arity == Arity::One {
            match cells.get(offset) {
                Some(_) => braced(out, relation.noun, cells, offset, *shown),
                None => out.extend_from_slice(b"null"),
            }
            offset += relation.noun.fields.len();
        } else {
            related.write(out, relation, *shown, cells.uuid(0).unwrap_or_default());
        }
    }
    out.push(b'}');
}

fn braced(out: &mut Vec<u8>, noun: &Noun, cells: &Cells, offset: usize, shown: json::Shown) {
    out.push(b'{');
    json::members(out, noun.fields, cells, offset, shown);
    out.push(b'}');
}

/// The rows of the relations of many, by relation and parent.
#[derive(Default)]
pub struct Related(Vec<(&'static str, Vec<(Uuid, Cells)>)>);

impl Related {
    /// One query for each relation of many in `view`.
    fn load(conn: &mut PgConnection, tenant: &Tenant, view: &View, rows: &[Cells]) -> Result<Self> {
        let mut loaded = Vec::new();
        for (relation, _) in view.include.iter().filter(|(relation, _)| relation.arity != Arity::One) {
            let parents = rows.iter().filter_map(|row| row.uuid(0)).collect();
            let parent = relation.noun.fields.len();
            let found = select::related(relation, tenant, parents).rows(conn)?;
            let mut found: Vec<(Uuid, Cells)> =
                found.into_iter().filter_map(|cells| Some((cells.uuid(parent)?, cells))).collect();
            // Stable, so the order within each parent stays.
            found.sort_by_key(|(parent, _)| *parent);
            loaded.push((relation.name, found));
        }
        Ok(Self(loaded))
    }

    fn write(&self, out: &mut Vec<u8>, relation: &Relation, shown: json::Shown, parent: Uuid) {
        let rows = self.0.iter().find(|(name, _)| *name == relation.name).map(|(_, rows)| rows.as_slice());
        let rows = rows.unwrap_or_default();
        let from = rows.partition_point(|(id, _)| *id < parent);
        let mine = rows[from..].iter().take_while(|(id, _)| *id == parent);
        if relation.arity == Arity::First {
            match mine.into_iter().next() {
                Some((_, cells)) => braced(out, relation.noun, cells, 0, shown),
                None => out.extend_from_slice(b"null"),
            }
            return;
        }
        out.push(b'[');
        for (place, (_, cells)) in mine.enumerate() {
            if place > 0 {
                out.push(b',');
            }
            braced(out, relation.noun, cells, 0, shown);
        }
        out.push(b']');
    }
}
