//! Sends a draft: what a model proposed and a member approves.

use actix_web::http::StatusCode;
use chrono::Utc;
use diesel::QueryableByName;
use diesel::sql_types::{Jsonb, Nullable, Text, Uuid as SqlUuid};
use serde_json::Value as Json;
use uuid::Uuid;

use super::attempts::{self, Purpose};
use super::compose::{OpenConversation, PARTS, check, check_last, shown_text};
use super::opt_outs;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::channels::messages::{MESSAGES, MessageRow};
use crate::channels::unsaid::DRAFT;
use crate::channels::worker_tasks::reply_tasks;
use crate::db::schema::messages;
use crate::db::{Statement, Tx};
use crate::http::idempotency::ApiResponse;
use crate::http::precondition::IfMatch;
use crate::resource::{Changeset, ValidationErrors, crud, select};

/// A message that is to be approved.
#[derive(QueryableByName)]
struct Draft {
    #[diesel(sql_type = SqlUuid)]
    conversation_id: Uuid,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<Text>)]
    body: Option<String>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    media: Option<Json>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    payload: Option<Json>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    attachment_id: Option<Uuid>,
}

impl Draft {
    /// Checks that the channel takes it: it may have been written, and changed, as a row. Errors: 422.
    fn check(&self) -> Result<()> {
        let payload = self.payload.as_ref().unwrap_or(&Json::Null);
        let has_part = |part: &&str| match *part {
            "interactive" => payload["type"].is_string(),
            "location" => payload["latitude"].is_number() && payload["longitude"].is_number(),
            part => payload[part].is_object() || payload[part].is_array(),
        };
        let parts: Vec<&str> = PARTS.into_iter().filter(has_part).collect();
        let mut content = Changeset::empty(MESSAGES.fields);
        content.set(messages::kind, self.kind.as_str());
        // The text of these is their own.
        let has_own_text = parts.iter().any(|part| *part != "interactive");
        content.set(messages::body, self.body.clone().filter(|_| !has_own_text));
        content.set(messages::media, self.media.clone());
        content.set(messages::attachment_id, self.attachment_id);
        let mut faults = ValidationErrors::default();
        check(&content, &parts, &mut faults);
        if let Some(text) = shown_text(Some(&self.kind), payload)
            && self.body.as_ref() != Some(&text)
        {
            let detail =
                format!("The channel shows no text with a message of `{}`. Set `body` to {text:?} again.", self.kind);
            faults.field("body", "not_allowed", detail);
        }
        if self.kind == "text" && self.body.is_none() {
            faults.required(&["body"], "A text message needs a `body`.");
        }
        faults.into_result()
    }
}

/// Queues a draft, whose time is now, and cancels the tasks to answer its conversation. Errors: 404; 409 `not_a_draft`, where the
/// conversation has moved on, or where nothing can be sent to it now; 412; 422 where the channel does not take it.
pub fn run(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    message: Uuid,
    if_last: Option<Uuid>,
    expected: IfMatch,
) -> Result<ApiResponse> {
    let conversation = find(tx, tenant, message)?.conversation_id;
    // Before the message, as everywhere.
    let open = OpenConversation::lock(tx, tenant, conversation)?;
    let draft = find(tx, tenant, message)?;
    if draft.status != DRAFT {
        let detail = format!("The message is `{}`: only a draft is approved.", draft.status);
        return Err(Error::conflict("not_a_draft", detail));
    }
    draft.check()?;
    let channel = open.channel()?;
    if let Some(expected) = if_last {
        check_last(tx, tenant, conversation, expected)?;
    }
    open.check_window(&draft.kind)?;
    opt_outs::check(tx, tenant, (open.customer(), channel), draft.payload.as_ref())?;
    let mut change = Changeset::empty(MESSAGES.fields);
    change.set(messages::status, "queued");
    change.set(messages::sent_at, Utc::now());
    let row = crud::update(tx, tenant, &MESSAGES, message, change, expected)?;
    attempts::queue(tx, tenant, (message, conversation, channel), Purpose::Message)?;
    reply_tasks::person_answered(tx, tenant, vec![conversation])?;
    let etag = row.etag();
    Ok(ApiResponse::of(StatusCode::OK, &MessageRow::try_from(row)?)?.etag(etag))
}

fn find(tx: &mut Tx<'_>, tenant: &Tenant, message: Uuid) -> Result<Draft> {
    let mut sql = Statement::new(
        "SELECT t.conversation_id, t.status, t.kind, t.body, t.media, t.payload, t.attachment_id FROM messages AS t",
    );
    sql.append(select::tenant_predicate(&MESSAGES, tenant)).sql(" AND t.deleted_at IS NULL AND t.id = ").bind(message);
    sql.first(tx)?.ok_or_else(|| crud::not_found(&MESSAGES))
}
