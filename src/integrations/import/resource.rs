//! The resource `imports`: its definition, loading of a row, and update of the mapping and match settings.

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::mapping::Mapping;
use super::matching::finders;
use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::crm::companies::COMPANIES;
use crate::crm::contacts::CONTACTS;
use crate::crm::leads::LEADS;
use crate::crm::tasks::TASKS;
use crate::db::{RawRow, SqlValue, Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::crud::{self, Row};
use crate::resource::{
    Changeset, Field, FieldType, Operations, Resource, RowVisibility, Search, Sort, WriteOps, did_you_mean, select,
};

pub const FORMATS: &[&str] = &["csv", "ndjson"];
pub const ON_MATCH: &[&str] = &["update", "skip", "refuse"];
const STATES: &[&str] =
    &["ready", "trying", "tried", "importing", "imported", "reverting", "reverted", "failed", "cancelled"];
const ACTORS: &[&str] = &["user", "api_key", "system"];

/// Resources which can be imported: none has rules of its own which query the database.
pub static IMPORTED: [&Resource; 4] = [&CONTACTS, &COMPANIES, &LEADS, &TASKS];
pub const NAMES: &[&str] = &["contacts", "companies", "leads", "tasks"];

const fn count(name: &'static str, about: &'static str) -> Field {
    Field::int(name, 0, i64::MAX, "3", about).read_only().not_null()
}

pub static IMPORTS: Resource = Resource {
    name: "import",
    plural: "imports",
    schema: "Import",
    description: "A file of rows: what its columns are, and what became of its rows. It can be tried, which changes nothing, imported, \
            and taken back. People who see only what is assigned to them see only their own imports.",
    table: "imports",
    fields: &[
        Field::ID,
        Field::choice("resource", NAMES, r#""contacts""#, "What the rows are.").read_only().not_null(),
        // No filter: exports have a parameter of this name.
        Field { filter: false, ..Field::choice("format", FORMATS, r#""csv""#, "How the file is written.") }
            .read_only()
            .not_null(),
        Field::text("file_name", 255, r#""contacts.csv""#, "What the file is called.").read_only(),
        Field::int("bytes", 0, i64::MAX, "48123", "How large it is.").read_only().not_null(),
        Field::choice("state", STATES, r#""imported""#, "What was done with it, or is being done.").read_only().not_null(),
        Field::new(
            "mapping",
            FieldType::Object,
            r#"{"Vorname":"first_name"}"#,
            "By header: the field that the column is, `id`, `metadata`, `metadata.<key>`, of contacts also `full_name`, \
             `company.name` and `company.domain`, or null to leave it out. Headers that are not here are guessed. A change \
             sets it as a whole.",
        )
        .default("{}")
        .replace_whole(),
        Field::new(
            "targets",
            FieldType::Object,
            r#"{"Vorname":"first_name","E-Mail":"email","Fax":null}"#,
            "Where each column goes, as it was given or guessed; null: nowhere. What the service sets (`version`, `created_at`, …) \
             is never set by a file: `metadata.version` is where another system's is kept, and that of an export is left out of \
             the row that it was exported from. The preview's `notes` say so.",
        )
        .read_only()
        .not_null(),
        Field::new(
            "match_by",
            FieldType::Tags,
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
        count("unchanged", "Rows that were there, and left unchanged."),
        count("failed", "Rows of the file that were refused; `GET /imports/{id}/errors` says why."),
        count("companies", "Companies that were made because a contact links them."),
        count("reverted", "Rows that a reversion took back."),
        count("kept", "Rows that a reversion left, because they were changed since."),
        Field::text(
            "job",
            60,
            r#""/api/v1/ops/jobs/01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#,
            "Path of the job that works on it, or was the last to.",
        )
        .read_only(),
        Field::choice("actor_kind", ACTORS, r#""user""#, "Who uploaded it.").read_only().not_null(),
        Field::new("actor_id", FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73""#, "Id of the person or the key.")
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
    cacheable: false,
    visibility: RowVisibility::Assigned("actor_id"),
    ..Resource::BASE
};

/// How its rows are written.
pub const WRITES: WriteOps = WriteOps { update, ..WriteOps::PLAIN };

/// Returns the importable resource with this plural name.
pub fn imported(plural: &str) -> Option<&'static Resource> {
    IMPORTED.into_iter().find(|resource| resource.plural == plural)
}

/// An import, as the import modules use it.
pub struct Import {
    pub id: Uuid,
    pub resource: &'static Resource,
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
    /// The job whose row results are stored.
    pub run: Option<Uuid>,
}

impl Import {
    /// Columns which [`Import::of`] reads, for table alias `t`.
    pub const COLUMNS: &str = "t.resource, t.format, t.layout ->> 'separator', t.mapping, t.on_match, t.bytes, t.lines, t.state, \
        t.run_id, (t.executed_at IS NOT NULL)::int, t.layout -> 'headers', to_jsonb(t.match_by)";

    /// Loads and locks the import `id`. Errors: 404.
    pub fn lock(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Self> {
        let mut sql = Statement::new("SELECT ");
        sql.push(Self::COLUMNS).push(" FROM imports t");
        sql.append(select::tenant_predicate(&IMPORTS, tenant))
            .push(" AND t.id = ")
            .bind(SqlValue::Uuid(Some(id)))
            .push(" FOR UPDATE");
        Self::of(id, &sql.row(tx)?.ok_or_else(|| crud::not_found(&IMPORTS))?)
    }

    /// Builds the import `id` from its [`COLUMNS`](Self::COLUMNS).
    pub fn of(id: Uuid, row: &RawRow) -> Result<Self> {
        let text = |cell| row.text(cell).unwrap_or_default().to_owned();
        let number = |cell| row.int(cell).unwrap_or_default();
        let resource = imported(&text(0)).ok_or_else(|| Error::Internal("an import of nothing".into()))?;
        let json = |cell| row.get(cell).and_then(|cell| cell.get(1..)).unwrap_or(b"null");
        Ok(Self {
            id,
            resource,
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

    /// Builds its column mapping, which is empty for NDJSON. Errors: 422 with every error of the mapping.
    pub fn mapped(&self) -> Result<Mapping> {
        mapped(self.resource, &self.format, &self.headers, &self.mapping)
    }

    /// Checks that no job works on it. Errors: 409.
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

/// Builds a column mapping. Errors: 422.
pub fn mapped(
    resource: &'static Resource,
    format: &str,
    headers: &[String],
    given: &Map<String, Json>,
) -> Result<Mapping> {
    let fault = |detail: String| Error::Invalid(vec![FieldError::new("/mapping", "mapping", detail)]);
    match format {
        "csv" => Mapping::build(resource, headers, given).map_err(fault),
        _ if given.is_empty() => Ok(Mapping { columns: Vec::new() }),
        _ => Err(fault("The rows of an NDJSON file have the fields of the API: there is nothing to map.".into())),
    }
}

/// Returns the targets as `{"header": "field"}`, in the file's order.
pub fn columns(mapping: &Mapping) -> Json {
    let mut columns: Vec<_> = mapping.columns.iter().collect();
    columns.sort_by_key(|column| column.index);
    Json::Object(columns.into_iter().map(|column| (column.header.clone(), column.target.name().into())).collect())
}

/// Checks match keys. Errors: 422 for those by which the resource cannot be matched.
pub fn check_finders(resource: &Resource, given: &[String]) -> Result<()> {
    let known = finders(resource);
    let wrong = |(place, name): (usize, &String)| {
        let hint = did_you_mean(name, known.iter().copied());
        let detail = format!("{} are not found by `{name}`.{hint}", resource.plural);
        (!known.contains(&name.as_str())).then(|| FieldError::new(format!("/match_by/{place}"), "not_a_choice", detail))
    };
    let faults: Vec<FieldError> = given.iter().enumerate().filter_map(wrong).collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

/// Updates how the file will be read. Errors: 404; 409 while a job works on it and once it was imported; 412; 422.
fn update(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    id: Uuid,
    mut change: Changeset,
    expected: IfMatch,
) -> Result<Row> {
    let mut import = Import::lock(tx, tenant, id)?;
    import.rests()?;
    if import.executed && !change.values().is_empty() {
        let detail = "The file has been imported; how it was read cannot be changed any more. Upload it again.";
        return Err(Error::conflict("already_imported", detail));
    }
    if let Some(SqlValue::Json(Some(Json::Object(given)))) = change.get("mapping") {
        import.mapping = given.clone();
        change.set("targets", SqlValue::Json(Some(columns(&import.mapped()?))));
    }
    if let Some(SqlValue::Texts(given)) = change.get("match_by") {
        check_finders(import.resource, given)?;
    }
    crud::update(tx, tenant, resource, id, change, expected)
}
