//! Merges: rows that are the same person or company become one, and can become several again.
//!
//! [`merge`] moves what leads to the others to the survivor, fills its empty fields, and keeps what it did; [`reversion`]
//! undoes that as far as nobody has changed it since. Merges of one business take turns: they lock many rows, of which one
//! may have been given to the other a moment ago.

pub mod http;
pub mod links;
mod merge;
mod reversion;

use uuid::Uuid;

use crate::auth::Tenant;
use crate::db::{Statement, Tx, Value};
use crate::error::Result;
use crate::noun::{Field, Kind, Noun, Operations, Search, Sort, select, store};

const OF: &[&str] = &["contacts", "companies"];
/// How long a merge can be undone: as long as a deleted row can be brought back.
pub const REVERSIBLE_DAYS: i64 = store::RESTORABLE_DAYS;

pub static MERGES: Noun = Noun {
    name: "merge",
    plural: "merges",
    schema: "Merge",
    about: "Which contacts or companies became one, and what that changed. It can be undone for 30 days.",
    table: "merges",
    fields: &[
        Field::ID,
        Field::choice("noun", OF, r#""contacts""#, "Whose rows they were.").read_only().not_null(),
        Field::new("survivor_id", Kind::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#, "The row that is left.")
            .read_only()
            .not_null()
            .filter(),
        Field::new(
            "from_ids",
            Kind::Tags,
            r#"["01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c72"]"#,
            "The rows that went into it. `from_ids=a,b` finds merges of any of them.",
        )
        .read_only()
        .not_null()
        .filter(),
        Field::new("moved", Kind::Object, r#"{"leads":2}"#, "How many rows lead to the survivor since, by noun.")
            .read_only()
            .not_null(),
        Field::new(
            "changes",
            Kind::Object,
            r#"{"email":{"old":null,"new":"shelley@example.com"}}"#,
            "The fields of the survivor that changed, each as it was and as it became.",
        )
        .read_only()
        .not_null(),
        Field::time("reversible_until", "Until when it can be undone.").read_only().not_null(),
        Field::time("reverted_at", "When it was undone.").read_only(),
        Field::VERSION,
        Field::CREATED_AT,
        Field { filter: false, ..Field::UPDATED_AT },
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::None,
    operations: Operations::NONE,
    routes: http::of_merges,
    ..Noun::BASE
};

/// Waits until no other merge of the business is under way, nor an erasure: both lock many rows, each in its own order.
pub fn take_turns(tx: &mut Tx<'_>, tenant: &Tenant) -> Result<()> {
    let mut sql = Statement::new("SELECT pg_advisory_xact_lock(hashtextextended('merges ' || ");
    sql.bind(Value::Text(Some(tenant.id().to_string()))).push(", 0))").run(tx)?;
    Ok(())
}

/// Locks rows that are about to change, in the order that all take: leads first, then those of `noun`, by id. Cells: id,
/// version, whether deleted (0, 1), and then whether each of the noun's [`fields`] has a value (0, 1).
fn lock(tx: &mut Tx<'_>, tenant: &Tenant, noun: &'static Noun, ids: &[Uuid]) -> Result<Vec<crate::db::Cells>> {
    let mut sql = Statement::new("SELECT t.id FROM leads t WHERE t.business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(&format!(" AND t.{}_id = ANY(", noun.name));
    sql.bind(Value::Uuids(ids.to_vec())).push(") ORDER BY t.id FOR NO KEY UPDATE").rows(tx)?;
    let given: String = fields(noun).map(|field| format!(", (t.{} IS NOT NULL)::integer", field.name)).collect();
    let mut sql = Statement::new(format!(
        "SELECT t.id, t.version, (t.deleted_at IS NOT NULL)::integer{given} FROM {} t",
        noun.table
    ));
    sql.append(select::scoped(noun, tenant)).push(" AND t.id = ANY(").bind(Value::Uuids(ids.to_vec()));
    // Whoever has just linked to one of them is waited for.
    Ok(sql.push(") ORDER BY t.id FOR UPDATE").rows(tx)?)
}

/// The fields of which one row's value wins; tags and metadata are united.
fn fields(noun: &'static Noun) -> impl Iterator<Item = &'static Field> {
    use crate::noun::Written::Always;
    noun.fields.iter().filter(|field| field.written == Always && !matches!(field.kind, Kind::Tags | Kind::Object))
}
