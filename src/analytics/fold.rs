//! The fold: adds what the triggers have counted to the sums, and keeps the days in the time zone of their business.
//!
//! It holds a lock of each business that it folds. What it removes from `stat_deltas` it adds to the sums in the same statement, so
//! a reader sees each change once, whenever it reads. A process that ends within a pass leaves everything as it was.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::period::zone_or_utc;
use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::base::zones::{self, Zone};
use crate::db::{Db, Statement, Tx};

/// Pause between passes: what is not folded is about this old, and readers add it up.
const PAUSE: Duration = Duration::from_millis(400);
/// Businesses of one pass, whose locks it holds.
const MAX_BUSINESSES: u32 = 100;
/// Changes folded in one pass: a fraction of a second's work.
const MAX_FOLDED: i64 = 20_000;
/// How often it looks for businesses whose days are of another zone or of other rules than they should be.
const ZONE_CHECK: Duration = Duration::from_secs(10);
/// Businesses whose days are made anew in one transaction.
const MAX_REBUILT: u32 = 10;
/// How long a process leaves a business to those with newer data of time zones, in seconds. After that there is none any more.
const NEWER_SECONDS: i64 = 60;

/// The task that folds.
pub fn task(db: Db) -> BackgroundTask {
    let fold = Rc::new(Fold { db, most: Cell::new(MAX_FOLDED), zones_checked: Cell::new(None) });
    BackgroundTask::new("statistics", PAUSE, move || {
        let fold = fold.clone();
        async move { fold.run().await }
    })
}

struct Fold {
    db: Db,
    /// Changes that the next pass folds: fewer after one that failed, as when it took too long.
    most: Cell<i64>,
    zones_checked: Cell<Option<Instant>>,
}

impl Fold {
    async fn run(&self) -> Result<TaskOutcome> {
        let most = self.most.get();
        self.most.set((most / 2).max(1));
        let has_more = self.db.unscoped().write("statistics_fold", move |tx| fold(tx, most)).await?;
        self.most.set((most * 2).min(MAX_FOLDED));
        if has_more {
            return Ok(TaskOutcome::Again);
        }
        if self.zones_checked.get().is_none_or(|checked| checked.elapsed() >= ZONE_CHECK) {
            let rebuilt = self.db.unscoped().write("statistics_zones", rebuild_outdated).await?;
            if rebuilt >= i64::from(MAX_REBUILT) {
                return Ok(TaskOutcome::Again);
            }
            self.zones_checked.set(Some(Instant::now()));
        }
        Ok(TaskOutcome::Rest)
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

/// Folds changes of some businesses, at most about `most`. Returns whether there is more to do. Queries: four, one for each zone, and a
/// few for each business whose days have to be made anew.
fn fold(tx: &mut Tx<'_>, most: i64) -> Result<bool> {
    let found = locked(tx, BEHIND)?;
    #[cfg(feature = "mutants")]
    forget_below_watermark(tx, &found)?;
    if found.is_empty() {
        return Ok(false);
    }
    let share = (most / (found.len() as i64)).max(1);
    // In statements of their own: the snapshot of the one that locks may be older than what the last holder has committed.
    let turns = fold_turns(tx, &found, share)?;
    let (mut zones, mut folded): (BTreeMap<String, ZoneChanges>, usize) = Default::default();
    for business in described(tx, &found, share)? {
        let Some(time_zone) = business.time_zone.clone() else {
            forget(tx, business.id)?;
            continue;
        };
        let is_current = business.is_current();
        if !is_current && business.is_of_newer() {
            continue;
        }
        if !is_current {
            rebuild(tx, &business)?;
        }
        let changes = zones.entry(time_zone).or_default();
        for place in business.places.into_iter().flatten() {
            #[cfg(feature = "mutants")]
            WATERMARKS.lock().insert(business.id, place);
            changes.businesses.push(business.id);
            changes.places.push(place);
            folded += 1;
        }
        changes.quarters.extend(business.quarters.into_iter().flatten());
    }
    for (zone, ZoneChanges { businesses, places, quarters }) in zones {
        let (days, starts) = boundaries(&zone_or_utc(&zone), quarters.iter().map(DateTime::date_naive));
        let mut sql = Statement::new(FOLD_TAKEN);
        sql.bind(businesses).sql(", ").bind(places).sql(FOLD_DAY).bind(days).sql(")[width_bucket(d.at, ").bind(starts);
        sql.sql(fold_statement()).run(tx)?;
    }
    let is_full = |count: i64| count >= share;
    Ok(is_full(turns) || is_full(folded as i64) || folded > 0 && found.len() >= MAX_BUSINESSES as usize)
}

/// What is to be folded of the businesses in a zone: changes, and the quarters in which they count.
#[derive(Default)]
struct ZoneChanges {
    businesses: Vec<Uuid>,
    places: Vec<i64>,
    quarters: Vec<DateTime<Utc>>,
}

/// Returns the days about these dates (UTC), in order, and when they begin in the zone: a quarter of one of the dates is in the last
/// day that begins before its end. (The program's data, and not the server's, say when a day begins.)
fn boundaries(zone: &Zone, dates: impl Iterator<Item = NaiveDate>) -> (Vec<NaiveDate>, Vec<DateTime<Utc>>) {
    let dates: BTreeSet<NaiveDate> = dates.collect();
    let around = dates.into_iter().flat_map(|date| [date.pred_opt(), Some(date), date.succ_opt()]);
    let days: BTreeSet<NaiveDate> = around.flatten().collect();
    days.into_iter().filter_map(|day| Some((day, zone.day_start(day)?))).unzip()
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

/// Returns [`FOLD`], or one with a deliberate bug.
fn fold_statement() -> &'static str {
    #[cfg(feature = "mutants")]
    {
        use crate::base::mutants::{Mutant, is, stall};
        stall();
        if is(Mutant::AmountForgotten) {
            return FOLD_WITHOUT_AMOUNT;
        }
    }
    FOLD
}

/// Makes the days anew of businesses that have changed their zone, or whose zone has other rules in the data of this process. Until
/// then readers use the quarters. Returns how many.
fn rebuild_outdated(tx: &mut Tx<'_>) -> Result<i64> {
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
    let outdated: Vec<Business> = described(tx, &found, 0)?.into_iter().filter(|b| !b.is_current()).collect();
    for business in &outdated {
        rebuild(tx, business)?;
    }
    Ok(outdated.len() as i64)
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

/// Looks at the conversations again in which messages have changed, and appends how their turns differ. Returns how many changes
/// that were.
fn fold_turns(tx: &mut Tx<'_>, businesses: &[Uuid], most: i64) -> Result<i64> {
    let mut sql = Statement::new("SELECT rapport_fold_turns(");
    sql.bind(businesses.to_vec()).sql(", ").bind(most).sql(")");
    Ok(sql.scalar::<i64>(tx)?.unwrap_or_default())
}

/// Reads what a pass has to know of businesses whose locks it holds.
fn described(tx: &mut Tx<'_>, businesses: &[Uuid], share: i64) -> Result<Vec<Business>> {
    let mut sql = Statement::new(DESCRIBED);
    sql.bind(businesses.to_vec()).sql(DESCRIBED_DELTAS).bind(share).sql(") d) d");
    Ok(sql.load::<Business>(tx)?)
}

/// Makes the days of a business from its quarters.
fn rebuild(tx: &mut Tx<'_>, business: &Business) -> Result<()> {
    let name = business.time_zone.as_deref().unwrap_or_default();
    let zone = zone_or_utc(name);
    let mut sql =
        Statement::new("SELECT DISTINCT (quarter AT TIME ZONE 'UTC')::date FROM stat_quarters WHERE business_id = ");
    let dates = sql.bind(business.id).scalars::<NaiveDate>(tx)?;
    let (days, starts) = boundaries(&zone, dates.into_iter());
    let mut sql = Statement::new("DELETE FROM stat_days WHERE business_id = ");
    sql.bind(business.id).run(tx)?;
    #[cfg(feature = "mutants")]
    crate::base::mutants::stall();
    let mut sql = Statement::new(
        "INSERT INTO stat_days (business_id, metric, day, dim, n, amount) SELECT business_id, metric, (",
    );
    sql.bind(days).sql(")[width_bucket(quarter, ").bind(starts);
    sql.sql(")], dim, sum(n), sum(amount) FROM stat_quarters WHERE business_id = ").bind(business.id);
    sql.sql(" GROUP BY 1, 2, 3, 4").run(tx)?;
    let mut sql = Statement::new("INSERT INTO stat_zones (business_id, zone, rules, release) VALUES (");
    sql.bind(business.id).sql(", ").bind(name).sql(", ").bind(&*zone.rules()).sql(", ").bind(zones::data().version);
    sql.sql(") ON CONFLICT (business_id) DO UPDATE SET zone = excluded.zone, rules = excluded.rules, release = excluded.release, rebuilt_at = now()");
    sql.run(tx)?;
    Ok(())
}

/// Removes what is kept of a business that is gone.
fn forget(tx: &mut Tx<'_>, business: Uuid) -> Result<()> {
    for table in ["stat_changed_conversations", "stat_turns", "stat_deltas", "stat_quarters", "stat_days", "stat_zones"]
    {
        let mut sql = Statement::new("DELETE FROM ");
        sql.ident(table).sql(" WHERE business_id = ").bind(business).run(tx)?;
    }
    Ok(())
}

/// Businesses with changes to be folded: one look into the index for each, however many changes they have.
const BEHIND: &str = "WITH RECURSIVE counted AS (
        (SELECT business_id FROM stat_deltas ORDER BY business_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.business_id FROM stat_deltas d WHERE d.business_id > b.business_id ORDER BY d.business_id LIMIT 1)
        FROM counted b WHERE b.business_id IS NOT NULL
    ), changed AS (
        (SELECT business_id FROM stat_changed_conversations ORDER BY business_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.business_id FROM stat_changed_conversations d WHERE d.business_id > b.business_id ORDER BY d.business_id LIMIT 1)
        FROM changed b WHERE b.business_id IS NOT NULL
    ), found AS MATERIALIZED (
        SELECT business_id FROM (SELECT business_id FROM counted UNION SELECT business_id FROM changed) b WHERE business_id IS NOT NULL";

/// Businesses whose days are of another zone than theirs.
const ELSEWHERE: &str = "WITH found AS MATERIALIZED (
        SELECT b.id AS business_id FROM businesses b LEFT JOIN stat_zones z ON z.business_id = b.id
        WHERE z.zone IS DISTINCT FROM b.time_zone";

const TRY_LOCK: &str =
    ") SELECT business_id FROM found WHERE pg_try_advisory_xact_lock(rapport_statistics_lock(business_id))";

const DESCRIBED: &str =
    "SELECT k.id, b.time_zone, z.zone, z.rules, z.release, d.places, d.age, d.quarters FROM unnest(";
const DESCRIBED_DELTAS: &str = "::uuid[]) k (id)
    LEFT JOIN businesses b ON b.id = k.id LEFT JOIN stat_zones z ON z.business_id = k.id
    CROSS JOIN LATERAL (
        SELECT array_agg(place) AS places, extract(epoch FROM now() - min(added_at))::bigint AS age, array_agg(DISTINCT at) AS quarters
        FROM (SELECT place, at, added_at FROM stat_deltas WHERE business_id = k.id ORDER BY place LIMIT ";

/// What is added to the sums is what is removed here: a change that commits later, with a smaller place, is taken by a later pass.
const FOLD_TAKEN: &str = "WITH taken AS (DELETE FROM stat_deltas d USING unnest(";
const FOLD_DAY: &str = ") k (business_id, place) WHERE d.business_id = k.business_id AND d.place = k.place
        RETURNING d.business_id, d.metric, d.at, (";
const FOLD: &str = ")] AS day, d.dim, d.n, d.amount
    ), summed AS MATERIALIZED (
        SELECT business_id, metric, at, day, dim, sum(n) AS n, sum(amount) AS amount FROM taken
        GROUP BY 1, 2, 3, 4, 5 HAVING sum(n) <> 0 OR sum(amount) <> 0
    ), quarters AS (
        INSERT INTO stat_quarters AS q (business_id, metric, quarter, dim, n, amount)
        SELECT business_id, metric, at, dim, n, amount FROM summed
        ON CONFLICT (business_id, metric, quarter, dim) DO UPDATE SET n = q.n + excluded.n, amount = q.amount + excluded.amount
    )
    INSERT INTO stat_days AS d (business_id, metric, day, dim, n, amount)
    SELECT business_id, metric, day, dim, sum(n), sum(amount) FROM summed GROUP BY 1, 2, 3, 4
    ON CONFLICT (business_id, metric, day, dim) DO UPDATE SET n = d.n + excluded.n, amount = d.amount + excluded.amount";

/// A mutant: sums whose amount stays what it was.
#[cfg(feature = "mutants")]
const FOLD_WITHOUT_AMOUNT: &str = ")] AS day, d.dim, d.n, d.amount
    ), summed AS MATERIALIZED (
        SELECT business_id, metric, at, day, dim, sum(n) AS n, sum(amount) AS amount FROM taken
        GROUP BY 1, 2, 3, 4, 5 HAVING sum(n) <> 0 OR sum(amount) <> 0
    ), quarters AS (
        INSERT INTO stat_quarters AS q (business_id, metric, quarter, dim, n, amount)
        SELECT business_id, metric, at, dim, n, amount FROM summed
        ON CONFLICT (business_id, metric, quarter, dim) DO UPDATE SET n = q.n + excluded.n
    )
    INSERT INTO stat_days AS d (business_id, metric, day, dim, n, amount)
    SELECT business_id, metric, day, dim, sum(n), sum(amount) FROM summed GROUP BY 1, 2, 3, 4
    ON CONFLICT (business_id, metric, day, dim) DO UPDATE SET n = d.n + excluded.n";
