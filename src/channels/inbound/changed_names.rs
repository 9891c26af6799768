//! Names of a person that change, or are told beside others that are known.

use diesel::QueryableByName;
use diesel::sql_types::Text;
use uuid::Uuid;

use super::peers::{self, Key, PeerContext, ResolvedPeer, add, first, keys, known, with_phone};
use super::update::{IdentityChange, Peer};
use super::{proposals, threads};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::base::phone_variants;
use crate::db::{Statement, Tx};

/// Moves a peer from former names to others: a person has another number, or another id. Names that another peer has stay with that;
/// then both contacts may be one person. Returns where messages to the peer went until now, as addresses of conversations. Queries: at most
/// six.
pub fn change(
    tx: &mut Tx<'_>,
    context: &PeerContext<'_>,
    of: &ResolvedPeer,
    change: &IdentityChange,
) -> Result<Vec<String>> {
    let (tenant, Some(contact)) = (context.tenant, of.contact_id) else { return Ok(Vec::new()) };
    let IdentityChange { previous, current, .. } = change;
    let former = supersede(tx, context, of.peer_id, change)?;
    let new = keys(context, current);
    let line = current.wa_id.as_deref().map(phone_variants::match_key);
    let known = known(tx, tenant, &new, line.as_deref())?;
    let missing: Vec<&Key> =
        new.iter().filter(|key| !known.iter().any(|known| known.is(key) && !known.is_superseded())).collect();
    if !missing.is_empty() {
        add(tx, tenant, of.peer_id, Some(contact), &missing, line.as_deref(), false)?;
    }
    let others: Vec<Uuid> =
        known.iter().filter(|known| !known.is_superseded()).filter_map(|known| known.contact_id).collect();
    proposals::propose(tx, tenant, contact, &others, "One has taken a number or an id that the other is known by.")?;
    let numbers = former.iter().filter(|name| name.kind == "wa_id").map(|name| name.value.as_str());
    let numbers = numbers.chain(previous.wa_id.as_deref().filter(|_| change.is_of_number));
    let phones: Vec<String> = numbers.flat_map(phone_variants::variants).map(|digits| format!("+{digits}")).collect();
    if let Some(after) = &current.wa_id {
        move_phone(tx, tenant, contact, &phones, after)?;
    }
    let ids = former.into_iter().filter(|name| name.kind != "wa_id").map(|name| name.value);
    Ok(ids.chain(previous.user_id.clone()).chain(previous.parent_user_id.clone()).chain(phones).collect())
}

/// A name that was a peer's until now.
#[derive(QueryableByName)]
struct FormerName {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    value: String,
}

/// Notes that a peer's former names are theirs no more; with a new number all other numbers, with a new id all other ids. Queries: one.
fn supersede(
    tx: &mut Tx<'_>,
    context: &PeerContext<'_>,
    peer: Uuid,
    change: &IdentityChange,
) -> Result<Vec<FormerName>> {
    let IdentityChange { previous, current, is_of_number } = change;
    let ids =
        |peer: &Peer| [peer.user_id.clone(), peer.parent_user_id.clone()].into_iter().flatten().collect::<Vec<_>>();
    let mut sql =
        Statement::new("UPDATE contact_identities SET version = version + 1, updated_at = now(), superseded_at = ");
    sql.bind(context.at).sql(" WHERE superseded_at IS NULL AND business_id = ").bind(context.tenant.id());
    sql.sql(" AND peer_id = ").bind(peer).sql(" AND value <> ALL(");
    sql.bind(ids(current).into_iter().chain(current.wa_id.clone()).collect::<Vec<_>>());
    sql.sql(") AND (kind IN ('user_id', 'parent_user_id') AND value = ANY(").bind(ids(previous)).sql(")");
    // One that comes late, after a newer change, knows nothing of the names since.
    sql.sql(
        " OR NOT EXISTS (SELECT FROM contact_identities l WHERE l.business_id = contact_identities.business_id \
         AND l.peer_id = contact_identities.peer_id AND l.superseded_at > ",
    );
    sql.bind(context.at).sql(") AND (false");
    if *is_of_number {
        sql.sql(" OR kind = 'wa_id'");
    }
    if current.user_id.is_some() {
        sql.sql(" OR kind = 'user_id' AND (scope = '' OR scope = ").bind(context.scope.to_owned()).sql(")");
    }
    Ok(sql.sql(")) RETURNING kind, value").load(tx)?)
}

/// Ties all names of who a message reached to that person, as a status tells them together: an answer may come by any of them. Who is not known
/// becomes known as who the conversation is with. Queries: one where nothing is new.
pub fn learn(tx: &mut Tx<'_>, context: &PeerContext<'_>, conversation: Uuid, recipient: &Peer) -> Result<()> {
    let (Some(number), Some(user_id)) = (&recipient.wa_id, &recipient.user_id) else { return Ok(()) };
    let tenant = context.tenant;
    let mut sql = Statement::new(
        "SELECT EXISTS (SELECT FROM contact_identities WHERE superseded_at IS NULL AND kind = 'user_id' AND business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND value = ").bind(user_id).sql(")");
    if sql.scalar(tx)?.unwrap_or(false) {
        return Ok(());
    }
    peers::lock(tx, context, &[recipient])?;
    let (keys, line) = (keys(context, recipient), phone_variants::match_key(number));
    let known = known(tx, tenant, &keys, Some(&line))?;
    let (peer, contact) = match first(&known, &keys, context) {
        Some(found) => (found.peer_id, found.contact_id),
        None => (Uuid::now_v7(), threads::contact_of(tx, tenant, conversation)?.or(with_phone(tx, tenant, number)?)),
    };
    let missing: Vec<&Key> =
        keys.iter().filter(|key| !known.iter().any(|known| known.holds(key, peer, context.at))).collect();
    if !missing.is_empty() {
        add(tx, tenant, peer, contact, &missing, Some(&line), false)?;
    }
    threads::tie(tx, tenant, conversation, peer)
}

/// Replaces a contact's number, one of `before`, by its new one, unless another contact has that.
fn move_phone(tx: &mut Tx<'_>, tenant: &Tenant, contact: Uuid, before: &[String], after: &str) -> Result<()> {
    if let Some(other) = with_phone(tx, tenant, after)?.filter(|other| *other != contact) {
        return proposals::propose(tx, tenant, contact, &[other], "Both are reached at one number.");
    }
    let mut sql = Statement::new("UPDATE contacts SET version = version + 1, updated_at = now(), phone = ");
    sql.bind(format!("+{after}")).sql(" WHERE (phone IS NULL OR phone = ANY(").bind(before.to_vec());
    sql.sql(")) AND business_id = ").bind(tenant.id()).sql(" AND id = ").bind(contact).run(tx)?;
    Ok(())
}
