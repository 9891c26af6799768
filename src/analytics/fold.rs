//! The fold: adds what the triggers have counted to the sums, and keeps the days in the time zone of their business.
//!
//! It holds a lock of each business that it folds. What it removes from `stat_deltas` it adds to the sums in the same statement, so
//! a reader sees each change once, whenever it reads. A process that ends within a pass leaves everything as it was.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use parking_lot::Mutex;
use uuid::Uuid;

use super::fold_days::{boundaries, forget, rebuild};
use super::fold_sql::{
    BEHIND, DESCRIBED, DESCRIBED_DELTAS, DESCRIBED_FACTS, ELSEWHERE, FOLD, FOLD_AMOUNT, FOLD_DAY, FOLD_FACT,
    FOLD_TAKEN, GONE, TRY_LOCK,
};
use super::period::zone_or_utc;
use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::{Error, Result};
use crate::base::zones;
use crate::db::{Db, Statement, Tx};

/// Pause between passes: what is not folded is about this old, and readers add it up.
#[cfg(not(feature = "mutants"))]
const PAUSE: Duration = Duration::from_millis(400);
/// Passes of several processes meet more often.
#[cfg(feature = "mutants")]
const PAUSE: Duration = Duration::from_millis(20);
/// Businesses of one pass, whose locks it holds.
const MAX_BUSINESSES: u32 = 100;
/// Changes folded in one pass: a fraction of a second's work, also where each is of another conversation, which is read again, or has
/// as many facts as one may have (20).
const MAX_FOLDED: i64 = 2_000;
/// How often it looks for businesses whose days are of another zone or of other rules than they should be.
const ZONE_CHECK: Duration = Duration::from_secs(10);
/// Businesses whose days are made anew in one transaction.
const MAX_REBUILT: u32 = 10;
/// How long a process leaves a business to those with newer data of time zones, in seconds. After that there is none any more.
const NEWER_SECONDS: i64 = 60;

/// The task that folds.
pub fn task(db: Db) -> BackgroundTask {
    let fold =
        Rc::new(Fold { db, is_careful: Cell::new(false), limits: Arc::default(), zones_checked: Cell::new(None) });
    BackgroundTask::new("statistics", PAUSE, move || {
        let fold = fold.clone();
        async move { fold.run().await }
    })
}

struct Fold {
    db: Db,
    /// Whether the next pass folds one business after the other: after one that failed, so that a failing business does not keep the
    /// others.
    is_careful: Cell<bool>,
    /// How many changes are folded at once of businesses that have failed: half as many each time, as when it took too long.
    limits: Arc<Limits>,
    zones_checked: Cell<Option<Instant>>,
}

type Limits = Mutex<HashMap<Uuid, i64>>;

impl Fold {
    async fn run(&self) -> Result<TaskOutcome> {
        // Unless this pass succeeds.
        let (is_careful, limits) = (self.is_careful.replace(true), self.limits.clone());
        let limited = move |tx: &mut Tx<'_>| fold(tx, is_careful.then_some(&*limits));
        let pass = self.db.unscoped().write("statistics_fold", limited).await?;
        self.is_careful.set(!self.limits.lock().is_empty());
        if pass.has_more && pass.failed.is_none() {
            return Ok(TaskOutcome::Again);
        }
        if self.zones_checked.get().is_none_or(|checked| checked.elapsed() >= ZONE_CHECK) {
            if self.db.unscoped().write("statistics_zones", rebuild_outdated).await? && pass.failed.is_none() {
                return Ok(TaskOutcome::Again);
            }
            self.zones_checked.set(Some(Instant::now()));
        }
        pass.failed.map_or(Ok(TaskOutcome::Rest), Err)
    }
}

/// A business whose lock is held.
#[derive(QueryableByName)]
struct Business {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    /// `None`: it is gone.
    #[diesel(sql_type = Nullable<Text>)]
    time_zone: Option<String>,
    /// Of which zone its days are, by which rules of which release.
    #[diesel(sql_type = Nullable<Text>)]
    zone: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    rules: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    release: Option<String>,
    /// The changes to be folded, and how many seconds ago the first was made; `None`: there is none.
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    places: Option<Vec<i64>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    age: Option<i64>,
    /// The quarters in which they count.
    #[diesel(sql_type = Nullable<Array<Timestamptz>>)]
    quarters: Option<Vec<DateTime<Utc>>>,
}

impl Business {
    /// Whether its days are of its zone, by the rules of this process.
    fn is_current(&self) -> bool {
        let Some(time_zone) = &self.time_zone else { return true };
        self.zone.as_ref() == Some(time_zone) && self.rules.as_deref() == Some(&*zone_or_utc(time_zone).rules())
    }

    /// Whether processes with newer data of time zones keep it: two that differ would make its days anew in turns.
    fn is_of_newer(&self) -> bool {
        let is_newer = self.release.as_deref() > Some(zones::data().version.as_str());
        self.zone == self.time_zone && is_newer && self.age.unwrap_or_default() < NEWER_SECONDS
    }
}

/// What a pass has done.
#[derive(Default)]
struct Pass {
    has_more: bool,
    /// The error of a business that was left out.
    failed: Option<Error>,
}

/// Folds changes of some businesses; with `limits`, each within a savepoint of its own.
fn fold(tx: &mut Tx<'_>, limits: Option<&Limits>) -> Result<Pass> {
    // As TRUNCATE: the tables before the advisory locks.
    Statement::new("LOCK TABLE messages, conversation_closings IN ACCESS SHARE MODE").run(tx)?;
    let found = locked(tx, BEHIND)?;
    #[cfg(feature = "mutants")]
    crate::base::mutants::stall();
    let share = (MAX_FOLDED / (found.len().max(1) as i64)).max(1);
    let mut pass = Pass::default();
    let Some(limits) = limits else {
        pass.has_more = !found.is_empty() && fold_businesses(tx, &found, share)?;
        return Ok(pass);
    };
    for business in found {
        let limit = limits.lock().get(&business).copied().unwrap_or(share).min(share);
        match tx.savepoint(|tx| fold_businesses(tx, &[business], limit)) {
            Ok(has_more) => {
                pass.has_more |= has_more;
                let mut limits = limits.lock();
                // Slowly back to where it failed.
                match limit + limit / 8 + 1 {
                    whole if whole >= share => drop(limits.remove(&business)),
                    more => drop(limits.get_mut(&business).map(|limit| *limit = more)),
                }
            }
            Err(error) => {
                tracing::warn!(%business, %error, "the statistics of a business cannot be folded");
                limits.lock().insert(business, (limit / 2).max(1));
                pass.failed = Some(error);
            }
        }
    }
    Ok(pass)
}

/// Folds changes of businesses whose locks are held, `share` of each. Returns whether there is more to do. Queries: two, up to three for
/// each zone, and a few for each business whose days have to be made anew.
fn fold_businesses(tx: &mut Tx<'_>, found: &[Uuid], share: i64) -> Result<bool> {
    #[cfg(feature = "mutants")]
    forget_below_watermark(tx, found)?;
    let mut has_more = false;
    let mut zones: BTreeMap<String, ZoneChanges> = BTreeMap::new();
    let mut zone_of: BTreeMap<Uuid, String> = BTreeMap::new();
    // In a statement of its own: the snapshot of the one that locks may be older than what the last holder has committed.
    for business in described(tx, found, share)? {
        let Some(time_zone) = business.time_zone.clone() else {
            has_more |= forget(tx, business.id, business.places.unwrap_or_default())?;
            continue;
        };
        let is_current = business.is_current();
        if !is_current && business.is_of_newer() {
            continue;
        }
        if !is_current {
            rebuild(tx, business.id, &time_zone)?;
        }
        let places = business.places.unwrap_or_default();
        has_more |= places.len() as i64 >= share;
        #[cfg(feature = "mutants")]
        WATERMARKS.lock().extend(places.iter().map(|place| (business.id, *place)));
        zones.entry(time_zone.clone()).or_default().add(business.id, places, business.quarters.unwrap_or_default());
        zone_of.insert(business.id, time_zone);
    }
    #[cfg(feature = "mutants")]
    crate::base::mutants::stall();
    for TurnChange { business_id, place, quarters } in fold_turns(tx, zones.values())? {
        if let Some(changes) = zone_of.get(&business_id).and_then(|zone| zones.get_mut(zone)) {
            changes.add(business_id, vec![place], quarters);
        }
    }
    for (zone, ZoneChanges { businesses, places, quarters }) in zones {
        let (days, starts) = boundaries(&zone_or_utc(&zone), quarters.iter().map(DateTime::date_naive));
        let mut sql = Statement::new(FOLD_TAKEN);
        sql.bind(businesses).sql(", ").bind(places).sql(FOLD_DAY).bind(days).sql(")[width_bucket(f.at, ").bind(starts);
        if let Some(zeros) = sql.sql(FOLD_FACT).sql(amount()).sql(FOLD).first::<Zeros>(tx)? {
            remove_zeros(tx, "stat_quarters", zeros.quarters)?;
            remove_zeros(tx, "stat_days", zeros.days)?;
        }
    }
    Ok(has_more || found.len() >= MAX_BUSINESSES as usize)
}

/// Where the sums are that have become 0, such as that of messages which are sent, once all are read.
#[derive(QueryableByName)]
struct Zeros {
    #[diesel(sql_type = Array<Text>)]
    quarters: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    days: Vec<String>,
}

/// Removes rows that this transaction has written, and nobody else may write: it holds the locks of their businesses.
fn remove_zeros(tx: &mut Tx<'_>, table: &'static str, rows: Vec<String>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut sql = Statement::new("DELETE FROM ");
    sql.ident(table).sql(" WHERE ctid = ANY (").bind(rows).sql("::text[]::tid[]) AND n = 0 AND amount = 0").run(tx)?;
    Ok(())
}

/// What is to be folded of the businesses in a zone: changes, and the quarters in which they count.
#[derive(Default)]
struct ZoneChanges {
    businesses: Vec<Uuid>,
    places: Vec<i64>,
    quarters: Vec<DateTime<Utc>>,
}

impl ZoneChanges {
    fn add(&mut self, business: Uuid, places: Vec<i64>, quarters: Vec<DateTime<Utc>>) {
        self.businesses.extend(places.iter().map(|_| business));
        self.places.extend(places);
        self.quarters.extend(quarters);
    }
}

/// How turns differ from those that are counted, appended as a change; and the quarters in which it counts.
#[derive(QueryableByName)]
struct TurnChange {
    #[diesel(sql_type = SqlUuid)]
    business_id: Uuid,
    #[diesel(sql_type = BigInt)]
    place: i64,
    #[diesel(sql_type = Array<Timestamptz>)]
    quarters: Vec<DateTime<Utc>>,
}

/// The greatest place of each business that this process has folded.
#[cfg(feature = "mutants")]
static WATERMARKS: std::sync::LazyLock<parking_lot::Mutex<std::collections::HashMap<Uuid, i64>>> =
    std::sync::LazyLock::new(Default::default);

/// A mutant: takes what is up to the watermark for folded.
#[cfg(feature = "mutants")]
fn forget_below_watermark(tx: &mut Tx<'_>, businesses: &[Uuid]) -> Result<()> {
    if crate::base::mutants::is(crate::base::mutants::Mutant::WatermarkBySequence) {
        for business in businesses {
            let watermark = WATERMARKS.lock().get(business).copied().unwrap_or_default();
            let mut sql = Statement::new("DELETE FROM stat_deltas WHERE business_id = ");
            sql.bind(*business).sql(" AND place <= ").number(watermark).run(tx)?;
        }
    }
    Ok(())
}

/// Returns the amount of a change, or a deliberate bug.
fn amount() -> &'static str {
    #[cfg(feature = "mutants")]
    {
        use crate::base::mutants::{Mutant, is, stall};
        stall();
        if is(Mutant::AmountForgotten) {
            return "0::numeric AS amount";
        }
    }
    FOLD_AMOUNT
}

/// Makes the days anew of businesses that have changed their zone, or whose zone has other rules in the data of this process. Until
/// then readers use the quarters. Removes what is left of businesses that are gone, too. Returns whether there is more.
fn rebuild_outdated(tx: &mut Tx<'_>) -> Result<bool> {
    let mut found = locked(tx, ELSEWHERE)?;
    for known in Statement::new("SELECT DISTINCT zone, rules, release FROM stat_zones").load::<Rules>(tx)? {
        let is_newer = known.release.as_str() > zones::data().version.as_str();
        if !is_newer && known.rules != *zone_or_utc(&known.zone).rules() {
            let mut sql =
                Statement::new("WITH found AS MATERIALIZED (SELECT business_id FROM stat_zones WHERE zone = ");
            sql.bind(known.zone)
                .sql(" AND rules = ")
                .bind(known.rules)
                .sql(" LIMIT ")
                .number(MAX_REBUILT)
                .sql(TRY_LOCK);
            found.extend(sql.scalars::<Uuid>(tx)?);
        }
    }
    found.truncate(MAX_REBUILT as usize);
    // Some that are gone have no changes left by which the fold would find them.
    found.extend(locked(tx, GONE)?);
    let (known, gone): (Vec<Business>, Vec<Business>) =
        described(tx, &found, 0)?.into_iter().partition(|business| business.time_zone.is_some());
    let mut has_more = false;
    for business in gone {
        has_more |= forget(tx, business.id, business.places.unwrap_or_default())?;
    }
    let outdated: Vec<Business> = known.into_iter().filter(|business| !business.is_current()).collect();
    for business in &outdated {
        rebuild(tx, business.id, business.time_zone.as_deref().unwrap_or_default())?;
    }
    Ok(has_more || outdated.len() >= MAX_REBUILT as usize)
}

/// By which rules of a zone there are days.
#[derive(QueryableByName)]
struct Rules {
    #[diesel(sql_type = Text)]
    zone: String,
    #[diesel(sql_type = Text)]
    rules: String,
    #[diesel(sql_type = Text)]
    release: String,
}

/// Returns the businesses that `sql` finds and whose locks are free; they are held until the transaction ends.
fn locked(tx: &mut Tx<'_>, sql: &'static str) -> Result<Vec<Uuid>> {
    let most = if sql == BEHIND { MAX_BUSINESSES } else { MAX_REBUILT };
    let mut statement = Statement::new(sql);
    statement.sql(" LIMIT ").number(most);
    #[cfg(feature = "mutants")]
    if crate::base::mutants::is(crate::base::mutants::Mutant::FoldWithoutLock) {
        statement.sql(") SELECT business_id FROM found");
        return Ok(statement.scalars::<Uuid>(tx)?);
    }
    statement.sql(TRY_LOCK);
    Ok(statement.scalars::<Uuid>(tx)?)
}

/// Looks at the conversations again that changes are of, and appends how their turns differ.
fn fold_turns<'c>(tx: &mut Tx<'_>, changes: impl Iterator<Item = &'c ZoneChanges>) -> Result<Vec<TurnChange>> {
    let (mut businesses, mut places) = (Vec::<Uuid>::new(), Vec::<i64>::new());
    for change in changes {
        businesses.extend(&change.businesses);
        places.extend(&change.places);
    }
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = Statement::new("SELECT business_id, place, quarters FROM rapport_fold_turns(");
    sql.bind(businesses).sql(", ").bind(places).sql(")");
    Ok(sql.load::<TurnChange>(tx)?)
}

/// Reads what a pass has to know of businesses whose locks it holds.
fn described(tx: &mut Tx<'_>, businesses: &[Uuid], share: i64) -> Result<Vec<Business>> {
    let mut sql = Statement::new(DESCRIBED);
    sql.bind(businesses.to_vec()).sql(DESCRIBED_DELTAS).bind(share).sql(DESCRIBED_FACTS);
    Ok(sql.load::<Business>(tx)?)
}
