//! The resource `imports`: its definition, and the resources which can be imported.

use crate::channels::message_rates::MESSAGE_RATES;
use crate::crm::companies::COMPANIES;
use crate::crm::contacts::CONTACTS;
use crate::crm::leads::LEADS;
use crate::crm::tasks::TASKS;
use crate::db::schema::imports;
use crate::resource::{Field, FieldColumn, FieldType, Operations, Resource, RowVisibility, Search, Sort, row_type};

pub const FORMATS: &[&str] = &["csv", "ndjson"];
pub const ON_MATCH: &[&str] = &["update", "skip", "refuse"];
const STATES: &[&str] =
    &["ready", "trying", "tried", "importing", "imported", "reverting", "reverted", "failed", "cancelled"];
const ACTORS: &[&str] = &["user", "api_key", "system"];

/// Resources which can be imported: none has rules of its own which query the database.
pub static IMPORTED: [&Resource; 5] = [&CONTACTS, &COMPANIES, &LEADS, &TASKS, &MESSAGE_RATES];
pub const NAMES: &[&str] = &["contacts", "companies", "leads", "tasks", "message-rates"];

const fn count<C: FieldColumn>(column: C, about: &'static str) -> Field {
    Field::int(column, 0, i64::MAX, "3", about).read_only().not_null()
}

pub static IMPORTS: Resource = Resource {
    name: "import",
    plural: "imports",
    schema: "FileImport",
    description: "A file of rows: what its columns are, and what became of its rows. It can be tried, which changes nothing, imported, \
            and taken back. People who see only what is assigned to them see only their own imports.",
    table: "imports",
    fields: &[
        Field::id(imports::id),
        Field::choice(imports::resource, NAMES, r#""contacts""#, "What the rows are.").read_only().not_null(),
        // No filter: exports have a parameter of this name.
        Field { filter: false, ..Field::choice(imports::format, FORMATS, r#""csv""#, "How the file is written.") }
            .read_only()
            .not_null(),
        Field::text(imports::file_name, 255, r#""contacts.csv""#, "What the file is called.").read_only(),
        Field::int(imports::bytes, 0, i64::MAX, "48123", "How large it is.").read_only().not_null(),
        Field::choice(imports::state, STATES, r#""imported""#, "What was done with it, or is being done.").read_only().not_null(),
        Field::new(
            imports::mapping,
            FieldType::Object,
            r#"{"Vorname":"first_name"}"#,
            "By header: the field that the column is, `id`, `metadata`, `metadata.<key>`, of contacts also `full_name`, \
             `company.name` and `company.domain`, or null to leave it out. Headers that are not here are guessed. A change \
             sets it as a whole.",
        )
        .default("{}")
        .replace_whole(),
        Field::new(
            imports::targets,
            FieldType::Object,
            r#"{"Vorname":"first_name","E-Mail":"email","Fax":null}"#,
            "Where each column goes, as it was given or guessed; null: nowhere. What the service sets (`version`, `created_at`, …) \
             is never set by a file: `metadata.version` is where another system's is kept, and that of an export is left out of \
             the row that it was exported from. The preview's `notes` say so.",
        )
        .read_only()
        .not_null(),
        Field::new(
            imports::match_by,
            FieldType::Tags,
            r#"["email"]"#,
            "By what a row of the file is recognised as one that is there, of `id`, `external_id`, `email` (of companies: \
             `domain`), `name`, and `phone` of contacts without a name (others: `id` and `external_id`); nothing: each \
             is a new one.",
        )
        .not_null(),
        Field::choice(imports::on_match, ON_MATCH, r#""update""#, "What becomes of a row of the file that is there already.")
            .default(r#""update""#),
        count(imports::read, "Rows of the file that were looked at."),
        count(imports::created, "Rows that were made."),
        count(imports::changed, "Rows that were changed."),
        count(imports::unchanged, "Rows that were there, and left unchanged."),
        count(imports::failed, "Rows of the file that were refused; `GET /imports/{id}/errors` says why."),
        count(imports::companies, "Companies that were made because a contact links them."),
        count(imports::reverted, "Rows that a reversion took back."),
        count(imports::kept, "Rows that a reversion left, because they were changed since."),
        Field::named(
            "job",
            FieldType::Text { min: 1, max: 60 },
            r#""/api/v1/ops/jobs/01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#,
            "Path of the job that works on it, or was the last to.",
        )
        .read_only(),
        Field::choice(imports::actor_kind, ACTORS, r#""user""#, "Who uploaded it.").read_only().not_null(),
        Field::new(imports::actor_id, FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73""#, "Id of the person or the key.")
            .read_only()
            .filter(),
        Field::time(imports::executed_at, "When it was begun to be imported.").read_only(),
        Field::time(imports::finished_at, "When the last job ended.").read_only(),
        Field::version(imports::version),
        Field::created_at(imports::created_at),
        Field::time(imports::updated_at, "When it last changed.").read_only().not_null(),
    ],
    sorts: &[Sort::column(imports::created_at)],
    search: Search::None,
    operations: Operations { update: true, ..Operations::NONE },
    cacheable: false,
    visibility: RowVisibility::assigned(imports::actor_id),
    ..Resource::BASE
};

row_type!(ImportRow of IMPORTS);

/// Returns the importable resource with this plural name.
pub fn imported(plural: &str) -> Option<&'static Resource> {
    IMPORTED.into_iter().find(|resource| resource.plural == plural)
}
