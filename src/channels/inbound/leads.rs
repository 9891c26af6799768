//! The lead that someone becomes by writing.

use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text};
use uuid::Uuid;

use super::profile_names;
use super::threads::Thread;
use super::update::{InboundMessage, Referral};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::crm::leads::LEADS;
use crate::db::schema::leads;
use crate::db::{Statement, Tx};
use crate::resource::{Changeset, crud};

/// The source of a lead that came by a message, and by an advertisement.
const SOURCE: &str = "whatsapp";
const AD: &str = "ad";

/// Gives a conversation the newest open lead of its contact, or a new one. The advertisement of a message becomes the source. Queries: two
/// where the conversation has a lead and the message no advertisement.
pub fn attach(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    thread: &Thread,
    contact: Uuid,
    message: &InboundMessage,
) -> Result<()> {
    let known = match thread.lead_id {
        Some(lead) => kept(tx, tenant, lead)?,
        None => None,
    };
    let lead = match known {
        Some(lead) => lead,
        None => {
            let lead = match newest_open(tx, tenant, contact)? {
                Some(lead) => lead,
                None => create(tx, tenant, contact, message)?,
            };
            let mut sql =
                Statement::new("UPDATE conversations SET version = version + 1, updated_at = now(), lead_id = ");
            sql.bind(lead).sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND id = ").bind(thread.id).run(tx)?;
            lead
        }
    };
    let mut earlier = Statement::new("UPDATE leads SET version = version + 1, updated_at = now(), entered_at = ");
    earlier
        .bind(message.sent_at)
        .sql(" WHERE entered_at > ")
        .bind(message.sent_at)
        .sql(" AND source IN (")
        .bind(SOURCE);
    earlier.sql(", ").bind(AD).sql(") AND business_id = ").bind(tenant.id()).sql(" AND id = ").bind(lead).run(tx)?;
    match &message.referral {
        Some(referral) => credit(tx, tenant, lead, referral),
        None => Ok(()),
    }
}

/// The lead of a conversation, unless it is deleted.
fn kept(tx: &mut Tx<'_>, tenant: &Tenant, lead: Uuid) -> Result<Option<Uuid>> {
    let mut sql = Statement::new("SELECT id FROM leads WHERE deleted_at IS NULL AND business_id = ");
    Ok(sql.bind(tenant.id()).sql(" AND id = ").bind(lead).scalar(tx)?)
}

fn newest_open(tx: &mut Tx<'_>, tenant: &Tenant, contact: Uuid) -> Result<Option<Uuid>> {
    let mut sql = Statement::new(
        "SELECT id FROM leads WHERE status NOT IN ('won', 'lost') AND deleted_at IS NULL AND business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND contact_id = ").bind(contact).sql(" ORDER BY created_at DESC, id DESC LIMIT 1");
    Ok(sql.scalar(tx)?)
}

/// How a contact is called.
#[derive(QueryableByName)]
struct ContactName {
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
}

fn create(tx: &mut Tx<'_>, tenant: &Tenant, contact: Uuid, message: &InboundMessage) -> Result<Uuid> {
    let mut sql = Statement::new(
        "SELECT nullif(concat_ws(' ', first_name, last_name), '') AS name FROM contacts WHERE business_id = ",
    );
    let named = sql.bind(tenant.id()).sql(" AND id = ").bind(contact).first::<ContactName>(tx)?;
    let mut change = Changeset::empty(LEADS.fields);
    change.creates = true;
    change.set(leads::title, profile_names::lead_title(named.and_then(|named| named.name).as_deref()));
    change.set(leads::contact_id, contact);
    change.set(leads::source, SOURCE);
    change.set(leads::entered_at, message.sent_at);
    Ok(crud::create(tx, tenant, &LEADS, change)?.0)
}

/// Credits an advertisement with a lead that came by a message: as its source, and with the campaign of that id.
fn credit(tx: &mut Tx<'_>, tenant: &Tenant, lead: Uuid, referral: &Referral) -> Result<()> {
    let mut sql = Statement::new("UPDATE leads l SET version = l.version + 1, updated_at = now(), source = ");
    sql.bind(AD).sql(", campaign_id = coalesce(l.campaign_id, c.id) FROM (SELECT (SELECT id FROM campaigns WHERE deleted_at IS NULL AND business_id = ");
    sql.bind(tenant.id()).sql(" AND external_id = ").bind(referral.source_id.clone());
    sql.sql(") AS id) c WHERE l.business_id = ").bind(tenant.id()).sql(" AND l.id = ").bind(lead);
    sql.sql(" AND l.source IN (").bind(SOURCE).sql(", ").bind(AD).sql(") AND (l.source <> ").bind(AD);
    sql.sql(" OR l.campaign_id IS NULL AND c.id IS NOT NULL)").run(tx)?;
    Ok(())
}
