//! The figures of members as they were on the last night: one row for each member and window, made anew after each midnight of the
//! business.

use chrono::{DateTime, Days, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::pg::PgConnection;
use diesel::sql_types::{Date, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde::Serialize;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::agent_metrics::{WINDOWS, nothing, of_members, window};
use super::period::zone_or_utc;
use crate::auth::Tenant;
use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::{Error, Result};
use crate::db::{Db, Statement, Tx};

/// How long after midnight snapshots are made at most, besides the time that they take.
const PERIOD: std::time::Duration = std::time::Duration::from_secs(300);
/// Businesses in one transaction.
const MAX_BUSINESSES: u32 = 10;

/// The task that makes them.
pub fn task(db: Db) -> BackgroundTask {
    BackgroundTask::new("agent metrics", PERIOD, move || {
        let db = db.clone();
        async move {
            let made = db.unscoped().write("agent_metrics", |tx| make_due(tx, Utc::now())).await?;
            Ok(if made > 0 { TaskOutcome::Again } else { TaskOutcome::Rest })
        }
    })
}

/// Makes the snapshots of some businesses that have none of the last day. Returns of how many. Queries: two for each zone, and six for each
/// business.
fn make_due(tx: &mut Tx<'_>, now: DateTime<Utc>) -> Result<usize> {
    let zones: Vec<String> = Statement::new("SELECT DISTINCT time_zone FROM businesses").scalars(tx)?;
    let mut made = 0;
    for zone in zones {
        let Some(yesterday) = zone_or_utc(&zone).begun_day(now).and_then(|day| day.pred_opt()) else { continue };
        // SKIP LOCKED: another process makes those that it has locked.
        let mut sql = Statement::new("SELECT b.id FROM businesses b WHERE b.time_zone = ");
        sql.bind(zone.as_str())
            .sql(" AND EXISTS (SELECT FROM memberships m WHERE m.business_id = b.id AND NOT EXISTS (");
        sql.sql("SELECT FROM agent_metrics a WHERE a.business_id = b.id AND a.user_id = m.user_id AND a.time_zone = b.time_zone AND a.ends_on >= ");
        sql.bind(yesterday)
            .sql(")) ORDER BY b.id LIMIT ")
            .number(MAX_BUSINESSES)
            .sql(" FOR NO KEY UPDATE OF b SKIP LOCKED");
        for business in sql.scalars::<Uuid>(tx)? {
            make(tx, business, yesterday, &zone)?;
            made += 1;
        }
    }
    Ok(made)
}

fn make(tx: &mut Tx<'_>, business: Uuid, last: NaiveDate, zone: &str) -> Result<()> {
    for days in WINDOWS {
        let members = of_members(tx, business, &window(days, last, zone))?;
        let figures = json_of(&members)?;
        let nothing = json_of(&nothing())?;
        let mut sql = Statement::new(
            "INSERT INTO agent_metrics (business_id, user_id, window_days, ends_on, time_zone, figures) SELECT m.business_id, m.user_id, ",
        );
        sql.number(days)
            .sql(", ")
            .bind(last)
            .sql(", ")
            .bind(zone)
            .sql(", coalesce(")
            .bind(figures)
            .sql(" -> m.user_id::text, ")
            .bind(nothing);
        sql.sql(") FROM memberships m WHERE m.business_id = ").bind(business);
        sql.sql(" ON CONFLICT (business_id, user_id, window_days) DO UPDATE SET ends_on = excluded.ends_on, time_zone = excluded.time_zone, figures = excluded.figures, computed_at = now()");
        sql.run(tx)?;
    }
    Ok(())
}

fn json_of(figures: &impl Serialize) -> Result<Json> {
    serde_json::to_value(figures).map_err(|error| Error::Internal(error.to_string()))
}

#[derive(QueryableByName)]
struct Stored {
    #[diesel(sql_type = SqlUuid)]
    user_id: Uuid,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Date)]
    ends_on: NaiveDate,
    #[diesel(sql_type = Text)]
    time_zone: String,
    #[diesel(sql_type = Jsonb)]
    figures: Json,
    #[diesel(sql_type = Timestamptz)]
    computed_at: DateTime<Utc>,
}

/// Returns the snapshots of a window, in the form of live figures. Queries: one. Errors: 404 before the first.
pub fn read(conn: &mut PgConnection, tenant: &Tenant, window_days: i32) -> Result<Json> {
    let mut sql = Statement::new(
        "SELECT a.user_id, u.name, a.ends_on, a.time_zone, a.figures, a.computed_at FROM agent_metrics a \
         JOIN business_users u ON u.business_id = a.business_id AND u.id = a.user_id WHERE a.business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND a.window_days = ").number(window_days);
    if let Some(user) = tenant.restricted_to_user() {
        sql.sql(" AND a.user_id = ").bind(user);
    }
    let rows: Vec<Stored> = sql.sql(" ORDER BY u.created_at, u.id").load(conn)?;
    let newest = rows.iter().max_by_key(|row| row.computed_at).map(|row| (row.ends_on, row.time_zone.clone()));
    let Some((last, zone)) = newest else {
        return Err(Error::NotFound(
            "There is no snapshot yet: it is made after midnight. Leave `snapshot` out.".into(),
        ));
    };
    let as_of =
        rows.iter().map(|row| row.computed_at).max().map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
    let data: Vec<Json> = rows
        .into_iter()
        .map(|Stored { user_id, name, mut figures, .. }| {
            let mut row = json!({ "user_id": user_id, "name": name });
            if let (Some(row), Some(figures)) = (row.as_object_mut(), figures.as_object_mut()) {
                row.append(figures);
            }
            row
        })
        .collect();
    let from = last - Days::new(window_days.unsigned_abs().saturating_sub(1).into());
    Ok(json!({ "window_days": window_days, "from": from, "to": last, "time_zone": zone, "as_of": as_of, "data": data }))
}
