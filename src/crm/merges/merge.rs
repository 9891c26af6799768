//! `POST /contacts/{id}/merge`: what is known of several rows becomes that of one.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::links::{self, Link};
use super::{MERGES, REVERSIBLE_DAYS, fields, lock, take_turns};
use crate::auth::Tenant;
use crate::db::{Cells, Statement, Tx, Value};
use crate::error::{Error, Result};
use crate::http::once::Answer;
use crate::http::precondition::IfMatch;
use crate::noun::http::API;
use crate::noun::params::View;
use crate::noun::store::{self, Related, Row};
use crate::noun::{Faults, Noun, did_you_mean, form, json, select};

/// How many rows go into one at once.
pub const MOST: usize = 20;
/// How many rows that lead to them are moved: as many as are surely through within the time that a statement has by default
/// (5 s), and do not keep the others who work with them waiting for longer.
const MOST_MOVED: i64 = 10_000;
/// Tags that a row has at most, and bytes of its metadata: as in a body.
const MOST_TAGS: usize = 50;
const LARGEST_OBJECT: i64 = 64 * 1024;
/// Fields that say nothing without another, whose winner they follow.
const FOLLOWS: [(&str, &str); 1] = [("phone_extension", "phone")];

/// A body that was read.
pub struct Merge {
    noun: &'static Noun,
    survivor: Uuid,
    from: Vec<Uuid>,
    /// Whose value wins.
    prefer: Vec<(&'static str, Uuid)>,
}

impl Merge {
    /// Errors: 400, and 422 with every fault.
    pub fn read(noun: &'static Noun, survivor: Uuid, body: &Bytes, depth: usize) -> Result<Self> {
        let (mut members, mut faults) = form::members(body, depth, &["from", "prefer"])?;
        let from = match members.shift_remove("from") {
            Some(Json::Array(items)) if (1..=MOST).contains(&items.len()) => ids(&items, survivor, &mut faults),
            _ => {
                faults.field("from", "required", format!("`from` is a list of 1 to {MOST} ids of {}.", noun.plural));
                Vec::new()
            }
        };
        let (mut prefer, mut wrong) = (Vec::new(), Faults::default());
        for (name, id) in form::object(&mut members, "prefer", &mut faults).unwrap_or_default() {
            let mut fault = |code, detail: String| wrong.field(&name, code, detail);
            let Some(field) = fields(noun).find(|field| field.name == name) else {
                let hint = did_you_mean(&name, fields(noun).map(|field| field.name));
                let united = ["tags", "metadata"].contains(&name.as_str());
                let hint = if united { " They are united." } else { &hint };
                fault("unknown_field", format!("No row's `{name}` can be preferred.{hint}"));
                continue;
            };
            match id.as_str().and_then(|id| Uuid::try_parse(id).ok()) {
                Some(id) if id == survivor || from.contains(&id) => prefer.push((field.name, id)),
                _ => fault("format", format!("`{name}` takes the id of the survivor, or one of `from`.")),
            }
        }
        faults.member("prefer", wrong.into_result())?;
        faults.into_result()?;
        Ok(Self { noun, survivor, from, prefer })
    }

    /// Does it, if `expected` is the survivor's version. Queries: nine, and one for each link to the noun.
    /// Errors: 404; 409 when one of them is gone by now, or too much leads to them; 412; 422 when one never was.
    pub fn run(&self, tx: &mut Tx<'_>, tenant: &Tenant, expected: IfMatch) -> Result<Answer> {
        take_turns(tx, tenant)?;
        self.bound(tx, tenant)?;
        let ids: Vec<Uuid> = [self.survivor].into_iter().chain(self.from.iter().copied()).collect();
        let rows = lock(tx, tenant, self.noun, &ids)?;
        self.check(&rows, expected)?;
        let (mut moved, mut kept) = (Map::new(), Map::new());
        for link in links::to(self.noun) {
            let by_row = self.relink(tx, tenant, link)?;
            let count: usize = by_row.values().map(Vec::len).sum();
            if count > 0 {
                let before = moved.get(link.noun.plural).and_then(Json::as_u64).unwrap_or_default();
                moved.insert(link.noun.plural.to_owned(), json!(before + count as u64));
                kept.insert(link.name(), json!(by_row));
            }
        }
        // First, so that what is unique can go to the survivor.
        let mut sql = Statement::new(format!(
            "UPDATE {} t SET deleted_at = now(), version = t.version + 1, updated_at = now()",
            self.noun.table
        ));
        sql.append(select::scoped(self.noun, tenant)).push(" AND t.id = ANY(");
        sql.bind(Value::Uuids(self.from.clone())).push(")").run(tx)?;
        let (survivor, changes) = self.fill(tx, tenant, &rows, &ids)?;
        let (id, merge) = self.keep(tx, tenant, changes, moved, kept)?;
        let json = json::document(&[("merge", Some(&merge)), (self.noun.name, Some(&survivor))]);
        let made = Answer::new(StatusCode::CREATED, json).location(format!("{API}/{}/{id}", MERGES.plural));
        Ok(made.etag(survivor.etag()))
    }

    /// Refuses to move more than is possible at once, before anything is locked. Errors: 409 with the numbers.
    fn bound(&self, tx: &mut Tx<'_>, tenant: &Tenant) -> Result<()> {
        let mut sql = Statement::default();
        for (place, Link { noun, column }) in links::to(self.noun).enumerate() {
            sql.push(if place == 0 { "SELECT '" } else { " UNION ALL SELECT '" }).push(noun.plural);
            sql.push(&format!("', count(*) FROM (SELECT FROM {} t WHERE t.business_id = ", noun.table));
            sql.bind(Value::Uuid(Some(tenant.id()))).push(&format!(" AND t.{column} = ANY("));
            sql.bind(Value::Uuids(self.from.clone())).push(&format!(") LIMIT {}) t", MOST_MOVED + 1));
        }
        let counted = sql.rows(tx)?;
        if counted.iter().filter_map(|row| row.int(1)).sum::<i64>() <= MOST_MOVED {
            return Ok(());
        }
        let mut rows: BTreeMap<&str, i64> = BTreeMap::new();
        for row in &counted {
            *rows.entry(row.text(0).unwrap_or_default()).or_default() += row.int(1).unwrap_or_default();
        }
        rows.retain(|_, count| *count > 0);
        let detail = format!(
            "More than {MOST_MOVED} rows lead to the {} of `from`, which is more than one merge moves (see `rows`, which counts to \
             {} each). Merge fewer at once, or the other way round; or give their rows to the survivor with bulk operations first.",
            self.noun.plural,
            MOST_MOVED + 1
        );
        let extra = Box::new(json!({ "rows": rows, "most": MOST_MOVED }));
        Err(Error::Conflict { code: "too_much_to_merge", detail, pointer: Some("/from".into()), extra })
    }

    /// Whether all are there.
    fn check(&self, rows: &[Cells], expected: IfMatch) -> Result<()> {
        let find = |id: Uuid| rows.iter().find(|row| row.uuid(0) == Some(id));
        let survivor = find(self.survivor).filter(|row| row.int(2) == Some(0));
        let survivor = survivor.ok_or_else(|| store::missing(self.noun))?;
        if !expected.allows(survivor.int(1)) {
            return Err(Error::Stale);
        }
        let mut faults = Faults::default();
        for (place, id) in self.from.iter().enumerate() {
            match find(*id).map(|row| row.int(2)) {
                Some(Some(0)) => {}
                Some(_) => {
                    let detail =
                        format!("The {} {id} is deleted by now, perhaps because it was merged.", self.noun.name);
                    let pointer = Some(format!("/from/{place}"));
                    return Err(Error::Conflict { code: "already_deleted", detail, pointer, extra: Box::default() });
                }
                None => {
                    let detail = format!("This is no {} of this business.", self.noun.name);
                    faults.add(format!("/from/{place}"), "no_such_row", detail);
                }
            }
        }
        faults.into_result()
    }

    /// Gives the survivor what leads to the others by `link`. The rows, by whom they led to.
    fn relink(&self, tx: &mut Tx<'_>, tenant: &Tenant, link: Link) -> Result<BTreeMap<Uuid, Vec<Uuid>>> {
        let Link { noun, column } = link;
        // All of the business, deleted ones too: whoever may merge sees them all.
        let mut sql = Statement::new(format!(
            "WITH moving AS (SELECT t.id, t.{column} AS was FROM {} t WHERE t.business_id = ",
            noun.table
        ));
        sql.bind(Value::Uuid(Some(tenant.id()))).push(&format!(" AND t.{column} = ANY("));
        sql.bind(Value::Uuids(self.from.clone()));
        sql.push(&format!(") ORDER BY t.id FOR NO KEY UPDATE) UPDATE {} t SET {column} = ", noun.table));
        sql.bind(Value::Uuid(Some(self.survivor)));
        sql.push(", version = t.version + 1, updated_at = now() FROM moving WHERE t.business_id = ");
        sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND t.id = moving.id RETURNING t.id, moving.was");
        let mut by_row: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
        for row in sql.rows(tx)? {
            if let (Some(id), Some(was)) = (row.uuid(0), row.uuid(1)) {
                by_row.entry(was).or_default().push(id);
            }
        }
        Ok(by_row)
    }

    /// Whose value of each field the survivor gets, where that is not its own.
    fn winners(&self, rows: &[Cells]) -> Vec<(&'static str, Uuid)> {
        let given =
            |id: Uuid, place: usize| rows.iter().any(|row| row.uuid(0) == Some(id) && row.int(3 + place) == Some(1));
        let preferred = |name: &str| self.prefer.iter().find(|(known, _)| *known == name).map(|(_, id)| *id);
        let first = |name: &str| {
            let place = fields(self.noun).position(|field| field.name == name).unwrap_or_default();
            let mut all = [self.survivor].into_iter().chain(self.from.iter().copied());
            all.find(|id| given(*id, place)).unwrap_or(self.survivor)
        };
        let winner = |name: &'static str| {
            let led_by = FOLLOWS.iter().find(|(follower, _)| *follower == name).map_or(name, |(_, leader)| *leader);
            preferred(name).or_else(|| preferred(led_by)).unwrap_or_else(|| first(led_by))
        };
        let winners = fields(self.noun).map(|field| (field.name, winner(field.name)));
        winners.filter(|(_, id)| *id != self.survivor).collect()
    }

    /// Fills the survivor's fields. The row, and what changed, as JSON. Values never leave the database on their way.
    fn fill(&self, tx: &mut Tx<'_>, tenant: &Tenant, rows: &[Cells], ids: &[Uuid]) -> Result<(Row, String)> {
        let table = self.noun.table;
        let here = |sql: &mut Statement, alias: &str| {
            sql.push(&format!("{alias}.business_id = ")).bind(Value::Uuid(Some(tenant.id())));
            sql.push(&format!(" AND {alias}.id = "));
        };
        let mut sql = Statement::new(format!("WITH before AS (SELECT to_jsonb(b) AS row FROM {table} b WHERE "));
        here(&mut sql, "b");
        sql.bind(Value::Uuid(Some(self.survivor)));
        sql.push(&format!("), after AS (UPDATE {table} t SET version = t.version + 1, updated_at = now()"));
        for (name, winner) in self.winners(rows) {
            sql.push(&format!(", {name} = (SELECT o.{name} FROM {table} o WHERE "));
            here(&mut sql, "o");
            sql.bind(Value::Uuid(Some(winner))).push(")");
        }
        let all = |sql: &mut Statement| {
            sql.push("FROM unnest(").bind(Value::Uuids(ids.to_vec()));
            sql.push(&format!(") WITH ORDINALITY k (id, place) JOIN {table} o ON o.id = k.id AND o.business_id = "));
            sql.bind(Value::Uuid(Some(tenant.id())));
        };
        sql.push(", tags = coalesce((SELECT array_agg(tag ORDER BY first) FROM (SELECT u.tag, min(k.place * 1000 + u.place) AS first ");
        all(&mut sql);
        sql.push(&format!(
            " CROSS JOIN unnest(o.tags) WITH ORDINALITY u (tag, place) GROUP BY u.tag ORDER BY first LIMIT {MOST_TAGS}) every), '{{}}')"
        ));
        // Of a key that several have, the last one counts: the survivor's.
        sql.push(", metadata = coalesce((SELECT jsonb_object_agg(m.key, m.value ORDER BY k.place DESC) ");
        all(&mut sql);
        sql.push(" CROSS JOIN jsonb_each(o.metadata) m), '{}') WHERE ");
        here(&mut sql, "t");
        sql.bind(Value::Uuid(Some(self.survivor)));
        sql.push(&format!(" RETURNING t.*) SELECT {}, ", select::columns(self.noun, "t")));
        sql.push("(SELECT coalesce(jsonb_object_agg(key, jsonb_build_object('old', b.row -> key, 'new', to_jsonb(t) -> key)), '{}')::text \
                  FROM unnest(").bind(Value::Texts(self.told()));
        sql.push(") key WHERE b.row -> key IS DISTINCT FROM to_jsonb(t) -> key), octet_length(t.metadata::text) FROM after t, before b");
        let cells = sql.row(tx)?.ok_or_else(|| store::missing(self.noun))?;
        let width = self.noun.fields.len();
        if cells.int(width + 1).is_some_and(|bytes| bytes > LARGEST_OBJECT) {
            let detail =
                format!("Together they have more than {LARGEST_OBJECT} bytes of metadata. Take some away first.");
            return Err(Error::conflict("too_much_metadata", detail));
        }
        let changes = cells.text(width).unwrap_or("{}").to_owned();
        Ok((store::row(self.noun, &View::default(), &cells, &Related::default()), changes))
    }

    /// The fields whose change is kept.
    fn told(&self) -> Vec<String> {
        let united = ["tags", "metadata"].map(str::to_owned);
        fields(self.noun).map(|field| field.name.to_owned()).chain(united).collect()
    }

    /// Keeps what was done.
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
            "INSERT INTO merges AS t (business_id, id, noun, survivor_id, from_ids, moved, links, changes, reversible_until) VALUES (",
        );
        sql.bind(Value::Uuid(Some(tenant.id()))).push(", ").bind(Value::Uuid(Some(id))).push(", ");
        sql.bind(Value::Text(Some(self.noun.plural.to_owned()))).push(", ").bind(Value::Uuid(Some(self.survivor)));
        sql.push(", ").bind(Value::Texts(self.from.iter().map(Uuid::to_string).collect())).push(", ");
        sql.bind(Value::Json(Some(moved.into()))).push(", ").bind(Value::Json(Some(links.into()))).push(", ");
        sql.bind(Value::Text(Some(changes)));
        sql.push(&format!("::jsonb, now() + interval '{REVERSIBLE_DAYS} days') RETURNING "));
        let cells = sql.push(&select::columns(&MERGES, "t")).row(tx)?;
        let cells = cells.ok_or_else(|| Error::Internal("an insert returned no row".into()))?;
        Ok((id, store::row(&MERGES, &View::default(), &cells, &Related::default())))
    }
}

fn ids(items: &[Json], survivor: Uuid, faults: &mut Faults) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let mut fault = |code, detail: &str| faults.add(format!("/from/{place}"), code, detail);
        match item.as_str().and_then(|text| Uuid::try_parse(text).ok()) {
            None => fault("format", "Each id is a UUID."),
            Some(id) if id == survivor => fault("survivor", "A row cannot be merged into itself."),
            Some(id) if ids.contains(&id) => fault("duplicate", "This id is there already."),
            Some(id) => ids.push(id),
        }
    }
    ids
}
