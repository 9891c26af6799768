//! Notes on a person's names whether they take the business' marketing messages: as the channel tells of it, and as it refuses such a message. In
//! whatever order it tells, what happened last counts.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::peers::{self, PeerContext};
use super::update::{MarketingPreference, Peer};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::channels::sending::outbound::Recipient;
use crate::db::{Statement, Tx};

/// Notes what a person wants; of someone who is not known it is forgotten. Queries: six at most.
pub fn apply(tx: &mut Tx<'_>, context: &PeerContext<'_>, preference: &MarketingPreference) -> Result<()> {
    let context = PeerContext { at: preference.changed_at, ..*context };
    match peers::resolve_known(tx, &context, &preference.peer)? {
        Some(person) => note(tx, context.tenant, person.peer_id, preference.is_stopped, preference.changed_at),
        None => Ok(()),
    }
}

/// Who a message went to.
#[derive(QueryableByName)]
struct Addressee {
    #[diesel(sql_type = Nullable<SqlUuid>)]
    peer_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    address: String,
    #[diesel(sql_type = Nullable<Text>)]
    portfolio_id: Option<String>,
}

/// Notes that the channel has refused a message at `at`, because its recipient takes no marketing messages. (A loopback says so of people who
/// know nothing of it.) Queries: two where a customer has
/// written in the conversation, seven at most.
pub fn note_refusal(tx: &mut Tx<'_>, tenant: &Tenant, message: Uuid, at: DateTime<Utc>) -> Result<()> {
    let mut sql = Statement::new(
        "SELECT v.peer_id, v.address, c.portfolio_id FROM messages m JOIN conversations v ON v.business_id = m.business_id \
         AND v.id = m.conversation_id JOIN channels c ON c.business_id = v.business_id AND c.id = v.channel_id \
         AND c.kind = 'whatsapp' WHERE m.business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND m.id = ").bind(message);
    let Some(to) = sql.first::<Addressee>(tx)? else { return Ok(()) };
    if let Some(peer) = to.peer_id {
        return note(tx, tenant, peer, true, at);
    }
    let peer = match Recipient::of_address(&to.address, false) {
        Some(Recipient::Number(digits)) => Peer { wa_id: Some(digits), ..Peer::default() },
        Some(Recipient::UserId(id)) => Peer { user_id: Some(id), ..Peer::default() },
        _ => return Ok(()),
    };
    let context = PeerContext::new(tenant, to.portfolio_id.as_deref().unwrap_or_default(), at);
    apply(tx, &context, &MarketingPreference { peer, is_stopped: true, changed_at: at })
}

/// Notes it on all names of a peer, unless something later is known. Of two that happened in one second, the stop counts; who stops again has
/// stopped before. Queries: one.
fn note(tx: &mut Tx<'_>, tenant: &Tenant, peer: Uuid, is_stopped: bool, at: DateTime<Utc>) -> Result<()> {
    let mut sql = Statement::new("UPDATE contact_identities i SET version = version + 1, updated_at = now(), ");
    match is_stopped {
        true => sql.sql("marketing_opted_out_at = coalesce(marketing_opted_out_at, ").bind(at).sql(")"),
        false => sql.sql("marketing_opted_out_at = NULL"),
    };
    sql.sql(", marketing_changed_at = ").bind(at).sql(" WHERE business_id = ").bind(tenant.id());
    sql.sql(" AND peer_id = ").bind(peer);
    // The row's own condition holds also where another transaction has just changed it.
    sql.sql(" AND (marketing_changed_at IS NULL OR marketing_changed_at < ").bind(at);
    if is_stopped {
        sql.sql(" OR marketing_changed_at = ").bind(at).sql(" AND marketing_opted_out_at IS NULL");
    }
    sql.sql(") AND NOT EXISTS (SELECT FROM contact_identities o WHERE o.business_id = ").bind(tenant.id());
    sql.sql(" AND o.peer_id = ").bind(peer).sql(" AND (o.marketing_changed_at > ").bind(at);
    if !is_stopped {
        sql.sql(" OR o.marketing_changed_at = ").bind(at).sql(" AND o.marketing_opted_out_at IS NOT NULL");
    }
    sql.sql("))").run(tx)?;
    Ok(())
}
