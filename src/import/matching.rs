//! Which rows of the database are meant: by external id, else by e-mail address (of a company: domain), else by name
//! (of a contact: with the company, or by phone number where there is no name). The number of queries is fixed.

use std::collections::HashMap;

use diesel::PgConnection;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::rows::Parsed;
use crate::auth::Tenant;
use crate::crm::companies::COMPANIES;
use crate::db::{Statement, Value};
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
    by_id: HashMap<usize, Vec<Current>>,
    by_unique: HashMap<usize, Vec<Current>>,
    by_name: HashMap<usize, Vec<Current>>,
}

/// The field besides `external_id` that only one row can have.
fn unique(noun: &Noun) -> &'static str {
    if noun.name == "contact" { "email" } else { "domain" }
}

impl Found {
    pub fn load(
        conn: &mut PgConnection,
        tenant: &Tenant,
        noun: &'static Noun,
        rows: &[Option<&Parsed>],
    ) -> Result<Self> {
        let mut look_up = |condition: &str, key: &dyn Fn(&Change) -> Option<String>| {
            let keys = rows.iter().enumerate();
            let keys = keys.filter_map(|(place, row)| Some((place as i64, key(&row.as_ref()?.update)?)));
            by_key(conn, tenant, noun, condition, keys.unzip())
        };
        let text = |change: &Change, name| change.text(name).map(str::to_owned);
        let by_id = look_up("t.external_id = k.key", &|change| text(change, "external_id"))?;
        let by_unique =
            look_up(&format!("lower(t.{0}) = lower(k.key)", unique(noun)), &|change| text(change, unique(noun)))?;
        let mut by_name = if noun.name == "contact" {
            // A range of the index of `sort_name`, which is the names followed by the e-mail address.
            let names = "t.sort_name COLLATE \"C\" >= lower(k.key) COLLATE \"C\" \
                         AND t.sort_name COLLATE \"C\" < (lower(k.key) || chr(1114111)) COLLATE \"C\"";
            look_up(names, &|change| {
                has_name(change).then(|| {
                    let name = |name| change.text(name).unwrap_or_default();
                    format!("{} {} ", name("last_name"), name("first_name"))
                })
            })?
        } else {
            look_up("lower(t.name) COLLATE \"C\" = lower(k.key) COLLATE \"C\"", &|change| text(change, "name"))?
        };
        if noun.name == "contact" {
            by_name.extend(look_up("t.phone = k.key", &|change| {
                if has_name(change) { None } else { text(change, "phone") }
            })?);
        }
        Ok(Self { by_id, by_unique, by_name })
    }

    /// What the row at `place` means. `company`: the row of the company that it links, if that exists; `None` if it
    /// links one that does not. Errors: 409, when its unique value belongs to another row.
    pub fn of(&self, place: usize, parsed: &Parsed, company: Option<Option<Uuid>>) -> Result<Match<'_>, Fault> {
        let name = unique(parsed.update.noun);
        let taken = || {
            let detail = format!("Another row of {} already has this {name}.", parsed.update.noun.table);
            Err(Fault::new(format!("/{name}"), "already_exists", detail))
        };
        let by_id = self.by_id.get(&place).and_then(|found| found.first());
        let by_unique = self.by_unique.get(&place).and_then(|found| found.first());
        match (by_id, by_unique) {
            (Some(own), Some(other)) if own.id != other.id => taken(),
            (Some(own), _) => Ok(Match::Same(own)),
            // It is known under another external id.
            (None, Some(other)) if is_other(other, parsed, "external_id") => taken(),
            (None, Some(other)) => Ok(Match::Same(other)),
            (None, None) => {
                let alike = self.by_name.get(&place).map(Vec::as_slice).unwrap_or_default();
                let fits = |current: &&Current| is_alike(current, parsed, name, company);
                Ok(Match::Alike(alike.iter().filter(fits).collect()))
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

/// Living rows for which `condition` holds over `t` and `k.key`, oldest first.
fn by_key(
    conn: &mut PgConnection,
    tenant: &Tenant,
    noun: &'static Noun,
    condition: &str,
    (places, keys): (Vec<i64>, Vec<String>),
) -> Result<HashMap<usize, Vec<Current>>> {
    let mut found: HashMap<usize, Vec<Current>> = HashMap::new();
    if keys.is_empty() {
        return Ok(found);
    }
    let mut sql = Statement::new("SELECT ");
    sql.push(&select::columns(noun, "t"))
        .push(", k.place FROM unnest(")
        .bind(Value::Ints(places))
        .push(", ")
        .bind(Value::Texts(keys));
    sql.push(") AS k (place, key) JOIN ").push(noun.table).push(" t ON ").push(condition);
    sql.append(select::scoped(noun, tenant));
    select::alive(&mut sql, noun);
    sql.push(" ORDER BY t.created_at, t.id");
    for cells in sql.rows(conn)? {
        let (Some(id), Some(place)) = (cells.uuid(0), cells.int(noun.fields.len())) else {
            continue;
        };
        let shown = store::row(noun, &View::default(), &cells, &store::Related::default());
        let row = serde_json::from_slice(&shown.json).map_err(|error| Error::Internal(error.to_string()))?;
        found.entry(place as usize).or_default().push(Current { id, row });
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
    pub fn load(conn: &mut PgConnection, tenant: &Tenant, rows: &[Option<&Parsed>]) -> Result<Self> {
        let wanted: Vec<&Change> = rows.iter().filter_map(|row| row.as_ref()?.company.as_ref()).collect();
        let mut companies = Self::default();
        for (name, expression) in [("domain", "lower(t.domain)"), ("name", "lower(t.name) COLLATE \"C\"")] {
            let mut keys: Vec<String> =
                wanted.iter().filter_map(|change| change.text(name)).map(str::to_owned).collect();
            keys.sort_unstable();
            keys.dedup();
            if keys.is_empty() {
                continue;
            }
            let mut sql = Statement::new("SELECT t.id, t.name, t.domain FROM companies t");
            sql.append(select::scoped(&COMPANIES, tenant));
            sql.push(" AND ").push(expression).push(" = ANY(SELECT lower(v) FROM unnest(");
            sql.bind(Value::Texts(keys)).push(") AS v)");
            select::alive(&mut sql, &COMPANIES);
            sql.push(" ORDER BY t.created_at, t.id");
            for row in sql.rows(conn)? {
                if let (Some(id), Some(name)) = (row.uuid(0), row.text(1)) {
                    companies.add(id, name, row.text(2));
                }
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
