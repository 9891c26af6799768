//! Response times within the opening hours of the business: of each turn as long as it was open between question and answer.
//!
//! Opening hours are of now, also for earlier turns: so they are no sums that are kept, but counted from the turns of the period.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use diesel::QueryableByName;
use diesel::pg::PgConnection;
use diesel::sql_types::{BigInt, Nullable, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::period::zone_or_utc;
use super::responses::duration_bucket;
use super::roll_up::{Micros, Question, Sum};
use crate::base::error::{Error, FieldError, Result};
use crate::base::opening_hours::OpeningHours;
use crate::db::Statement;

/// Answers of a period at most: about a second's work.
const MAX_TURNS: usize = 100_000;

#[derive(QueryableByName)]
struct Turn {
    #[diesel(sql_type = Timestamptz)]
    answered_at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    microseconds: i64,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    author_id: Option<Uuid>,
}

/// Returns the sums of `responses` and `responses.member`, of which `question` names those that it wants, within the opening
/// hours in the time zone of the business. Queries: two. Errors: 400 where the business has none, or there are too many answers.
pub fn sums(conn: &mut PgConnection, question: &Question<'_>) -> Result<Vec<Sum>> {
    let mut sql = Statement::new("SELECT concat_ws('|', time_zone, opening_hours) FROM businesses WHERE id = ");
    let business = sql.bind(question.business).scalar::<String>(conn)?.unwrap_or_default();
    let Some((zone, text)) = business.split_once('|') else {
        let detail = "The business has no `opening_hours`. Set them first, such as `Mo-Fr 09:00-17:30`.";
        return Err(refused("hours", "required", detail));
    };
    // Written past the API.
    let hours = OpeningHours::parse(text).map_err(|detail| {
        refused("hours", "format", &format!("The `opening_hours` of the business are wrong: {detail}"))
    })?;
    let turns = turns(question).load::<Turn>(conn)?;
    if turns.len() > MAX_TURNS {
        let detail = format!("There are more than {MAX_TURNS} answers in the period. Ask for a shorter one.");
        return Err(refused("from", "out_of_range", &detail));
    }
    let asked_at = |turn: &Turn| {
        let before = turn.answered_at.checked_sub_signed(Duration::microseconds(turn.microseconds));
        before.unwrap_or(turn.answered_at)
    };
    let (first, last) = (turns.iter().map(asked_at).min(), turns.iter().map(|turn| turn.answered_at).max());
    let (Some(first), Some(last)) = (first, last) else { return Ok(Vec::new()) };
    let open = hours.open_times(&zone_or_utc(zone), first, last);
    let starts = &question.buckets.starts;
    let mut sums: BTreeMap<(&'static str, String, usize), (i64, Micros)> = BTreeMap::new();
    for turn in &turns {
        let microseconds = open.microseconds(asked_at(turn), turn.answered_at);
        let Some(bucket) = starts.partition_point(|start| *start <= turn.answered_at).checked_sub(1) else { continue };
        let duration = duration_bucket(microseconds as f64 / 1e6);
        for metric in question.metrics {
            let dim = match (*metric, turn.author_id) {
                ("responses", _) => duration.to_string(),
                ("responses.member", Some(author)) => format!("{author}/{duration}"),
                _ => continue,
            };
            let sum = sums.entry((metric, dim, bucket)).or_default();
            *sum = (sum.0 + 1, sum.1 + Micros::from(microseconds));
        }
    }
    let sum = |((metric, dim, bucket), (n, amount)): ((&str, String, usize), (i64, Micros))| Sum {
        metric: metric.to_owned(),
        dim,
        bucket,
        n,
        amount,
    };
    Ok(sums.into_iter().map(sum).collect())
}

fn refused(name: &str, code: &'static str, detail: &str) -> Error {
    Error::parameters(vec![FieldError::new(format!("/query/{name}"), code, detail)])
}

/// Selects the turns: those that are counted, and of conversations that have changed since those of now.
pub fn turns(question: &Question<'_>) -> Statement {
    let (first, last) = (question.buckets.starts.first().copied(), question.buckets.starts.last().copied());
    let mut sql = Statement::new(
        "WITH changed AS MATERIALIZED (SELECT DISTINCT conversation_id FROM stat_deltas WHERE conversation_id IS NOT NULL AND business_id = ",
    );
    sql.bind(question.business).sql(
        ") SELECT answered_at, (seconds * 1000000)::bigint AS microseconds, author_id FROM stat_turns \
         WHERE NOT EXISTS (SELECT FROM changed c WHERE c.conversation_id = stat_turns.conversation_id) AND business_id = ",
    );
    sql.bind(question.business).sql(" AND answered_at >= ").bind(first).sql(" AND answered_at < ").bind(last);
    sql.sql(
        " UNION ALL SELECT w.answered_at, (w.seconds * 1000000)::bigint, w.author_id FROM changed c CROSS JOIN LATERAL \
         (SELECT * FROM stat_turns_now w WHERE w.conversation_id = c.conversation_id AND w.business_id = ",
    );
    sql.bind(question.business).sql(" OFFSET 0) w WHERE w.answered_at >= ").bind(first).sql(" AND w.answered_at < ");
    sql.bind(last).sql(" LIMIT ").number((MAX_TURNS + 1) as u32);
    sql
}
