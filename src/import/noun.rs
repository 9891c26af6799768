//! An import as the API has it.

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::mapping::Mapping;
use super::matching::finders;
use crate::auth::Tenant;
use crate::crm::companies::COMPANIES;
use crate::crm::contacts::CONTACTS;
use crate::crm::leads::LEADS;
use crate::crm::tasks::TASKS;
use crate::db::{Cells, Statement, Tx, Value};
use crate::error::{Error, Fault, Result};
use crate::http::precondition::IfMatch;
use crate::noun::store::{self, Row};
use crate::noun::{Change, Field, Kind, Noun, Operations, Search, Sort, Visible, Writes, did_you_mean, select};

pub const FORMATS: &[&str] = &["csv", "ndjson"];
pub const ON_MATCH: &[&str] = &["update", "skip", "refuse"];
const STATES: &[&str] =
    &["ready", "trying", "tried", "importing", "imported", "reverting", "reverted", "failed", "cancelled"];
const ACTORS: &[&str] = &["user", "api_key", "system"];

/// What can be imported: nouns without rules of their own that look into the database.
pub static IMPORTED: [&Noun; 4] = [&CONTACTS, &COMPANIES, &LEADS, &TASKS];
pub const NAMES: &[&str] = &["contacts", "companies", "leads", "tasks"];

const fn count(name: &'static str, about: &'static str) -> Field {
    Field::int(name, 0, i64::MAX, "3", about).read_only().not_null()
}

pub static IMPORTS: Noun = Noun {
    name: "import",
    plural: "imports",
    schema: "Import",
    about: "A file of rows: what its columns are, and what became of its rows. It can be tried, which changes nothing, imported, \
            and taken back. People who see only what is assigned to them see only their own imports.",
    table: "imports",
    fields: &[
        Field::ID,
        Field::choice("noun", NAMES, r#""contacts""#, "What the rows are.").read_only().not_null(),
        // No filter: an export has a parameter of this name.
        Field { filter: false, ..Field::choice("format", FORMATS, r#""csv""#, "How the file is written.") }
            .read_only()
            .not_null(),
        Field::text("file_name", 255, r#""contacts.csv""#, "What the file is called.").read_only(),
        Field::int("bytes", 0, i64::MAX, "48123", "How large it is.").read_only().not_null(),
        Field::choice("state", STATES, r#""imported""#, "What was done with it, or is being done.").read_only().not_null(),
        Field::new(
            "mapping",
            Kind::Object,
            r#"{"Vorname":"first_name"}"#,
            "By header: the field that the column is, `id`, `metadata`, `metadata.<key>`, of contacts also `full_name`, \
             `company.name` and `company.domain`, or null to leave it out. Headers that are not here are guessed. A change \
             sets it as a whole.",
        )
        .default("{}")
        .replaced(),
        Field::new(
            "targets",
            Kind::Object,
            r#"{"Vorname":"first_name","E-Mail":"email","Fax":null}"#,
            "Where each column goes, as it was given or guessed; null: nowhere. What the service sets (`version`, `created_at`, …) \
             is never set by a file: `metadata.version` is where another system's is kept, and that of an export is left out of \
             the row that it was exported from. The preview's `notes` say so.",
        )
        .read_only()
        .not_null(),
        Field::new(
            "match_by",
            Kind::Tags,
            r#"["email"]"#,
            "By what a row of the file is recognised as one that is there, of `id`, `external_id`, `email` (of companies: \
             `domain`), `name`, and `phone` of contacts without a name (leads and tasks: `id` and `external_id`); nothing: each \
             is a new one.",
        )
        .not_null(),
        Field::choice("on_match", ON_MATCH, r#""update""#, "What becomes of a row of the file that is there already.")
            .default(r#""update""#),
        count("read", "Rows of the file that were looked at."),
        count("created", "Rows that were made."),
        count("changed", "Rows that were changed."),
        count("unchanged", "Rows that were there, and left as they are."),
        count("failed", "Rows of the file that were refused; `GET /imports/{id}/errors` says why."),
        count("companies", "Companies that were made because a contact links them."),
        count("reverted", "Rows that a reversion took back."),
        count("kept", "Rows that a reversion left, because somebody has changed them since."),
        Field::text(
            "job",
            60,
            r#""/api/v1/ops/jobs/01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#,
            "Path of the job that works on it, or was the last to.",
        )
        .read_only(),
        Field::choice("actor_kind", ACTORS, r#""user""#, "Who uploaded it.").read_only().not_null(),
        Field::new("actor_id", Kind::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73""#, "Id of the person or the key.")
            .read_only()
            .filter(),
        Field::time("executed_at", "When it was begun to be imported.").read_only(),
        Field::time("finished_at", "When the last job ended.").read_only(),
        Field::VERSION,
        Field::CREATED_AT,
        Field::time("updated_at", "When it last changed.").read_only().not_null(),
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::None,
    operations: Operations { update: true, ..Operations::NONE },
    writes: Writes { update, ..Writes::PLAIN },
    creation: Some(super::http::creation),
    routes: super::http::routes,
    cached: false,
    visible: Visible::Assigned("actor_id"),
    ..Noun::BASE
};

/// What can be imported under the name `plural`.
pub fn imported(plural: &str) -> Option<&'static Noun> {
    IMPORTED.into_iter().find(|noun| noun.plural == plural)
}

/// An import as the rooms here look at it.
pub struct Import {
    pub id: Uuid,
    pub noun: &'static Noun,
    pub format: String,
    pub separator: u8,
    pub headers: Vec<String>,
    pub mapping: Map<String, Json>,
    pub finders: Vec<String>,
    pub on_match: String,
    pub bytes: u64,
    pub lines: i64,
    pub state: String,
    pub executed: bool,
    /// The job whose records there are.
    pub run: Option<Uuid>,
}

impl Import {
    /// What [`Import::of`] reads, over the alias `t`.
    pub const COLUMNS: &str = "t.noun, t.format, t.layout ->> 'separator', t.mapping, t.on_match, t.bytes, t.lines, t.state, \
        t.run_id, (t.executed_at IS NOT NULL)::int, t.layout -> 'headers', to_jsonb(t.match_by)";

    /// Locks the import `id`. Errors: 404.
    pub fn lock(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Self> {
        let mut sql = Statement::new("SELECT ");
        sql.push(Self::COLUMNS).push(" FROM imports t");
        sql.append(select::scoped(&IMPORTS, tenant))
            .push(" AND t.id = ")
            .bind(Value::Uuid(Some(id)))
            .push(" FOR UPDATE");
        Self::of(id, &sql.row(tx)?.ok_or_else(|| store::missing(&IMPORTS))?)
    }

    /// The import `id` of its [`COLUMNS`](Self::COLUMNS).
    pub fn of(id: Uuid, row: &Cells) -> Result<Self> {
        let text = |cell| row.text(cell).unwrap_or_default().to_owned();
        let number = |cell| row.int(cell).unwrap_or_default();
        let noun = imported(&text(0)).ok_or_else(|| Error::Internal("an import of nothing".into()))?;
        let json = |cell| row.get(cell).and_then(|cell| cell.get(1..)).unwrap_or(b"null");
        Ok(Self {
            id,
            noun,
            format: text(1),
            separator: text(2).bytes().next().unwrap_or(b','),
            headers: serde_json::from_slice(json(10)).unwrap_or_default(),
            mapping: serde_json::from_slice(json(3)).unwrap_or_default(),
            finders: serde_json::from_slice(json(11)).unwrap_or_default(),
            on_match: text(4),
            bytes: number(5).unsigned_abs(),
            lines: number(6),
            state: text(7),
            executed: number(9) == 1,
            run: row.uuid(8),
        })
    }

    /// Its columns and where they go; of a file without columns none. Errors: every fault of the mapping.
    pub fn mapped(&self) -> Result<Mapping> {
        mapped(self.noun, &self.format, &self.headers, &self.mapping)
    }

    /// Errors: 409 while a job works on it.
    pub fn rests(&self) -> Result<()> {
        match self.state.as_str() {
            "trying" | "importing" | "reverting" => {
                let detail = format!("The import is {} right now. Wait for its job, or cancel it.", self.state);
                Err(Error::conflict("import_at_work", detail))
            }
            _ => Ok(()),
        }
    }
}

/// Errors: 422.
pub fn mapped(noun: &'static Noun, format: &str, headers: &[String], given: &Map<String, Json>) -> Result<Mapping> {
    let fault = |detail: String| Error::Invalid(vec![Fault::new("/mapping", "mapping", detail)]);
    match format {
        "csv" => Mapping::build(noun, headers, given).map_err(fault),
        _ if given.is_empty() => Ok(Mapping { columns: Vec::new() }),
        _ => Err(fault("The rows of an NDJSON file have the fields of the API: there is nothing to map.".into())),
    }
}

/// `{"header": "field"}`, in the file's order.
pub fn columns(mapping: &Mapping) -> Json {
    let mut columns: Vec<_> = mapping.columns.iter().collect();
    columns.sort_by_key(|column| column.index);
    Json::Object(columns.into_iter().map(|column| (column.header.clone(), column.target.name().into())).collect())
}

/// Errors: 422 for what rows of `noun` cannot be found by.
pub fn check_finders(noun: &Noun, given: &[String]) -> Result<()> {
    let known = finders(noun);
    let wrong = |(place, name): (usize, &String)| {
        let hint = did_you_mean(name, known.iter().copied());
        let detail = format!("{} are not found by `{name}`.{hint}", noun.plural);
        (!known.contains(&name.as_str())).then(|| Fault::new(format!("/match_by/{place}"), "not_a_choice", detail))
    };
    let faults: Vec<Fault> = given.iter().enumerate().filter_map(wrong).collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

/// Changes how the file will be read. Errors: 404, 409 once it has been imported, 412, 422.
fn update(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, mut change: Change, expected: IfMatch) -> Result<Row> {
    let mut import = Import::lock(tx, tenant, id)?;
    import.rests()?;
    if import.executed && !change.values().is_empty() {
        let detail = "The file has been imported; how it was read cannot be changed any more. Upload it again.";
        return Err(Error::conflict("already_imported", detail));
    }
    if let Some(Value::Json(Some(Json::Object(given)))) = change.get("mapping") {
        import.mapping = given.clone();
        change.set("targets", Value::Json(Some(columns(&import.mapped()?))));
    }
    if let Some(Value::Texts(given)) = change.get("match_by") {
        check_finders(import.noun, given)?;
    }
    store::update(tx, tenant, id, change, expected)
}
