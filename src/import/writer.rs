//! Writes chunks of rows in sets: what each means is looked up for all at once, and what is to be made and changed is done in
//! one statement each. Where the database refuses a row, halves of the chunk are tried until it is found.

use std::collections::HashMap;

use diesel::result::{DatabaseErrorKind as Kind, Error as DbError};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::diff;
use super::matching::{Companies, Current, Found, Match};
use super::rows::{Parsed, Row};
use super::set::{self, Edit};
use crate::auth::{Business, Tenant};
use crate::crm::companies::COMPANIES;
use crate::db::{Statement, Tx, Value};
use crate::error::constraint;
use crate::error::{Error, Fault, Result};
use crate::noun::links::{self, Existing};
use crate::noun::{Change, Noun, Visible};

/// What becomes of a row of the file that means one of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMatch {
    Update,
    Skip,
    Refuse,
}

/// How rows are written.
pub struct Settings {
    /// A noun that has no rules of its own but `prepare`: the others would be asked for each row.
    pub noun: &'static Noun,
    pub business: Business,
    pub tenant: Tenant,
    /// By what rows are found, of [`super::matching::finders`].
    pub finders: Vec<String>,
    pub on_match: OnMatch,
    /// Nothing is written; the outcomes are what they would be.
    pub trial: bool,
}

/// The rows of the database that a file has meant so far, with the row of the file: no two that differ may mean the same.
pub type Touched = HashMap<Uuid, u64>;

/// What became of a chunk.
#[derive(Default)]
pub struct Done {
    /// Of each row.
    pub outcomes: Vec<Outcome>,
    /// Companies that were made because a row links them, with the place of that row.
    pub companies: Vec<(usize, Uuid)>,
}

#[derive(Debug)]
pub enum Outcome {
    Created { id: Uuid, after: Map<String, Json> },
    Changed { id: Uuid, version: i64, before: Map<String, Json>, after: Map<String, Json> },
    Unchanged { id: Uuid },
    Refused(Vec<Fault>),
}

/// Writes `rows`, of which none may mean what another does ([`super::rows::Keys`]), and notes in `touched` what they meant; that
/// must know what of [`Found::ids`] the file meant before: `before` is asked. Errors: what is about no row.
pub fn write(
    tx: &mut Tx<'_>,
    settings: &Settings,
    rows: &[Row],
    touched: &mut Touched,
    before: &Before<'_>,
) -> Result<Done> {
    if settings.trial {
        return chunk(tx, settings, rows, touched, before);
    }
    Statement::new("SAVEPOINT import_chunk").run(tx)?;
    let mut meant = touched.clone();
    let done = chunk(tx, settings, rows, &mut meant, before);
    let error = match done {
        Ok(done) => {
            Statement::new("RELEASE SAVEPOINT import_chunk").run(tx)?;
            *touched = meant;
            return Ok(done);
        }
        Err(error) => error,
    };
    let faults = faults(error)?;
    Statement::new("ROLLBACK TO SAVEPOINT import_chunk").run(tx)?;
    Statement::new("RELEASE SAVEPOINT import_chunk").run(tx)?;
    if rows.len() <= 1 {
        return Ok(Done { outcomes: vec![Outcome::Refused(faults)], companies: Vec::new() });
    }
    let (first, second) = rows.split_at(rows.len() / 2);
    let mut done = write(tx, settings, first, touched, before)?;
    let rest = write(tx, settings, second, touched, before)?;
    done.companies.extend(rest.companies.into_iter().map(|(place, id)| (place + first.len(), id)));
    done.outcomes.extend(rest.outcomes);
    Ok(done)
}

/// Which of these rows of the database the file has meant in chunks before, and by which of its rows.
pub type Before<'b> = dyn Fn(&mut Tx<'_>, Vec<Uuid>) -> Result<Touched> + 'b;

fn chunk(
    tx: &mut Tx<'_>,
    settings: &Settings,
    rows: &[Row],
    touched: &mut Touched,
    before: &Before<'_>,
) -> Result<Done> {
    let Settings { noun, tenant, .. } = settings;
    // Names are not unique in the database, so two imports at once would make a company each.
    let mut lock = Statement::new("SELECT pg_advisory_xact_lock(hashtextextended('rapport import ' || ");
    lock.bind(Value::Text(Some(settings.business.id.to_string()))).push(", 0))");
    lock.run(tx)?;
    let parsed: Vec<Option<&Parsed>> = rows.iter().map(|row| row.parsed.as_ref().ok()).collect();
    // Rows that lead to others are locked before these, or after them, as all do who lock several nouns.
    let links = |tx: &mut Tx<'_>| {
        let changes = parsed.iter().flatten().map(|row| &row.update);
        links::lock_existing(tx, tenant, changes.flat_map(links::links))
    };
    let find = |tx: &mut Tx<'_>| Found::load(tx, tenant, noun, &settings.finders, &parsed, !settings.trial);
    let (found, existing) = match noun.locked_first {
        true => {
            let found = find(tx)?;
            (found, links(tx)?)
        }
        false => {
            let existing = links(tx)?;
            (find(tx)?, existing)
        }
    };
    touched.extend(before(tx, found.ids())?);
    let companies = Companies::load(tx, tenant, &parsed)?;
    let (made, creates, edits) = (Vec::new(), Vec::new(), Vec::new());
    let mut plan = Plan { settings, touched, companies, existing, made, creates, edits };
    let mut outcomes = Vec::with_capacity(rows.len());
    for (place, row) in rows.iter().enumerate() {
        outcomes.push(match &row.parsed {
            Ok(parsed) => plan.row(row.number, parsed, place, &found)?,
            Err(faults) => Outcome::Refused(faults.clone()),
        });
    }
    let Plan { made, creates, edits, .. } = plan;
    let companies = made.iter().map(|(place, id, _)| (*place, *id)).collect();
    if !settings.trial {
        set::insert(
            tx,
            tenant,
            &COMPANIES,
            made.into_iter().map(|(_, id, change)| (id, set::fields(&change))).collect(),
        )?;
        set::insert(tx, tenant, noun, creates)?;
        let versions = set::update(tx, tenant, noun, edits)?;
        for outcome in &mut outcomes {
            if let Outcome::Changed { id, version, .. } = outcome {
                // They are locked, so none is missing.
                *version = versions.get(id).copied().unwrap_or_default();
            }
        }
    }
    Ok(Done { outcomes, companies })
}

/// A chunk before it is written.
struct Plan<'p> {
    settings: &'p Settings,
    touched: &'p mut Touched,
    companies: Companies,
    /// Where links lead that lead somewhere; locked.
    existing: Existing,
    /// Companies that are to be made, with the place of the row that links them.
    made: Vec<(usize, Uuid, Change)>,
    creates: Vec<(Uuid, Map<String, Json>)>,
    edits: Vec<Edit>,
}

impl Plan<'_> {
    fn row(&mut self, number: u64, parsed: &Parsed, place: usize, found: &Found) -> Result<Outcome> {
        let business = &self.settings.business;
        let company = match diff::company_by_id(parsed, None, &self.existing) {
            Some(id) => Some(Some(id)),
            None => parsed.company.as_ref().map(|company| self.companies.find(company)),
        };
        let is_same = |current: &Current| {
            let own = diff::company_by_id(parsed, Some(current), &self.existing);
            let company = if own.is_some() { None } else { company };
            company != Some(None)
                && matches!(diff::of_known(parsed, current, company.flatten(), &self.existing, business), Ok(None))
        };
        let meant = match found.of(place, parsed, company) {
            Err(fault) => return Ok(Outcome::Refused(vec![fault])),
            Ok(Match::Same(current)) => {
                if let Some(other) = self.touched.get(&current.id).filter(|_| !is_same(current)) {
                    return Ok(Outcome::Refused(vec![repeated(current, parsed, *other)]));
                }
                Some(current)
            }
            // One that needs no change, else one that no other row of the file has meant.
            Ok(Match::Alike(all)) => {
                let same = all.iter().find(|current| is_same(current));
                same.or_else(|| all.iter().find(|current| !self.touched.contains_key(&current.id))).copied()
            }
        };
        match (meant, self.settings.on_match, &parsed.create) {
            (None, _, Err(faults)) => Ok(Outcome::Refused(faults.clone())),
            (None, _, Ok(create)) => self.create(number, place, create, parsed),
            (Some(current), OnMatch::Skip, _) => Ok(Outcome::Unchanged { id: current.id }),
            (Some(_), OnMatch::Refuse, _) => {
                let detail = "There is such a row already, and this import was told to make new ones only.";
                Ok(Outcome::Refused(vec![Fault::new("", "already_exists", detail)]))
            }
            (Some(current), OnMatch::Update, _) => {
                let company = self.company(place, parsed, Some(current));
                let changed = match diff::of_known(parsed, current, company, &self.existing, business) {
                    Ok(changed) => changed,
                    Err(error) => return Ok(Outcome::Refused(faults(error)?)),
                };
                self.touched.entry(current.id).or_insert(number);
                Ok(self.change(current, changed))
            }
        }
    }

    fn create(&mut self, number: u64, place: usize, create: &Change, parsed: &Parsed) -> Result<Outcome> {
        let Settings { tenant, noun, business, .. } = self.settings;
        // What is wrong with the row is known before a company is made for it.
        let mut change = match diff::of_new(parsed, create, &self.existing, business) {
            Ok(change) => change,
            Err(error) => return Ok(Outcome::Refused(faults(error)?)),
        };
        if let Some(company) = self.company(place, parsed, None) {
            change.set_default("company_id", Value::Uuid(Some(company)));
        }
        if let (Some(person), Visible::Assigned(column)) = (tenant.sees_only(), noun.visible) {
            // Or they would not see what they made.
            change.set_default(column, Value::Uuid(Some(person)));
        }
        let (id, after) = (Uuid::now_v7(), set::fields(&change));
        self.creates.push((id, after.clone()));
        self.touched.insert(id, number);
        Ok(Outcome::Created { id, after })
    }

    fn change(&mut self, current: &Current, change: Option<Change>) -> Outcome {
        let id = current.id;
        let Some(change) = change else { return Outcome::Unchanged { id } };
        let after = set::fields(&change);
        let was = |name: &String| current.row.get(name).cloned().unwrap_or_default();
        let before = after.keys().map(|name| (name.clone(), was(name))).collect();
        self.edits.push(Edit { id, version: None, fields: after.clone() });
        Outcome::Changed { id, version: 0, before, after }
    }

    /// The company that a row links by name or domain, and not by id; to be made if there is none.
    fn company(&mut self, place: usize, parsed: &Parsed, current: Option<&Current>) -> Option<Uuid> {
        let wanted = parsed.company.as_ref()?;
        if diff::company_by_id(parsed, current, &self.existing).is_some() {
            return None;
        }
        if let Some(id) = self.companies.find(wanted) {
            return Some(id);
        }
        let id = Uuid::now_v7();
        self.companies.add(id, wanted.text("name").unwrap_or_default(), wanted.text("domain"));
        self.made.push((place, id, wanted.clone()));
        Some(id)
    }
}

/// Two rows that differ cannot both be right, and if the later one won, no import would ever leave things alone.
fn repeated(current: &Current, parsed: &Parsed, other: u64) -> Fault {
    let has = |name: &&str| {
        let text = |text: Option<&str>| text.map(str::to_lowercase);
        parsed.update.text(name).is_some() && text(current.text(name)) == text(parsed.update.text(name))
    };
    let name = ["external_id", "email", "domain"].into_iter().find(has).unwrap_or_default();
    repeats(if parsed.id == Some(current.id) { "id" } else { name }, other)
}

/// That row `other` of the file has this `name` already.
pub fn repeats(name: &str, other: u64) -> Fault {
    let detail = format!("Row {other} of the file has this {name} already, with other values.");
    Fault::new(format!("/{name}"), "already_exists", detail)
}

/// What is wrong with a row, as the API would say it. Errors: `error` is not about a row.
pub fn faults(error: Error) -> Result<Vec<Fault>> {
    match error {
        Error::Invalid(faults) => Ok(faults),
        Error::Malformed { code, detail, .. } => Ok(vec![Fault::new("", code, detail)]),
        Error::Conflict { code, detail, pointer, .. } => {
            Ok(vec![Fault::new(pointer.unwrap_or_default(), code, detail)])
        }
        Error::Database(DbError::DatabaseError(
            kind @ (Kind::UniqueViolation | Kind::ForeignKeyViolation | Kind::CheckViolation | Kind::NotNullViolation),
            info,
        )) => faults(constraint::explain(&kind, info.as_ref())),
        other => Err(other),
    }
}
