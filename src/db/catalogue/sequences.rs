//! Finds sequences that are behind the highest value of the column they fill, as after the restore of one table: new
//! rows would collide.

use diesel::sql_types::{BigInt, Text};
use diesel::{PgConnection, QueryableByName};

use super::CatalogueFault;
use super::objects::Object;
use crate::base::error::Result;
use crate::db::Statement;

/// How much the check reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Reads a table without a suitable index only if its estimated row count shows that the sequence is behind.
    Likely,
    /// Reads whole tables.
    Exact,
}

struct Drawn {
    sequence: &'static str,
    table: &'static str,
    column: &'static str,
    /// Whether an index begins with the column, so that its highest value is found at once.
    indexed: bool,
}

/// The columns filled by sequences. Not `change_log.place`: it numbers the changes of one transaction.
const DRAWN: [Drawn; 1] =
    [Drawn { sequence: "event_outbox_place_seq", table: "event_outbox", column: "place", indexed: true }];

/// A sequence that is behind.
#[derive(QueryableByName)]
struct BehindSequence {
    #[diesel(sql_type = Text)]
    sequence: String,
    #[diesel(sql_type = BigInt)]
    last: i64,
    /// The highest value of its column.
    #[diesel(sql_type = BigInt)]
    highest: i64,
}

/// Returns faults for the sequences of [`DRAWN`] that are behind, of those that exist (`there`) with their columns. It
/// is one statement: the highest value comes from its snapshot, which sequences ignore, so that concurrent inserts
/// cannot make a sequence seem behind.
pub fn behind(conn: &mut PgConnection, there: &[Object], depth: Depth) -> Result<Vec<CatalogueFault>> {
    let is_there = |kind: &str, name: &str| there.iter().any(|object| object.kind == kind && object.name == name);
    let mut sql = Statement::default();
    let drawn = DRAWN.iter().filter(|Drawn { sequence, table, column, .. }| {
        is_there("sequence", sequence) && is_there("column", &format!("{table}.{column}"))
    });
    for (place, drawn) in drawn.enumerate() {
        sql.sql(if place == 0 { "" } else { " UNION ALL " }).append(question(drawn, depth));
    }
    if sql.text().is_empty() {
        return Ok(Vec::new());
    }
    let behind = sql.load::<BehindSequence>(conn)?;
    let faults = behind.iter().filter_map(|BehindSequence { sequence, last, highest }| {
        let Drawn { sequence, table, column, .. } = DRAWN.iter().find(|drawn| sequence == drawn.sequence)?;
        Some(CatalogueFault {
            kind: "sequence",
            name: (*sequence).into(),
            problem: format!(
                "is at {last}, and must be at {highest}, the highest {table}.{column}, or new rows collide"
            ),
            remedy: format!("SELECT setval('public.{sequence}', (SELECT max({column}) FROM public.{table}));"),
            repairable: true,
        })
    });
    Ok(faults.collect())
}

/// Selects the sequence, its last value and the column's highest, if that is higher.
fn question(drawn: &Drawn, depth: Depth) -> Statement {
    let Drawn { sequence, table, column, indexed } = *drawn;
    let mut sql = Statement::new("SELECT ");
    sql.literal(sequence).sql(" AS sequence, s.last, h.highest FROM (SELECT coalesce(pg_sequence_last_value('public.");
    sql.ident(sequence).sql("'::regclass), 0) AS last) s, LATERAL (SELECT CASE WHEN ");
    // Each row has drawn its own value, so at least as many values were drawn as there are rows.
    match indexed || depth == Depth::Exact {
        true => sql.sql("true"),
        false => {
            sql.sql("s.last < (SELECT reltuples FROM pg_class WHERE oid = 'public.").ident(table).sql("'::regclass)")
        }
    };
    sql.sql(" THEN (SELECT max(").ident(column).sql(")::bigint FROM public.").ident(table);
    sql.sql(") END AS highest) h WHERE h.highest > s.last");
    sql
}
