//! `rapport statistics check`: compares the statistics with the rows that they count.

use diesel::QueryableByName;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::sql_types::{BigInt, Text};
use uuid::Uuid;

use super::api_key;
use crate::analytics;
use crate::base::error::BoxError;
use crate::db::database_target::DatabaseTarget;
use crate::db::embedded::Absent;
use crate::db::{DatabaseArgs, Statement};

/// Differences that are printed.
const PRINTED: i64 = 20;

#[derive(QueryableByName)]
struct Difference {
    #[diesel(sql_type = Text)]
    line: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Prints which sums differ from a recount, of the business `slug` or of all; `repair`: and corrects them. Writers go on meanwhile.
/// Errors: explained; that sums differ, unless they are corrected.
pub fn check(database: &DatabaseArgs, slug: Option<&str>, repair: bool) -> Result<(), BoxError> {
    // Kept to the end: where it has started the private server, that stops with it.
    let target = DatabaseTarget::open_beside(database, Absent::Refuse)?;
    let mut conn = target.connect_migrated()?;
    let business = match slug {
        Some(slug) => {
            let known = api_key::business(&mut conn, slug)?;
            Some(known.ok_or_else(|| format!("there is no business `{slug}`"))?)
        }
        None => None,
    };
    // A recount reads every row, in one snapshot.
    conn.batch_execute("SET statement_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
    let (found, days) = (differences(&mut conn, business)?, wrong_days(&mut conn, business)?);
    conn.batch_execute("COMMIT")?;
    let count = found.first().map_or(0, |difference| difference.count);
    found.iter().for_each(|difference| println!("{}", difference.line));
    if count > PRINTED {
        println!("… and {} more", count - PRINTED);
    }
    for (business, wrong) in &days {
        let mut sql = Statement::new("SELECT slug FROM businesses WHERE id = ");
        let slug = sql.bind(*business).scalar::<String>(&mut conn)?.unwrap_or_else(|| business.to_string());
        println!("{slug}: {wrong} sums of days differ from their quarters of an hour");
    }
    if count == 0 && days.is_empty() {
        println!("The statistics are equal to the recount.");
        return Ok(());
    }
    if !repair {
        let detail = "`--repair` corrects them";
        return Err(format!(
            "sums that differ from the recount: {count}; businesses with days that differ: {}. {detail}",
            days.len()
        )
        .into());
    }
    println!("Sums corrected: {}.", correct(&mut conn, business)?);
    let businesses: Vec<Uuid> = days.into_iter().map(|(business, _)| business).collect();
    if !businesses.is_empty() {
        // Read from the quarters until a process that folds has made them anew, in a moment.
        let mut sql = Statement::new("DELETE FROM stat_zones WHERE business_id = ANY (");
        println!("Businesses whose days are made anew: {}.", sql.bind(businesses).sql(")").run(&mut conn)?);
    }
    Ok(())
}

fn differences(conn: &mut PgConnection, business: Option<Uuid>) -> Result<Vec<Difference>, BoxError> {
    let mut sql = Statement::new(
        "SELECT concat_ws(' ', coalesce(b.slug, d.business_id::text), d.metric, nullif(d.dim, ''), to_json(d.at)#>>'{}') || ': ' \
         || concat_ws(', ', nullif(format('%s too few', d.n), '0 too few'), nullif(format('amount %s too little', trim_scale(d.amount)), 'amount 0 too little')) AS line, \
         count(*) OVER () AS count FROM stat_differences d LEFT JOIN businesses b ON b.id = d.business_id",
    );
    if let Some(business) = business {
        sql.sql(" WHERE d.business_id = ").bind(business);
    }
    Ok(sql.sql(" ORDER BY 1 LIMIT ").number(PRINTED).load::<Difference>(conn)?)
}

/// Returns the businesses whose days differ from their quarters, and in how many sums.
fn wrong_days(conn: &mut PgConnection, business: Option<Uuid>) -> Result<Vec<(Uuid, i64)>, BoxError> {
    let businesses = match business {
        Some(business) => vec![business],
        None => Statement::new("SELECT business_id FROM stat_zones ORDER BY 1").scalars::<Uuid>(conn)?,
    };
    let mut wrong = Vec::new();
    for business in businesses {
        let count = analytics::wrong_days(conn, business)?.unwrap_or_default();
        wrong.extend((count > 0).then_some((business, count)));
    }
    Ok(wrong)
}

fn correct(conn: &mut PgConnection, business: Option<Uuid>) -> Result<i64, BoxError> {
    let mut sql = Statement::new("SELECT rapport_correct_");
    match business {
        Some(business) => sql.sql("statistics(").bind(business).sql(")"),
        None => sql.sql("all_statistics()"),
    };
    Ok(sql.scalar::<i64>(conn)?.unwrap_or_default())
}
