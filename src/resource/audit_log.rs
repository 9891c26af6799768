//! The audit log, written by triggers in the transaction of each change, and the history of one row as a query of it.

use super::list_query::List;
use super::read_query::{ReadQuery, ReadTarget};
use super::{Field, FieldType, Operations, Resource, Search, Sort, crud, http};
use crate::auth::{Area, TenantSettings};
use crate::base::error::{Error, Result};

use std::sync::Arc;

use uuid::Uuid;

const ACTIONS: &[&str] = &["created", "updated", "deleted", "restored", "erased", "exported"];
const ACTORS: &[&str] = &["user", "api_key", "system"];

pub static AUDIT_LOG: Resource = Resource {
    name: "audit_entry",
    plural: "audit-log",
    schema: "AuditEntry",
    description: "Who did what to which row. Written with each change, by whatever way it was made, and never changed.",
    table: "audit_log",
    area: Area::Audit,
    fields: &[
        Field::ID,
        Field::time("created_at", "When it was done.").read_only().not_null().filter(),
        Field::text("resource", 60, r#""leads""#, "What kind of row.").read_only().not_null().filter(),
        Field::new("row_id", FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#, "Which row.")
            .read_only()
            .not_null()
            .filter(),
        Field::choice("action", ACTIONS, r#""updated""#, "What was done to it.").read_only().not_null(),
        Field::choice(
            "actor_kind",
            ACTORS,
            r#""user""#,
            "Who did it: a person, a program, or an operator on the database itself.",
        )
        .read_only()
        .not_null(),
        Field::new(
            "actor_id",
            FieldType::Uuid,
            r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73""#,
            "Id of the person or the key.",
        )
        .read_only()
        .filter(),
        Field::text("request_id", 64, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c79""#, "The request that did it.")
            .read_only(),
        Field::new(
            "changes",
            FieldType::Object,
            r#"{"status":{"old":"new","new":"won"}}"#,
            "The fields that changed, each as it was and as it is; of a deleted row as it was.",
        )
        .read_only()
        .not_null(),
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::None,
    operations: Operations::NONE,
    cacheable: false,
    ..Resource::BASE
};

/// Returns the query for the history of the row `id`: the audit log, filtered by that row. Errors: 400; 404 when `id`
/// is not a UUID.
pub fn row_history_query(
    resource: &'static Resource,
    id: &str,
    query: &str,
    business: &TenantSettings,
) -> Result<Arc<ReadQuery>> {
    let id = Uuid::try_parse(id).map_err(|_| crud::not_found(resource))?;
    // It would add another row's history.
    if url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "row_id") {
        return Err(Error::malformed("unknown_parameter", "The row is the one of the path; leave `row_id` out."));
    }
    let query = if query.is_empty() { format!("row_id={id}") } else { format!("{query}&row_id={id}") };
    let list = List::parse(&AUDIT_LOG, &query, business)?;
    Ok(Arc::new(ReadQuery::new(&AUDIT_LOG, ReadTarget::History(resource, id, list), business, "")))
}

/// Returns the path of a row's history, for the OpenAPI document.
pub fn history_path(resource: &Resource) -> String {
    format!("{}/{}/{{id}}/history", http::API, resource.path())
}
