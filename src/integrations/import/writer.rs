//! Writes chunks of rows: one lookup finds the matches of all rows, and batches create and update what they plan.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::linked_companies::Companies;
use super::matching::{Candidates, CurrentRow, Match};
use super::row::{ParsedRow, Row};
use super::row_diff;
use super::row_errors;
use crate::auth::{Tenant, TenantSettings};
use crate::base::error::{Error, FieldError, Result};
use crate::crm::companies::COMPANIES;
use crate::db::schema::companies;
use crate::db::{Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::batch::{self, Batch};
use crate::resource::references::{self, ExistingIds};
use crate::resource::{Changeset, Resource, RowVisibility};

/// What happens to a file row which matches a database row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMatch {
    Update,
    Skip,
    Refuse,
}

/// Settings of an import.
pub struct Settings {
    pub resource: &'static Resource,
    pub business: TenantSettings,
    pub tenant: Tenant,
    /// Match keys, of [`super::match_keys::available`].
    pub match_by: Vec<String>,
    pub on_match: OnMatch,
    /// Dry run: nothing is written; the outcomes are what they would be.
    pub dry_run: bool,
}

/// Database rows which the file has matched so far, with the file row: no two file rows which differ may match the same
/// one.
pub type MatchedRows = HashMap<Uuid, u64>;

/// Result of a chunk.
#[derive(Default)]
pub struct ChunkResult {
    /// One per row.
    pub outcomes: Vec<Outcome>,
    /// Companies which were created because a row links them, with the index of that row.
    pub companies: Vec<(usize, Uuid)>,
}

#[derive(Debug)]
pub enum Outcome {
    Created { id: Uuid, after: Map<String, Json> },
    Changed { id: Uuid, version: i64, before: Map<String, Json>, after: Map<String, Json> },
    Unchanged { id: Uuid },
    Refused(Vec<FieldError>),
}

/// Writes `rows`, no two of which may match the same database row ([`super::match_keys::ChunkKeys`]), and adds their matches
/// to `matched`. `earlier` returns which of [`Candidates::ids`] earlier chunks matched. Errors: failures which are not about
/// a row.
pub fn write(
    tx: &mut Tx<'_>,
    settings: &Settings,
    rows: &[Row],
    matched: &mut MatchedRows,
    earlier: &EarlierMatches<'_>,
) -> Result<ChunkResult> {
    // Rows which the write path rejected. Without them the chunk is planned and written anew: what was planned for them,
    // such as the company which one links, is not to stay.
    let mut rejected = RejectedRows::new();
    loop {
        let mut chunk_matched = matched.clone();
        let mut more = RejectedRows::new();
        let done = tx.savepoint(|tx| {
            let done = chunk(tx, settings, rows, &rejected, &mut chunk_matched, earlier, &mut more)?;
            if more.is_empty() { Ok(done) } else { Err(Error::Invalid(Vec::new())) }
        });
        match done {
            Ok(done) => {
                *matched = chunk_matched;
                return Ok(done);
            }
            Err(_) if !more.is_empty() => rejected.extend(more),
            Err(error) => return Err(error),
        }
    }
}

/// The validation errors of rows, by their index in the chunk.
type RejectedRows = HashMap<usize, Vec<FieldError>>;

/// Returns which of these database rows earlier chunks of the file have matched, and with which file row.
pub type EarlierMatches<'b> = dyn Fn(&mut Tx<'_>, Vec<Uuid>) -> Result<MatchedRows> + 'b;

/// Plans and writes a chunk without the rows `rejected`, and adds those which are rejected now to `more`.
fn chunk(
    tx: &mut Tx<'_>,
    settings: &Settings,
    rows: &[Row],
    rejected: &RejectedRows,
    matched: &mut MatchedRows,
    earlier: &EarlierMatches<'_>,
    more: &mut RejectedRows,
) -> Result<ChunkResult> {
    let Settings { resource, tenant, .. } = settings;
    // Company names are not unique in the database, so concurrent imports would create a company each.
    let mut lock = Statement::new("SELECT pg_advisory_xact_lock(hashtextextended('rapport import ' || ");
    lock.bind(settings.business.id.to_string()).sql(", 0))");
    lock.run(tx)?;
    let parsed: Vec<Option<&ParsedRow>> = rows.iter().map(|row| row.parsed.as_ref().ok()).collect();
    // Matched rows are locked before or after the rows they reference: the order of all which lock several resources.
    let links = |tx: &mut Tx<'_>| {
        let rows = parsed.iter().flatten();
        references::lock_existing(tx, tenant, rows.flat_map(|row| references::references(row.resource, &row.update)))
    };
    let find = |tx: &mut Tx<'_>| Candidates::load(tx, tenant, resource, &settings.match_by, &parsed, !settings.dry_run);
    let (found, existing) = match resource.lock_before_references {
        true => {
            let found = find(tx)?;
            (found, links(tx)?)
        }
        false => {
            let existing = links(tx)?;
            (find(tx)?, existing)
        }
    };
    matched.extend(earlier(tx, found.ids())?);
    let companies = Companies::load(tx, tenant, &parsed)?;
    let (made, creates, edits) = (Vec::new(), Vec::new(), Vec::new());
    let mut plan = Plan { settings, matched, companies, existing, made, creates, edits };
    let mut outcomes = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        outcomes.push(match &row.parsed {
            _ if rejected.contains_key(&index) => Outcome::Refused(rejected[&index].clone()),
            Ok(parsed) => plan.row(row.number, parsed, index, &found)?,
            Err(faults) => Outcome::Refused(faults.clone()),
        });
    }
    let Plan { made, creates, edits, .. } = plan;
    let companies = made.iter().map(|new| (new.index, new.id)).collect();
    if settings.dry_run {
        return Ok(ChunkResult { outcomes, companies });
    }
    for (resource, rows) in [(&COMPANIES, made), (*resource, creates)] {
        put(tx, tenant, rows, more, |rows| Batch::of_new(resource, rows))?;
    }
    let change = |(id, change)| (id, IfMatch::ANY, Ok(change));
    let update = |rows: Vec<_>| Batch::of_changes(resource, rows.into_iter().map(change).collect());
    let versions = put(tx, tenant, edits, more, update)?;
    for outcome in &mut outcomes {
        if let Outcome::Changed { id, version, .. } = outcome {
            *version = versions.get(id).copied().unwrap_or_default();
        }
    }
    Ok(ChunkResult { outcomes, companies })
}

/// Writes planned rows with the batch that `of` makes of them. Returns their versions; adds those which are rejected to
/// `rejected`.
fn put(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    planned: Vec<PlannedRow>,
    rejected: &mut RejectedRows,
    of: impl FnOnce(Vec<(Uuid, Changeset)>) -> Batch,
) -> Result<HashMap<Uuid, i64>> {
    if planned.is_empty() {
        return Ok(HashMap::new());
    }
    let (indices, rows): (Vec<usize>, Vec<(Uuid, Changeset)>) =
        planned.into_iter().map(|row| (row.index, (row.id, row.change))).unzip();
    let mut versions = HashMap::with_capacity(rows.len());
    for (index, written) in indices.into_iter().zip(batch::written(tx, tenant, &of(rows).without_rows())?) {
        match written {
            Ok((id, version)) => drop(versions.insert(id, version)),
            Err(error) => drop(rejected.insert(index, row_errors::of(error)?)),
        }
    }
    Ok(versions)
}

/// A row to be created or updated, with the index of the file row which it comes from.
struct PlannedRow {
    index: usize,
    id: Uuid,
    change: Changeset,
}

/// The planned writes of a chunk.
struct Plan<'p> {
    settings: &'p Settings,
    matched: &'p mut MatchedRows,
    companies: Companies,
    /// Existing targets of references; locked.
    existing: ExistingIds,
    /// Companies to create, for the rows which link them.
    made: Vec<PlannedRow>,
    creates: Vec<PlannedRow>,
    edits: Vec<PlannedRow>,
}

impl Plan<'_> {
    fn row(&mut self, number: u64, parsed: &ParsedRow, index: usize, found: &Candidates) -> Result<Outcome> {
        let business = &self.settings.business;
        let company = match row_diff::company_by_id(parsed, None, &self.existing) {
            Some(id) => Some(Some(id)),
            None => parsed.company.as_ref().map(|company| self.companies.find(company)),
        };
        let is_same = |current: &CurrentRow| {
            let own = row_diff::company_by_id(parsed, Some(current), &self.existing);
            let company = if own.is_some() { None } else { company };
            company != Some(None)
                && matches!(row_diff::of_known(parsed, current, company.flatten(), &self.existing, business), Ok(None))
        };
        let target = match found.of(index, parsed, company) {
            Err(fault) => return Ok(Outcome::Refused(vec![fault])),
            Ok(Match::Same(current)) => {
                if let Some(other) = self.matched.get(&current.id).filter(|_| !is_same(current)) {
                    return Ok(Outcome::Refused(vec![repeated(current, parsed, *other)]));
                }
                Some(current)
            }
            // One which needs no change, else one which no other file row has matched.
            Ok(Match::Alike(all)) => {
                let same = all.iter().find(|current| is_same(current));
                same.or_else(|| all.iter().find(|current| !self.matched.contains_key(&current.id))).copied()
            }
        };
        match (target, self.settings.on_match, &parsed.create) {
            (None, _, Err(faults)) => Ok(Outcome::Refused(faults.clone())),
            (None, _, Ok(create)) => self.create(number, index, create, parsed),
            (Some(current), OnMatch::Skip, _) => Ok(Outcome::Unchanged { id: current.id }),
            (Some(_), OnMatch::Refuse, _) => {
                let detail = "There is such a row already, and this import was told to make new ones only.";
                Ok(Outcome::Refused(vec![FieldError::new("", "already_exists", detail)]))
            }
            (Some(current), OnMatch::Update, _) => {
                let company = self.company(index, parsed, Some(current));
                let changed = match row_diff::of_known(parsed, current, company, &self.existing, business) {
                    Ok(changed) => changed,
                    Err(error) => return Ok(Outcome::Refused(row_errors::of(error)?)),
                };
                self.matched.entry(current.id).or_insert(number);
                Ok(self.change(index, current, changed))
            }
        }
    }

    fn create(&mut self, number: u64, index: usize, create: &Changeset, parsed: &ParsedRow) -> Result<Outcome> {
        let Settings { tenant, resource, business, .. } = self.settings;
        // Validates the row before a company is created for it.
        let mut change = match row_diff::of_new(parsed, create, &self.existing, business) {
            Ok(change) => change,
            Err(error) => return Ok(Outcome::Refused(row_errors::of(error)?)),
        };
        if let Some(company) = self.company(index, parsed, None) {
            change.set_default_field(resource.own_field("company_id"), company.into());
        }
        if let (Some(person), RowVisibility::Assigned(column)) = (tenant.restricted_to_user(), resource.visibility) {
            // Otherwise the creator could not see the row.
            change.set_default_field(resource.own_field(column), person.into());
        }
        let (id, after) = (Uuid::now_v7(), change.to_json());
        self.creates.push(PlannedRow { index, id, change });
        self.matched.insert(id, number);
        Ok(Outcome::Created { id, after })
    }

    fn change(&mut self, index: usize, current: &CurrentRow, change: Option<Changeset>) -> Outcome {
        let id = current.id;
        let Some(change) = change else { return Outcome::Unchanged { id } };
        let after = change.to_json();
        let was = |name: &String| current.row.get(name).cloned().unwrap_or_default();
        let before = after.keys().map(|name| (name.clone(), was(name))).collect();
        self.edits.push(PlannedRow { index, id, change });
        Outcome::Changed { id, version: 0, before, after }
    }

    /// Returns the company which a row links by name or domain, and not by id; plans its creation if it does not exist.
    fn company(&mut self, index: usize, parsed: &ParsedRow, current: Option<&CurrentRow>) -> Option<Uuid> {
        let wanted = parsed.company.as_ref()?;
        if row_diff::company_by_id(parsed, current, &self.existing).is_some() {
            return None;
        }
        if let Some(id) = self.companies.find(wanted) {
            return Some(id);
        }
        let id = Uuid::now_v7();
        self.companies.add(id, wanted.text(companies::name).unwrap_or_default(), wanted.text(companies::domain));
        self.made.push(PlannedRow { index, id, change: wanted.clone() });
        Some(id)
    }
}

/// Two differing file rows cannot both be right; if the later one won, every import of the file would change the row
/// again.
fn repeated(current: &CurrentRow, parsed: &ParsedRow, other: u64) -> FieldError {
    let has = |name: &&str| {
        let text = |text: Option<&str>| text.map(str::to_lowercase);
        parsed.update.text_field(name).is_some() && text(current.text(name)) == text(parsed.update.text_field(name))
    };
    let name = ["external_id", "email", "domain"].into_iter().find(has).unwrap_or_default();
    row_errors::repeats(if parsed.id == Some(current.id) { "id" } else { name }, other)
}
