//! A batch at work, inside its transaction.

use std::collections::HashMap;

use diesel::result::{DatabaseErrorKind as Kind, Error as DbError};
use serde_json::Value as Json;
use uuid::Uuid;

use super::request::folded;
use super::statements as sql;
use super::{Act, Batch, Item, Outcome, Upsert};
use crate::auth::Tenant;
use crate::db::{Cells, Tx};
use crate::error::{Error, Fault, Result};
use crate::noun::body::MOST_FAULTS;
use crate::noun::params::View;
use crate::noun::store::{self, Related, Row};
use crate::noun::{Change, Draft, Noun, Written, json, links, select};

/// How often keys are looked up again where another writer has made a row meanwhile.
const MOST_RACES: usize = 3;

/// Does what `batch` says, item by item or not at all. Errors: those that are about no item, such as a deadlock.
pub fn run(tx: &mut Tx<'_>, tenant: &Tenant, batch: &Batch) -> Result<Vec<Outcome>> {
    let mut run = Run { batch, tenant, outcomes: batch.items.iter().map(|_| None).collect() };
    for (place, item) in batch.items.iter().enumerate() {
        if let Item::Wrong(faults) = item {
            run.fail(place, Error::Invalid(faults.clone()));
        }
    }
    let places: Vec<usize> = (0..batch.items.len()).filter(|place| run.outcomes[*place].is_none()).collect();
    match batch.act {
        Act::Delete => run.delete(tx, places)?,
        _ => run.write(tx, &places)?,
    }
    // What was not looked at any more stands beside enough that is wrong.
    let unseen = || Outcome::Failed(Error::Internal("an item that was not looked at".into()));
    Ok(run.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(unseen)).collect())
}

struct Run<'b> {
    batch: &'b Batch,
    tenant: &'b Tenant,
    /// By place.
    outcomes: Vec<Option<Outcome>>,
}

/// What a set comes to, once the rows that are there are known.
#[derive(Default)]
struct Plan {
    /// With their places.
    drafts: Vec<(usize, Draft)>,
    /// Rows that nothing changes.
    unchanged: Vec<(usize, Uuid, Row)>,
    failed: Vec<(usize, Error)>,
}

impl Run<'_> {
    fn noun(&self) -> &'static Noun {
        self.batch.noun
    }

    fn fail(&mut self, place: usize, error: Error) {
        self.outcomes[place] = Some(Outcome::Failed(error.explained()));
    }

    /// Whether so much is wrong already that more would not be told.
    fn is_lost(&self) -> bool {
        let failed = self.outcomes.iter().filter(|outcome| matches!(outcome, Some(Outcome::Failed(_)))).count();
        self.batch.all_or_none && failed >= MOST_FAULTS
    }

    fn delete(&mut self, tx: &mut Tx<'_>, places: Vec<usize>) -> Result<()> {
        let ids: Vec<(usize, Uuid)> = places
            .into_iter()
            .filter_map(|place| if let Item::Delete(id) = self.batch.items[place] { Some((place, id)) } else { None })
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let noun = self.noun();
        let there = sql::locked(noun, self.tenant, ids.iter().map(|(_, id)| *id).collect(), false).rows(tx)?;
        let there: Vec<Uuid> = there.iter().filter_map(|row| row.uuid(0)).collect();
        if !there.is_empty() {
            sql::delete(noun, self.tenant, there.clone()).run(tx)?;
            (noun.hooks.removed_or_restored)(tx, self.tenant, &there)?;
        }
        let there: std::collections::HashSet<Uuid> = there.into_iter().collect();
        for (place, id) in ids {
            match there.contains(&id) {
                true => self.outcomes[place] = Some(Outcome::Deleted(id)),
                false => self.fail(place, store::missing(noun)),
            }
        }
        Ok(())
    }

    /// Writes the items at `places` as one set, or as halves of it, until each that the database refuses stands alone.
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
            let error = match tx.savepoint(|tx| put(tx, self.tenant, self.batch.noun, &plan)) {
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
                // Another writer may have made a row with this key meanwhile: it is there to be changed now.
                (Kind::UniqueViolation, _) if self.batch.act == Act::Upsert && race == 1 => {}
                (Kind::UniqueViolation, [_]) if self.batch.act == Act::Upsert && race < MOST_RACES => {}
                // Above read committed the winner is not in our snapshot: only the transaction as a whole can see it. (Who
                // sees only their own rows would not see it then either.)
                (Kind::UniqueViolation, [_])
                    if self.batch.act == Act::Upsert
                        && self.tenant.sees_only().is_none()
                        && self.is_of_key(&error)
                        && tx.has_snapshot()? =>
                {
                    return Err(Error::outrun());
                }
                // As a whole again, which sees the winner and can name it.
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
        self.batch.key.is_some_and(|key| error.is_taken(&format!("{}_{}_key", self.noun().table, key.name)))
    }

    /// Finds and locks the rows that are there. Nothing is written yet, and nothing decided: halves are planned anew.
    fn plan(&self, tx: &mut Tx<'_>, places: &[usize]) -> Result<Plan> {
        let items = places.iter().map(|place| (*place, &self.batch.items[*place]));
        let mut plan = Plan::default();
        match self.batch.act {
            Act::Create => {
                for (place, item) in items {
                    if let Item::Create(change) = item {
                        plan.drafts.push((place, Draft::of_new(self.tenant, change.clone())));
                    }
                }
            }
            Act::Upsert => self.match_keys(tx, items, &mut plan)?,
            Act::Update | Act::Delete => self.match_ids(tx, items, &mut plan)?,
        }
        Ok(plan)
    }

    fn match_ids<'i>(
        &self,
        tx: &mut Tx<'_>,
        items: impl Iterator<Item = (usize, &'i Item)>,
        plan: &mut Plan,
    ) -> Result<()> {
        let wanted: Vec<(usize, Uuid, Option<i64>, &Change)> = items
            .filter_map(|(place, item)| match item {
                Item::Update(id, version, change) => Some((place, *id, *version, change)),
                _ => None,
            })
            .collect();
        let whole = wanted.iter().any(|(.., change)| change.values().is_empty());
        let ids = wanted.iter().map(|(_, id, ..)| *id).collect();
        let rows = sql::locked(self.noun(), self.tenant, ids, whole).rows(tx)?;
        let there: HashMap<Uuid, &Cells> = rows.iter().filter_map(|row| Some((row.uuid(0)?, row))).collect();
        for (place, id, version, change) in wanted {
            let Some(cells) = there.get(&id) else {
                plan.failed.push((place, store::missing(self.noun())));
                continue;
            };
            if version.is_some_and(|version| self.version(cells, whole) != Some(version)) {
                plan.failed.push((place, Error::Stale));
            } else if change.values().is_empty() {
                plan.unchanged.push((place, id, row(self.noun(), cells)));
            } else {
                plan.drafts.push((place, Draft::new(id, change.clone())));
            }
        }
        Ok(())
    }

    fn version(&self, cells: &Cells, whole: bool) -> Option<i64> {
        cells.int(if whole { self.noun().index("version")? } else { 1 })
    }

    fn match_keys<'i>(
        &self,
        tx: &mut Tx<'_>,
        items: impl Iterator<Item = (usize, &'i Item)>,
        plan: &mut Plan,
    ) -> Result<()> {
        let (noun, Some(key)) = (self.noun(), self.batch.key) else {
            return Err(Error::Internal("an upsert without a key".into()));
        };
        let wanted: Vec<(usize, &Upsert)> = items
            .filter_map(|(place, item)| if let Item::Upsert(upsert) = item { Some((place, upsert)) } else { None })
            .collect();
        // Only what is set once needs to be compared.
        let whole = wanted.iter().any(|(_, upsert)| has_once(&upsert.known));
        let values = wanted.iter().map(|(_, upsert)| upsert.key.clone()).collect();
        let rows = sql::locked_by_key(noun, self.tenant, key, values, whole).rows(tx)?;
        let last = if whole { noun.fields.len() } else { 2 };
        let there: HashMap<usize, &Cells> =
            rows.iter().filter_map(|row| Some((row.int(last)? as usize - 1, row))).collect();
        let mut meant = HashMap::new();
        let mut new: Vec<(usize, &Upsert, Draft)> = Vec::new();
        for (number, (place, upsert)) in wanted.into_iter().enumerate() {
            let Some(cells) = there.get(&number) else {
                match &upsert.new {
                    Ok(change) => new.push((place, upsert, Draft::of_new(self.tenant, change.clone()))),
                    Err(faults) => plan.failed.push((place, Error::Invalid(faults.clone()))),
                }
                continue;
            };
            let id = cells.uuid(0).unwrap_or_default();
            // The database may fold more than we do.
            if meant.insert(id, place).is_some() {
                let detail =
                    format!("An earlier item has this `{}` already. Put their fields into one item.", key.name);
                let fault = Fault::new(format!("/{}", key.name), "duplicate", detail);
                plan.failed.push((place, Error::Invalid(vec![fault])));
                continue;
            }
            match unless_set_once(upsert.known.clone(), cells) {
                Ok(change) if change.values().is_empty() => plan.unchanged.push((place, id, row(noun, cells))),
                Ok(change) => plan.drafts.push((place, Draft::new(id, change))),
                Err(faults) => plan.failed.push((place, Error::Invalid(faults))),
            }
        }
        // In the order of their keys, so that of those who make the same rows at once nobody waits in a circle.
        new.sort_by_cached_key(|(_, upsert, _)| folded(key, &upsert.key));
        plan.drafts.extend(new.into_iter().map(|(place, _, draft)| (place, draft)));
        Ok(())
    }

    /// Looks at links, and at what the noun says. What is refused is left out of the set.
    fn check(&self, tx: &mut Tx<'_>, plan: &mut Plan) -> Result<()> {
        if plan.drafts.is_empty() {
            return Ok(());
        }
        let (places, mut drafts): (Vec<usize>, Vec<Draft>) = std::mem::take(&mut plan.drafts).into_iter().unzip();
        links::follow_all(tx, self.tenant, &mut drafts)?;
        (self.noun().hooks.before)(tx, self.tenant, &mut drafts)?;
        for (place, draft) in places.into_iter().zip(drafts) {
            match draft.settled() {
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
            let outcome = match (rows.remove(&draft.id), draft.change.creates) {
                (Some(row), true) => Outcome::Created(draft.id, row),
                (Some(row), false) => Outcome::Updated(draft.id, row),
                (None, _) => Outcome::Failed(store::missing(self.noun())),
            };
            self.outcomes[place] = Some(outcome);
        }
    }
}

/// Writes what is left of the set: new rows, changed rows, and what follows from them. Rows that have these values already are
/// read, in one statement for all.
fn put(tx: &mut Tx<'_>, tenant: &Tenant, noun: &'static Noun, plan: &Plan) -> Result<HashMap<Uuid, Row>> {
    let (new, known): (Vec<&Draft>, Vec<&Draft>) =
        plan.drafts.iter().map(|(_, draft)| draft).partition(|draft| draft.change.creates);
    let mut written = HashMap::with_capacity(plan.drafts.len());
    for (drafts, statement) in [(known, sql::update as fn(&Noun, &Tenant, &[&Draft]) -> _), (new, sql::insert)] {
        if !drafts.is_empty() {
            for cells in statement(noun, tenant, &drafts).rows(tx)? {
                written.insert(cells.uuid(0).unwrap_or_default(), row(noun, &cells));
            }
        }
    }
    let (changed, same): (Vec<&Draft>, Vec<&Draft>) =
        plan.drafts.iter().map(|(_, draft)| draft).partition(|draft| written.contains_key(&draft.id));
    if !same.is_empty() {
        let ids = same.iter().map(|draft| draft.id).collect();
        for cells in select::by_ids(noun, tenant, &View::default(), ids).rows(tx)? {
            written.insert(cells.uuid(0).unwrap_or_default(), row(noun, &cells));
        }
    }
    if !changed.is_empty() {
        (noun.hooks.after)(tx, tenant, &changed)?;
    }
    Ok(written)
}

fn row(noun: &'static Noun, cells: &Cells) -> Row {
    store::row(noun, &View::default(), cells, &Related::default())
}

fn has_once(change: &Change) -> bool {
    change.values().iter().any(|(field, _)| field.written == Written::Once)
}

/// `change` without the fields that are set once. Errors: those that the row has otherwise.
fn unless_set_once(mut change: Change, cells: &Cells) -> Result<Change, Vec<Fault>> {
    let mut faults = Vec::new();
    for (place, field) in change.noun.fields.iter().enumerate().filter(|(_, field)| field.written == Written::Once) {
        let Some(given) = change.get(field.name).map(crate::db::Value::to_json) else { continue };
        let mut shown = b"{".to_vec();
        json::members(&mut shown, change.noun.fields, cells, 0, Some(1 << place));
        shown.push(b'}');
        let is: Option<Json> = serde_json::from_slice(&shown).ok();
        if is.is_some_and(|is| is[field.name] != given) {
            let name = field.name;
            let detail = format!("`{name}` cannot be changed, and is another in the row that is there. Leave it out.");
            faults.push(Fault::new(format!("/{name}"), "read_only", detail));
        }
        change.unset(field.name);
    }
    if faults.is_empty() { Ok(change) } else { Err(faults) }
}
