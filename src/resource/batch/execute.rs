//! Executes a batch inside its transaction.

use std::collections::HashMap;

use diesel::result::{DatabaseErrorKind as Kind, Error as DbError};
use serde_json::Value as Json;
use uuid::Uuid;

use super::action::BatchAction;
use super::items::{Batch, Item, Upsert};
use super::outcome::Outcome;
use super::parse::folded;
use super::sql;
use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::db::{RawRow, Tx};
use crate::resource::body::{Changeset, MAX_ERRORS};
use crate::resource::crud::{self, RelatedRows};
use crate::resource::definition::Resource;
use crate::resource::field::Mutability;
use crate::resource::list_query::Projection;
use crate::resource::pending_row::PendingRow;
use crate::resource::row::Row;
use crate::resource::{references, row_json, select};

/// How often an upsert is tried where other writers create rows with its keys meanwhile.
const MAX_UPSERT_ATTEMPTS: usize = 3;

/// Executes `batch` and returns each item's outcome. Errors: those that concern no single item, such as a deadlock.
pub fn execute(tx: &mut Tx<'_>, tenant: &Tenant, batch: &Batch) -> Result<Vec<Outcome>> {
    let mut run = Run { batch, tenant, outcomes: batch.items.iter().map(|_| None).collect() };
    for (place, item) in batch.items.iter().enumerate() {
        if let Item::Wrong(faults) = item {
            run.fail(place, Error::Invalid(faults.clone()));
        }
    }
    let places: Vec<usize> = (0..batch.items.len()).filter(|place| run.outcomes[*place].is_none()).collect();
    match batch.act {
        BatchAction::Delete => run.delete(tx, places)?,
        _ => run.write(tx, &places)?,
    }
    // Items are skipped only after so many others have failed that the batch is rejected.
    let unseen = || Outcome::Failed(Error::Internal("an item that was not looked at".into()));
    Ok(run.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(unseen)).collect())
}

/// Runs `batch`, and returns for each item why it was rejected, if it was. Errors: those that concern no single item.
pub fn refusals(tx: &mut Tx<'_>, tenant: &Tenant, batch: &Batch) -> Result<Vec<Option<Error>>> {
    let refusal = |outcome| if let Outcome::Failed(error) = outcome { Some(error) } else { None };
    Ok(execute(tx, tenant, batch)?.into_iter().map(refusal).collect())
}

/// Checks the references of one changeset that is meant for many rows. Errors: 422 for those that lead to no row.
pub fn check_references(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    change: Changeset,
) -> Result<()> {
    let mut set = [PendingRow::new(Uuid::nil(), change)];
    references::check_all(tx, tenant, resource, &mut set)?;
    let [draft] = set;
    draft.into_result().map(drop)
}

struct Run<'b> {
    batch: &'b Batch,
    tenant: &'b Tenant,
    /// By position.
    outcomes: Vec<Option<Outcome>>,
}

/// What is to be written of a set, once the existing rows are known.
#[derive(Default)]
struct Plan {
    /// With their positions.
    drafts: Vec<(usize, PendingRow)>,
    /// Rows without changes.
    unchanged: Vec<(usize, Uuid, Row)>,
    failed: Vec<(usize, Error)>,
}

impl Run<'_> {
    fn resource(&self) -> &'static Resource {
        self.batch.resource
    }

    fn fail(&mut self, place: usize, error: Error) {
        self.outcomes[place] = Some(Outcome::Failed(error.translated()));
    }

    /// Whether so many items have failed that more would not be reported.
    fn is_lost(&self) -> bool {
        let failed = self.outcomes.iter().filter(|outcome| matches!(outcome, Some(Outcome::Failed(_)))).count();
        self.batch.all_or_none && failed >= MAX_ERRORS
    }

    fn delete(&mut self, tx: &mut Tx<'_>, places: Vec<usize>) -> Result<()> {
        let ids: Vec<(usize, Uuid)> = places
            .into_iter()
            .filter_map(|place| if let Item::Delete(id) = self.batch.items[place] { Some((place, id)) } else { None })
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let resource = self.resource();
        let there = sql::lock_rows(resource, self.tenant, ids.iter().map(|(_, id)| *id).collect(), false).rows(tx)?;
        let there: Vec<Uuid> = there.iter().filter_map(|row| row.uuid(0)).collect();
        if !there.is_empty() {
            sql::delete(resource, self.tenant, there.clone()).run(tx)?;
            (resource.hooks.removed_or_restored)(tx, self.tenant, &there)?;
        }
        let there: std::collections::HashSet<Uuid> = there.into_iter().collect();
        for (place, id) in ids {
            match there.contains(&id) {
                true => self.outcomes[place] = Some(Outcome::Deleted(id)),
                false => self.fail(place, crud::not_found(resource)),
            }
        }
        Ok(())
    }

    /// Writes the items at `places` as one set, or as halves of it, until each item that the database rejects stands
    /// alone.
    fn write(&mut self, tx: &mut Tx<'_>, places: &[usize]) -> Result<()> {
        for race in 1.. {
            if places.is_empty() || self.is_lost() {
                return Ok(());
            }
            let mut plan = self.plan(tx, places)?;
            self.check(tx, &mut plan)?;
            if plan.drafts.is_empty() {
                self.settle(plan, HashMap::new());
                return Ok(());
            }
            let error = match tx.savepoint(|tx| put(tx, self.tenant, self.batch.resource, &plan)) {
                Ok(rows) => {
                    self.settle(plan, rows);
                    return Ok(());
                }
                Err(error) => error,
            };
            let kind = match &error {
                Error::Database(DbError::DatabaseError(kind, _)) if error.is_of_row() => kind,
                _ => return Err(error),
            };
            match (kind, places) {
                // Another writer may have created a row with this key meanwhile: the retry finds and updates it.
                (Kind::UniqueViolation, _) if self.batch.act == BatchAction::Upsert && race == 1 => {}
                (Kind::UniqueViolation, [_]) if self.batch.act == BatchAction::Upsert && race < MAX_UPSERT_ATTEMPTS => {
                }
                // Above read committed the winner is not in our snapshot: only a retry of the transaction sees it. (A
                // caller who is restricted to their own rows would not see it then either.)
                (Kind::UniqueViolation, [_])
                    if self.batch.act == BatchAction::Upsert
                        && self.tenant.restricted_to_user().is_none()
                        && self.is_of_key(&error)
                        && tx.has_snapshot()? =>
                {
                    return Err(Error::serialization_conflict());
                }
                // The transaction is retried, which sees the winner and can name it.
                (Kind::ExclusionViolation, [_]) => return Err(error),
                (_, [only]) => {
                    self.fail(*only, error);
                    return Ok(());
                }
                (_, many) => {
                    let (first, second) = many.split_at(many.len() / 2);
                    self.write(tx, first)?;
                    return self.write(tx, second);
                }
            }
        }
        Ok(())
    }

    /// Whether it is the batch's own key that another row has.
    fn is_of_key(&self, error: &Error) -> bool {
        self.batch.key.is_some_and(|key| error.is_taken(&format!("{}_{}_key", self.resource().table, key.name)))
    }

    /// Finds and locks the existing rows. Nothing is written or decided yet: halves are planned anew.
    fn plan(&self, tx: &mut Tx<'_>, places: &[usize]) -> Result<Plan> {
        let items = places.iter().map(|place| (*place, &self.batch.items[*place]));
        let mut plan = Plan::default();
        match self.batch.act {
            BatchAction::Create => {
                for (place, item) in items {
                    if let Item::Create(change) = item {
                        plan.drafts.push((place, crud::new_row(self.tenant, self.resource(), change.clone())));
                    }
                }
            }
            BatchAction::Upsert => self.match_keys(tx, items, &mut plan)?,
            BatchAction::Update | BatchAction::Delete => self.match_ids(tx, items, &mut plan)?,
        }
        Ok(plan)
    }

    fn match_ids<'i>(
        &self,
        tx: &mut Tx<'_>,
        items: impl Iterator<Item = (usize, &'i Item)>,
        plan: &mut Plan,
    ) -> Result<()> {
        let wanted: Vec<(usize, Uuid, Option<i64>, &Changeset)> = items
            .filter_map(|(place, item)| match item {
                Item::Update(id, version, change) => Some((place, *id, *version, change)),
                _ => None,
            })
            .collect();
        let whole = wanted.iter().any(|(.., change)| change.values().is_empty());
        let ids = wanted.iter().map(|(_, id, ..)| *id).collect();
        let rows = sql::lock_rows(self.resource(), self.tenant, ids, whole).rows(tx)?;
        let there: HashMap<Uuid, &RawRow> = rows.iter().filter_map(|row| Some((row.uuid(0)?, row))).collect();
        for (place, id, version, change) in wanted {
            let Some(cells) = there.get(&id) else {
                plan.failed.push((place, crud::not_found(self.resource())));
                continue;
            };
            if version.is_some_and(|version| self.version(cells, whole) != Some(version)) {
                plan.failed.push((place, Error::PreconditionFailed));
            } else if change.values().is_empty() {
                plan.unchanged.push((place, id, row(self.resource(), cells)));
            } else {
                plan.drafts.push((place, PendingRow::new(id, change.clone())));
            }
        }
        Ok(())
    }

    fn version(&self, cells: &RawRow, whole: bool) -> Option<i64> {
        cells.int(if whole { self.resource().index("version")? } else { 1 })
    }

    fn match_keys<'i>(
        &self,
        tx: &mut Tx<'_>,
        items: impl Iterator<Item = (usize, &'i Item)>,
        plan: &mut Plan,
    ) -> Result<()> {
        let (resource, Some(key)) = (self.resource(), self.batch.key) else {
            return Err(Error::Internal("an upsert without a key".into()));
        };
        let wanted: Vec<(usize, &Upsert)> = items
            .filter_map(|(place, item)| if let Item::Upsert(upsert) = item { Some((place, upsert)) } else { None })
            .collect();
        // The whole row is needed only to compare fields that are set once.
        let whole = wanted.iter().any(|(_, upsert)| has_once(&upsert.known));
        let values = wanted.iter().map(|(_, upsert)| upsert.key.clone()).collect();
        let rows = sql::lock_rows_by_key(resource, self.tenant, key, values, whole).rows(tx)?;
        let last = if whole { resource.fields.len() } else { 2 };
        let there: HashMap<usize, &RawRow> =
            rows.iter().filter_map(|row| Some((row.int(last)? as usize - 1, row))).collect();
        let mut meant = HashMap::new();
        let mut new: Vec<(usize, &Upsert, PendingRow)> = Vec::new();
        for (number, (place, upsert)) in wanted.into_iter().enumerate() {
            let Some(cells) = there.get(&number) else {
                match &upsert.new {
                    Ok(change) => {
                        new.push((place, upsert, crud::new_row(self.tenant, self.resource(), change.clone())))
                    }
                    Err(faults) => plan.failed.push((place, Error::Invalid(faults.clone()))),
                }
                continue;
            };
            let id = cells.uuid(0).unwrap_or_default();
            // The database may fold more than `folded` does.
            if meant.insert(id, place).is_some() {
                let detail =
                    format!("An earlier item has this `{}` already. Put their fields into one item.", key.name);
                let fault = FieldError::new(format!("/{}", key.name), "duplicate", detail);
                plan.failed.push((place, Error::Invalid(vec![fault])));
                continue;
            }
            match unless_set_once(resource, upsert.known.clone(), cells) {
                Ok(change) if change.values().is_empty() => plan.unchanged.push((place, id, row(resource, cells))),
                Ok(change) => plan.drafts.push((place, PendingRow::new(id, change))),
                Err(faults) => plan.failed.push((place, Error::Invalid(faults))),
            }
        }
        // In the order of their keys, so that concurrent batches that create the same rows do not deadlock.
        new.sort_by_cached_key(|(_, upsert, _)| folded(key, &upsert.key));
        plan.drafts.extend(new.into_iter().map(|(place, _, draft)| (place, draft)));
        Ok(())
    }

    /// Checks references and runs the resource's `before` hook. Rejected rows are left out of the set.
    fn check(&self, tx: &mut Tx<'_>, plan: &mut Plan) -> Result<()> {
        if plan.drafts.is_empty() {
            return Ok(());
        }
        let (places, mut drafts): (Vec<usize>, Vec<PendingRow>) = std::mem::take(&mut plan.drafts).into_iter().unzip();
        references::check_all(tx, self.tenant, self.resource(), &mut drafts)?;
        (self.resource().hooks.before)(tx, self.tenant, &mut drafts)?;
        for (place, draft) in places.into_iter().zip(drafts) {
            match draft.into_result() {
                Ok(draft) => plan.drafts.push((place, draft)),
                Err(error) => plan.failed.push((place, error)),
            }
        }
        Ok(())
    }

    fn settle(&mut self, plan: Plan, rows: HashMap<Uuid, Row>) {
        let mut rows = rows;
        for (place, error) in plan.failed {
            self.fail(place, error);
        }
        for (place, id, row) in plan.unchanged {
            self.outcomes[place] = Some(Outcome::Updated(id, row));
        }
        for (place, draft) in plan.drafts {
            let outcome = match (rows.remove(&draft.id), draft.changes.creates) {
                (Some(row), true) => Outcome::Created(draft.id, row),
                (Some(row), false) => Outcome::Updated(draft.id, row),
                (None, _) => Outcome::Failed(crud::not_found(self.resource())),
            };
            self.outcomes[place] = Some(outcome);
        }
    }
}

/// Writes the remaining set: new rows, changed rows, and the effects of the `after` hook. Rows that have these values
/// already are read, in one statement for all.
fn put(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, plan: &Plan) -> Result<HashMap<Uuid, Row>> {
    let (new, known): (Vec<&PendingRow>, Vec<&PendingRow>) =
        plan.drafts.iter().map(|(_, draft)| draft).partition(|draft| draft.changes.creates);
    let mut written = HashMap::with_capacity(plan.drafts.len());
    for (drafts, statement) in [(known, sql::update as fn(&Resource, &Tenant, &[&PendingRow]) -> _), (new, sql::insert)]
    {
        if !drafts.is_empty() {
            for cells in statement(resource, tenant, &drafts).rows(tx)? {
                written.insert(cells.uuid(0).unwrap_or_default(), row(resource, &cells));
            }
        }
    }
    let (changed, same): (Vec<&PendingRow>, Vec<&PendingRow>) =
        plan.drafts.iter().map(|(_, draft)| draft).partition(|draft| written.contains_key(&draft.id));
    if !same.is_empty() {
        let ids = same.iter().map(|draft| draft.id).collect();
        for cells in select::by_ids(resource, tenant, &Projection::default(), ids).rows(tx)? {
            written.insert(cells.uuid(0).unwrap_or_default(), row(resource, &cells));
        }
    }
    if !changed.is_empty() {
        (resource.hooks.after)(tx, tenant, &changed)?;
    }
    Ok(written)
}

fn row(resource: &'static Resource, cells: &RawRow) -> Row {
    crud::row(resource, &Projection::default(), cells, &RelatedRows::default())
}

fn has_once(change: &Changeset) -> bool {
    change.values().iter().any(|(field, _)| field.mutability == Mutability::Once)
}

/// Returns `change` without the fields that are set once. Errors: those whose value differs from the row's.
fn unless_set_once(resource: &Resource, mut change: Changeset, cells: &RawRow) -> Result<Changeset, Vec<FieldError>> {
    let mut faults = Vec::new();
    for (place, field) in resource.fields.iter().enumerate().filter(|(_, field)| field.mutability == Mutability::Once) {
        let Some(given) = change.get_field(field.name).map(crate::db::SqlValue::to_json) else { continue };
        let mut shown = b"{".to_vec();
        row_json::members(&mut shown, resource.fields, cells, 0, Some(1 << place));
        shown.push(b'}');
        let is: Option<Json> = serde_json::from_slice(&shown).ok();
        if is.is_some_and(|is| is[field.name] != given) {
            let name = field.name;
            let detail = format!("`{name}` cannot be changed, and is another in the row that is there. Leave it out.");
            faults.push(FieldError::new(format!("/{name}"), "read_only", detail));
        }
        change.unset_field(field.name);
    }
    if faults.is_empty() { Ok(change) } else { Err(faults) }
}
