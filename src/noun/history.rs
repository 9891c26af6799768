//! What happened to rows: the audit log, which triggers write in the transaction of each change, and of it the history of
//! one row.

use super::params::List;
use super::question::{Question, What};
use super::{Field, Kind, Noun, Operations, Search, Sort, http, store};
use crate::auth::{Area, Business};
use crate::error::{Error, Result};

use std::sync::Arc;

use uuid::Uuid;

const ACTIONS: &[&str] = &["created", "updated", "deleted", "restored", "erased", "exported"];
const ACTORS: &[&str] = &["user", "api_key", "system"];

pub static AUDIT_LOG: Noun = Noun {
    name: "audit_entry",
    plural: "audit-log",
    schema: "AuditEntry",
    about: "Who did what to which row. Written with each change, by whatever way it was made, and never changed.",
    table: "audit_log",
    area: Area::Audit,
    fields: &[
        Field::ID,
        Field::time("created_at", "When it was done.").read_only().not_null().filter(),
        Field::text("noun", 60, r#""leads""#, "What kind of row.").read_only().not_null().filter(),
        Field::new("row_id", Kind::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#, "Which row.")
            .read_only()
            .not_null()
            .filter(),
        Field::choice("action", ACTIONS, r#""updated""#, "What was done to it.").read_only().not_null(),
        Field::choice(
            "actor_kind",
            ACTORS,
            r#""user""#,
            "Who did it: a person, a program, or whoever works on the database itself.",
        )
        .read_only()
        .not_null(),
        Field::new("actor_id", Kind::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73""#, "Id of the person or the key.")
            .read_only()
            .filter(),
        Field::text("request_id", 64, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c79""#, "The request that did it.")
            .read_only(),
        Field::new(
            "changes",
            Kind::Object,
            r#"{"status":{"old":"new","new":"won"}}"#,
            "The fields that changed, each as it was and as it is; of a deleted row as it was.",
        )
        .read_only()
        .not_null(),
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::None,
    operations: Operations::NONE,
    cached: false,
    ..Noun::BASE
};

/// Asks for the history of the row `id` of `noun`: a list of the log, narrowed to it. Errors: 400.
pub fn of_row(noun: &'static Noun, id: &str, query: &str, business: &Business) -> Result<Arc<Question>> {
    let id = Uuid::try_parse(id).map_err(|_| store::missing(noun))?;
    // It would be one value more, and tell of another row.
    if url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "row_id") {
        return Err(Error::malformed("unknown_parameter", "The row is the one of the path; leave `row_id` out."));
    }
    let query = if query.is_empty() { format!("row_id={id}") } else { format!("{query}&row_id={id}") };
    let list = List::parse(&AUDIT_LOG, &query, business)?;
    Ok(Arc::new(Question::new(&AUDIT_LOG, What::History(noun, id, list), business, "")))
}

/// Path of the history of a row of `noun`, for the document.
pub fn path(noun: &Noun) -> String {
    format!("{}/{}/{{id}}/history", http::API, noun.path())
}
