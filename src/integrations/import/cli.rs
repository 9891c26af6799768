//! The `rapport import` command: imports contacts or companies from a CSV file directly into the database.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use diesel::PgConnection;
use indicatif::{ProgressBar, ProgressStyle};

use super::cli_report::Report;
use super::csv_delimiter;
use super::csv_header;
use super::csv_reader::Records;
use super::mapping::Mapping;
use super::match_keys::{self, ChunkKeys};
use super::row::Row;
use super::row_parser::Parser;
use super::writer::{self, ChunkResult, MatchedRows, OnMatch, Outcome, Settings};
use crate::auth::{Tenant, TenantSettings};
use crate::base::error::BoxError;
use crate::base::error::{Error, is_deadlock};
use crate::crm::{companies::COMPANIES, contacts::CONTACTS};
use crate::db::DatabaseArgs;
use crate::db::database_target::DatabaseTarget;
use crate::db::embedded::Absent;
use crate::db::{self, Statement, Tx};
use crate::resource::Resource;

/// Rows per transaction: enough to amortize its cost, few enough not to hold locks for long.
const CHUNK: usize = 500;
/// Retries of a chunk after a serialization failure or a deadlock.
const RETRIES: usize = 5;
/// Slug of the embedded server's demo business.
const DEMO: &str = "demo";

/// Resources which the command can import.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Imported {
    Contacts,
    Companies,
}

impl Imported {
    fn resource(self) -> &'static Resource {
        match self {
            Self::Contacts => &CONTACTS,
            Self::Companies => &COMPANIES,
        }
    }
}

/// Arguments of `rapport import`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// What the rows are
    #[arg(value_enum)]
    what: Imported,
    /// CSV file in UTF-8 with a header line, separated by comma, semicolon or tab
    file: PathBuf,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Slug of the business [default: demo on the private server; required with DATABASE_URL]
    #[arg(long, env = "RAPPORT_IMPORT_BUSINESS")]
    business: Option<String>,
    /// File with a JSON object from header to field, `metadata.<key>`, `full_name`, `company.name`, `company.domain`, or
    /// null to skip a column; headers that it leaves out are guessed
    #[arg(long, env = "RAPPORT_IMPORT_MAPPING")]
    mapping: Option<PathBuf>,
    /// Where refused rows are written, if there are any [default: FILE with the ending .errors.csv]
    #[arg(long, env = "RAPPORT_IMPORT_REPORT")]
    report: Option<PathBuf>,
    /// Runs the import and rolls it back: nothing is changed, the summary and the report show what would happen
    #[arg(long, env = "RAPPORT_IMPORT_DRY_RUN")]
    dry_run: bool,
}

/// Imports a file and prints a summary. Errors: failures which stop the import, and refused rows.
pub fn run(arguments: Arguments) -> Result<(), BoxError> {
    let resource = arguments.what.resource();
    let slug = match (&arguments.business, &arguments.database.database_url) {
        (Some(slug), _) => slug.as_str(),
        (None, None) => DEMO,
        (None, Some(_)) => return Err("--business is required with DATABASE_URL".into()),
    };
    let report = arguments.report.unwrap_or_else(|| arguments.file.with_extension("errors.csv"));
    // Read the file and the mapping first, so that their errors appear before a server is started.
    let (mut records, bar) = open(&arguments.file)?;
    let header = records.header().map_err(|error| named(&arguments.file, error))?;
    let headers = csv_header::headers(&header).map_err(|error| named(&arguments.file, error))?;
    if same_file(&report, &arguments.file) {
        return Err("--report must not be the file that is imported".into());
    }
    let mapping = match &arguments.mapping {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| named(path, error))?;
            Mapping::read(resource, &headers, &text).map_err(|error| named(path, error))?
        }
        None => Mapping::guess(resource, &headers)?,
    };
    let target = DatabaseTarget::open_beside(&arguments.database, Absent::Refuse)?;
    let mut conn = target.connect_migrated()?;
    let business = business(&mut conn, slug)?;
    let mut report = Report::new(report, &headers);
    let parser = Parser { resource, mapping, business: business.clone() };
    let source = (records, parser);
    let mut writer = Writer::new(resource, business);
    let done = if arguments.dry_run {
        roll_back(&mut conn, |attempt| import(source, &mut writer, attempt, &mut report, &bar))
    } else {
        let mut attempt = |work: &mut Work<'_>| db::in_transaction(&mut conn, |tx| work(tx));
        import(source, &mut writer, &mut attempt, &mut report, &bar)
    };
    bar.finish_and_clear();
    report.finish()?;
    let Tally { read, failed, .. } = writer.tally;
    let prefix = if arguments.dry_run { "Dry run, nothing was changed: " } else { "" };
    let see = report.path().map(|path| format!("; report: {}", path.display()));
    println!("{prefix}{}{}", writer.tally, see.as_deref().unwrap_or_default());
    done.map_err(|error| format!("stopped before the end of the file: {error}"))?;
    match report.path() {
        Some(path) => Err(format!("{failed} of {read} rows were refused; see {}", path.display()).into()),
        None => Ok(()),
    }
}

/// The work of one transaction.
type Work<'w> = dyn FnMut(&mut Tx<'_>) -> crate::base::error::Result<(ChunkResult, MatchedRows)> + 'w;
/// Runs the work atomically.
type Attempt<'a> = dyn FnMut(&mut Work<'_>) -> crate::base::error::Result<(ChunkResult, MatchedRows)> + 'a;

/// Counts for the summary.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    read: u64,
    created: u64,
    changed: u64,
    unchanged: u64,
    failed: u64,
    companies: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, created, changed, unchanged, failed, companies } = self;
        write!(
            f,
            "{read} rows read: {created} created, {changed} changed, {unchanged} unchanged, {failed} failed; \
             {companies} linked companies created"
        )
    }
}

/// Writes chunks, one transaction each, and counts the outcomes.
struct Writer {
    settings: Settings,
    matched: RefCell<MatchedRows>,
    tally: Tally,
}

impl Writer {
    fn new(resource: &'static Resource, business: TenantSettings) -> Self {
        let match_by = match_keys::available(resource).iter().map(|name| (*name).to_owned()).collect();
        let tenant = Tenant::for_operator(business.id);
        let settings = Settings { resource, business, tenant, match_by, on_match: OnMatch::Update, dry_run: false };
        Self { settings, matched: RefCell::default(), tally: Tally::default() }
    }

    /// Writes `rows` and reports the refused ones. Errors: failures which are not about a row.
    fn write(&mut self, attempt: &mut Attempt<'_>, rows: &[Row], report: &mut Report) -> Result<(), BoxError> {
        if rows.is_empty() {
            return Ok(());
        }
        let (settings, matched) = (&self.settings, &self.matched);
        let earlier = |_: &mut Tx<'_>, ids: Vec<uuid::Uuid>| {
            let matched = matched.borrow();
            Ok(ids.into_iter().filter_map(|id| Some((id, *matched.get(&id)?))).collect())
        };
        let mut work = |tx: &mut Tx<'_>| {
            tx.set_context(settings.business.id, None)?;
            let mut chunk_matched = MatchedRows::new();
            let done = writer::write(tx, settings, rows, &mut chunk_matched, &earlier)?;
            Ok((done, chunk_matched))
        };
        let mut retries = 0;
        let (done, chunk_matched) = loop {
            match attempt(&mut work) {
                Err(Error::Database(error)) if retries < RETRIES && is_collision(&error) => retries += 1,
                done => break done?,
            }
        };
        for (id, number) in chunk_matched {
            self.matched.borrow_mut().entry(id).or_insert(number);
        }
        self.tally.companies += done.companies.len();
        for (row, outcome) in rows.iter().zip(done.outcomes) {
            self.tally.read += 1;
            match outcome {
                Outcome::Created { .. } => self.tally.created += 1,
                Outcome::Changed { .. } => self.tally.changed += 1,
                Outcome::Unchanged { .. } => self.tally.unchanged += 1,
                Outcome::Refused(faults) => {
                    self.tally.failed += 1;
                    report.add(row, &faults)?;
                }
            }
        }
        Ok(())
    }
}

fn is_collision(error: &diesel::result::Error) -> bool {
    use diesel::result::DatabaseErrorKind::SerializationFailure;
    matches!(error, diesel::result::Error::DatabaseError(SerializationFailure, _)) || is_deadlock(error)
}

/// Feeds the writer. Ends a chunk before a row which may match the same database row as an earlier one, so that the
/// earlier one is found in the database.
fn import(
    (mut records, parser): (Records<BufReader<File>>, Parser),
    writer: &mut Writer,
    attempt: &mut Attempt<'_>,
    report: &mut Report,
    bar: &ProgressBar,
) -> Result<(), BoxError> {
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut keys = ChunkKeys::default();
    for record in records.by_ref() {
        let row = parser.row(record?);
        let position = row.offset + row.length;
        if chunk.len() == CHUNK || !keys.add(&row) {
            writer.write(attempt, &chunk, report)?;
            chunk.clear();
            keys = ChunkKeys::default();
            keys.add(&row);
            bar.set_position(position);
        }
        chunk.push(row);
    }
    writer.write(attempt, &chunk, report)?;
    // The report has one row for all of them.
    let uncounted = records.uncounted();
    (writer.tally.read, writer.tally.failed) = (writer.tally.read + uncounted, writer.tally.failed + uncounted);
    Ok(())
}

/// Runs `f` in one transaction and rolls it back.
fn roll_back(
    conn: &mut PgConnection,
    f: impl FnOnce(&mut Attempt<'_>) -> Result<(), BoxError>,
) -> Result<(), BoxError> {
    let mut done = Ok(());
    let rolled_back: Result<(), Error> = db::in_transaction(conn, |tx| {
        done = f(&mut |work: &mut Work<'_>| work(tx));
        Err(Error::PreconditionFailed)
    });
    match rolled_back {
        Err(Error::PreconditionFailed) => done,
        other => Ok(other?),
    }
}

/// Opens the file as CSV, with a progress bar over its bytes. The bar draws only on a terminal.
fn open(path: &Path) -> Result<(Records<BufReader<File>>, ProgressBar), BoxError> {
    let file = File::open(path).map_err(|error| named(path, error))?;
    let size = file.metadata().map_err(|error| named(path, error))?.len();
    let mut file = BufReader::with_capacity(1 << 16, file);
    let delimiter = csv_delimiter::detect(file.fill_buf().map_err(|error| named(path, error))?);
    let bar = ProgressBar::new(size);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} %  {elapsed} of {duration}") {
        bar.set_style(style);
    }
    Ok((Records::new(file, delimiter, true), bar))
}

fn business(conn: &mut PgConnection, slug: &str) -> Result<TenantSettings, BoxError> {
    let mut sql =
        Statement::new("SELECT id AS business_id, country, time_zone, currency FROM businesses WHERE slug = ");
    sql.bind(slug).first(conn)?.ok_or_else(|| {
        format!(
            "there is no business `{slug}`; `rapport seed` makes `demo`, `rapport api-key create --create-business` any"
        )
        .into()
    })
}

fn named(path: &Path, error: impl std::fmt::Display) -> BoxError {
    format!("{}: {error}", path.display()).into()
}

fn same_file(one: &Path, other: &Path) -> bool {
    let (one, other) = (std::fs::canonicalize(one), std::fs::canonicalize(other));
    matches!((one, other), (Ok(one), Ok(other)) if one == other)
}
