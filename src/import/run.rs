//! The job that tries a file or imports it. A step reads some rows at the place where the step before ended, writes what they
//! ask for and what became of them, and notes the next place: in one transaction.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::csv_reader::{OpenQuote, Records as CsvRecords};
use super::file;
use super::notes;
use super::noun::Import;
use super::record::{self, Entry, Records};
use super::rows::{Keys, Parser, Row, unique_keys};
use super::writer::{self, Done, OnMatch, Outcome, Settings, Touched};
use crate::auth::{Business, Tenant};
use crate::crm::companies::COMPANIES;
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Fault, Result};
use crate::jobs::{Job, Kind, Step};

/// Rows of a step: enough to make the cost of a transaction small, few enough not to hold locks for long.
const ROWS: usize = 1_000;
/// Bytes of the file that a step looks at first.
const WINDOW: usize = 256 * 1024;
/// Bytes of one row, several times what its fields can hold.
pub const LONGEST_ROW: usize = 1024 * 1024;
/// Changes that a trial shows.
const SHOWN: usize = 20;

pub static IMPORT: Kind = Kind { name: "import", step };

/// What the job is made with.
#[derive(Serialize, Deserialize)]
pub struct Input {
    pub import: Uuid,
    pub trial: bool,
    /// The run whose records are in the way.
    pub before: Option<Uuid>,
}

/// Where the next step goes on, and what has become of the rows before.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Cursor {
    cleared: bool,
    place: u64,
    /// Of the last row that was read; the header of a CSV file is row 1.
    number: u64,
    read: i64,
    created: i64,
    changed: i64,
    unchanged: i64,
    failed: i64,
    companies: i64,
    /// The quote that is not closed, while its rows are refused.
    open: Option<OpenQuote>,
    /// By row of the file.
    shown: Map<String, Json>,
    /// Members of rows that were left out, because the service sets them.
    ignored: BTreeSet<String>,
}

fn step(tx: &mut Tx<'_>, tenant: &Tenant, business: &Business, job: &mut Job) -> Result<Step> {
    let input: Input = serde_json::from_value(job.input.clone()).map_err(unreadable)?;
    let mut cursor: Cursor = match &job.cursor {
        Json::Null => Cursor::default(),
        there => serde_json::from_value(there.clone()).map_err(unreadable)?,
    };
    let import = Import::lock(tx, tenant, input.import)?;
    if let (Some(before), false) = (input.before, cursor.cleared) {
        cursor.cleared = !record::clear(tx, tenant, before)?;
        job.cursor = json!(cursor);
        return Ok(Step::More);
    }
    let parser = Parser { noun: import.noun, mapping: import.mapped()?, business: business.clone() };
    let rows = read(tx, tenant, &import, parser, &mut cursor)?;
    if !rows.is_empty() {
        let (settings, before) = (settings(&import, tenant, business, input.trial), cursor.read);
        write(tx, &settings, &import, job.id, &rows, &mut cursor)?;
        measure(tx, import.noun.table, before, cursor.read)?;
    }
    let ends = cursor.place >= import.bytes;
    if ends && input.trial {
        let mut notes = notes::of_columns(&import.mapped()?);
        notes.extend(notes::of_members(cursor.ignored.iter()));
        record::preview(tx, tenant, job.id, json!({ "changes": cursor.shown, "notes": notes }))?;
    }
    tell(tx, tenant, &import, &input, &cursor, ends)?;
    (job.done, job.failed) = (cursor.read, cursor.failed);
    // Lines may be within quotes, so they are a guess until the end.
    job.total = Some(if ends { cursor.read } else { import.lines.max(cursor.read) });
    let result = json!({ "import": import.id, "read": cursor.read, "created": cursor.created, "changed": cursor.changed,
        "unchanged": cursor.unchanged, "failed": cursor.failed, "companies": cursor.companies });
    job.cursor = json!(cursor);
    Ok(if ends { Step::Done(result) } else { Step::More })
}

/// A first import fills tables faster than the planner hears of it: what it planned for an empty one would read all of a full
/// one. So it is told whenever four times as many rows have been read as the time before.
fn measure(tx: &mut Tx<'_>, table: &str, before: i64, now: i64) -> Result<()> {
    let passed = (0..10).map(|power| 1_000 * 4_i64.pow(power)).find(|step| before < *step && now >= *step);
    if let Some(rows) = passed {
        let tables = [table, COMPANIES.table, "import_rows"].map(str::to_owned).to_vec();
        let mut sql = Statement::new("SELECT rapport_measure(");
        sql.bind(Value::Texts(tables)).push(", ").bind(Value::Int(Some(rows))).push(")").run(tx)?;
    }
    Ok(())
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::Internal(format!("a job that cannot be read: {error}"))
}

fn settings(import: &Import, tenant: &Tenant, business: &Business, trial: bool) -> Settings {
    let on_match = match import.on_match.as_str() {
        "skip" => OnMatch::Skip,
        "refuse" => OnMatch::Refuse,
        _ => OnMatch::Update,
    };
    let (noun, finders) = (import.noun, import.finders.clone());
    Settings { noun, business: business.clone(), tenant: tenant.clone(), finders, on_match, trial }
}

/// The next rows of the file, of which no two may mean the same; the cursor moves past them. None: it moves past emptiness.
/// Errors: 422 for a row that is too long, 409 where the file is gone.
fn read(tx: &mut Tx<'_>, tenant: &Tenant, import: &Import, parser: Parser, cursor: &mut Cursor) -> Result<Vec<Row>> {
    for window in [WINDOW, LONGEST_ROW + 1] {
        let piece = file::piece(tx, tenant, import.id, cursor.place, window)?;
        if piece.is_empty() && cursor.place < import.bytes {
            return Err(Error::conflict("file_gone", "The file is not kept any more. Upload it again."));
        }
        let last = cursor.place + piece.len() as u64 >= import.bytes;
        let taken = match import.format.as_str() {
            "csv" => csv_rows(&piece, last, import.separator, &parser, cursor)?,
            _ => json_rows(&piece, last, &parser, cursor),
        };
        if let Some(rows) = taken {
            return Ok(rows);
        }
    }
    let detail = format!(
        "The row after row {} has more than {LONGEST_ROW} bytes; what was imported before it stays.",
        cursor.number
    );
    Err(Error::Invalid(vec![Fault::new("", "row_too_long", detail)]))
}

/// Rows of `piece`; `last`: the file ends with it, else its last row may go on. `None`: not one row is whole. Errors: 422 for
/// headers that cannot be read.
fn csv_rows(piece: &[u8], last: bool, separator: u8, parser: &Parser, cursor: &mut Cursor) -> Result<Option<Vec<Row>>> {
    let wrong = |error: std::io::Error| Error::Invalid(vec![Fault::new("", "file", error.to_string())]);
    let mut records = match cursor.place {
        0 => CsvRecords::new(piece, separator, last),
        place => CsvRecords::resume(piece, separator, last, place, cursor.number, cursor.open),
    };
    if cursor.place == 0 {
        records.header().map_err(wrong)?;
    }
    let (mut keys, mut rows, mut next) = (Keys::default(), Vec::new(), None);
    while rows.len() < ROWS {
        let Some(record) = records.next().transpose().map_err(wrong)? else { break };
        let row = parser.row(record);
        if !keys.add(&row) {
            // With the next step, which finds what this one has made.
            next = Some((row.place, row.number - 1, None));
            break;
        }
        rows.push(row);
    }
    let (place, number, open) = next.unwrap_or((records.place(), records.number(), records.open()));
    if place == cursor.place && rows.is_empty() && !last {
        return Ok(None);
    }
    let uncounted = records.uncounted() as i64;
    (cursor.read, cursor.failed) = (cursor.read + uncounted, cursor.failed + uncounted);
    (cursor.place, cursor.number, cursor.open) = (place, number, open);
    Ok(Some(rows))
}

fn json_rows(piece: &[u8], last: bool, parser: &Parser, cursor: &mut Cursor) -> Option<Vec<Row>> {
    let (mut keys, mut rows, mut from) = (Keys::default(), Vec::new(), 0);
    while from < piece.len() {
        let rest = &piece[from..];
        let (line, length) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) => (&rest[..at], at + 1),
            None if last => (rest, rest.len()),
            None => break,
        };
        let number = cursor.number + 1;
        if !line.trim_ascii().is_empty() {
            let (place, record) = (cursor.place, csv::ByteRecord::new());
            let row = Row { number, record, place, length: line.len() as u64, parsed: parser.parse_json(line) };
            if rows.len() == ROWS || !keys.add(&row) {
                break;
            }
            rows.push(row);
        }
        (cursor.number, cursor.place, from) = (number, cursor.place + length as u64, from + length);
    }
    (from > 0 || piece.is_empty()).then_some(rows)
}

/// Writes the rows and what became of them, and counts.
fn write(
    tx: &mut Tx<'_>,
    settings: &Settings,
    import: &Import,
    run: Uuid,
    rows: &[Row],
    cursor: &mut Cursor,
) -> Result<()> {
    let tenant = &settings.tenant;
    let before = |tx: &mut Tx<'_>, ids: Vec<Uuid>| record::meant(tx, tenant, run, ids);
    let mut done = writer::write(tx, settings, rows, &mut Touched::new(), &before)?;
    let mut records = Records::new(run);
    if settings.trial {
        planned(tx, tenant, import, run, rows, &mut done, &mut records)?;
    }
    let noun = import.noun.plural;
    cursor.read += rows.len() as i64;
    for (row, outcome) in rows.iter().zip(done.outcomes) {
        let number = row.number;
        if let Ok(parsed) = &row.parsed {
            cursor.ignored.extend(parsed.ignored.iter().cloned());
        }
        match outcome {
            Outcome::Created { id, after } => {
                cursor.created += 1;
                show(cursor, settings, row, None, after);
                if !settings.trial {
                    records.add(number, 0, noun, Entry::created(id).noted(row));
                }
            }
            Outcome::Changed { id, version, before, after } => {
                cursor.changed += 1;
                show(cursor, settings, row, Some(before.clone()), after);
                match settings.trial {
                    true => records.add(number, 0, noun, Entry::unchanged(id).noted(row)),
                    false => records.add(number, 0, noun, Entry::changed(id, version, before).noted(row)),
                }
            }
            Outcome::Unchanged { id } => {
                cursor.unchanged += 1;
                records.add(number, 0, noun, Entry::unchanged(id).noted(row));
            }
            Outcome::Refused(faults) => {
                cursor.failed += 1;
                records.refused(number, noun, &faults, row.place, row.length);
            }
        }
    }
    cursor.companies += done.companies.len() as i64;
    for (place, id) in done.companies.iter().filter(|_| !settings.trial) {
        let number = rows.get(*place).map(|row| row.number).unwrap_or_default();
        records.add(number, record::COMPANY, COMPANIES.plural, Entry::created(*id));
    }
    records.write(tx, tenant)
}

/// What a trial would have made, later rows of the file would have found: by their keys, of which it keeps what the row says.
fn planned(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    import: &Import,
    run: Uuid,
    rows: &[Row],
    done: &mut Done,
    records: &mut Records,
) -> Result<()> {
    let keys = |row: &Row| -> Vec<(String, Uuid)> {
        let Ok(parsed) = &row.parsed else { return Vec::new() };
        let own = unique_keys(&parsed.update).into_iter().flatten();
        let found = |key: &String| import.finders.iter().any(|finder| key.starts_with(finder.as_str()));
        own.filter(found).map(|key| (key.clone(), record::of_key(&key))).collect()
    };
    let all = rows.iter().flat_map(|row| keys(row).into_iter().map(|(_, id)| id)).collect();
    let known = record::known(tx, tenant, run, all)?;
    for (row, outcome) in rows.iter().zip(&mut done.outcomes) {
        let Outcome::Created { after, .. } = outcome else { continue };
        let says = xxhash_rust::xxh3::xxh3_64(Json::Object(after.clone()).to_string().as_bytes()) as i64;
        let own = keys(row);
        match own.iter().find_map(|(key, id)| Some((key, known.get(id)?))) {
            Some((_, (_, said))) if *said == says => *outcome = Outcome::Unchanged { id: Uuid::nil() },
            Some((key, (other, _))) => {
                let name = key.split(' ').next().unwrap_or_default();
                *outcome = Outcome::Refused(vec![writer::repeats(name, *other)]);
            }
            None => {
                for (slot, (_, id)) in own.iter().enumerate() {
                    records.add(row.number, 1 + slot as u64, import.noun.plural, Entry::planned(*id, says));
                }
            }
        }
    }
    Ok(())
}

fn show(
    cursor: &mut Cursor,
    settings: &Settings,
    row: &Row,
    before: Option<Map<String, Json>>,
    after: Map<String, Json>,
) {
    if settings.trial && cursor.shown.len() < SHOWN {
        let notes = row.parsed.as_ref().map(|parsed| parsed.notes.as_slice()).unwrap_or_default();
        cursor.shown.insert(row.number.to_string(), json!({ "before": before, "after": after, "notes": notes }));
    }
}

/// Puts the counts into the import: at most once a second, because each time is an entry of its history.
fn tell(tx: &mut Tx<'_>, tenant: &Tenant, import: &Import, input: &Input, cursor: &Cursor, ends: bool) -> Result<()> {
    let mut sql = Statement::new("UPDATE imports SET version = version + 1, updated_at = now()");
    let Cursor { read, created, changed, unchanged, failed, companies, .. } = cursor;
    let counts = [("read", read), ("created", created), ("changed", changed), ("unchanged", unchanged)];
    for (name, count) in counts.into_iter().chain([("failed", failed), ("companies", companies)]) {
        sql.push(&format!(", {name} = ")).bind(Value::Int(Some(*count)));
    }
    if ends {
        sql.push(", finished_at = now(), state = ").bind(Value::text(if input.trial { "tried" } else { "imported" }));
    }
    sql.push(" WHERE business_id = ").bind(Value::Uuid(Some(tenant.id()))).push(" AND id = ");
    sql.bind(Value::Uuid(Some(import.id)));
    sql.push(if ends { "" } else { " AND updated_at < now() - interval '1 second'" }).run(tx)?;
    Ok(())
}
