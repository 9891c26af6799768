//! The resource `merges`: which contacts or companies became one.

use crate::db::schema::merges;
use crate::resource::{Field, FieldType, Operations, Resource, Search, Sort, crud, row_type};

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
        Field::id(merges::id),
        Field::choice(merges::resource, OF, r#""contacts""#, "Whose rows they were.").read_only().not_null(),
        Field::new(
            merges::survivor_id,
            FieldType::Uuid,
            r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#,
            "The row that is left.",
        )
        .read_only()
        .not_null()
        .filter(),
        Field::new(
            merges::from_ids,
            FieldType::Tags,
            r#"["01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c72"]"#,
            "The rows that went into it. `from_ids=a,b` finds merges of any of them.",
        )
        .read_only()
        .not_null()
        .filter(),
        Field::new(
            merges::moved,
            FieldType::Object,
            r#"{"leads":2}"#,
            "How many rows lead to the survivor since, by resource.",
        )
        .read_only()
        .not_null(),
        Field::new(
            merges::changes,
            FieldType::Object,
            r#"{"email":{"old":null,"new":"shelley@example.com"}}"#,
            "The fields of the survivor that changed, each as it was and as it became.",
        )
        .read_only()
        .not_null(),
        Field::time(merges::reversible_until, "Until when it can be undone.").read_only().not_null(),
        Field::time(merges::reverted_at, "When it was undone.").read_only(),
        Field::version(merges::version),
        Field::created_at(merges::created_at),
        Field { filter: false, ..Field::updated_at(merges::updated_at) },
    ],
    sorts: &[Sort::column(merges::created_at)],
    search: Search::None,
    operations: Operations::NONE,
    ..Resource::BASE
};

row_type!(MergeRow of MERGES);
