//! Lead processing: changes a lead, continues a conversation and records a decision, in one transaction.

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use diesel::prelude::*;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::dto::{LeadProcessing, LeadProcessingRequest, TALK};
use crate::auth::{Tenant, TenantSettings};
use crate::base::error::{Error, FieldError, Result};
use crate::channels::conversations::{CONVERSATIONS, ConversationRow};
use crate::channels::messages::{MESSAGES, MessageRow};
use crate::crm::decisions::DECISIONS;
use crate::crm::leads::{LEADS, locks};
use crate::db::schema::{conversations, decisions, leads, messages};
use crate::db::{SqlValue, Statement, Tx};
use crate::http::idempotency::ApiResponse;
use crate::http::precondition::IfMatch;
use crate::resource::body::{self, JsonObject};
use crate::resource::crud;
use crate::resource::http::API;
use crate::resource::list_query::Projection;
use crate::resource::{Changeset, ValidationErrors};

/// A parsed request body.
pub struct Processing {
    lead: Option<Changeset>,
    conversation: Option<Changeset>,
    message: Option<Changeset>,
    decision: Changeset,
}

impl Processing {
    /// Parses the body. Errors: 400; 422 with the validation errors of all its parts.
    pub fn read(body: &Bytes, depth: usize, business: &TenantSettings) -> Result<Self> {
        let (parts, mut faults) = body::read_parts::<LeadProcessingRequest>(body, depth)?;
        let lead = match parts.lead {
            Some(JsonObject(lead)) => faults.member("lead", Changeset::parse(&LEADS, lead.into(), false, business))?,
            None => None,
        };
        let talked = parts.conversation.is_some();
        let (conversation, message) = match parts.conversation {
            Some(JsonObject(members)) => faults.member("conversation", talk(members, business))?.unzip(),
            None => (None, None),
        };
        let decision = match parts.decision {
            Some(JsonObject(members)) => {
                decision(members, talked, business).map_err(|error| error.nest_under("decision"))
            }
            None => Err(Error::Invalid(vec![FieldError::new("/decision", "required", "`decision` is required.")])),
        };
        Ok(Self { decision: faults.and(decision)?, lead, conversation, message: message.flatten() })
    }

    /// Applies the request to lead `id` if `expected` is its version. Errors: 404; 409; 412; 422 with the invalid
    /// references.
    pub fn run(&self, tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<ApiResponse> {
        let locked = locks::lead(tx, tenant, id, expected)?;
        let given = self.lead.as_ref().and_then(|change| change.get(leads::contact_id));
        let contact = given.map_or(locked.contact_id, SqlValue::as_uuid);
        // A part with an invalid reference is refused before anything of it is written, so the next part can still be
        // tried.
        let mut faults = ValidationErrors::default();
        let mut decision = self.decision.clone();
        decision.set(decisions::lead_id, id);
        let (mut talk, mut message) = (None, None);
        if let Some(change) = &self.conversation {
            let thread = thread(tx, tenant, change, id, contact);
            talk = faults.member("conversation", thread)?;
            decision.set(decisions::conversation_id, talk);
        }
        if let (Some(change), Some(talk)) = (&self.message, talk) {
            let mut change = change.clone();
            change.set(messages::conversation_id, talk);
            let said = crud::create(tx, tenant, &MESSAGES, change);
            message = faults.member("conversation/message", said)?.map(|(_, row)| row);
        }
        let decision = faults.member("decision", crud::create(tx, tenant, &DECISIONS, decision))?;
        // Last: a caller restricted to what is assigned to them may assign the lead to another member.
        let lead = match &self.lead {
            Some(change) => {
                faults.member("lead", crud::update(tx, tenant, &LEADS, id, change.clone(), IfMatch::ANY))?
            }
            None => crud::one(tx, tenant, &LEADS, id, &Projection::default())?,
        };
        faults.into_result()?;
        let talk = match talk {
            Some(talk) => crud::one(tx, tenant, &CONVERSATIONS, talk, &Projection::default())?,
            None => None,
        };
        let (Some(lead), Some((made, decision))) = (lead, decision) else {
            return Err(Error::Internal("a row that was written is not there".into()));
        };
        let etag = lead.etag();
        let processed = LeadProcessing {
            lead: lead.try_into()?,
            conversation: talk.map(ConversationRow::try_from).transpose()?,
            message: message.map(MessageRow::try_from).transpose()?,
            decision: decision.try_into()?,
        };
        let reply = ApiResponse::of(StatusCode::CREATED, &processed)?;
        Ok(reply.location(format!("{API}/{}/{made}", DECISIONS.plural)).etag(etag))
    }
}

/// Parses a conversation and the message that it may have.
fn talk(mut members: Map<String, Json>, business: &TenantSettings) -> Result<(Changeset, Option<Changeset>)> {
    let mut faults = ValidationErrors::default();
    let message = match body::take(&mut members, "message", &mut faults) {
        Some(JsonObject(mut said)) => {
            let mut own = ValidationErrors::default();
            body::refuse(&mut said, &["conversation_id"], &mut own);
            // Replaced when the message is written.
            said.insert("conversation_id".into(), json!(Uuid::nil()));
            faults.member("message", own.and(Changeset::parse(&MESSAGES, said.into(), true, business)))?
        }
        None => None,
    };
    body::only(&mut members, &TALK, &mut faults);
    Ok((faults.and(Changeset::parse(&CONVERSATIONS, members.into(), true, business))?, message))
}

fn decision(mut members: Map<String, Json>, talked: bool, business: &TenantSettings) -> Result<Changeset> {
    let mut faults = ValidationErrors::default();
    body::refuse(&mut members, &["lead_id"], &mut faults);
    if talked {
        body::refuse(&mut members, &["conversation_id"], &mut faults);
    }
    members.insert("lead_id".into(), json!(Uuid::nil()));
    faults.and(Changeset::parse(&DECISIONS, members.into(), true, business))
}

/// The open conversation with an address, locked.
#[derive(QueryableByName)]
#[diesel(table_name = conversations)]
struct OpenConversation {
    id: Uuid,
    lead_id: Option<Uuid>,
    contact_id: Option<Uuid>,
}

/// Returns the open conversation with the address of `change`, or a new one. References `lead` from it, and `contact`
/// where it has none. Errors: 409 when another member has it and the caller is restricted to their own.
fn thread(tx: &mut Tx<'_>, tenant: &Tenant, change: &Changeset, lead: Uuid, contact: Option<Uuid>) -> Result<Uuid> {
    let resource = &CONVERSATIONS;
    // Without the visibility filter: an address has one open conversation, whether the caller sees it or not.
    let mut sql = Statement::new("SELECT t.id, t.lead_id, t.contact_id FROM conversations t WHERE t.business_id = ");
    sql.bind(tenant.id());
    sql.sql(" AND t.channel = ").bind(change.text(conversations::channel));
    sql.sql(" AND t.address = ").bind(change.text(conversations::address));
    if let Some(through) = change.get(conversations::channel_id).and_then(SqlValue::as_uuid) {
        sql.sql(" AND t.channel_id = ").bind(through);
    }
    // A customer may write to two numbers: then the thread that was used last.
    sql.sql(" AND t.status <> 'closed' AND t.deleted_at IS NULL ORDER BY t.last_message_at DESC, t.id LIMIT 1");
    sql.sql(" FOR NO KEY UPDATE");
    let Some(open) = sql.first::<OpenConversation>(tx)? else {
        let mut change = change.clone();
        change.set(conversations::lead_id, lead);
        change.set_default(conversations::contact_id, contact);
        return match crud::create(tx, tenant, resource, change) {
            Ok((id, _)) => Ok(id),
            // Created by a concurrent transaction: the retry continues it.
            Err(error) if error.is_taken("conversations_address_key") => Err(Error::serialization_conflict()),
            Err(error) => Err(error),
        };
    };
    let id = open.id;
    if tenant.restricted_to_user().is_some() && crud::one(tx, tenant, resource, id, &Projection::default())?.is_none() {
        return Err(Error::Conflict {
            code: "already_exists",
            detail: "There is an open conversation with this address, and it is not assigned to you.".into(),
            pointer: Some("/address".into()),
            extra: Box::default(),
        });
    }
    let mut patch = Changeset::empty(resource.fields);
    if open.lead_id != Some(lead) {
        patch.set(conversations::lead_id, lead);
    }
    if open.contact_id.is_none() && contact.is_some() {
        patch.set(conversations::contact_id, contact);
    }
    if let Some(contact) = change.get(conversations::contact_id) {
        patch.set(conversations::contact_id, contact.clone());
    }
    if let Some(subject) = change.get(conversations::subject) {
        patch.set(conversations::subject, subject.clone());
    }
    if !patch.values().is_empty() {
        crud::update(tx, tenant, resource, id, patch, IfMatch::ANY)?;
    }
    Ok(id)
}
