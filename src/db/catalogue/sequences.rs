//! Sequences that lie behind the highest value of the column that they fill, as after a restore of one table: what is
//! written next would collide.

use diesel::PgConnection;

use super::Fault;
use super::objects::Object;
use crate::db::Statement;
use crate::error::Result;

/// How much is read to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// A table without an index for it only where its estimated number of rows says that the sequence lies behind.
    Likely,
    /// Whole tables.
    Exact,
}

struct Drawn {
    sequence: &'static str,
    table: &'static str,
    column: &'static str,
    /// Whether an index begins with the column, so that its highest value is found at once.
    indexed: bool,
}

/// The columns that sequences fill. Not `cache_versions.value`: the function that sets it goes above the table's highest.
const DRAWN: [Drawn; 2] = [
    Drawn { sequence: "event_places", table: "event_queue", column: "place", indexed: true },
    Drawn { sequence: "cache_version_slots", table: "cache_versions", column: "slot", indexed: false },
];

/// The sequences of [`DRAWN`] that lie behind, of those that are `there` with their columns. One statement; the highest value
/// is of its snapshot, so the sequence, which no snapshot holds, cannot seem to lie behind because of what is written now.
pub fn behind(conn: &mut PgConnection, there: &[Object], depth: Depth) -> Result<Vec<Fault>> {
    let is_there = |kind: &str, name: &str| there.iter().any(|object| object.kind == kind && object.name == name);
    let questions: Vec<String> = DRAWN
        .iter()
        .filter(|Drawn { sequence, table, column, .. }| {
            is_there("sequence", sequence) && is_there("column", &format!("{table}.{column}"))
        })
        .map(|drawn| question(drawn, depth))
        .collect();
    if questions.is_empty() {
        return Ok(Vec::new());
    }
    let rows = Statement::new(questions.join(" UNION ALL ")).rows(conn)?;
    let faults = rows.iter().filter_map(|row| {
        let drawn = DRAWN.iter().find(|drawn| row.text(0) == Some(drawn.sequence))?;
        let Drawn { sequence, table, column, .. } = drawn;
        let (last, highest) = (row.text(1).unwrap_or_default(), row.text(2).unwrap_or_default());
        Some(Fault {
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

/// Answers with the sequence, its last value and the column's highest, if that is higher.
fn question(drawn: &Drawn, depth: Depth) -> String {
    let Drawn { sequence, table, column, indexed } = drawn;
    // Each row has drawn a value of its own, so there are at least as many values as rows.
    let suspected = match *indexed || depth == Depth::Exact {
        true => "true".to_owned(),
        false => format!("s.last < (SELECT reltuples FROM pg_class WHERE oid = 'public.{table}'::regclass)"),
    };
    format!(
        "SELECT '{sequence}', s.last::text, h.highest::text
         FROM (SELECT coalesce(pg_sequence_last_value('public.{sequence}'::regclass), 0) AS last) s,
              LATERAL (SELECT CASE WHEN {suspected} THEN (SELECT max({column}) FROM public.{table}) END AS highest) h
         WHERE h.highest > s.last"
    )
}
