//! Queues another attempt of a message that failed. People decide that: a message is never sent again by itself once it may have reached
//! its channel.

use actix_web::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::attempts::{self, MESSAGE_ATTEMPTS, MessageAttemptRow, Purpose};
use super::compose::OpenConversation;
use super::opt_outs;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::base::timestamp;
use crate::channels::messages::MESSAGES;
use crate::channels::whatsapp::error_codes::ErrorPolicy;
use crate::db::{Statement, Tx};
use crate::http::idempotency::ApiResponse;
use crate::resource::http::API;
use crate::resource::list_query::Projection;
use crate::resource::{crud, select};

/// How long a customer is left alone whom the channel protects from more of a kind (131049), in hours.
const ALONE_HOURS: i64 = 24;

/// A message that is to be sent again, locked.
#[derive(QueryableByName)]
struct FailedMessage {
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<Jsonb>)]
    error: Option<Json>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    payload: Option<Json>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    last_attempt: Option<Uuid>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    due_at: Option<DateTime<Utc>>,
}

/// Queues another attempt of the message. Errors: 404; 409 where it did not fail, where its outcome is not known yet, where its error says
/// that it never arrives, or nothing can be sent to its conversation now.
pub fn run(tx: &mut Tx<'_>, tenant: &Tenant, message: Uuid) -> Result<ApiResponse> {
    let mut sql = Statement::new("SELECT t.conversation_id FROM messages AS t");
    sql.append(select::tenant_predicate(&MESSAGES, tenant)).sql(" AND t.deleted_at IS NULL AND t.id = ").bind(message);
    let conversation = sql.scalar::<Uuid>(tx)?.ok_or_else(|| crud::not_found(&MESSAGES))?;
    // Before the message, as everywhere.
    let open = OpenConversation::lock(tx, tenant, conversation)?;
    let failed = lock(tx, tenant, message)?;
    failed.check(Utc::now())?;
    let code = failed.error.as_ref().map_or(&Json::Null, |error| &error["code"]);
    if ErrorPolicy::of(code) == ErrorPolicy::OptedOut && opt_outs::is_stopped(tx, tenant, open.customer())? {
        return Err(Error::conflict("not_retryable", "The customer wants no such messages."));
    }
    let channel = open.channel()?;
    open.check_window(&failed.kind)?;
    opt_outs::check(tx, tenant, (open.customer(), channel), failed.payload.as_ref())?;
    let mut sql = Statement::new(
        "UPDATE messages SET version = version + 1, updated_at = now(), status = 'queued', external_id = NULL, error = NULL, failed_reason = NULL, \
         delivered_at = NULL, read_at = NULL, pricing = NULL WHERE business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND id = ").bind(message).run(tx)?;
    let id = attempts::queue(tx, tenant, (message, conversation, channel), Purpose::Message)?;
    let row = crud::one(tx, tenant, &MESSAGE_ATTEMPTS, id, &Projection::default())?;
    let row = row.ok_or_else(|| Error::Internal("an attempt that was queued is not there".into()))?;
    let reply = ApiResponse::of(StatusCode::CREATED, &MessageAttemptRow::try_from(row)?)?;
    Ok(reply.location(format!("{API}/{}/{id}", MESSAGE_ATTEMPTS.plural)))
}

fn lock(tx: &mut Tx<'_>, tenant: &Tenant, message: Uuid) -> Result<FailedMessage> {
    let mut sql = Statement::new(
        "SELECT m.status, m.kind, m.error, m.payload, a.id AS last_attempt, a.due_at FROM messages m LEFT JOIN LATERAL (\
         SELECT o.id, o.due_at FROM message_attempts o WHERE o.business_id = m.business_id AND o.message_id = m.id \
         AND o.purpose = 'message' ORDER BY o.number DESC LIMIT 1) a ON true WHERE m.business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND m.id = ").bind(message).sql(" FOR NO KEY UPDATE OF m");
    sql.first(tx)?.ok_or_else(|| crud::not_found(&MESSAGES))
}

impl FailedMessage {
    fn check(&self, now: DateTime<Utc>) -> Result<()> {
        let refuse = |code, detail: String, extra: Json| {
            Err(Error::Conflict { code, detail, pointer: None, extra: Box::new(extra) })
        };
        let no = |detail: &str| refuse("not_retryable", detail.to_owned(), Json::Null);
        if self.status == "uncertain" {
            let detail =
                "The message was handed to the channel, and no answer came. It is known shortly what became of it.";
            let until = self.due_at.map(timestamp::text);
            return refuse("outcome_uncertain", detail.to_owned(), json!({ "uncertain_until": until }));
        }
        if self.last_attempt.is_none() {
            return no("The message was noted here, and not sent from here.");
        }
        if self.status != "failed" {
            return no(&format!("The message is `{}`: only one that failed is sent again.", self.status));
        }
        let error = self.error.as_ref().unwrap_or(&Json::Null);
        match ErrorPolicy::of(&error["code"]) {
            ErrorPolicy::Never => no("It fails again, because of the message or its recipient. Send another one."),
            ErrorPolicy::AfterADay => {
                let failed_at = error["at"].as_str().and_then(|at| DateTime::parse_from_rfc3339(at).ok());
                let again_at = failed_at.map(|at| at.with_timezone(&Utc) + TimeDelta::hours(ALONE_HOURS));
                match again_at.filter(|at| *at > now) {
                    Some(at) => {
                        let detail = format!(
                            "The channel protects the customer from more of these until {}.",
                            timestamp::text(at)
                        );
                        refuse("not_retryable", detail, json!({ "retry_at": timestamp::text(at) }))
                    }
                    None => Ok(()),
                }
            }
            ErrorPolicy::Later
            | ErrorPolicy::AsTemplate
            | ErrorPolicy::ChannelPaused
            | ErrorPolicy::UnknownOutcome
            | ErrorPolicy::OptedOut => Ok(()),
        }
    }
}
