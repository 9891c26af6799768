//! `rapport import`: contacts and companies from a CSV file, through the validation of the API.
//!
//! The file is read as a stream ([`rows`]), its columns find their fields by a mapping file or by their names
//! ([`mapping`]), and it is written in chunks of one transaction each with a fixed number of look-ups ([`writer`]). A
//! row that is refused goes to a report with its cells and every fault ([`report`]); the others arrive all the same.
//! A second import finds its rows again and changes only what differs, so the same file twice changes nothing.

mod bodies;
mod header;
mod mapping;
mod matching;
mod report;
mod rows;
mod writer;

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use diesel::PgConnection;
use indicatif::{ProgressBar, ProgressStyle};

use self::mapping::Mapping;
use self::report::Report;
use self::rows::Source;
use self::writer::{Attempt, Tally, Writer};
use crate::auth::Business;
use crate::config::DatabaseConfig;
use crate::crm::{companies::COMPANIES, contacts::CONTACTS};
use crate::db::target::{BoxError, Target};
use crate::db::{self, Statement, Tx, Value, migrate};
use crate::error::Error;
use crate::noun::Noun;

/// Rows per transaction: enough to make its cost small, few enough not to hold locks for long.
const CHUNK: usize = 500;
/// The business of the embedded server's demo.
const DEMO: &str = "demo";

/// What can be imported.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Imported {
    Contacts,
    Companies,
}

impl Imported {
    fn noun(self) -> &'static Noun {
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
    database: DatabaseConfig,
    /// Slug of the business [default: demo on the private server; required with DATABASE_URL]
    #[arg(long, env = "RAPPORT_IMPORT_BUSINESS")]
    business: Option<String>,
    /// JSON object from header to field, `metadata.<key>`, `full_name`, `company.name`, `company.domain`, or null to
    /// skip a column; headers that it leaves out are guessed
    #[arg(long, env = "RAPPORT_IMPORT_MAPPING")]
    mapping: Option<PathBuf>,
    /// Where refused rows are written, if there are any [default: FILE with the ending .errors.csv]
    #[arg(long, env = "RAPPORT_IMPORT_REPORT")]
    report: Option<PathBuf>,
    /// Does everything and takes it back: nothing is changed, the summary and the report tell what would be
    #[arg(long, env = "RAPPORT_IMPORT_DRY_RUN")]
    dry_run: bool,
}

/// Imports a file and prints a summary. Errors: what keeps the import from running, and rows that were refused.
pub fn run(arguments: Arguments) -> Result<(), BoxError> {
    let noun = arguments.what.noun();
    let slug = match (&arguments.business, &arguments.database.database_url) {
        (Some(slug), _) => slug.as_str(),
        (None, None) => DEMO,
        (None, Some(_)) => return Err("--business is required with DATABASE_URL".into()),
    };
    let report = arguments.report.unwrap_or_else(|| arguments.file.with_extension("errors.csv"));
    // The file and the mapping come first: their faults show without a server being started.
    let (mut reader, bar) = open(&arguments.file)?;
    let headers = header::headers(&mut reader).map_err(|error| named(&arguments.file, error))?;
    if same_file(&report, &arguments.file) {
        return Err("--report must not be the file that is imported".into());
    }
    let mapping = match &arguments.mapping {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| named(path, error))?;
            Mapping::read(noun, &headers, &text).map_err(|error| named(path, error))?
        }
        None => Mapping::guess(noun, &headers)?,
    };
    let target = Target::open(&arguments.database)?;
    if target.embedded.is_some() {
        migrate::run(&target.url)?;
    }
    let mut conn = target.connect()?;
    let business = business(&mut conn, slug)?;
    let mut report = Report::new(report, &headers);
    let source = Source::new(reader, noun, mapping, business.clone());
    let mut writer = Writer::new(noun, business);
    let done = if arguments.dry_run {
        dry(&mut conn, |attempt| import(source, &mut writer, attempt, &mut report, &bar))
    } else {
        let mut attempt = |work: &mut writer::Work<'_>| db::in_transaction(&mut conn, |tx| work(tx));
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

/// Feeds the writer. A chunk ends early when a row seems to be the same as an earlier one: that one must be found.
fn import(
    source: Source<BufReader<File>>,
    writer: &mut Writer,
    attempt: &mut Attempt<'_>,
    report: &mut Report,
    bar: &ProgressBar,
) -> Result<(), BoxError> {
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut keys = HashSet::new();
    for row in source {
        let (row, position) = row?;
        if chunk.len() == CHUNK || row.keys().iter().any(|key| keys.contains(key)) {
            writer.write(attempt, &chunk, report)?;
            chunk.clear();
            keys.clear();
            bar.set_position(position);
        }
        keys.extend(row.keys().iter().cloned());
        chunk.push(row);
    }
    writer.write(attempt, &chunk, report)
}

/// Runs `f` in one transaction that is rolled back, each attempt in a savepoint of it.
fn dry(conn: &mut PgConnection, f: impl FnOnce(&mut Attempt<'_>) -> Result<(), BoxError>) -> Result<(), BoxError> {
    let mut done = Ok(());
    let rolled_back: Result<(), Error> = db::in_transaction(conn, |tx| {
        done = f(&mut |work: &mut writer::Work<'_>| savepoint(tx, work));
        Err(Error::Stale)
    });
    match rolled_back {
        Err(Error::Stale) => done,
        other => Ok(other?),
    }
}

fn savepoint(tx: &mut Tx<'_>, work: &mut writer::Work<'_>) -> crate::error::Result<writer::Done> {
    Statement::new("SAVEPOINT import_chunk").run(tx)?;
    let done = work(tx);
    if done.is_err() {
        Statement::new("ROLLBACK TO SAVEPOINT import_chunk").run(tx)?;
    }
    Statement::new("RELEASE SAVEPOINT import_chunk").run(tx)?;
    done
}

/// Opens the file as CSV, with a bar as long as it is. On anything but a terminal the bar draws nothing.
fn open(path: &Path) -> Result<(csv::Reader<BufReader<File>>, ProgressBar), BoxError> {
    let file = File::open(path).map_err(|error| named(path, error))?;
    let size = file.metadata().map_err(|error| named(path, error))?.len();
    let mut file = BufReader::with_capacity(1 << 16, file);
    let delimiter = header::delimiter(file.fill_buf().map_err(|error| named(path, error))?);
    let bar = ProgressBar::new(size);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} %  {elapsed} of {duration}") {
        bar.set_style(style);
    }
    let reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(file);
    Ok((reader, bar))
}

fn business(conn: &mut PgConnection, slug: &str) -> Result<Business, BoxError> {
    let mut sql = Statement::new("SELECT id, country, time_zone, currency FROM businesses WHERE slug = ");
    sql.bind(Value::Text(Some(slug.to_owned())));
    let row = sql.row(conn)?.ok_or_else(|| {
        format!(
            "there is no business `{slug}`; `rapport seed` makes `demo`, `rapport api-key create --create-business` any"
        )
    })?;
    let text = |index| row.text(index).unwrap_or_default().to_owned();
    Ok(Business { id: row.uuid(0).unwrap_or_default(), country: text(1), time_zone: text(2), currency: text(3) })
}

fn named(path: &Path, error: impl std::fmt::Display) -> BoxError {
    format!("{}: {error}", path.display()).into()
}

fn same_file(one: &Path, other: &Path) -> bool {
    let (one, other) = (std::fs::canonicalize(one), std::fs::canonicalize(other));
    matches!((one, other), (Ok(one), Ok(other)) if one == other)
}
