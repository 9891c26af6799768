//! `POST /contacts/{id}/merge` and `POST /companies/{id}/merge`: merges several rows into one.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Text, Uuid as SqlUuid};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::dto::{Merged, RequestedMerge};
use super::fields::mergeable_fields;
use super::locks::{LockedRow, lock, take_turns};
use super::references::{self, Link};
use super::resource::{MERGES, REVERSIBLE_DAYS};
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::{Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::crud::{self, RelatedRows, Row};
use crate::resource::list_query::Projection;
use crate::resource::{Resource, ValidationErrors, select};

/// Referencing rows that one merge moves: few enough to finish within the default statement timeout (5 s), and not to
/// block concurrent writers for longer.
const MAX_MOVED_ROWS: u32 = 10_000;
/// Tags of a row at most, and bytes of its metadata: as in a request body.
const MAX_TAGS: u32 = 50;
const MAX_OBJECT_BYTES: i32 = 64 * 1024;
/// Fields that mean nothing without another, whose winner they follow.
const FOLLOWS: [(&str, &str); 1] = [("phone_extension", "phone")];

/// A merge that was asked for.
pub struct Merge {
    resource: &'static Resource,
    survivor: Uuid,
    from: Vec<Uuid>,
    /// Fields, and the row whose value wins.
    prefer: Vec<(&'static str, Uuid)>,
}

/// How many rows of a resource reference the rows to be merged, by one of its columns.
#[derive(QueryableByName)]
struct ReferencingRows {
    /// Its plural.
    #[diesel(sql_type = Text)]
    resource: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// A row that references the survivor now.
#[derive(QueryableByName)]
struct MovedRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    /// The row that it referenced.
    #[diesel(sql_type = SqlUuid)]
    was: Uuid,
}

/// What the merge did to the survivor.
#[derive(QueryableByName)]
struct FilledSurvivor {
    /// The fields that changed, as JSON text: numbers keep all their digits.
    #[diesel(sql_type = Text)]
    changes: String,
    #[diesel(sql_type = Integer)]
    metadata_bytes: i32,
}

impl Merge {
    pub fn new(resource: &'static Resource, survivor: Uuid, asked: RequestedMerge) -> Self {
        let RequestedMerge { from, prefer } = asked;
        Self { resource, survivor, from, prefer }
    }

    /// Merges the rows if `expected` is the survivor's version. Queries: ten, and one for each reference to the
    /// resource. Errors: 404; 409 when one of the rows is deleted, or too many rows reference them; 412; 422 when one
    /// never existed.
    pub fn run(&self, tx: &mut Tx<'_>, tenant: &Tenant, expected: IfMatch) -> Result<Merged> {
        take_turns(tx, tenant)?;
        self.bound(tx, tenant)?;
        let ids: Vec<Uuid> = [self.survivor].into_iter().chain(self.from.iter().copied()).collect();
        let rows = lock(tx, tenant, self.resource, &ids)?;
        self.check(&rows, expected)?;
        let (mut moved, mut kept) = (Map::new(), Map::new());
        for link in references::to(self.resource) {
            let by_row = self.relink(tx, tenant, link)?;
            let count: usize = by_row.values().map(Vec::len).sum();
            if count > 0 {
                let before = moved.get(link.resource.plural).and_then(Json::as_u64).unwrap_or_default();
                moved.insert(link.resource.plural.to_owned(), json!(before + count as u64));
                kept.insert(link.name(), json!(by_row));
            }
        }
        // Deleted first, so that unique values can move to the survivor.
        let mut sql = Statement::new("UPDATE ");
        sql.ident(self.resource.table).sql(" t SET deleted_at = now(), version = t.version + 1, updated_at = now()");
        sql.append(select::tenant_predicate(self.resource, tenant)).sql(" AND t.id = ANY(");
        sql.bind(self.from.clone()).sql(")").run(tx)?;
        let changes = self.fill(tx, tenant, &rows, &ids)?;
        let survivor = crud::one(tx, tenant, self.resource, self.survivor, &Projection::default())?;
        let survivor = survivor.ok_or_else(|| crud::not_found(self.resource))?;
        let (id, merge) = self.keep(tx, tenant, changes, moved, kept)?;
        Ok(Merged { id, merge, survivor })
    }

    /// Refuses to move too many rows, before anything is locked. Errors: 409 with the counts.
    fn bound(&self, tx: &mut Tx<'_>, tenant: &Tenant) -> Result<()> {
        let mut sql = Statement::default();
        for (place, Link { resource, column }) in references::to(self.resource).enumerate() {
            sql.sql(if place == 0 { "SELECT " } else { " UNION ALL SELECT " }).literal(resource.plural);
            sql.sql(" AS resource, count(*) AS count FROM (SELECT FROM ").ident(resource.table);
            sql.sql(" t WHERE t.business_id = ").bind(tenant.id()).sql(" AND t.").ident(column).sql(" = ANY(");
            sql.bind(self.from.clone()).sql(") LIMIT ").number(MAX_MOVED_ROWS + 1).sql(") t");
        }
        let counted = sql.load::<ReferencingRows>(tx)?;
        if counted.iter().map(|found| found.count).sum::<i64>() <= i64::from(MAX_MOVED_ROWS) {
            return Ok(());
        }
        let mut rows: BTreeMap<String, i64> = BTreeMap::new();
        for ReferencingRows { resource, count } in counted {
            *rows.entry(resource).or_default() += count;
        }
        rows.retain(|_, count| *count > 0);
        let detail = format!(
            "More than {MAX_MOVED_ROWS} rows lead to the {} of `from`, which is more than one merge moves (see `rows`, which counts to \
             {} each). Merge fewer at once, or the other way round; or give their rows to the survivor with bulk operations first.",
            self.resource.plural,
            MAX_MOVED_ROWS + 1
        );
        let extra = Box::new(json!({ "rows": rows, "most": MAX_MOVED_ROWS }));
        Err(Error::Conflict { code: "too_much_to_merge", detail, pointer: Some("/from".into()), extra })
    }

    /// Checks that all rows exist. Errors: 404; 409; 412; 422.
    fn check(&self, rows: &[LockedRow], expected: IfMatch) -> Result<()> {
        let find = |id: Uuid| rows.iter().find(|row| row.id == id);
        let survivor = find(self.survivor).filter(|row| !row.is_deleted);
        let survivor = survivor.ok_or_else(|| crud::not_found(self.resource))?;
        if !expected.allows(Some(survivor.version)) {
            return Err(Error::PreconditionFailed);
        }
        let mut faults = ValidationErrors::default();
        for (place, id) in self.from.iter().enumerate() {
            match find(*id).map(|row| row.is_deleted) {
                Some(false) => {}
                Some(true) => {
                    let detail =
                        format!("The {} {id} is deleted already, perhaps because it was merged.", self.resource.name);
                    let pointer = Some(format!("/from/{place}"));
                    return Err(Error::Conflict { code: "already_deleted", detail, pointer, extra: Box::default() });
                }
                None => {
                    let detail = format!("This is no {} of this business.", self.resource.name);
                    faults.add(format!("/from/{place}"), "no_such_row", detail);
                }
            }
        }
        faults.into_result()
    }

    /// Points the rows that reference the others by `link` to the survivor. Returns their ids by the row they
    /// referenced.
    fn relink(&self, tx: &mut Tx<'_>, tenant: &Tenant, link: Link) -> Result<BTreeMap<Uuid, Vec<Uuid>>> {
        let Link { resource, column } = link;
        // All of the business, deleted ones too: a caller who may merge sees them all.
        let mut sql = Statement::new("WITH moving AS (SELECT t.id, t.");
        sql.ident(column).sql(" AS was FROM ").ident(resource.table).sql(" t WHERE t.business_id = ").bind(tenant.id());
        sql.sql(" AND t.").ident(column).sql(" = ANY(").bind(self.from.clone());
        sql.sql(") ORDER BY t.id FOR NO KEY UPDATE) UPDATE ").ident(resource.table);
        sql.sql(" t SET ").ident(column).sql(" = ").bind(self.survivor);
        sql.sql(", version = t.version + 1, updated_at = now() FROM moving WHERE t.business_id = ");
        sql.bind(tenant.id()).sql(" AND t.id = moving.id RETURNING t.id, moving.was");
        let mut by_row: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
        for MovedRow { id, was } in sql.load(tx)? {
            by_row.entry(was).or_default().push(id);
        }
        Ok(by_row)
    }

    /// Fields that the survivor gets from another row, with that row's id.
    fn winners(&self, rows: &[LockedRow]) -> Vec<(&'static str, Uuid)> {
        let given = |id: Uuid, name: &str| rows.iter().any(|row| row.id == id && row.filled.iter().any(|n| n == name));
        let preferred = |name: &str| self.prefer.iter().find(|(known, _)| *known == name).map(|(_, id)| *id);
        let first = |name: &str| {
            let mut all = [self.survivor].into_iter().chain(self.from.iter().copied());
            all.find(|id| given(*id, name)).unwrap_or(self.survivor)
        };
        let winner = |name: &'static str| {
            let led_by = FOLLOWS.iter().find(|(follower, _)| *follower == name).map_or(name, |(_, leader)| *leader);
            preferred(name).or_else(|| preferred(led_by)).unwrap_or_else(|| first(led_by))
        };
        let winners = mergeable_fields(self.resource).map(|field| (field.name, winner(field.name)));
        winners.filter(|(_, id)| *id != self.survivor).collect()
    }

    /// Fills the survivor's fields. Returns the changes as JSON. Values are copied within the database.
    fn fill(&self, tx: &mut Tx<'_>, tenant: &Tenant, rows: &[LockedRow], ids: &[Uuid]) -> Result<String> {
        let table = self.resource.table;
        let here = |sql: &mut Statement, alias: &'static str, id: Uuid| {
            sql.ident(alias).sql(".business_id = ").bind(tenant.id()).sql(" AND ").ident(alias).sql(".id = ").bind(id);
        };
        let mut sql = Statement::new("WITH before AS (SELECT to_jsonb(b) AS row FROM ");
        sql.ident(table).sql(" b WHERE ");
        here(&mut sql, "b", self.survivor);
        sql.sql("), after AS (UPDATE ").ident(table).sql(" t SET version = t.version + 1, updated_at = now()");
        for (name, winner) in self.winners(rows) {
            sql.sql(", ").ident(name).sql(" = (SELECT o.").ident(name).sql(" FROM ").ident(table).sql(" o WHERE ");
            here(&mut sql, "o", winner);
            sql.sql(")");
        }
        let all = |sql: &mut Statement| {
            sql.sql(" FROM unnest(").bind(ids.to_vec()).sql(") WITH ORDINALITY k (id, place) JOIN ").ident(table);
            sql.sql(" o ON o.id = k.id AND o.business_id = ").bind(tenant.id());
        };
        sql.sql(
            ", tags = coalesce((SELECT array_agg(tag ORDER BY first) \
             FROM (SELECT u.tag, min(k.place * 1000 + u.place) AS first",
        );
        all(&mut sql);
        sql.sql(" CROSS JOIN unnest(o.tags) WITH ORDINALITY u (tag, place) GROUP BY u.tag ORDER BY first LIMIT ");
        sql.number(MAX_TAGS).sql(") every), '{}')");
        // Of a key that several have, the last one counts: the survivor's.
        sql.sql(", metadata = coalesce((SELECT jsonb_object_agg(m.key, m.value ORDER BY k.place DESC)");
        all(&mut sql);
        sql.sql(" CROSS JOIN jsonb_each(o.metadata) m), '{}') WHERE ");
        here(&mut sql, "t", self.survivor);
        sql.sql(
            " RETURNING t.*) SELECT octet_length(t.metadata::text) AS metadata_bytes, (SELECT coalesce(jsonb_object_agg( \
             key, jsonb_build_object('old', b.row -> key, 'new', to_jsonb(t) -> key)), '{}')::text FROM unnest(",
        );
        sql.bind(self.recorded_fields());
        sql.sql(") key WHERE b.row -> key IS DISTINCT FROM to_jsonb(t) -> key) AS changes FROM after t, before b");
        let filled = sql.first::<FilledSurvivor>(tx)?.ok_or_else(|| crud::not_found(self.resource))?;
        if filled.metadata_bytes > MAX_OBJECT_BYTES {
            let detail =
                format!("Together they have more than {MAX_OBJECT_BYTES} bytes of metadata. Take some away first.");
            return Err(Error::conflict("too_much_metadata", detail));
        }
        Ok(filled.changes)
    }

    /// The fields whose changes are recorded.
    fn recorded_fields(&self) -> Vec<String> {
        let united = ["tags", "metadata"].map(str::to_owned);
        mergeable_fields(self.resource).map(|field| field.name.to_owned()).chain(united).collect()
    }

    /// Inserts the record of the merge.
    fn keep(
        &self,
        tx: &mut Tx<'_>,
        tenant: &Tenant,
        changes: String,
        moved: Map<String, Json>,
        links: Map<String, Json>,
    ) -> Result<(Uuid, Row)> {
        let id = Uuid::now_v7();
        let mut sql = Statement::new(
            "INSERT INTO merges AS t (business_id, id, resource, survivor_id, from_ids, moved, links, changes, reversible_until) VALUES (",
        );
        sql.bind(tenant.id()).sql(", ").bind(id).sql(", ");
        sql.bind(self.resource.plural).sql(", ").bind(self.survivor);
        sql.sql(", ").bind(self.from.iter().map(Uuid::to_string).collect::<Vec<_>>()).sql(", ");
        sql.bind(Json::Object(moved)).sql(", ").bind(Json::Object(links)).sql(", ");
        sql.bind(changes).sql("::jsonb, now() + interval '").number(REVERSIBLE_DAYS).sql(" days') RETURNING ");
        let cells = sql.append(select::columns(&MERGES, "t")).row(tx)?;
        let cells = cells.ok_or_else(|| Error::Internal("an insert returned no row".into()))?;
        Ok((id, crud::row(&MERGES, &Projection::default(), &cells, &RelatedRows::default())))
    }
}
