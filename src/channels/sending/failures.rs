//! Failures of messages, as people see them.

use chrono::Utc;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::channels::inbound::statuses;
use crate::channels::inbound::update::{Peer, StatusUpdate};
use crate::channels::whatsapp::error_codes::ErrorPolicy;
use crate::db::{Statement, Tx};

/// Adds to an error how the message may be sent again.
pub fn with_retry(error: &Json) -> Json {
    let mut error = error.clone();
    error["retry"] = json!(ErrorPolicy::of(&error["code"]).retry());
    error
}

/// Fails a message, as a status of its channel does.
pub fn fail_message(tx: &mut Tx<'_>, tenant: &Tenant, message: Uuid, error: &Json) -> Result<()> {
    let update = StatusUpdate {
        target: String::new(),
        status: "failed",
        occurred_at: Utc::now(),
        recipient: Peer::default(),
        is_of_participant: false,
        error: Some(error.clone()),
        pricing: None,
        callback_data: None,
    };
    statuses::apply(tx, tenant, message, &update)
}

/// Takes the business' reaction to a message back, which the customer does not see, unless a later attempt is about another one. Queries: one.
pub fn take_reaction_back(tx: &mut Tx<'_>, tenant: &Tenant, message: Uuid, number: i32) -> Result<()> {
    let mut sql = Statement::new(
        "UPDATE message_reactions SET deleted_at = now(), version = version + 1, updated_at = now() \
         WHERE deleted_at IS NULL AND reactor = 'business' AND business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND message_id = ").bind(message);
    sql.sql(" AND NOT EXISTS (SELECT FROM message_attempts a WHERE a.purpose = 'reaction' AND a.business_id = ")
        .bind(tenant.id());
    sql.sql(" AND a.message_id = ").bind(message).sql(" AND a.number > ").bind(number).sql(")").run(tx)?;
    Ok(())
}
