//! Writes a message and its attempt, in one transaction: it is there and will be sent, or neither.

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::attached_file;
use super::attempts::{self, Purpose};
use super::contact_cards::{self, ContactCard};
use super::dto::{
    Emoji, IsDraft, MessageId, ReactionRequest, SENDABLE, TemplateLanguage, TemplateName, TemplateRequest,
};
use super::interactive::Interactive;
use super::location::Location;
use super::opt_outs::{self, Customer};
use crate::auth::{Tenant, TenantSettings};
use crate::base::error::{Error, FieldError, Result};
use crate::base::timestamp;
use crate::channels::channels::LOOPBACK;
use crate::channels::conversations::CONVERSATIONS;
use crate::channels::inbound::changes;
use crate::channels::inbound::update::{Direction, Peer, Reaction};
use crate::channels::limits::{MAX_BODY_LEN, MAX_CAPTION_LEN, MAX_TEXT_LEN, MAX_URL_LEN};
use crate::channels::media::kinds::FILE_KINDS;
use crate::channels::messages::{MESSAGES, MessageRow};
use crate::channels::templates::prepare::prepare;
use crate::channels::unsaid::DRAFT;
use crate::channels::whatsapp::content::{contact_names, location_text};
use crate::db::schema::messages;
use crate::db::{SqlValue, Statement, Tx};
use crate::http::idempotency::ApiResponse;
use crate::resource::body::{self, JsonObject, ValidationErrors};
use crate::resource::http::API;
use crate::resource::list_query::Projection;
use crate::resource::{Changeset, crud, select};

/// Members that a message of the kind has, and no other.
pub const PARTS: [&str; 4] = ["interactive", "location", "contacts", "template"];

/// What is to be sent.
enum Content {
    Message(Changeset),
    Reaction { message: Uuid, emoji: Option<String> },
}

/// A validated request to send.
pub struct Composition {
    content: Content,
    template: Option<TemplateRequest>,
    is_draft: bool,
    reply_to: Option<Uuid>,
    if_last: Option<Uuid>,
}

impl Composition {
    /// Reads the body of a request by `user`, or by a program. Errors: 400; 422 with all validation errors.
    pub fn read(body: &Bytes, depth: usize, business: &TenantSettings, user: Option<Uuid>) -> Result<Self> {
        let mut members = body::members(body, depth)?;
        let mut faults = ValidationErrors::default();
        let parts: Vec<&str> =
            PARTS.into_iter().filter(|part| members.get(*part).is_some_and(|part| !part.is_null())).collect();
        let interactive = body::take::<Interactive>(&mut members, "interactive", &mut faults);
        let location = body::take::<Location>(&mut members, "location", &mut faults);
        let contacts = body::take::<Vec<ContactCard>>(&mut members, "contacts", &mut faults);
        let template = body::take::<TemplateRequest>(&mut members, "template", &mut faults);
        let is_draft = body::take(&mut members, "draft", &mut faults).is_some_and(|IsDraft(is_draft)| is_draft);
        let reaction = body::take::<ReactionRequest>(&mut members, "reaction", &mut faults);
        let reply_to = body::take(&mut members, "reply_to_id", &mut faults).map(|MessageId(id)| id);
        let if_last = body::take(&mut members, "if_last_message_id", &mut faults).map(|MessageId(id)| id);
        let attachment = attached_file::take(&mut members, &mut faults);
        body::only(&mut members, &SENDABLE, &mut faults);
        if let Some(ReactionRequest { message_id: MessageId(message), emoji }) = reaction {
            for name in members.keys().filter(|name| *name != "kind" && *name != "author" && *name != "author_id") {
                faults.field(name, "not_allowed", format!("A reaction has no `{name}`."));
            }
            faults.into_result()?;
            let content = Content::Reaction { message, emoji: emoji.map(|Emoji(emoji)| emoji) };
            return Ok(Self { content, template: None, is_draft: false, reply_to: None, if_last });
        }
        if let Some(part) = parts.first() {
            members.entry("kind").or_insert_with(|| json!(part));
        }
        // Replaced when the message is written.
        members.insert("conversation_id".into(), json!(Uuid::nil()));
        members.insert("direction".into(), json!("outbound"));
        let payload = interactive
            .map(|interactive| interactive.payload(&mut faults))
            .or_else(|| location.map(Location::payload))
            .or_else(|| contacts.map(|cards| contact_cards::payload(cards, &mut faults)));
        let mut change = match Changeset::parse(&MESSAGES, members.into(), true, business) {
            Ok(change) => change,
            Err(error) => return faults.and(Err(error)),
        };
        change.set_default(messages::kind, "text");
        if let Some(attachment) = attachment {
            change.set(messages::attachment_id, attachment);
        }
        check(&change, &parts, &mut faults);
        faults.into_result()?;
        if let Some(payload) = payload {
            if let Some(text) = shown_text(change.text(messages::kind), &payload) {
                change.set(messages::body, text);
            }
            change.set(messages::payload, payload);
        }
        if change.text(messages::author) == Some("user") {
            change.set_default(messages::author_id, user);
        }
        if is_draft {
            change.set(messages::status, DRAFT);
        }
        Ok(Self { content: Content::Message(change), template, is_draft, reply_to, if_last })
    }

    /// Writes it into a conversation. Errors: 404; 409 where nothing can be sent there now, or the conversation has moved on; 422 with
    /// what it refers to and is not there.
    pub fn run(&self, tx: &mut Tx<'_>, tenant: &Tenant, conversation: Uuid) -> Result<ApiResponse> {
        let open = OpenConversation::lock(tx, tenant, conversation)?;
        let channel = open.channel()?;
        if let Some(expected) = self.if_last {
            check_last(tx, tenant, conversation, expected)?;
        }
        match &self.content {
            Content::Message(change) => {
                let kind = change.text(messages::kind).unwrap_or_default();
                if !self.is_draft {
                    open.check_window(kind)?;
                }
                let mut change = change.clone();
                change.set(messages::conversation_id, conversation);
                attached_file::attach(tx, tenant, &mut change)?;
                if let Some(template) = &self.template {
                    fill(tx, tenant, channel, template, &mut change)?;
                }
                if !self.is_draft {
                    let payload = change.get(messages::payload).map(SqlValue::to_json);
                    opt_outs::check(tx, tenant, (open.customer(), channel), payload.as_ref())?;
                }
                if let Some(answered) = self.reply_to {
                    let answered = on_channel(tx, tenant, conversation, answered, "reply_to_id")?;
                    change.set(messages::reply_to_id, answered);
                }
                let (id, row) = crud::create(tx, tenant, &MESSAGES, change)?;
                if !self.is_draft {
                    attempts::queue(tx, tenant, (id, conversation, channel), Purpose::Message)?;
                }
                let etag = row.etag();
                let reply = ApiResponse::of(StatusCode::CREATED, &MessageRow::try_from(row)?)?;
                Ok(reply.location(format!("{API}/{}/{id}", MESSAGES.plural)).etag(etag))
            }
            Content::Reaction { message, emoji } => {
                open.check_window("reaction")?;
                let id = on_channel(tx, tenant, conversation, *message, "reaction/message_id")?;
                react(tx, tenant, id, emoji.as_deref())?;
                attempts::queue(tx, tenant, (id, conversation, channel), Purpose::Reaction)?;
                let row = crud::one(tx, tenant, &MESSAGES, id, &Projection::default())?;
                let row = row.ok_or_else(|| crud::not_found(&MESSAGES))?;
                let reply = ApiResponse::of(StatusCode::CREATED, &MessageRow::try_from(row)?)?;
                Ok(reply.location(format!("{API}/{}/{id}", MESSAGES.plural)))
            }
        }
    }
}

/// The text of a message that has none of its own, as that of an inbound one is.
pub fn shown_text(kind: Option<&str>, payload: &Json) -> Option<String> {
    let text = match kind {
        Some("location") => location_text(payload),
        Some("contacts") => payload["contacts"].as_array().and_then(|cards| contact_names(cards)),
        _ => None,
    };
    text.map(|text| text.chars().take(MAX_BODY_LEN).collect())
}

/// Checks what a channel takes of each kind. `parts`: those of [`PARTS`] that it has.
pub fn check(change: &Changeset, parts: &[&str], faults: &mut ValidationErrors) {
    let kind = change.text(messages::kind).unwrap_or_default();
    let body = change.text(messages::body);
    let media = change.get(messages::media).map(SqlValue::to_json).filter(Json::is_object);
    let url = media.as_ref().map(|media| &media["url"]);
    if FILE_KINDS.contains(&kind) {
        let is_url = |url: &Json| {
            url.as_str().is_some_and(|url| url.starts_with("https://") && url.chars().count() <= MAX_URL_LEN)
        };
        let is_stored = change.get(messages::attachment_id).is_some_and(|id| !id.is_null());
        if !is_stored && !url.is_some_and(is_url) {
            let detail = format!(
                "A message of `{kind}` has `media` with the `attachment_id` of an upload, or a `url` that begins with https://."
            );
            faults.at("/media/url".into(), "required", detail);
        }
    } else if media.is_some() {
        let detail = format!(
            "Files belong to messages of {}. Name the `kind`.",
            FILE_KINDS.map(|kind| format!("`{kind}`")).join(", ")
        );
        faults.field("media", "not_allowed", detail);
    }
    match kind {
        "text" => {}
        _ if FILE_KINDS.contains(&kind) || PARTS.contains(&kind) => {}
        _ => {
            let detail = "What can be sent is `text`, `interactive`, `location`, `contacts`, `template`, a file, or a `reaction`.";
            faults.field("kind", "not_allowed", detail);
        }
    }
    for part in PARTS.into_iter().filter(|part| (kind == *part) != parts.contains(part)) {
        let detail = format!("A message of `{part}` has `{part}`, and no other kind has.");
        faults.field(part, "required", detail);
    }
    match kind {
        "template" if body.is_some() => {
            faults.field("body", "not_allowed", "The text of a template is its own; give its `variables`.");
        }
        "location" | "contacts" if body.is_some() => {
            let detail = format!("The channel shows no text with a message of `{kind}`; its `body` follows from it.");
            faults.field("body", "not_allowed", detail);
        }
        _ => {}
    }
    let most = if kind == "text" { MAX_TEXT_LEN } else { MAX_CAPTION_LEN };
    match body.map(|body| body.chars().count()) {
        None | Some(0) if kind == "interactive" => {
            faults.field("body", "required", "An interactive message has a `body`.");
        }
        Some(length) if length > most => {
            let detail = format!("`body` has {length} characters; the channel takes {most} with this kind.");
            faults.field("body", "length", detail);
        }
        Some(_) if matches!(kind, "audio" | "sticker") => {
            faults.field("body", "not_allowed", format!("The channel shows no text with a message of `{kind}`."));
        }
        _ => {}
    }
}

/// Fills a template: its text is the message's. Errors: 409; 422.
fn fill(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    channel: Uuid,
    template: &TemplateRequest,
    change: &mut Changeset,
) -> Result<()> {
    let TemplateRequest { name: TemplateName(name), language: TemplateLanguage(language), variables } = template;
    let none = Map::new();
    let variables = variables.as_ref().map_or(&none, |JsonObject(variables)| variables);
    let prepared =
        prepare(tx, tenant, channel, name, language, variables).map_err(|error| error.nest_under("template"))?;
    let text: String = prepared.body.chars().take(MAX_BODY_LEN).collect();
    change.set(messages::body, text);
    let sent = json!({ "name": name, "language": { "code": language }, "components": prepared.components });
    change.set(messages::payload, json!({ "template": sent }));
    Ok(())
}

/// A conversation that is sent to, locked: so its messages have an order.
#[derive(QueryableByName)]
pub struct OpenConversation {
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    window_expires_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Bool)]
    has_window: bool,
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    peer_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    address: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    channel_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    channel_kind: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    channel_state: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    state_reason: Option<String>,
}

impl OpenConversation {
    /// Locks a conversation. Errors: 404.
    pub fn lock(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Self> {
        let mut sql = Statement::new(
            "SELECT t.status, t.window_expires_at, t.channel = 'whatsapp' AS has_window, clock_timestamp() AS now, t.peer_id, t.address, t.channel_id, \
             c.kind AS channel_kind, c.state AS channel_state, c.state_reason FROM conversations AS t \
             LEFT JOIN channels c ON c.business_id = t.business_id AND c.id = t.channel_id AND c.deleted_at IS NULL",
        );
        sql.append(select::tenant_predicate(&CONVERSATIONS, tenant))
            .sql(" AND t.deleted_at IS NULL AND t.id = ")
            .bind(id);
        sql.sql(" FOR NO KEY UPDATE OF t").first(tx)?.ok_or_else(|| crud::not_found(&CONVERSATIONS))
    }

    /// Returns the channel that messages go through now. Errors: 409.
    pub fn channel(&self) -> Result<Uuid> {
        if self.status == "closed" {
            let detail = "The conversation is closed. Open it first: PATCH it with `status` `active`.";
            return Err(Error::conflict("conversation_closed", detail));
        }
        let (Some(channel), Some(state)) = (self.channel_id, &self.channel_state) else {
            let detail = "The conversation runs through no channel that can send. Connect one with POST /channels; a message that went \
                          another way is noted with POST /messages.";
            return Err(Error::conflict("no_channel", detail));
        };
        if state == "paused" {
            let reason = self.state_reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let detail =
                format!("The channel is paused{reason}. Mend the cause, and set the channel's `state` to `active`.");
            let extra = Box::new(json!({ "channel_id": channel }));
            return Err(Error::Conflict { code: "channel_paused", detail, pointer: None, extra });
        }
        Ok(channel)
    }

    pub fn customer(&self) -> Customer<'_> {
        Customer { peer_id: self.peer_id, address: &self.address }
    }

    /// Checks that the channel lets a message of `kind` through now. Errors: 409.
    pub fn check_window(&self, kind: &str) -> Result<()> {
        let is_open = self.window_expires_at.is_some_and(|until| until > self.now);
        if kind == "template" || is_open || !self.has_window || self.channel_kind.as_deref() == Some(LOOPBACK) {
            return Ok(());
        }
        let detail = "The customer has not written for 24 hours, so WhatsApp lets only templates through. Send one with \
                      {\"kind\":\"template\",\"template\":{\"name\":…,\"language\":…,\"variables\":{…}}}; GET /templates lists those that are approved.";
        let expired = self.window_expires_at.map(timestamp::text);
        let extra = Box::new(json!({ "window_expires_at": expired }));
        Err(Error::Conflict { code: "window_closed", detail: detail.into(), pointer: None, extra })
    }
}

/// Checks that `expected` is the last message, notes and drafts aside. Errors: 409.
pub fn check_last(tx: &mut Tx<'_>, tenant: &Tenant, conversation: Uuid, expected: Uuid) -> Result<()> {
    let mut sql = Statement::new(
        "SELECT id FROM messages WHERE deleted_at IS NULL AND rapport_is_said(kind, status) AND business_id = ",
    );
    sql.bind(tenant.id())
        .sql(" AND conversation_id = ")
        .bind(conversation)
        .sql(" ORDER BY sent_at DESC, id DESC LIMIT 1");
    let last = sql.scalar::<Uuid>(tx)?;
    if last == Some(expected) {
        return Ok(());
    }
    let detail =
        "Something was said in this conversation meanwhile. Read it again, and decide anew whether and what to answer.";
    let extra = Box::new(json!({ "last_message_id": last }));
    Err(Error::Conflict { code: "conversation_moved", detail: detail.into(), pointer: None, extra })
}

/// Returns the id of a message of the conversation that the channel knows. Errors: 422 at `member`.
fn on_channel(tx: &mut Tx<'_>, tenant: &Tenant, conversation: Uuid, message: Uuid, member: &str) -> Result<Uuid> {
    let mut sql = Statement::new(
        "SELECT id FROM messages WHERE deleted_at IS NULL AND external_id IS NOT NULL AND business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND conversation_id = ").bind(conversation).sql(" AND id = ").bind(message);
    sql.scalar::<Uuid>(tx)?.ok_or_else(|| {
        let detail = "There is no such message of this conversation that the channel knows.".to_owned();
        Error::Invalid(vec![FieldError::new(format!("/{member}"), "not_found", detail)])
    })
}

/// Puts the business' reaction on a message, or takes it back. Queries: one.
fn react(tx: &mut Tx<'_>, tenant: &Tenant, message: Uuid, emoji: Option<&str>) -> Result<()> {
    let reaction = Reaction {
        external_id: Uuid::now_v7().to_string(),
        reacted_at: Utc::now(),
        target: String::new(),
        emoji: emoji.map(str::to_owned),
        peer: Peer::default(),
        direction: Direction::Outbound,
    };
    changes::react(tx, tenant, message, &reaction, None)
}
