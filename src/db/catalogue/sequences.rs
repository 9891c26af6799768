//! Finds sequences that are behind the highest value of the column they fill, as after the restore of one table: new
//! rows would collide.

use diesel::PgConnection;

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

/// The columns filled by sequences. Not `cache_versions.value`: its function sets values above the current one.
const DRAWN: [Drawn; 2] = [
    Drawn { sequence: "event_outbox_place_seq", table: "event_outbox", column: "place", indexed: true },
    Drawn { sequence: "cache_version_slots", table: "cache_versions", column: "slot", indexed: false },
];

/// Returns faults for the sequences of [`DRAWN`] that are behind, of those that exist (`there`) with their columns. It
/// is one statement: the highest value comes from its snapshot, which sequences ignore, so that concurrent inserts
/// cannot make a sequence seem behind.
pub fn behind(conn: &mut PgConnection, there: &[Object], depth: Depth) -> Result<Vec<CatalogueFault>> {
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

/// Returns SQL that selects the sequence, its last value and the column's highest, if that is higher.
fn question(drawn: &Drawn, depth: Depth) -> String {
    let Drawn { sequence, table, column, indexed } = drawn;
    // Each row has drawn its own value, so at least as many values were drawn as there are rows.
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
