//! Processing: what came of looking at a lead, in one transaction: the lead is changed, a conversation goes on, and what was
//! decided is recorded.

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::{LEADS, locks};
use crate::auth::{Business, Tenant};
use crate::crm::conversations::CONVERSATIONS;
use crate::crm::decisions::DECISIONS;
use crate::crm::messages::MESSAGES;
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Fault, Result};
use crate::http::once::Answer;
use crate::http::precondition::IfMatch;
use crate::noun::http::API;
use crate::noun::params::View;
use crate::noun::store;
use crate::noun::{Change, Faults, form, json};

/// What of a conversation it takes beside the message.
pub(super) const TALK: [&str; 4] = ["channel", "address", "contact_id", "subject"];

/// A body that was read.
pub struct Processing {
    lead: Option<Change>,
    conversation: Option<Change>,
    message: Option<Change>,
    decision: Change,
}

impl Processing {
    /// Errors: 400, and 422 with the faults of all its parts.
    pub fn read(body: &Bytes, depth: usize, business: &Business) -> Result<Self> {
        let (mut members, mut faults) = form::members(body, depth, &["lead", "conversation", "decision"])?;
        let lead = match form::object(&mut members, "lead", &mut faults) {
            Some(lead) => faults.member("lead", Change::parse(&LEADS, lead.into(), false, business))?,
            None => None,
        };
        let talked = matches!(members.get("conversation"), Some(Json::Object(_)));
        let (conversation, message) = match form::object(&mut members, "conversation", &mut faults) {
            Some(members) => faults.member("conversation", talk(members, business))?.unzip(),
            None => (None, None),
        };
        let decision = match form::object(&mut members, "decision", &mut faults) {
            Some(members) => decision(members, talked, business).map_err(|error| error.of_member("decision")),
            None => Err(Error::Invalid(vec![Fault::new("/decision", "required", "`decision` is required.")])),
        };
        Ok(Self { decision: faults.and(decision)?, lead, conversation, message: message.flatten() })
    }

    /// Does it all to the lead `id`, if `expected` is its version. Errors: 404, 409, 412, and 422 with what is wrong with links.
    pub fn run(&self, tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<Answer> {
        let locked = locks::lead(tx, tenant, id, expected)?;
        let given = self.lead.as_ref().and_then(|change| change.get("contact_id"));
        let contact = given.map_or(locked.contact, Value::as_uuid);
        // What is refused because of a link is refused before anything of it is written: the next part can still be tried.
        let mut faults = Faults::default();
        let mut decision = self.decision.clone();
        decision.set("lead_id", Value::Uuid(Some(id)));
        let (mut talk, mut message) = (None, None);
        if let Some(change) = &self.conversation {
            let thread = thread(tx, tenant, change, id, contact);
            talk = faults.member("conversation", thread)?;
            decision.set("conversation_id", Value::Uuid(talk));
        }
        if let (Some(change), Some(talk)) = (&self.message, talk) {
            let mut change = change.clone();
            change.set("conversation_id", Value::Uuid(Some(talk)));
            let said = (MESSAGES.writes.create)(tx, tenant, change);
            message = faults.member("conversation/message", said)?.map(|(_, row)| row);
        }
        let decision = faults.member("decision", (DECISIONS.writes.create)(tx, tenant, decision))?;
        // Last: whoever sees only what is assigned to them may give the lead away with it.
        let lead = match &self.lead {
            Some(change) => {
                faults.member("lead", (LEADS.writes.update)(tx, tenant, id, change.clone(), IfMatch::ANY))?
            }
            None => store::one(tx, tenant, &LEADS, id, &View::default())?,
        };
        faults.into_result()?;
        let talk = match talk {
            Some(talk) => store::one(tx, tenant, &CONVERSATIONS, talk, &View::default())?,
            None => None,
        };
        let (Some(lead), Some((made, decision))) = (lead, decision) else {
            return Err(Error::Internal("a row that was written is not there".into()));
        };
        let json = json::document(&[
            ("lead", Some(&lead)),
            ("conversation", talk.as_ref()),
            ("message", message.as_ref()),
            ("decision", Some(&decision)),
        ]);
        Ok(Answer::new(StatusCode::CREATED, json)
            .location(format!("{API}/{}/{made}", DECISIONS.plural))
            .etag(lead.etag()))
    }
}

/// A conversation and the message that it may have.
fn talk(mut members: Map<String, Json>, business: &Business) -> Result<(Change, Option<Change>)> {
    let mut faults = Faults::default();
    let message = match form::object(&mut members, "message", &mut faults) {
        Some(mut said) => {
            let mut own = Faults::default();
            form::refuse(&mut said, &["conversation_id"], &mut own);
            // Known when it is written.
            said.insert("conversation_id".into(), json!(Uuid::nil()));
            faults.member("message", own.and(Change::parse(&MESSAGES, said.into(), true, business)))?
        }
        None => None,
    };
    form::only(&mut members, &TALK, &mut faults);
    Ok((faults.and(Change::parse(&CONVERSATIONS, members.into(), true, business))?, message))
}

fn decision(mut members: Map<String, Json>, talked: bool, business: &Business) -> Result<Change> {
    let mut faults = Faults::default();
    form::refuse(&mut members, &["lead_id"], &mut faults);
    if talked {
        form::refuse(&mut members, &["conversation_id"], &mut faults);
    }
    members.insert("lead_id".into(), json!(Uuid::nil()));
    faults.and(Change::parse(&DECISIONS, members.into(), true, business))
}

/// The open thread with the address of `change`, or a new one; it is about `lead` from now on, and with `contact` where it
/// names nobody. Errors: 409 when somebody else has the thread and the caller sees only their own.
fn thread(tx: &mut Tx<'_>, tenant: &Tenant, change: &Change, lead: Uuid, contact: Option<Uuid>) -> Result<Uuid> {
    let (noun, lead) = (&CONVERSATIONS, Value::Uuid(Some(lead)));
    // Not by what is seen: there is one open thread with an address, whoever has it.
    let mut sql = Statement::new("SELECT t.id, t.lead_id, t.contact_id FROM conversations t WHERE t.business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id())));
    for name in ["channel", "address"] {
        sql.push(&format!(" AND t.{name} = ")).bind(Value::Text(change.text(name).map(str::to_owned)));
    }
    sql.push(" AND t.status <> 'closed' AND t.deleted_at IS NULL FOR NO KEY UPDATE");
    let Some(open) = sql.row(tx)? else {
        let mut change = change.clone();
        change.set("lead_id", lead);
        change.set_default("contact_id", Value::Uuid(contact));
        return match (noun.writes.create)(tx, tenant, change) {
            Ok((id, _)) => Ok(id),
            // Somebody else has just begun it, and it will be continued.
            Err(error) if error.is_taken("conversations_address_key") => Err(Error::outrun()),
            Err(error) => Err(error),
        };
    };
    let id = open.uuid(0).unwrap_or_default();
    if tenant.sees_only().is_some() && store::one(tx, tenant, noun, id, &View::default())?.is_none() {
        return Err(Error::Conflict {
            code: "already_exists",
            detail: "There is an open conversation with this address, and it is not assigned to you.".into(),
            pointer: Some("/address".into()),
            extra: Box::default(),
        });
    }
    let mut patch = Change::none(noun);
    if Value::Uuid(open.uuid(1)) != lead {
        patch.set("lead_id", lead);
    }
    if open.uuid(2).is_none() && contact.is_some() {
        patch.set("contact_id", Value::Uuid(contact));
    }
    for name in ["contact_id", "subject"] {
        change.get(name).into_iter().for_each(|value| patch.set(name, value.clone()));
    }
    if !patch.values().is_empty() {
        (noun.writes.update)(tx, tenant, id, patch, IfMatch::ANY)?;
    }
    Ok(id)
}
