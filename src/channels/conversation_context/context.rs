//! The customer, the last messages, and what is open with them, in three statements.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value as Json;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::dto::{ContextBooking, ContextCompany, ContextLead, ContextTask, ConversationContext};
use crate::auth::{Tenant, TenantSettings};
use crate::base::error::{Error, Result};
use crate::cache::{CacheTag, ComputedResponse};
use crate::channels::conversations::CONVERSATIONS;
use crate::channels::messages::MESSAGES;
use crate::crm::companies::COMPANIES;
use crate::crm::leads::LEADS;
use crate::crm::tasks::TASKS;
use crate::db::Statement;
use crate::resource::computed_read::ComputedRead;
use crate::resource::list_query::{List, Projection};
use crate::resource::{Resource, read_rows, select};
use crate::scheduling::bookings::BOOKINGS;

/// Messages that are shown: what fits on a screen.
const MESSAGES_SHOWN: u32 = 10;
/// Leads, and tasks, that are shown at most.
const LISTED: u32 = 10;

/// The context of a conversation.
#[derive(Debug)]
pub struct Context {
    pub conversation: Uuid,
    pub business: TenantSettings,
    /// The moment from which on bookings count, to the minute: so an answer of the cache does not depend on the clock.
    pub since: DateTime<Utc>,
}

/// A row of what is open.
#[derive(QueryableByName)]
struct OpenRow {
    #[diesel(sql_type = Text)]
    section: String,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    title: String,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    person: Option<Uuid>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    begins: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ends: Option<DateTime<Utc>>,
}

impl ComputedRead for Context {
    fn canonical(&self) -> String {
        format!("context {} {}", self.conversation, self.since.timestamp())
    }

    // It depends on rows of them only: see the tags of the response.
    fn tables(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn shown_tables(&self) -> Vec<&'static str> {
        [&CONVERSATIONS, &MESSAGES, &COMPANIES, &LEADS, &TASKS, &BOOKINGS].map(|resource| resource.table).into()
    }

    fn compute(&self, conn: &mut PgConnection, tenant: &Tenant) -> Result<ComputedResponse> {
        let id = self.conversation;
        let include = ["contact", "lead"].map(str::to_owned).into();
        let view = Projection::of_names(&CONVERSATIONS, include, Vec::new(), &self.business)?;
        let conversation = read_rows::one_tagged(conn, tenant, &CONVERSATIONS, id, &view)?;
        let row = conversation.read.ok_or_else(|| read_rows::not_found(&CONVERSATIONS))?.raw()?;
        let shown: Json = serde_json::from_str(row.get()).map_err(internal)?;
        let link = |name: &str| shown[name].as_str().and_then(|id| Uuid::try_parse(id).ok());
        let (contact, lead) = (link("contact_id"), link("lead_id"));
        let query = format!("conversation_id={id}&limit={MESSAGES_SHOWN}");
        let messages = read_rows::list(conn, tenant, &List::parse(&MESSAGES, &query, &self.business)?)?;
        let mut context = ConversationContext {
            conversation: row,
            messages: data(&messages.read)?,
            company: None,
            open_leads: Vec::new(),
            next_booking: None,
            open_tasks: Vec::new(),
        };
        for row in open(tenant, contact, lead, self.since).load::<OpenRow>(conn)? {
            context.add(row);
        }
        let business = tenant.id();
        let about: Vec<Uuid> = contact.into_iter().chain(lead).collect();
        let mut tags = [conversation.tags, messages.tags].concat();
        tags.extend(CacheTag::rows(business, CONVERSATIONS.table, [id]));
        tags.extend(CacheTag::rows(business, MESSAGES.table, [id]));
        tags.extend(CacheTag::rows(business, "contacts", contact));
        let company = shown["contact"]["company_id"].as_str().and_then(|id| Uuid::try_parse(id).ok());
        tags.extend(CacheTag::rows(business, COMPANIES.table, company));
        if tenant.restricted_to_user().is_some() {
            // Which tasks they see depends on any lead.
            tags.push(CacheTag::table(business, LEADS.table));
        }
        for table in [LEADS.table, TASKS.table] {
            tags.extend(CacheTag::rows(business, table, about.clone()));
        }
        tags.extend(CacheTag::rows(business, BOOKINGS.table, contact));
        let body = serde_json::to_vec(&context).map_err(internal)?;
        let etag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&body));
        Ok(ComputedResponse { body, etag, tags })
    }
}

impl ConversationContext {
    fn add(&mut self, row: OpenRow) {
        let OpenRow { section, id, title, state, person, begins, ends } = row;
        match section.as_str() {
            "company" => self.company = Some(ContextCompany { id, name: title }),
            "lead" => {
                self.open_leads.push(ContextLead { id, title, status: state, assignee_id: person, entered_at: begins })
            }
            "booking" => {
                self.next_booking = Some(ContextBooking {
                    id,
                    code: title,
                    status: state,
                    staff_id: person,
                    starts_at: begins,
                    ends_at: ends,
                });
            }
            _ => self.open_tasks.push(ContextTask { id, title, priority: state, assignee_id: person, due_at: begins }),
        }
    }
}

/// The rows of a page.
fn data(page: &[u8]) -> Result<Box<RawValue>> {
    #[derive(serde::Deserialize)]
    struct Data {
        data: Box<RawValue>,
    }
    serde_json::from_slice::<Data>(page).map(|page| page.data).map_err(internal)
}

fn internal(error: serde_json::Error) -> Error {
    Error::Internal(error.to_string())
}

/// Returns the statement of what is open with a contact and about a lead, as far as the caller sees it.
pub fn open(tenant: &Tenant, contact: Option<Uuid>, lead: Option<Uuid>, since: DateTime<Utc>) -> Statement {
    let rows = |columns: &'static str, resource: &'static Resource| {
        let mut sql = Statement::new(columns);
        sql.sql(" FROM ").ident(resource.table).sql(" t").append(select::tenant_predicate(resource, tenant));
        select::not_deleted(&mut sql, resource);
        sql
    };
    let mut sql = Statement::new("(");
    sql.append(rows(
        "SELECT 'company' AS section, t.id, t.name AS title, '' AS state, NULL::uuid AS person, NULL::timestamptz AS begins, NULL::timestamptz AS ends",
        &COMPANIES,
    ));
    sql.sql(" AND t.id = (SELECT c.company_id FROM contacts c WHERE c.deleted_at IS NULL AND c.business_id = ")
        .bind(tenant.id());
    sql.sql(" AND c.id = ").bind(contact).sql(")) UNION ALL (");
    sql.append(rows("SELECT 'lead', t.id, t.title, t.status, t.assignee_id, t.entered_at, NULL", &LEADS));
    sql.sql(" AND t.status NOT IN ('won', 'lost') AND (t.contact_id = ").bind(contact).sql(" OR t.id = ").bind(lead);
    sql.sql(") ORDER BY t.entered_at DESC, t.id DESC LIMIT ").number(LISTED).sql(") UNION ALL (");
    sql.append(rows("SELECT 'task', t.id, t.title, t.priority, t.assignee_id, t.due_at, NULL", &TASKS));
    sql.sql(" AND t.status = 'open' AND (t.contact_id = ").bind(contact).sql(" OR t.lead_id = ").bind(lead);
    sql.sql(") ORDER BY t.due_at NULLS LAST, t.id LIMIT ").number(LISTED).sql(") UNION ALL (");
    sql.append(rows("SELECT 'booking', t.id, t.code, t.status, t.staff_id, t.starts_at, t.ends_at", &BOOKINGS));
    sql.sql(" AND t.status IN ('held', 'pending', 'confirmed') AND t.contact_id = ")
        .bind(contact)
        .sql(" AND t.ends_at > ");
    sql.bind(since).sql(" ORDER BY t.starts_at, t.id LIMIT 1)");
    sql
}
