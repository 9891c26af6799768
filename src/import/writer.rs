//! Writes chunks of rows: a transaction each, and halves of it where the database refuses one of its rows.

use std::collections::HashMap;
use std::fmt;

use diesel::result::{DatabaseErrorKind as Kind, Error as DbError};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::matching::{Companies, Current, Found, Match};
use super::report::Report;
use super::rows::{Parsed, Row};
use crate::auth::{Business, Tenant};
use crate::crm::companies::COMPANIES;
use crate::db::target::BoxError;
use crate::db::{Statement, Tx, Value};
use crate::error::constraint;
use crate::error::{Error, Fault, Result, is_deadlock};
use crate::noun::{Change, Noun};

/// How often a chunk that collided with other writers is tried again.
const RETRIES: usize = 5;

/// What became of a chunk.
pub struct Done {
    outcomes: Vec<Outcome>,
    /// The rows of the database that it wrote or confirmed, with the row of the file.
    touched: HashMap<Uuid, u64>,
    companies: u64,
}

enum Outcome {
    Created,
    Changed,
    Unchanged,
    Refused(Vec<Fault>),
}

/// What is done in one transaction.
pub type Work<'w> = dyn FnMut(&mut Tx<'_>) -> Result<Done> + 'w;
/// Does it, wholly or not at all.
pub type Attempt<'a> = dyn FnMut(&mut Work<'_>) -> Result<Done> + 'a;

/// What the summary says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub read: u64,
    pub created: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub failed: u64,
    pub companies: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, created, changed, unchanged, failed, companies } = self;
        write!(
            f,
            "{read} rows read: {created} created, {changed} changed, {unchanged} unchanged, {failed} failed; \
             {companies} linked companies created"
        )
    }
}

/// Writes rows of one noun into one business.
pub struct Writer {
    noun: &'static Noun,
    business: Business,
    tenant: Tenant,
    /// The rows of the database that this file has meant so far: no two different rows may mean the same.
    touched: HashMap<Uuid, u64>,
    pub tally: Tally,
}

impl Writer {
    pub fn new(noun: &'static Noun, business: Business) -> Self {
        Self {
            noun,
            tenant: Tenant::of_operator(business.id),
            business,
            touched: HashMap::new(),
            tally: Tally::default(),
        }
    }

    /// Writes `rows` and reports those that are refused. Errors: what no other row would survive either.
    pub fn write(&mut self, attempt: &mut Attempt<'_>, rows: &[Row], report: &mut Report) -> Result<(), BoxError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut retries = 0;
        let done = loop {
            match attempt(&mut |tx| self.chunk(tx, rows)) {
                Err(Error::Database(error)) if retries < RETRIES && is_collision(&error) => retries += 1,
                done => break done,
            }
        };
        let done = match (done, rows) {
            (Ok(done), _) => done,
            (Err(error), [_]) => {
                Done { outcomes: vec![Outcome::Refused(faults(error)?)], touched: HashMap::new(), companies: 0 }
            }
            (Err(error), _) => {
                faults(error)?;
                let (first, second) = rows.split_at(rows.len() / 2);
                self.write(attempt, first, report)?;
                return self.write(attempt, second, report);
            }
        };
        for (id, number) in done.touched {
            self.touched.entry(id).or_insert(number);
        }
        self.tally.companies += done.companies;
        for (row, outcome) in rows.iter().zip(done.outcomes) {
            self.tally.read += 1;
            match outcome {
                Outcome::Created => self.tally.created += 1,
                Outcome::Changed => self.tally.changed += 1,
                Outcome::Unchanged => self.tally.unchanged += 1,
                Outcome::Refused(faults) => {
                    self.tally.failed += 1;
                    report.add(row, &faults)?;
                }
            }
        }
        Ok(())
    }

    fn chunk(&self, tx: &mut Tx<'_>, rows: &[Row]) -> Result<Done> {
        // Names are not unique in the database, so two imports at once would make a company each.
        let mut lock = Statement::new("SELECT pg_advisory_xact_lock(hashtextextended('rapport import ' || ");
        lock.bind(Value::Text(Some(self.business.id.to_string()))).push(", 0))");
        lock.run(tx)?;
        let parsed: Vec<Option<&Parsed>> = rows.iter().map(|row| row.parsed.as_ref().ok()).collect();
        let mut batch = Batch {
            writer: self,
            companies: Companies::load(tx, &self.tenant, &parsed)?,
            done: Done { outcomes: Vec::with_capacity(rows.len()), touched: HashMap::new(), companies: 0 },
        };
        let found = Found::load(tx, &self.tenant, self.noun, &parsed)?;
        for (place, row) in rows.iter().enumerate() {
            let outcome = match &row.parsed {
                Ok(parsed) => batch.row(tx, row.number, parsed, place, &found)?,
                Err(faults) => Outcome::Refused(faults.clone()),
            };
            batch.done.outcomes.push(outcome);
        }
        Ok(batch.done)
    }
}

/// A chunk at work.
struct Batch<'w> {
    writer: &'w Writer,
    companies: Companies,
    done: Done,
}

impl Batch<'_> {
    fn row(&mut self, tx: &mut Tx<'_>, number: u64, parsed: &Parsed, place: usize, found: &Found) -> Result<Outcome> {
        let company = parsed.company.as_ref().map(|company| self.companies.find(company));
        let writer = self.writer;
        let changes = |current: &Current, company: Option<Uuid>| {
            let linked = with_company(&parsed.update, company);
            changes(&linked, &parsed.metadata, current, &writer.business)
        };
        let is_same =
            |current: &Current| company != Some(None) && matches!(changes(current, company.flatten()), Ok(None));
        let meant = match found.of(place, parsed, company) {
            Err(fault) => return Ok(Outcome::Refused(vec![fault])),
            Ok(Match::Same(current)) => {
                if let Some(other) = self.touched(current.id).filter(|_| !is_same(current)) {
                    return Ok(Outcome::Refused(vec![self.repeated(current, parsed, other)]));
                }
                Some(current)
            }
            // One that needs no change, else one that no other row of the file has meant.
            Ok(Match::Alike(all)) => {
                let same = all.iter().find(|current| is_same(current));
                same.or_else(|| all.iter().find(|current| self.touched(current.id).is_none())).copied()
            }
        };
        let change = match (meant, &parsed.create) {
            (Some(current), _) => match changes(current, self.company(tx, parsed)?) {
                Ok(change) => change,
                Err(error) => return Ok(Outcome::Refused(faults(error)?)),
            },
            (None, Err(faults)) => return Ok(Outcome::Refused(faults.clone())),
            (None, Ok(create)) => Some(with_company(create, self.company(tx, parsed)?)),
        };
        let (writes, tenant) = (&writer.noun.writes, &writer.tenant);
        let (id, outcome) = match (meant, change) {
            (Some(current), None) => (current.id, Outcome::Unchanged),
            (Some(current), Some(change)) => {
                (writes.update)(tx, tenant, current.id, change, None)?;
                (current.id, Outcome::Changed)
            }
            (None, Some(change)) => ((writes.create)(tx, tenant, change)?.0, Outcome::Created),
            (None, None) => return Err(Error::Internal("a row without a change".into())),
        };
        self.done.touched.entry(id).or_insert(number);
        Ok(outcome)
    }

    /// The row of the file that meant `id` before.
    fn touched(&self, id: Uuid) -> Option<u64> {
        self.done.touched.get(&id).or_else(|| self.writer.touched.get(&id)).copied()
    }

    /// Two rows that differ cannot both be right, and if the later one won, no import would ever leave things alone.
    fn repeated(&self, current: &Current, parsed: &Parsed, other: u64) -> Fault {
        let has = |name: &&str| {
            let text = |text: Option<&str>| text.map(str::to_lowercase);
            parsed.update.text(name).is_some() && text(current.text(name)) == text(parsed.update.text(name))
        };
        let name = ["external_id", "email", "domain"].into_iter().find(has).unwrap_or_default();
        let detail = format!("Row {other} of the file has this {name} already, with other values.");
        Fault::new(format!("/{name}"), "already_exists", detail)
    }

    /// The company that a row links, made if there is none.
    fn company(&mut self, tx: &mut Tx<'_>, parsed: &Parsed) -> Result<Option<Uuid>> {
        let Some(wanted) = &parsed.company else { return Ok(None) };
        if let Some(id) = self.companies.find(wanted) {
            return Ok(Some(id));
        }
        let (id, _) = (COMPANIES.writes.create)(tx, &self.writer.tenant, wanted.clone())?;
        self.companies.add(id, wanted.text("name").unwrap_or_default(), wanted.text("domain"));
        self.done.companies += 1;
        Ok(Some(id))
    }
}

fn with_company(change: &Change, company: Option<Uuid>) -> Change {
    let mut change = change.clone();
    if company.is_some() {
        change.set_default("company_id", Value::Uuid(company));
    }
    change
}

/// What of `given` differs from the row as it is. Metadata of others' making stays. Errors: metadata grows too large.
fn changes(
    given: &Change,
    metadata: &Map<String, Json>,
    current: &Current,
    business: &Business,
) -> Result<Option<Change>> {
    let mut kept = current.row.get("metadata").and_then(Json::as_object).cloned().unwrap_or_default();
    let mut body = Map::new();
    if metadata.iter().any(|(key, value)| kept.get(key) != Some(value)) {
        kept.extend(metadata.clone());
        body.insert("metadata".into(), kept.into());
    }
    let mut change = Change::parse(given.noun, Json::Object(body), false, business)?;
    for (field, value) in given.values().iter().filter(|(field, _)| field.name != "metadata") {
        if !is_same(value, current.row.get(field.name).unwrap_or(&Json::Null)) {
            change.set(field.name, value.clone());
        }
    }
    Ok((!change.values().is_empty()).then_some(change))
}

fn is_same(value: &Value, json: &Json) -> bool {
    match value {
        _ if value.is_null() => json.is_null(),
        Value::Bool(Some(flag)) => json.as_bool() == Some(*flag),
        Value::Int(Some(number)) => json.as_i64() == Some(*number),
        Value::Text(Some(text)) => json.as_str() == Some(text),
        Value::Uuid(Some(id)) => json.as_str() == Some(&id.to_string()),
        Value::Texts(texts) => json.as_array().is_some_and(|items| items.iter().eq(texts)),
        _ => false,
    }
}

fn is_collision(error: &DbError) -> bool {
    matches!(error, DbError::DatabaseError(Kind::SerializationFailure, _)) || is_deadlock(error)
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
