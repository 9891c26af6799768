//! The days of the fold: from which instant to which they are, made anew from the quarters, forgotten with their business.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use uuid::Uuid;

use super::period::zone_or_utc;
use crate::base::error::Result;
use crate::base::zones::{self, Zone};
use crate::db::{Statement, Tx};

/// Rows of a business that is gone, removed in one pass.
const MAX_FORGOTTEN: u32 = 20_000;

/// Returns the days about these dates (UTC), in order, and when they begin in the zone: a quarter of one of the dates is in the last
/// day that begins before its end. (The program's data, and not the server's, say when a day begins.)
pub fn boundaries(zone: &Zone, dates: impl Iterator<Item = NaiveDate>) -> (Vec<NaiveDate>, Vec<DateTime<Utc>>) {
    let dates: BTreeSet<NaiveDate> = dates.collect();
    let around = dates.into_iter().flat_map(|date| [date.pred_opt(), Some(date), date.succ_opt()]);
    let days: BTreeSet<NaiveDate> = around.flatten().collect();
    days.into_iter().filter_map(|day| Some((day, zone.day_start(day)?))).unzip()
}

/// Makes the days of a business from its quarters, in the zone of this name.
pub fn rebuild(tx: &mut Tx<'_>, business: Uuid, name: &str) -> Result<()> {
    let zone = zone_or_utc(name);
    let mut sql =
        Statement::new("SELECT DISTINCT (quarter AT TIME ZONE 'UTC')::date FROM stat_quarters WHERE business_id = ");
    let dates = sql.bind(business).scalars::<NaiveDate>(tx)?;
    let (days, starts) = boundaries(&zone, dates.into_iter());
    let mut sql = Statement::new("DELETE FROM stat_days WHERE business_id = ");
    sql.bind(business).run(tx)?;
    #[cfg(feature = "mutants")]
    crate::base::mutants::stall();
    let mut sql = Statement::new(
        "INSERT INTO stat_days (business_id, metric, day, dim, n, amount) SELECT business_id, metric, (",
    );
    sql.bind(days).sql(")[width_bucket(quarter, ").bind(starts);
    sql.sql(")], dim, sum(n), sum(amount) FROM stat_quarters WHERE business_id = ").bind(business);
    sql.sql(" GROUP BY 1, 2, 3, 4 HAVING sum(n) <> 0 OR sum(amount) <> 0").run(tx)?;
    let mut sql = Statement::new("INSERT INTO stat_zones (business_id, zone, rules, release) VALUES (");
    sql.bind(business).sql(", ").bind(name).sql(", ").bind(&*zone.rules()).sql(", ").bind(zones::data().version);
    sql.sql(") ON CONFLICT (business_id) DO UPDATE SET zone = excluded.zone, rules = excluded.rules, release = excluded.release, rebuilt_at = now()");
    sql.run(tx)?;
    Ok(())
}

/// Returns how many sums of days differ from those of their quarters, in the zone that the days are of; `None` where they are of other
/// rules than this process has, so that they are not read. Queries: three. To be called in a transaction with one snapshot.
pub fn wrong_days(conn: &mut PgConnection, business: Uuid) -> Result<Option<i64>> {
    let mut sql = Statement::new("SELECT concat_ws('|', rules, zone) FROM stat_zones WHERE business_id = ");
    let known = sql.bind(business).scalar::<String>(conn)?.unwrap_or_default();
    let read = known.split_once('|').filter(|(rules, name)| **rules == *zone_or_utc(name).rules());
    let Some((_, name)) = read else { return Ok(None) };
    let mut sql =
        Statement::new("SELECT DISTINCT (quarter AT TIME ZONE 'UTC')::date FROM stat_quarters WHERE business_id = ");
    let dates = sql.bind(business).scalars::<NaiveDate>(conn)?;
    let (days, starts) = boundaries(&zone_or_utc(name), dates.into_iter());
    let mut sql = Statement::new("SELECT count(*) FROM (SELECT FROM (SELECT metric, (");
    sql.bind(days).sql(")[width_bucket(quarter, ").bind(starts);
    sql.sql(")] AS day, dim, n, amount FROM stat_quarters WHERE business_id = ").bind(business);
    sql.sql(" UNION ALL SELECT metric, day, dim, -n, -amount FROM stat_days WHERE business_id = ").bind(business);
    sql.sql(") d GROUP BY metric, day, dim HAVING sum(n) <> 0 OR sum(amount) <> 0) w");
    Ok(sql.scalar::<i64>(conn)?)
}

/// Removes some of what is kept of a business that is gone: first the sums, at last the changes by which it is found, at `places`. Returns whether there
/// is more.
pub fn forget(tx: &mut Tx<'_>, business: Uuid, places: Vec<i64>) -> Result<bool> {
    for table in ["stat_turns", "stat_quarters", "stat_days", "stat_zones"] {
        let mut sql = Statement::new("DELETE FROM ");
        sql.ident(table).sql(" WHERE ctid = ANY (ARRAY(SELECT ctid FROM ").ident(table).sql(" WHERE business_id = ");
        if sql.bind(business).sql(" LIMIT ").number(MAX_FORGOTTEN).sql("))").run(tx)? > 0 {
            return Ok(true);
        }
    }
    // Those that were seen: should a business of this id be made again, its changes are others.
    let mut sql = Statement::new("DELETE FROM stat_deltas WHERE business_id = ");
    sql.bind(business).sql(" AND place = ANY (").bind(places).sql(")");
    Ok(sql.run(tx)? > 0)
}
