//! The audit log: triggers log each change in its transaction, and the sequencer enters it into the table soon after. The view
//! `audit_entries` has both.

use super::definition::{Resource, Search};
use super::field::{Field, FieldType};
use super::operations::Operations;
use super::sort::Sort;
use crate::auth::Area;
use crate::db::schema::audit_log;

const ACTIONS: &[&str] = &["created", "updated", "deleted", "restored", "erased", "exported"];
const ACTORS: &[&str] = &["user", "api_key", "system"];

pub static AUDIT_LOG: Resource = Resource {
    name: "audit_entry",
    plural: "audit-log",
    schema: "AuditEntry",
    description: "Who did what to which row. Written with each change, by whatever way it was made, and never changed.",
    table: "audit_entries",
    source_tables: &["audit_log", "change_log"],
    area: Area::Audit,
    fields: &[
        Field::id(audit_log::id),
        Field::time(audit_log::created_at, "When it was done.").read_only().not_null().filter(),
        Field::text(audit_log::resource, 60, r#""leads""#, "What kind of row.").read_only().not_null().filter(),
        Field::new(audit_log::row_id, FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#, "Which row.")
            .read_only()
            .not_null()
            .filter(),
        Field::choice(audit_log::action, ACTIONS, r#""updated""#, "What was done to it.").read_only().not_null(),
        Field::choice(
            audit_log::actor_kind,
            ACTORS,
            r#""user""#,
            "Who did it: a person, a program, or an operator on the database itself.",
        )
        .read_only()
        .not_null(),
        Field::new(
            audit_log::actor_id,
            FieldType::Uuid,
            r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73""#,
            "Id of the person or the key.",
        )
        .read_only()
        .filter(),
        Field::text(audit_log::request_id, 64, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c79""#, "The request that did it.")
            .read_only(),
        Field::new(
            audit_log::changes,
            FieldType::Object,
            r#"{"status":{"old":"new","new":"won"}}"#,
            "The fields that changed, each as it was and as it is; of a deleted row as it was.",
        )
        .read_only()
        .not_null(),
    ],
    sorts: &[Sort::column(audit_log::created_at)],
    search: Search::None,
    operations: Operations::NONE,
    cacheable: false,
    audited: false,
    ..Resource::BASE
};
