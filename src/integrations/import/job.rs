//! The job which imports a file or dry-runs it. Each step reads rows from the checkpoint on, writes them and their
//! results, and moves the checkpoint, in one transaction.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::chunk_reader::{Chunk, ChunkReader, Position, Prefetched};
use super::dto::PreviewedRow;
use super::match_keys::unique_keys;
use super::preview;
use super::preview_notes;
use super::row::Row;
use super::row_errors;
use super::row_results::{self, Entry, Records};
use super::stored_import::Import;
use super::writer::{self, ChunkResult, MatchedRows, OnMatch, Outcome, Settings};
use crate::auth::{Tenant, TenantSettings};
use crate::background::{Job, JobType, Step};
use crate::base::error::{Error, Result};
use crate::crm::companies::COMPANIES;
use crate::db::{Statement, Tx};

/// Maximum number of changes in a preview.
const MAX_PREVIEWED: usize = 20;

pub static IMPORT: JobType = JobType { name: "import", step };

/// Input of the job.
#[derive(Serialize, Deserialize)]
pub struct Input {
    pub import: Uuid,
    pub dry_run: bool,
    /// The previous run, whose results are deleted first.
    pub previous_run: Option<Uuid>,
}

/// Checkpoint: where the next step continues, and the counts so far.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Cursor {
    cleared: bool,
    #[serde(flatten)]
    at: Position,
    read: i64,
    created: i64,
    changed: i64,
    unchanged: i64,
    failed: i64,
    companies: i64,
    /// The preview, by row of the file.
    preview: Map<String, Json>,
    /// Members of rows which were left out because no import sets them.
    ignored: BTreeSet<String>,
}

fn step(tx: &mut Tx<'_>, tenant: &Tenant, business: &TenantSettings, job: &mut Job) -> Result<Step> {
    let input: Input = serde_json::from_value(job.input.clone()).map_err(unreadable)?;
    let mut cursor: Cursor = match &job.cursor {
        Json::Null => Cursor::default(),
        stored => serde_json::from_value(stored.clone()).map_err(unreadable)?,
    };
    let import = Import::lock(tx, tenant, input.import)?;
    if let (Some(previous), false) = (input.previous_run, cursor.cleared) {
        cursor.cleared = !row_results::clear(tx, tenant, previous)?;
        job.cursor = json!(cursor);
        return Ok(Step::More);
    }
    let reader = ChunkReader::new(&import, business)?;
    let prefetched = job.prepared.take::<Prefetched>().and_then(|chunk| chunk.of(cursor.at.offset, business));
    let Chunk { rows, uncounted, next } = match prefetched {
        Some(chunk) => chunk,
        None => reader.read(tx, tenant, cursor.at)?,
    };
    (cursor.at, cursor.read, cursor.failed) = (next, cursor.read + uncounted, cursor.failed + uncounted);
    if !rows.is_empty() {
        let (settings, before) = (settings(&import, tenant, business, input.dry_run), cursor.read);
        let run = job.id;
        let write = |tx: &mut Tx<'_>| write(tx, &settings, &import, run, &rows, &mut cursor);
        let ((), prefetched) = reader.prefetch(tx, tenant, next, write)?;
        job.prepared.keep(prefetched);
        analyze_when_grown(tx, import.resource.table, before, cursor.read)?;
    }
    let ends = cursor.at.offset >= import.bytes;
    if ends && input.dry_run {
        let mut notes = preview_notes::of_columns(&import.column_mapping()?);
        notes.extend(preview_notes::of_members(cursor.ignored.iter()));
        preview::store(tx, tenant, job.id, json!({ "changes": cursor.preview, "notes": notes }))?;
    }
    update_counts(tx, tenant, &import, &input, &cursor, ends)?;
    (job.done, job.failed) = (cursor.read, cursor.failed);
    // Quoted cells may contain line breaks, so the total is an estimate until the end.
    job.total = Some(if ends { cursor.read } else { import.lines.max(cursor.read) });
    let result = json!({ "import": import.id, "read": cursor.read, "created": cursor.created, "changed": cursor.changed,
        "unchanged": cursor.unchanged, "failed": cursor.failed, "companies": cursor.companies });
    job.cursor = json!(cursor);
    Ok(if ends { Step::Done(result) } else { Step::More })
}

/// Updates planner statistics while a first import fills its tables: a plan made for an empty table would scan a full
/// one. It does so each time the number of rows read has quadrupled.
fn analyze_when_grown(tx: &mut Tx<'_>, table: &str, before: i64, now: i64) -> Result<()> {
    let passed = (0..10).map(|power| 1_000 * 4_i64.pow(power)).find(|step| before < *step && now >= *step);
    if let Some(rows) = passed {
        let tables = [table, COMPANIES.table, "import_row_results"].map(str::to_owned).to_vec();
        let mut sql = Statement::new("SELECT rapport_analyze_grown(");
        sql.bind(tables).sql(", ").bind(rows).sql(")").run(tx)?;
    }
    Ok(())
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::Internal(format!("a job that cannot be read: {error}"))
}

fn settings(import: &Import, tenant: &Tenant, business: &TenantSettings, dry_run: bool) -> Settings {
    let on_match = match import.on_match.as_str() {
        "skip" => OnMatch::Skip,
        "refuse" => OnMatch::Refuse,
        _ => OnMatch::Update,
    };
    let (resource, match_by) = (import.resource, import.match_by.clone());
    Settings { resource, business: business.clone(), tenant: tenant.clone(), match_by, on_match, dry_run }
}

/// Writes the rows and their results, and updates the counts.
fn write(
    tx: &mut Tx<'_>,
    settings: &Settings,
    import: &Import,
    run: Uuid,
    rows: &[Row],
    cursor: &mut Cursor,
) -> Result<()> {
    let tenant = &settings.tenant;
    let earlier = |tx: &mut Tx<'_>, ids: Vec<Uuid>| row_results::matched(tx, tenant, run, ids);
    let mut done = writer::write(tx, settings, rows, &mut MatchedRows::new(), &earlier)?;
    let mut records = Records::new(run);
    if settings.dry_run {
        find_planned(tx, tenant, import, run, rows, &mut done, &mut records)?;
    }
    let resource = import.resource.plural;
    cursor.read += rows.len() as i64;
    for (row, outcome) in rows.iter().zip(done.outcomes) {
        let number = row.number;
        if let Ok(parsed) = &row.parsed {
            cursor.ignored.extend(parsed.ignored.iter().cloned());
        }
        match outcome {
            Outcome::Created { id, after } => {
                cursor.created += 1;
                add_to_preview(cursor, settings, row, None, after);
                if !settings.dry_run {
                    records.add(number, 0, resource, Entry::created(id).noted(row));
                }
            }
            Outcome::Changed { id, version, before, after } => {
                cursor.changed += 1;
                add_to_preview(cursor, settings, row, Some(before.clone()), after);
                match settings.dry_run {
                    true => records.add(number, 0, resource, Entry::unchanged(id).noted(row)),
                    false => records.add(number, 0, resource, Entry::changed(id, version, before).noted(row)),
                }
            }
            Outcome::Unchanged { id } => {
                cursor.unchanged += 1;
                records.add(number, 0, resource, Entry::unchanged(id).noted(row));
            }
            Outcome::Refused(faults) => {
                cursor.failed += 1;
                records.refused(number, resource, &faults, row.offset, row.length);
            }
        }
    }
    cursor.companies += done.companies.len() as i64;
    for (index, id) in done.companies.iter().filter(|_| !settings.dry_run) {
        let number = rows.get(*index).map(|row| row.number).unwrap_or_default();
        records.add(number, row_results::COMPANY, COMPANIES.plural, Entry::created(*id));
    }
    records.write(tx, tenant)
}

/// Makes a dry run recognise later rows which would match a row it would have created: stores their keys, with a hash
/// of the row's values.
fn find_planned(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    import: &Import,
    run: Uuid,
    rows: &[Row],
    done: &mut ChunkResult,
    records: &mut Records,
) -> Result<()> {
    let keys = |row: &Row| -> Vec<(String, Uuid)> {
        let Ok(parsed) = &row.parsed else { return Vec::new() };
        let own = unique_keys(&parsed.update).into_iter().flatten();
        let found = |key: &String| import.match_by.iter().any(|name| key.starts_with(name.as_str()));
        own.filter(found).map(|key| (key.clone(), row_results::of_key(&key))).collect()
    };
    let all = rows.iter().flat_map(|row| keys(row).into_iter().map(|(_, id)| id)).collect();
    let known = row_results::known(tx, tenant, run, all)?;
    for (row, outcome) in rows.iter().zip(&mut done.outcomes) {
        let Outcome::Created { after, .. } = outcome else { continue };
        let says = xxhash_rust::xxh3::xxh3_64(Json::Object(after.clone()).to_string().as_bytes()) as i64;
        let own = keys(row);
        match own.iter().find_map(|(key, id)| Some((key, known.get(id)?))) {
            Some((_, (_, said))) if *said == says => *outcome = Outcome::Unchanged { id: Uuid::nil() },
            Some((key, (other, _))) => {
                let name = key.split(' ').next().unwrap_or_default();
                *outcome = Outcome::Refused(vec![row_errors::repeats(name, *other)]);
            }
            None => {
                for (slot, (_, id)) in own.iter().enumerate() {
                    records.add(row.number, 1 + slot as u64, import.resource.plural, Entry::planned(*id, says));
                }
            }
        }
    }
    Ok(())
}

fn add_to_preview(
    cursor: &mut Cursor,
    settings: &Settings,
    row: &Row,
    before: Option<Map<String, Json>>,
    after: Map<String, Json>,
) {
    if settings.dry_run && cursor.preview.len() < MAX_PREVIEWED {
        let notes = row.parsed.as_ref().map(|parsed| parsed.notes.clone()).unwrap_or_default();
        cursor.preview.insert(row.number.to_string(), json!(PreviewedRow { before, after, notes }));
    }
}

/// Writes the counts to the import: at most once a second until the end, because each update adds an entry to the audit
/// log.
fn update_counts(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    import: &Import,
    input: &Input,
    cursor: &Cursor,
    ends: bool,
) -> Result<()> {
    let mut sql = Statement::new("UPDATE imports SET version = version + 1, updated_at = now()");
    let Cursor { read, created, changed, unchanged, failed, companies, .. } = cursor;
    let counts = [("read", read), ("created", created), ("changed", changed), ("unchanged", unchanged)];
    for (name, count) in counts.into_iter().chain([("failed", failed), ("companies", companies)]) {
        sql.sql(", ").ident(name).sql(" = ").bind(*count);
    }
    if ends {
        sql.sql(", finished_at = now(), state = ").bind(if input.dry_run { "tried" } else { "imported" });
    }
    sql.sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND id = ");
    sql.bind(import.id);
    sql.sql(if ends { "" } else { " AND updated_at < now() - interval '1 second'" }).run(tx)?;
    Ok(())
}
