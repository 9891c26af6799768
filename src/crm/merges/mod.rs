//! Merges: combine contacts or companies that are the same into one, and can be undone.
//!
//! [`merge`] points the references to the others to the survivor, fills its empty fields, and records what it did;
//! [`undo`] reverts that as far as nothing has been changed since. Merges of one business are serialized: they lock
//! many rows, and a concurrent merge may have just moved one of them.

pub mod http;
mod merge;
pub mod references;
mod undo;

use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{SqlValue, Statement, Tx};
use crate::resource::{Field, FieldType, Operations, Resource, Search, Sort, crud, select};

const OF: &[&str] = &["contacts", "companies"];
/// How long a merge can be undone: as long as a deleted row can be restored.
pub const REVERSIBLE_DAYS: i64 = crud::RESTORABLE_DAYS;

pub static MERGES: Resource = Resource {
    name: "merge",
    plural: "merges",
    schema: "Merge",
    description: "Which contacts or companies became one, and what that changed. It can be undone for 30 days.",
    table: "merges",
    fields: &[
        Field::ID,
        Field::choice("resource", OF, r#""contacts""#, "Whose rows they were.").read_only().not_null(),
        Field::new(
            "survivor_id",
            FieldType::Uuid,
            r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#,
            "The row that is left.",
        )
        .read_only()
        .not_null()
        .filter(),
        Field::new(
            "from_ids",
            FieldType::Tags,
            r#"["01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c72"]"#,
            "The rows that went into it. `from_ids=a,b` finds merges of any of them.",
        )
        .read_only()
        .not_null()
        .filter(),
        Field::new(
            "moved",
            FieldType::Object,
            r#"{"leads":2}"#,
            "How many rows lead to the survivor since, by resource.",
        )
        .read_only()
        .not_null(),
        Field::new(
            "changes",
            FieldType::Object,
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
    ..Resource::BASE
};

/// Waits until no other merge or erasure of the business is running: both lock many rows, each in its own order.
pub fn take_turns(tx: &mut Tx<'_>, tenant: &Tenant) -> Result<()> {
    let mut sql = Statement::new("SELECT pg_advisory_xact_lock(hashtextextended('merges ' || ");
    sql.bind(SqlValue::Text(Some(tenant.id().to_string()))).push(", 0))").run(tx)?;
    Ok(())
}

/// Locks rows before they are changed, in the common order: leads first, then those of the resource, by id. Columns:
/// id, version, whether deleted (0, 1), and then whether each of the resource's [`fields`] has a value (0, 1).
fn lock(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, ids: &[Uuid]) -> Result<Vec<crate::db::RawRow>> {
    let mut sql = Statement::new("SELECT t.id FROM leads t WHERE t.business_id = ");
    sql.bind(SqlValue::Uuid(Some(tenant.id()))).push(&format!(" AND t.{}_id = ANY(", resource.name));
    sql.bind(SqlValue::Uuids(ids.to_vec())).push(") ORDER BY t.id FOR NO KEY UPDATE").rows(tx)?;
    let given: String = fields(resource).map(|field| format!(", (t.{} IS NOT NULL)::integer", field.name)).collect();
    let mut sql = Statement::new(format!(
        "SELECT t.id, t.version, (t.deleted_at IS NOT NULL)::integer{given} FROM {} t",
        resource.table
    ));
    sql.append(select::tenant_predicate(resource, tenant)).push(" AND t.id = ANY(").bind(SqlValue::Uuids(ids.to_vec()));
    // `FOR UPDATE` waits for transactions that have just referenced one of the rows.
    Ok(sql.push(") ORDER BY t.id FOR UPDATE").rows(tx)?)
}

/// The fields of which one row's value wins; tags and metadata are united.
fn fields(resource: &'static Resource) -> impl Iterator<Item = &'static Field> {
    use crate::resource::Mutability::Always;
    resource
        .fields
        .iter()
        .filter(|field| field.mutability == Always && !matches!(field.field_type, FieldType::Tags | FieldType::Object))
}
