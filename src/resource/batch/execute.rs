//! Executes a batch inside its transaction.

use std::collections::{HashMap, HashSet};

use diesel::result::{DatabaseErrorKind as Kind, Error as DbError};
use uuid::Uuid;

use super::action::BatchAction;
use super::items::{Batch, Item, Returning, Upsert};
use super::outcome::Outcome;
use super::parse::folded;
use super::single::new_row;
use super::sql;
use super::write_set::{check, check_repeated, put, row};
use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::db::{RawRow, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::body::{Changeset, MAX_ERRORS};
use crate::resource::definition::Resource;
use crate::resource::list_query::Projection;
use crate::resource::pending_row::PendingRow;
use crate::resource::row::Row;
use crate::resource::{read_rows, row_json};

/// How often an upsert is tried where other writers create rows with its keys meanwhile.
const MAX_UPSERT_ATTEMPTS: usize = 3;

/// Executes `batch` and returns each item's outcome. Errors: those that concern no single item, such as a deadlock.
pub fn execute(tx: &mut Tx<'_>, tenant: &Tenant, batch: &Batch) -> Result<Vec<Outcome>> {
    let outcomes = batch.items.iter().map(|_| None).collect();
    let mut run = Run { batch, tenant, outcomes, rows: HashSet::new() };
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

/// Runs `batch`, and returns for each item the id and the version of its row as it is now, or why it was rejected. Errors:
/// those that concern no single item.
pub fn written(tx: &mut Tx<'_>, tenant: &Tenant, batch: &Batch) -> Result<Vec<Result<(Uuid, i64)>>> {
    let row = |outcome| match outcome {
        Outcome::Created(id, row) | Outcome::Updated(id, row) => Ok((id, row.version)),
        Outcome::Deleted(id) => Ok((id, 0)),
        Outcome::Failed(error) => Err(error),
    };
    Ok(execute(tx, tenant, batch)?.into_iter().map(row).collect())
}

struct Run<'b> {
    batch: &'b Batch,
    tenant: &'b Tenant,
    /// By position.
    outcomes: Vec<Option<Outcome>>,
    /// Rows of earlier items.
    rows: HashSet<Uuid>,
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
        let wanted: Vec<(usize, Uuid, IfMatch)> = places
            .into_iter()
            .filter_map(|place| match self.batch.items[place] {
                Item::Delete(id, expected) => Some((place, id, expected)),
                _ => None,
            })
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let resource = self.resource();
        let ids = wanted.iter().map(|(_, id, _)| *id).collect();
        let there = sql::lock_rows(resource, self.tenant, ids, Returning::Versions).rows(tx)?;
        let there: HashMap<Uuid, i64> =
            there.iter().map(|row| (row_json::id(row), row_json::version_after_id(row))).collect();
        let mut ids = Vec::with_capacity(there.len());
        for (place, id, expected) in wanted {
            match there.get(&id) {
                None => self.fail(place, read_rows::not_found(resource)),
                Some(version) if !expected.allows(Some(*version)) => self.fail(place, Error::PreconditionFailed),
                Some(_) => {
                    ids.push(id);
                    self.outcomes[place] = Some(Outcome::Deleted(id));
                }
            }
        }
        if !ids.is_empty() {
            sql::delete(resource, self.tenant, ids.clone(), IfMatch::ANY).run(tx)?;
            (resource.hooks.removed_or_restored)(tx, self.tenant, &ids)?;
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
            let error = match tx.savepoint(|tx| self.put(tx, &plan)) {
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
                    if let Item::Create(id, change) = item {
                        plan.drafts.push((place, new_row(self.tenant, self.resource(), *id, change.clone())));
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
        let wanted: Vec<(usize, Uuid, IfMatch, &Changeset)> = items
            .filter_map(|(place, item)| match item {
                Item::Update(id, expected, change) => Some((place, *id, *expected, change)),
                _ => None,
            })
            .collect();
        let returning = whole_if(wanted.iter().any(|(.., change)| change.is_empty() || !change.repeated().is_empty()));
        let ids = wanted.iter().map(|(_, id, ..)| *id).collect();
        let rows = sql::lock_rows(self.resource(), self.tenant, ids, returning).rows(tx)?;
        let there: HashMap<Uuid, &RawRow> = rows.iter().map(|row| (row_json::id(row), row)).collect();
        for (place, id, expected, change) in wanted {
            let Some(cells) = there.get(&id) else {
                plan.failed.push((place, read_rows::not_found(self.resource())));
                continue;
            };
            let own = row(self.resource(), cells, returning);
            if !expected.allows(Some(own.version)) {
                plan.failed.push((place, Error::PreconditionFailed));
            } else if let Err(faults) = check_repeated(self.resource(), change, cells) {
                plan.failed.push((place, Error::Invalid(faults)));
            } else if change.is_empty() {
                plan.unchanged.push((place, id, own));
            } else {
                plan.drafts.push((place, PendingRow::new(id, change.clone())));
            }
        }
        Ok(())
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
        let whole =
            whole_if(wanted.iter().any(|(_, upsert)| upsert.known.is_empty() || !upsert.known.repeated().is_empty()));
        let values = wanted.iter().map(|(_, upsert)| upsert.key.clone()).collect();
        let rows = sql::lock_rows_by_key(resource, self.tenant, key, values, whole).rows(tx)?;
        let last = if whole == Returning::Rows { resource.fields.len() } else { 2 };
        let there: HashMap<usize, &RawRow> =
            rows.iter().filter_map(|row| Some((row.int(last)? as usize - 1, row))).collect();
        let mut meant = HashSet::new();
        let mut new: Vec<(usize, &Upsert, PendingRow)> = Vec::new();
        for (number, (place, upsert)) in wanted.into_iter().enumerate() {
            let Some(cells) = there.get(&number) else {
                match &upsert.new {
                    Ok(change) => {
                        new.push((place, upsert, new_row(self.tenant, resource, Uuid::now_v7(), change.clone())))
                    }
                    Err(faults) => plan.failed.push((place, Error::Invalid(faults.clone()))),
                }
                continue;
            };
            let id = row_json::id(cells);
            // The database may fold more than `folded` does.
            if self.rows.contains(&id) || !meant.insert(id) {
                let detail =
                    format!("An earlier item has this `{}` already. Put their fields into one item.", key.name);
                let fault = FieldError::new(format!("/{}", key.name), "duplicate", detail);
                plan.failed.push((place, Error::Invalid(vec![fault])));
                continue;
            }
            match check_repeated(resource, &upsert.known, cells) {
                Err(faults) => plan.failed.push((place, Error::Invalid(faults))),
                Ok(()) if upsert.known.is_empty() => plan.unchanged.push((place, id, row(resource, cells, whole))),
                Ok(()) => plan.drafts.push((place, PendingRow::new(id, upsert.known.clone()))),
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
        check(tx, self.tenant, self.resource(), &mut drafts)?;
        for (place, draft) in places.into_iter().zip(drafts) {
            match draft.into_result() {
                Ok(draft) => plan.drafts.push((place, draft)),
                Err(error) => plan.failed.push((place, error)),
            }
        }
        Ok(())
    }

    fn put(&self, tx: &mut Tx<'_>, plan: &Plan) -> Result<HashMap<Uuid, Row>> {
        let rows: Vec<&PendingRow> = plan.drafts.iter().map(|(_, pending)| pending).collect();
        let mut written = put(tx, self.tenant, self.resource(), &rows, self.batch.returning)?;
        // Of a set of one, `put` leaves open why it was not written: the row is locked, so it has all values already.
        if let ([only], true) = (rows.as_slice(), written.is_empty())
            && let Some(row) = read_rows::one(tx, self.tenant, self.resource(), only.id, &Projection::default())?
        {
            written.insert(only.id, row);
        }
        Ok(written)
    }

    fn settle(&mut self, plan: Plan, rows: HashMap<Uuid, Row>) {
        let mut rows = rows;
        for (place, error) in plan.failed {
            self.fail(place, error);
        }
        for (place, id, row) in plan.unchanged {
            self.rows.insert(id);
            self.outcomes[place] = Some(Outcome::Updated(id, row));
        }
        for (place, draft) in plan.drafts {
            self.rows.insert(draft.id);
            let outcome = match (rows.remove(&draft.id), draft.changes.creates) {
                (Some(row), true) => Outcome::Created(draft.id, row),
                (Some(row), false) => Outcome::Updated(draft.id, row),
                (None, _) => Outcome::Failed(read_rows::not_found(self.resource())),
            };
            self.outcomes[place] = Some(outcome);
        }
    }
}

/// Whole rows where they are needed, otherwise their versions.
fn whole_if(needed: bool) -> Returning {
    if needed { Returning::Rows } else { Returning::Versions }
}
