//! Which rows of the database are meant: by their id here, else by external id, else by e-mail address (of a company: domain),
//! else by name (of a contact: with the company, or by phone number where there is no name). The number of queries is fixed.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::rows::{Parsed, unique_keys};
use crate::auth::Tenant;
use crate::crm::companies::COMPANIES;
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Fault, Result};
use crate::noun::params::View;
use crate::noun::{Change, Noun, select, store};

/// A row as it is now.
#[derive(Debug)]
pub struct Current {
    pub id: Uuid,
    pub row: Map<String, Json>,
}

impl Current {
    pub fn text(&self, name: &str) -> Option<&str> {
        self.row.get(name).and_then(Json::as_str)
    }
}

/// What a row of the file is.
pub enum Match<'f> {
    /// Surely this one.
    Same(&'f Current),
    /// One of these, as it is not known otherwise: the first that fits.
    Alike(Vec<&'f Current>),
}

/// The rows that a chunk may mean, by place in the chunk.
#[derive(Default)]
pub struct Found {
    rows: HashMap<Uuid, Current>,
    /// By the id that a row says.
    own: HashMap<usize, Vec<Uuid>>,
    /// Ids of rows that are deleted.
    deleted: HashSet<Uuid>,
    by_id: HashMap<usize, Vec<Uuid>>,
    by_unique: HashMap<usize, Vec<Uuid>>,
    by_name: HashMap<usize, Vec<Uuid>>,
}

/// By what rows of `noun` can be found, the surest first; nothing: each row of a file is a new one.
pub fn finders(noun: &Noun) -> &'static [&'static str] {
    match noun.name {
        "contact" => &["id", "external_id", "email", "name", "phone"],
        "company" => &["id", "external_id", "domain", "name"],
        _ => &["id", "external_id"],
    }
}

/// The field besides `external_id` that only one row can have.
fn unique(noun: &Noun) -> &'static str {
    if noun.name == "contact" { "email" } else { "domain" }
}

impl Found {
    /// Looks for `rows` by each of `finders`; with `locks` they stay as they are until the end of the transaction.
    pub fn load(
        tx: &mut Tx<'_>,
        tenant: &Tenant,
        noun: &'static Noun,
        finders: &[String],
        rows: &[Option<&Parsed>],
        locks: bool,
    ) -> Result<Self> {
        let mut found = Self::default();
        if finders.iter().any(|finder| finder == "id") {
            found.look_up_ids(tx, tenant, noun, rows)?;
        }
        let mut look_up = |finder: &str, key: &dyn Fn(usize, &Change) -> Option<String>| {
            let keys = rows.iter().enumerate();
            let keys = keys.filter_map(|(place, row)| {
                let change = &row.as_ref()?.update;
                Some((place, key(place, change)?, owns(change)))
            });
            match finders.iter().any(|known| known == finder) {
                true if ["leads", "tasks"].contains(&noun.table) => by_external_id(tx, tenant, noun, keys.collect()),
                true => by_key(tx, noun, finder, keys.collect()),
                false => Ok(HashMap::new()),
            }
        };
        let text = |change: &Change, name: &str| change.text(name).map(str::to_owned);
        found.by_id = look_up("external_id", &|_, change| text(change, "external_id"))?;
        found.by_unique = look_up(unique(noun), &|_, change| text(change, unique(noun)))?;
        // Names are looked at where nothing surer has been found.
        let surer = found.own.keys().chain(found.by_id.keys()).chain(found.by_unique.keys());
        let known: HashSet<usize> = surer.copied().collect();
        found.by_name = look_up("name", &|place, change| match noun.name {
            _ if known.contains(&place) => None,
            "contact" => has_name(change).then(|| {
                let name = |name| change.text(name).unwrap_or_default();
                format!("{} {} ", name("last_name"), name("first_name"))
            }),
            _ => text(change, "name"),
        })?;
        found.by_name.extend(look_up("phone", &|place, change| {
            if known.contains(&place) || has_name(change) { None } else { text(change, "phone") }
        })?);
        let all = [&found.own, &found.by_id, &found.by_unique, &found.by_name]
            .into_iter()
            .flat_map(HashMap::values)
            .flatten();
        let mut ids: Vec<Uuid> = all.copied().collect();
        ids.sort_unstable();
        ids.dedup();
        if !ids.is_empty() {
            let mut sql = select::by_ids(noun, tenant, &View::default(), ids);
            let rows = sql.push(if locks { " ORDER BY t.id FOR UPDATE" } else { "" }).rows(tx)?;
            for cells in rows {
                let Some(id) = cells.uuid(0) else { continue };
                let shown = store::row(noun, &View::default(), &cells, &store::Related::default());
                let row = serde_json::from_slice(&shown.json).map_err(|error| Error::Internal(error.to_string()))?;
                found.rows.insert(id, Current { id, row });
            }
        }
        Ok(found)
    }

    /// Finds the rows that are there under the ids of the file's, and those that are deleted.
    fn look_up_ids(&mut self, tx: &mut Tx<'_>, tenant: &Tenant, noun: &Noun, rows: &[Option<&Parsed>]) -> Result<()> {
        let own = rows.iter().enumerate().filter_map(|(place, row)| Some((place, row.as_ref()?.id?)));
        let own: Vec<(usize, Uuid)> = own.collect();
        if own.is_empty() {
            return Ok(());
        }
        let mut sql = Statement::new(format!("SELECT t.id, (t.deleted_at IS NOT NULL)::int FROM {} t", noun.table));
        sql.append(select::scoped(noun, tenant)).push(" AND t.id = ANY(");
        sql.bind(Value::Uuids(own.iter().map(|(_, id)| *id).collect())).push(")");
        let mut there = HashSet::new();
        for row in sql.rows(tx)? {
            let id = row.uuid(0).unwrap_or_default();
            if row.int(1) == Some(1) {
                self.deleted.insert(id)
            } else {
                there.insert(id)
            };
        }
        self.own = own.into_iter().filter(|(_, id)| there.contains(id)).map(|(place, id)| (place, vec![id])).collect();
        Ok(())
    }

    /// The rows of the database that any row may mean.
    pub fn ids(&self) -> Vec<Uuid> {
        self.rows.keys().copied().collect()
    }

    /// Those found at `place`, the oldest first.
    fn at(&self, found: &HashMap<usize, Vec<Uuid>>, place: usize) -> Vec<&Current> {
        let ids = found.get(&place).map(Vec::as_slice).unwrap_or_default();
        let mut rows: Vec<&Current> = ids.iter().filter_map(|id| self.rows.get(id)).collect();
        rows.sort_by_key(|current| (current.text("created_at").map(str::to_owned), current.id));
        rows
    }

    /// What the row at `place` means. `company`: the row of the company that it links, if that exists; `None` if it
    /// links one that does not. Errors: 409, when its unique value belongs to another row.
    pub fn of(&self, place: usize, parsed: &Parsed, company: Option<Option<Uuid>>) -> Result<Match<'_>, Fault> {
        let name = unique(parsed.update.noun);
        let taken = |name: &str| {
            let detail = format!("Another row of {} already has this {name}.", parsed.update.noun.table);
            Err(Fault::new(format!("/{name}"), "already_exists", detail))
        };
        let by_id = self.at(&self.by_id, place).first().copied();
        let by_unique = self.at(&self.by_unique, place).first().copied();
        if let Some(id) = parsed.id {
            let own = self.at(&self.own, place).first().copied();
            // Deleted before, or since it was found.
            if self.deleted.contains(&id) || (own.is_none() && self.own.contains_key(&place)) {
                let noun = parsed.update.noun;
                let detail = format!(
                    "The {} with this id was deleted, or merged into another. Restore it first \
                     (POST /{}/{id}/restoration), or leave its id out.",
                    noun.name, noun.plural
                );
                return Err(Fault::new("/id", "deleted", detail));
            }
            if let Some(own) = own {
                let is_else = |other: Option<&Current>| other.is_some_and(|other| other.id != own.id);
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
            // It is known under another external id.
            (None, Some(other)) if is_other(other, parsed, "external_id") => taken(name),
            (None, Some(other)) => Ok(Match::Same(other)),
            (None, None) => {
                let fits = |current: &&Current| is_alike(current, parsed, name, company);
                Ok(Match::Alike(self.at(&self.by_name, place).into_iter().filter(fits).collect()))
            }
        }
    }
}

fn has_name(change: &Change) -> bool {
    change.text("first_name").or(change.text("last_name")).is_some()
}

/// Both have the field, and not the same in it.
fn is_other(current: &Current, parsed: &Parsed, name: &str) -> bool {
    match (current.text(name), parsed.update.text(name)) {
        (Some(one), Some(other)) => one.to_lowercase() != other.to_lowercase(),
        _ => false,
    }
}

fn is_alike(current: &Current, parsed: &Parsed, unique: &str, company: Option<Option<Uuid>>) -> bool {
    let folded = |text: Option<&str>| text.unwrap_or_default().to_lowercase();
    let same = |name| folded(current.text(name)) == folded(parsed.update.text(name));
    let linked = match company {
        Some(None) => false,
        Some(Some(id)) => current.text("company_id") == Some(&id.to_string()),
        None => current.text("company_id").is_none(),
    };
    let names = ["first_name", "last_name"].into_iter().all(same);
    linked && names && !is_other(current, parsed, "external_id") && !is_other(current, parsed, unique)
}

/// `i` if the row has an external id, `u` if it has the other unique field.
fn owns(change: &Change) -> String {
    let [id, unique] = unique_keys(change);
    format!("{}{}", if id.is_some() { "i" } else { "" }, if unique.is_some() { "u" } else { "" })
}

/// The ids of living rows of `noun` that have a key; keys come with their place and with what their row [`owns`].
fn by_key(
    tx: &mut Tx<'_>,
    noun: &Noun,
    finder: &str,
    keys: Vec<(usize, String, String)>,
) -> Result<HashMap<usize, Vec<Uuid>>> {
    let mut found: HashMap<usize, Vec<Uuid>> = HashMap::new();
    if keys.is_empty() {
        return Ok(found);
    }
    let places: Vec<usize> = keys.iter().map(|(place, ..)| *place).collect();
    let (keys, owns) = keys.into_iter().map(|(_, key, owns)| (key, owns)).unzip();
    let mut sql = Statement::new("SELECT f.place, f.id FROM rapport_found(");
    sql.bind(Value::Text(Some(noun.table.to_owned()))).push(", ").bind(Value::Text(Some(finder.to_owned())));
    sql.push(", ").bind(Value::Texts(keys)).push(", ").bind(Value::Texts(owns)).push(") AS f");
    for row in sql.rows(tx)? {
        if let (Some(at), Some(id)) = (row.int(0), row.uuid(1))
            && let Some(place) = places.get(at as usize)
        {
            found.entry(*place).or_default().push(id);
        }
    }
    Ok(found)
}

/// The ids of living rows of `noun` that have an external id, by the place that comes with it.
fn by_external_id(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    noun: &Noun,
    keys: Vec<(usize, String, String)>,
) -> Result<HashMap<usize, Vec<Uuid>>> {
    let mut found: HashMap<usize, Vec<Uuid>> = HashMap::new();
    if keys.is_empty() {
        return Ok(found);
    }
    let mut sql = Statement::new(format!("SELECT t.id, t.external_id FROM {} t", noun.table));
    sql.append(select::scoped(noun, tenant)).push(" AND t.external_id = ANY(");
    sql.bind(Value::Texts(keys.iter().map(|(_, key, _)| key.clone()).collect())).push(")");
    select::alive(&mut sql, noun);
    let rows = sql.rows(tx)?;
    let there: HashMap<&str, Uuid> = rows.iter().filter_map(|row| Some((row.text(1)?, row.uuid(0)?))).collect();
    for (place, key, _) in &keys {
        if let Some(id) = there.get(key.as_str()) {
            found.entry(*place).or_default().push(*id);
        }
    }
    Ok(found)
}

/// The companies that a chunk links, as far as they exist.
#[derive(Default)]
pub struct Companies(Vec<Company>);

struct Company {
    id: Uuid,
    name: String,
    domain: Option<String>,
}

impl Companies {
    pub fn load(tx: &mut Tx<'_>, tenant: &Tenant, rows: &[Option<&Parsed>]) -> Result<Self> {
        let wanted: Vec<&Change> = rows.iter().filter_map(|row| row.as_ref()?.company.as_ref()).collect();
        let mut ids: Vec<Uuid> = Vec::new();
        for finder in ["domain", "name"] {
            let mut keys: Vec<String> =
                wanted.iter().filter_map(|change| Some(change.text(finder)?.to_lowercase())).collect();
            keys.sort_unstable();
            keys.dedup();
            let keys = keys.into_iter().enumerate().map(|(place, key)| (place, key, String::new())).collect();
            ids.extend(by_key(tx, &COMPANIES, finder, keys)?.into_values().flatten());
        }
        let mut companies = Self::default();
        if ids.is_empty() {
            return Ok(companies);
        }
        let mut sql = Statement::new("SELECT t.id, t.name, t.domain, t.created_at::text FROM companies t");
        sql.append(select::scoped(&COMPANIES, tenant)).push(" AND t.id = ANY(").bind(Value::Uuids(ids)).push(")");
        select::alive(&mut sql, &COMPANIES);
        // Against being merged away or deleted before the rows that link them are there.
        let mut rows = sql.push(" ORDER BY t.id FOR KEY SHARE OF t").rows(tx)?;
        rows.sort_by_cached_key(|row| (row.text(3).map(str::to_owned), row.uuid(0)));
        for row in rows {
            if let (Some(id), Some(name)) = (row.uuid(0), row.text(1)) {
                companies.add(id, name, row.text(2));
            }
        }
        Ok(companies)
    }

    pub fn add(&mut self, id: Uuid, name: &str, domain: Option<&str>) {
        let (name, domain) = (name.to_lowercase(), domain.map(str::to_lowercase));
        self.0.push(Company { id, name, domain });
    }

    /// The company meant: of this domain, else of this name, unless that is known under another domain.
    pub fn find(&self, wanted: &Change) -> Option<Uuid> {
        let (name, domain) = (wanted.text("name")?.to_lowercase(), wanted.text("domain").map(str::to_lowercase));
        let by_domain = self.0.iter().find(|company| domain.is_some() && company.domain == domain);
        let fits = |company: &&Company| {
            company.name == name && (domain.is_none() || company.domain.is_none() || company.domain == domain)
        };
        by_domain.or_else(|| self.0.iter().find(fits)).map(|company| company.id)
    }
}
