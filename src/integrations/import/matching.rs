//! Finds the database rows which file rows match: by id, else by external id, else by email address (of a company:
//! domain), else by name (of a contact: with the company, or by phone number if it has no name). The number of queries
//! is fixed.

use std::collections::{HashMap, HashSet};

use diesel::QueryableByName;
use diesel::sql_types::{self, BigInt, Bool, Text};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::match_keys::unique_keys;
use super::row::ParsedRow;
use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::db::schema::contacts;
use crate::db::{Statement, Tx};
use crate::resource::list_query::Projection;
use crate::resource::{Changeset, Resource, crud, row_json, select};

/// A database row in its current state.
#[derive(Debug)]
pub struct CurrentRow {
    pub id: Uuid,
    pub row: Map<String, Json>,
}

impl CurrentRow {
    pub fn text(&self, name: &str) -> Option<&str> {
        self.row.get(name).and_then(Json::as_str)
    }
}

/// The database rows which a file row matches.
pub enum Match<'f> {
    /// Exactly this one, by id or a unique field.
    Same(&'f CurrentRow),
    /// Candidates without a unique match; the first suitable one is used.
    Alike(Vec<&'f CurrentRow>),
}

/// The database rows which a chunk may match, by index in the chunk.
#[derive(Default)]
pub struct Candidates {
    rows: HashMap<Uuid, CurrentRow>,
    /// By the id in the file.
    own: HashMap<usize, Vec<Uuid>>,
    /// Ids in the file of rows which are deleted.
    deleted: HashSet<Uuid>,
    by_id: HashMap<usize, Vec<Uuid>>,
    by_unique: HashMap<usize, Vec<Uuid>>,
    by_name: HashMap<usize, Vec<Uuid>>,
}

/// The unique field besides `external_id`.
fn unique(resource: &Resource) -> &'static str {
    if resource.name == "contact" { "email" } else { "domain" }
}

impl Candidates {
    /// Looks up `rows` by each of `match_by`. With `locks` the rows found are locked until the end of the transaction.
    pub fn load(
        tx: &mut Tx<'_>,
        tenant: &Tenant,
        resource: &'static Resource,
        match_by: &[String],
        rows: &[Option<&ParsedRow>],
        locks: bool,
    ) -> Result<Self> {
        let mut found = Self::default();
        if match_by.iter().any(|name| name == "id") {
            found.look_up_ids(tx, tenant, resource, rows)?;
        }
        let mut look_up = |name: &str, key: &dyn Fn(usize, &Changeset) -> Option<String>| {
            let keys = rows.iter().enumerate();
            let keys = keys.filter_map(|(index, row)| {
                let change = &row.as_ref()?.update;
                Some((index, key(index, change)?, owns(change)))
            });
            match match_by.iter().any(|known| known == name) {
                true if !["contacts", "companies"].contains(&resource.table) => {
                    by_external_id(tx, tenant, resource, keys.collect())
                }
                true => by_key(tx, resource, name, keys.collect()),
                false => Ok(HashMap::new()),
            }
        };
        let text = |change: &Changeset, name: &str| change.text_field(name).map(str::to_owned);
        found.by_id = look_up("external_id", &|_, change| text(change, "external_id"))?;
        found.by_unique = look_up(unique(resource), &|_, change| text(change, unique(resource)))?;
        // Looks up names only where nothing more specific was found.
        let surer = found.own.keys().chain(found.by_id.keys()).chain(found.by_unique.keys());
        let known: HashSet<usize> = surer.copied().collect();
        found.by_name = look_up("name", &|index, change| match resource.name {
            _ if known.contains(&index) => None,
            "contact" => has_name(change).then(|| {
                let (last, first) = (change.text(contacts::last_name), change.text(contacts::first_name));
                format!("{} {} ", last.unwrap_or_default(), first.unwrap_or_default())
            }),
            _ => text(change, "name"),
        })?;
        found.by_name.extend(look_up("phone", &|index, change| {
            if known.contains(&index) || has_name(change) { None } else { text(change, "phone") }
        })?);
        let all = [&found.own, &found.by_id, &found.by_unique, &found.by_name]
            .into_iter()
            .flat_map(HashMap::values)
            .flatten();
        let mut ids: Vec<Uuid> = all.copied().collect();
        ids.sort_unstable();
        ids.dedup();
        if !ids.is_empty() {
            let mut sql = select::by_ids(resource, tenant, &Projection::default(), ids);
            let rows = sql.sql(if locks { " ORDER BY t.id FOR UPDATE" } else { "" }).rows(tx)?;
            for cells in rows {
                let id = row_json::id(&cells);
                let shown = crud::row(resource, &Projection::default(), &cells, &crud::RelatedRows::default());
                let row = serde_json::from_slice(&shown.json).map_err(|error| Error::Internal(error.to_string()))?;
                found.rows.insert(id, CurrentRow { id, row });
            }
        }
        Ok(found)
    }

    /// Looks up the ids in the file: of existing rows and of deleted ones.
    fn look_up_ids(
        &mut self,
        tx: &mut Tx<'_>,
        tenant: &Tenant,
        resource: &Resource,
        rows: &[Option<&ParsedRow>],
    ) -> Result<()> {
        let own = rows.iter().enumerate().filter_map(|(index, row)| Some((index, row.as_ref()?.id?)));
        let own: Vec<(usize, Uuid)> = own.collect();
        if own.is_empty() {
            return Ok(());
        }
        let mut sql = Statement::new("SELECT t.id, t.deleted_at IS NOT NULL AS is_deleted FROM ");
        sql.ident(resource.table).sql(" t").append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ANY(");
        sql.bind(own.iter().map(|(_, id)| *id).collect::<Vec<_>>()).sql(")");
        let mut there = HashSet::new();
        for FoundId { id, is_deleted } in sql.load(tx)? {
            if is_deleted {
                self.deleted.insert(id)
            } else {
                there.insert(id)
            };
        }
        self.own = own.into_iter().filter(|(_, id)| there.contains(id)).map(|(index, id)| (index, vec![id])).collect();
        Ok(())
    }

    /// Ids of the database rows which any file row may match.
    pub fn ids(&self) -> Vec<Uuid> {
        self.rows.keys().copied().collect()
    }

    /// Rows found at `index`, the oldest first.
    fn at(&self, found: &HashMap<usize, Vec<Uuid>>, index: usize) -> Vec<&CurrentRow> {
        let ids = found.get(&index).map(Vec::as_slice).unwrap_or_default();
        let mut rows: Vec<&CurrentRow> = ids.iter().filter_map(|id| self.rows.get(id)).collect();
        rows.sort_by_key(|current| (current.text("created_at").map(str::to_owned), current.id));
        rows
    }

    /// Returns what the row at `index` matches. `company`: the id of the company which it links, inner `None` if that
    /// does not exist yet. Errors: its unique value belongs to another row, or its id to a deleted one.
    pub fn of(&self, index: usize, parsed: &ParsedRow, company: Option<Option<Uuid>>) -> Result<Match<'_>, FieldError> {
        let name = unique(parsed.resource);
        let taken = |name: &str| {
            let detail = format!("Another row of {} already has this {name}.", parsed.resource.table);
            Err(FieldError::new(format!("/{name}"), "already_exists", detail))
        };
        let by_id = self.at(&self.by_id, index).first().copied();
        let by_unique = self.at(&self.by_unique, index).first().copied();
        if let Some(id) = parsed.id {
            let own = self.at(&self.own, index).first().copied();
            // Deleted before, or since the lookup.
            if self.deleted.contains(&id) || (own.is_none() && self.own.contains_key(&index)) {
                let resource = parsed.resource;
                let detail = format!(
                    "The {} with this id was deleted, or merged into another. Restore it first \
                     (POST /{}/{id}/restoration), or leave its id out.",
                    resource.name, resource.plural
                );
                return Err(FieldError::new("/id", "deleted", detail));
            }
            if let Some(own) = own {
                let is_else = |other: Option<&CurrentRow>| other.is_some_and(|other| other.id != own.id);
                return match () {
                    () if is_else(by_id) => taken("external_id"),
                    () if is_else(by_unique) => taken(name),
                    () => Ok(Match::Same(own)),
                };
            }
        }
        match (by_id, by_unique) {
            (Some(own), Some(other)) if own.id != other.id => taken(name),
            (Some(own), _) => Ok(Match::Same(own)),
            // It has another external id.
            (None, Some(other)) if is_other(other, parsed, "external_id") => taken(name),
            (None, Some(other)) => Ok(Match::Same(other)),
            (None, None) => {
                let fits = |current: &&CurrentRow| is_alike(current, parsed, name, company);
                Ok(Match::Alike(self.at(&self.by_name, index).into_iter().filter(fits).collect()))
            }
        }
    }
}

fn has_name(change: &Changeset) -> bool {
    change.text(contacts::first_name).or(change.text(contacts::last_name)).is_some()
}

/// Whether both have the field, with different values.
fn is_other(current: &CurrentRow, parsed: &ParsedRow, name: &str) -> bool {
    match (current.text(name), parsed.update.text_field(name)) {
        (Some(one), Some(other)) => one.to_lowercase() != other.to_lowercase(),
        _ => false,
    }
}

fn is_alike(current: &CurrentRow, parsed: &ParsedRow, unique: &str, company: Option<Option<Uuid>>) -> bool {
    let folded = |text: Option<&str>| text.unwrap_or_default().to_lowercase();
    let same = |name| folded(current.text(name)) == folded(parsed.update.text_field(name));
    let linked = match company {
        Some(None) => false,
        Some(Some(id)) => current.text("company_id") == Some(&id.to_string()),
        None => current.text("company_id").is_none(),
    };
    let names = ["first_name", "last_name"].into_iter().all(same);
    linked && names && !is_other(current, parsed, "external_id") && !is_other(current, parsed, unique)
}

/// Encodes which unique fields the row has: `i` for the external id, `u` for the other one.
fn owns(change: &Changeset) -> String {
    let [id, unique] = unique_keys(change);
    format!("{}{}", if id.is_some() { "i" } else { "" }, if unique.is_some() { "u" } else { "" })
}

/// An existing row with an id of the file.
#[derive(QueryableByName)]
struct FoundId {
    #[diesel(sql_type = sql_types::Uuid)]
    id: Uuid,
    #[diesel(sql_type = Bool)]
    is_deleted: bool,
}

/// An existing row with one of the keys.
#[derive(QueryableByName)]
struct FoundByKey {
    /// Index of the key.
    #[diesel(sql_type = BigInt)]
    place: i64,
    #[diesel(sql_type = sql_types::Uuid)]
    id: Uuid,
}

#[derive(QueryableByName)]
struct FoundByExternalId {
    #[diesel(sql_type = sql_types::Uuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    external_id: String,
}

/// Returns the ids of the non-deleted rows with one of the keys, by index. Keys come with their index and what their
/// row [`owns`].
pub fn by_key(
    tx: &mut Tx<'_>,
    resource: &Resource,
    name: &str,
    keys: Vec<(usize, String, String)>,
) -> Result<HashMap<usize, Vec<Uuid>>> {
    let mut found: HashMap<usize, Vec<Uuid>> = HashMap::new();
    if keys.is_empty() {
        return Ok(found);
    }
    let indices: Vec<usize> = keys.iter().map(|(index, ..)| *index).collect();
    let (keys, owns): (Vec<String>, Vec<String>) = keys.into_iter().map(|(_, key, owns)| (key, owns)).unzip();
    let mut sql = Statement::new("SELECT f.place, f.id FROM rapport_import_matches(");
    sql.bind(resource.table).sql(", ").bind(name);
    sql.sql(", ").bind(keys).sql(", ").bind(owns).sql(") AS f");
    for FoundByKey { place, id } in sql.load(tx)? {
        if let Some(index) = indices.get(place as usize) {
            found.entry(*index).or_default().push(id);
        }
    }
    Ok(found)
}

/// Returns the ids of the non-deleted rows with one of the external ids, by the index which comes with it.
fn by_external_id(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &Resource,
    keys: Vec<(usize, String, String)>,
) -> Result<HashMap<usize, Vec<Uuid>>> {
    let mut found: HashMap<usize, Vec<Uuid>> = HashMap::new();
    if keys.is_empty() {
        return Ok(found);
    }
    let mut sql = Statement::new("SELECT t.id, t.external_id FROM ");
    sql.ident(resource.table)
        .sql(" t")
        .append(select::tenant_predicate(resource, tenant))
        .sql(" AND t.external_id = ANY(");
    sql.bind(keys.iter().map(|(_, key, _)| key.clone()).collect::<Vec<_>>()).sql(")");
    select::not_deleted(&mut sql, resource);
    let rows: Vec<FoundByExternalId> = sql.load(tx)?;
    let there: HashMap<String, Uuid> = rows.into_iter().map(|row| (row.external_id, row.id)).collect();
    for (index, key, _) in &keys {
        if let Some(id) = there.get(key) {
            found.entry(*index).or_default().push(*id);
        }
    }
    Ok(found)
}
