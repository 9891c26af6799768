//! Refuses marketing templates to customers who have stopped them: WhatsApp does not deliver them (131050).

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::outbound::Recipient;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::base::{phone_variants, timestamp};
use crate::db::{Statement, Tx};

/// The category of templates that people stop.
const MARKETING: &str = "marketing";

/// Who a conversation is with.
#[derive(Clone, Copy)]
pub struct Customer<'a> {
    /// Once they have written in it.
    pub peer_id: Option<Uuid>,
    pub address: &'a str,
}

/// Checks that the customer of a conversation takes a message with this `payload`, which may be a template of the channel. Queries: one for a
/// template, else none. Errors: 409 `opted_out`.
pub fn check(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    (customer, channel): (Customer<'_>, Uuid),
    payload: Option<&Json>,
) -> Result<()> {
    let template = payload.map(|payload| &payload["template"]).filter(|template| template.is_object());
    let (Some(template), Some(names)) = (template, names(tenant, customer)) else { return Ok(()) };
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let mut sql = Statement::new(
        "SELECT i.marketing_opted_out_at FROM contact_identities i WHERE i.marketing_opted_out_at IS NOT NULL AND i.business_id = ",
    );
    sql.bind(tenant.id()).append(names).sql(" AND EXISTS (SELECT FROM templates t WHERE t.business_id = ");
    sql.bind(tenant.id()).sql(" AND t.channel_id = ").bind(channel).sql(" AND t.category = ").bind(MARKETING);
    sql.sql(" AND t.name = ").bind(text(&template["name"]));
    sql.sql(" AND t.language = ").bind(text(&template["language"]["code"]));
    let opted_out_at = sql.sql(") ORDER BY i.marketing_opted_out_at DESC LIMIT 1").scalar::<DateTime<Utc>>(tx)?;
    let Some(at) = opted_out_at.map(timestamp::text) else { return Ok(()) };
    let detail = format!(
        "The customer stopped the business' marketing messages on {at}, and WhatsApp delivers none. A template of the category `utility` or \
         `authentication` goes through, and while the window is open a text; marketing does again when the customer resumes it in WhatsApp."
    );
    let extra = Box::new(json!({ "marketing_opted_out_at": at }));
    Err(Error::Conflict { code: "opted_out", detail, pointer: None, extra })
}

/// Whether the customer of a conversation has stopped marketing messages. Queries: one.
pub fn is_stopped(tx: &mut Tx<'_>, tenant: &Tenant, customer: Customer<'_>) -> Result<bool> {
    let Some(names) = names(tenant, customer) else { return Ok(false) };
    let mut sql = Statement::new(
        "SELECT i.id FROM contact_identities i WHERE i.marketing_opted_out_at IS NOT NULL AND i.business_id = ",
    );
    Ok(sql.bind(tenant.id()).append(names).sql(" LIMIT 1").scalar::<Uuid>(tx)?.is_some())
}

/// Appends the condition of all names of the peers one of whose names has `value` in `column`.
fn of_peers(sql: &mut Statement, tenant: &Tenant, column: &'static str, value: String) {
    sql.sql(" AND i.peer_id IN (SELECT n.peer_id FROM contact_identities n WHERE n.superseded_at IS NULL AND n.business_id = ");
    sql.bind(tenant.id()).sql(" AND n.").ident(column).sql(" = ").bind(value).sql(")");
}

/// The condition of the names of who a conversation is with: those of its peer or, where the customer has not written in it yet, those like its
/// address. None where it is with nobody whom the channel could know.
fn names(tenant: &Tenant, customer: Customer<'_>) -> Option<Statement> {
    let mut sql = Statement::default();
    match (customer.peer_id, Recipient::of_address(customer.address, false)?) {
        (Some(peer), _) => {
            sql.sql(" AND i.peer_id = ").bind(peer);
        }
        (None, Recipient::Number(digits)) => {
            let key = phone_variants::match_key(&digits);
            of_peers(&mut sql, tenant, "match_key", key)
        }
        (None, Recipient::UserId(id) | Recipient::Group(id)) => of_peers(&mut sql, tenant, "value", id),
    };
    Some(sql)
}
