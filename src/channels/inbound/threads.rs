//! Finds the conversation with a peer on a channel, or begins one. There is one open conversation for each channel and peer; the
//! lock of the peer, which its finder holds, sees to it that two messages do not begin two.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use uuid::Uuid;

use super::peers::ResolvedPeer;
use super::update::Peer;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::base::phone_variants;
use crate::channels::channels::WHATSAPP;
use crate::channels::conversations::{CONVERSATIONS, totals};
use crate::channels::inbox::labeling::MAX_LABELS;
use crate::channels::receipts::read_receipts;
use crate::channels::worker_tasks::reply_tasks;
use crate::db::schema::conversations;
use crate::db::{Statement, Tx};
use crate::resource::{Changeset, crud};

/// Longest address in characters, as conversations have it.
const MAX_ADDRESS_LEN: usize = 254;

/// A conversation that messages go to.
#[derive(Clone, Debug, QueryableByName)]
#[diesel(table_name = conversations)]
pub struct Thread {
    pub id: Uuid,
    contact_id: Option<Uuid>,
    pub lead_id: Option<Uuid>,
    address: String,
    started_at: DateTime<Utc>,
}

/// What a conversation is looked for by.
pub struct ThreadLookup<'a> {
    pub channel: Uuid,
    pub resolved: &'a ResolvedPeer,
    pub peer: &'a Peer,
    pub group_id: Option<&'a str>,
    pub at: DateTime<Utc>,
    /// Whether a closed one will do: what is past opens no conversation anew.
    pub is_past: bool,
}

impl ThreadLookup<'_> {
    /// Where messages to the peer are sent: the group, the number as the channel writes it, else the user's id.
    fn address(&self) -> String {
        let number = self.peer.wa_id.as_ref().map(|number| format!("+{number}"));
        let id = || self.peer.user_id.clone().or_else(|| self.peer.parent_user_id.clone());
        let address = self.group_id.map(str::to_owned).or(number).or_else(id);
        address.unwrap_or_default().chars().take(MAX_ADDRESS_LEN).collect()
    }

    /// Whether the peer's number is known now, and was not when the conversation began.
    fn knows_better(&self, thread: &Thread) -> bool {
        self.peer.wa_id.is_some() && self.group_id.is_none() && !thread.address.starts_with('+')
    }

    /// The addresses that a conversation which people began may have.
    fn spellings(&self) -> Vec<String> {
        let numbers = self.peer.wa_id.iter().flat_map(|number| phone_variants::variants(number));
        let mut spellings: Vec<String> = numbers.map(|digits| format!("+{digits}")).collect();
        spellings.extend(self.peer.user_id.clone());
        spellings.extend(self.group_id.map(str::to_owned));
        spellings
    }
}

/// Returns the conversation, locked. Queries: one where it is there; more where it begins or is found by its address. Errors: a conflict
/// with a conversation that another transaction has begun meanwhile, after which the whole is tried again.
pub fn find_or_begin(tx: &mut Tx<'_>, tenant: &Tenant, lookup: &ThreadLookup<'_>) -> Result<Thread> {
    if let Some(thread) = of_peer(tx, tenant, lookup)? {
        // The number of someone who was known by id only may be that of a conversation which people have begun.
        if lookup.knows_better(&thread)
            && let Some(begun) = of_address(tx, tenant, lookup)?
        {
            merge_into(tx, tenant, &thread, &begun)?;
            link_peer(tx, tenant, lookup, &begun)?;
            return Ok(Thread { lead_id: begun.lead_id.or(thread.lead_id), ..begun });
        }
        refresh(tx, tenant, lookup, &thread)?;
        return Ok(thread);
    }
    if let Some(thread) = of_address(tx, tenant, lookup)? {
        link_peer(tx, tenant, lookup, &thread)?;
        return Ok(thread);
    }
    begin(tx, tenant, lookup)
}

/// The columns of a [`Thread`]; a contact that is deleted is none.
const THREAD: &str = "SELECT v.id, (SELECT c.id FROM contacts c WHERE c.business_id = v.business_id AND c.id = v.contact_id AND c.deleted_at IS NULL) AS contact_id, \
     v.lead_id, v.address, v.started_at FROM conversations v WHERE v.deleted_at IS NULL AND v.business_id = ";

/// Returns a conversation by its id, locked.
pub fn of_id(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Option<Thread>> {
    let mut sql = Statement::new(THREAD);
    Ok(sql.bind(tenant.id()).sql(" AND v.id = ").bind(id).sql(" FOR NO KEY UPDATE OF v").first(tx)?)
}

fn of_peer(tx: &mut Tx<'_>, tenant: &Tenant, lookup: &ThreadLookup<'_>) -> Result<Option<Thread>> {
    let mut sql = Statement::new(THREAD);
    sql.bind(tenant.id()).sql(" AND v.channel_id = ").bind(lookup.channel);
    sql.sql(" AND v.peer_id = ").bind(lookup.resolved.peer_id);
    sql.sql(match lookup.is_past {
        true => " ORDER BY v.status = 'closed', v.last_message_at DESC, v.id LIMIT 1 FOR NO KEY UPDATE OF v",
        false => " AND v.status <> 'closed' FOR NO KEY UPDATE OF v",
    });
    Ok(sql.first(tx)?)
}

/// An open conversation that people began with an address of the peer, on this channel or on none.
fn of_address(tx: &mut Tx<'_>, tenant: &Tenant, lookup: &ThreadLookup<'_>) -> Result<Option<Thread>> {
    let spellings = lookup.spellings();
    let mut sql = Statement::new(
        "SELECT id, contact_id, lead_id, address, started_at FROM conversations WHERE status <> 'closed' AND deleted_at IS NULL \
         AND peer_id IS NULL AND business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND channel = ").bind(WHATSAPP).sql(" AND address = ANY(").bind(spellings);
    sql.sql(") AND (channel_id = ")
        .bind(lookup.channel)
        .sql(" OR channel_id IS NULL) ORDER BY channel_id IS NULL, address <> ");
    sql.bind(lookup.address()).sql(", last_message_at DESC, id LIMIT 1 FOR NO KEY UPDATE");
    Ok(sql.first(tx)?)
}

/// Ties a conversation to the peer. Messages are sent to the number as the channel writes it.
fn link_peer(tx: &mut Tx<'_>, tenant: &Tenant, lookup: &ThreadLookup<'_>, thread: &Thread) -> Result<()> {
    let mut sql = Statement::new("UPDATE conversations c SET version = version + 1, updated_at = now(), peer_id = ");
    sql.bind(lookup.resolved.peer_id).sql(", channel_id = ").bind(lookup.channel);
    sql.sql(", contact_id = coalesce(contact_id, ").bind(lookup.resolved.contact_id);
    sql.sql("), started_at = least(started_at, ")
        .bind(lookup.at)
        .sql("), address = ")
        .append(free_address(tenant, lookup));
    sql.sql(" WHERE c.business_id = ").bind(tenant.id()).sql(" AND c.id = ").bind(thread.id).run(tx)?;
    Ok(())
}

/// The address of the peer, unless another open conversation of the channel has it: then that of the conversation `c` stays.
fn free_address(tenant: &Tenant, lookup: &ThreadLookup<'_>) -> Statement {
    let address = lookup.address();
    let mut sql = Statement::new("CASE WHEN EXISTS (SELECT FROM conversations o WHERE o.business_id = ");
    sql.bind(tenant.id()).sql(" AND o.channel = ").bind(WHATSAPP).sql(" AND o.address = ").bind(&address);
    sql.sql(" AND o.channel_id = ").bind(lookup.channel);
    sql.sql(" AND o.status <> 'closed' AND o.deleted_at IS NULL AND o.id <> c.id) THEN c.address ELSE ")
        .bind(address)
        .sql(" END");
    sql
}

/// Moves what is in the conversation `from` to `into`, which is with the same peer, and deletes it.
fn merge_into(tx: &mut Tx<'_>, tenant: &Tenant, from: &Thread, into: &Thread) -> Result<()> {
    let mut sql = Statement::new(
        "UPDATE conversations SET version = version + 1, updated_at = now(), status = 'closed', peer_id = NULL, deleted_at = now() WHERE business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND id = ").bind(from.id).run(tx)?;
    let mut sql = Statement::new(
        "WITH moved AS (UPDATE messages SET version = version + 1, updated_at = now(), conversation_id = ",
    );
    sql.bind(into.id).sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND conversation_id = ").bind(from.id);
    let moved = sql.sql(" RETURNING id, sent_at) SELECT id FROM moved ORDER BY sent_at, id").scalars::<Uuid>(tx)?;
    let is_unanswered = reply_tasks::leave(tx, tenant, from.id)?;
    for table in ["decisions", "notes", "message_attempts"] {
        let mut sql = Statement::new("UPDATE ");
        sql.ident(table).sql(" SET version = version + 1, updated_at = now(), conversation_id = ").bind(into.id);
        sql.sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND conversation_id = ").bind(from.id).run(tx)?;
    }
    merge_labels(tx, tenant, from, into)?;
    merge_read_positions(tx, tenant, from, into)?;
    read_receipts::merge_into(tx, tenant, from.id, into.id)?;
    let mut sql = Statement::new(
        "UPDATE conversations c SET lead_id = coalesce(c.lead_id, f.lead_id), assignee_id = coalesce(c.assignee_id, f.assignee_id), \
         contact_id = coalesce(c.contact_id, f.contact_id), started_at = least(c.started_at, f.started_at), \
         window_closed_at = greatest(c.window_closed_at, f.window_closed_at), \
         free_entry_expires_at = greatest(c.free_entry_expires_at, f.free_entry_expires_at) \
         FROM conversations f WHERE f.business_id = c.business_id AND c.business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND c.id = ").bind(into.id).sql(" AND f.id = ").bind(from.id).run(tx)?;
    totals::recount_of(tx, tenant, moved.first().map(std::slice::from_ref).unwrap_or_default())?;
    match moved.last() {
        Some(last) if is_unanswered => reply_tasks::schedule(tx, tenant, BTreeMap::from([(into.id, *last)])),
        _ => Ok(()),
    }
}

/// Moves labels that the other conversation lacks: the oldest first, as many as it may have. Queries: one.
fn merge_labels(tx: &mut Tx<'_>, tenant: &Tenant, from: &Thread, into: &Thread) -> Result<()> {
    let mut sql = Statement::new("WITH there AS (SELECT label_id FROM conversation_labels WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND conversation_id = ").bind(into.id);
    sql.sql("), moved AS (SELECT id FROM conversation_labels WHERE business_id = ").bind(tenant.id());
    sql.sql(" AND conversation_id = ").bind(from.id);
    sql.sql(" AND label_id NOT IN (SELECT label_id FROM there) ORDER BY created_at, id LIMIT greatest(0, ");
    sql.number(MAX_LABELS as i64);
    sql.sql(" - (SELECT count(*) FROM there))) UPDATE conversation_labels SET version = version + 1, updated_at = now(), conversation_id = ");
    sql.bind(into.id).sql(" WHERE business_id = ").bind(tenant.id());
    sql.sql(" AND id IN (SELECT id FROM moved)").run(tx)?;
    Ok(())
}

/// Sets back how far members have read to where they had in both: who has no position in one has read nothing there. Queries: two.
fn merge_read_positions(tx: &mut Tx<'_>, tenant: &Tenant, from: &Thread, into: &Thread) -> Result<()> {
    let in_from = || {
        let mut sql = Statement::new(
            "FROM read_positions f WHERE f.business_id = p.business_id AND f.user_id = p.user_id AND f.conversation_id = ",
        );
        sql.bind(from.id);
        sql
    };
    let mut sql = Statement::new("DELETE FROM read_positions p WHERE p.business_id = ");
    sql.bind(tenant.id()).sql(" AND p.conversation_id = ").bind(into.id);
    sql.sql(" AND NOT EXISTS (SELECT ").append(in_from()).sql(")").run(tx)?;
    let mut sql = Statement::new(
        "UPDATE read_positions p SET version = p.version + 1, updated_at = now(), read_until = f.read_until ",
    );
    sql.append(in_from()).sql(" AND f.read_until < p.read_until AND p.business_id = ").bind(tenant.id());
    sql.sql(" AND p.conversation_id = ").bind(into.id).run(tx)?;
    Ok(())
}

/// Notes what a message tells of its conversation: that it began earlier, the number of one that was known by id only, the contact.
fn refresh(tx: &mut Tx<'_>, tenant: &Tenant, lookup: &ThreadLookup<'_>, thread: &Thread) -> Result<()> {
    let is_better = lookup.knows_better(thread);
    let lacks_contact = thread.contact_id.is_none() && lookup.resolved.contact_id.is_some();
    if !is_better && !lacks_contact && lookup.at >= thread.started_at {
        return Ok(());
    }
    let mut sql = Statement::new(
        "UPDATE conversations c SET version = version + 1, updated_at = now(), started_at = least(started_at, ",
    );
    sql.bind(lookup.at).sql(")");
    if lacks_contact {
        // One that was deleted took its lead along.
        sql.sql(", lead_id = CASE WHEN contact_id IS NULL THEN lead_id END, contact_id = ")
            .bind(lookup.resolved.contact_id);
    }
    if is_better {
        sql.sql(", address = ").append(free_address(tenant, lookup));
    }
    sql.sql(" WHERE c.business_id = ").bind(tenant.id()).sql(" AND c.id = ").bind(thread.id).run(tx)?;
    Ok(())
}

/// Begins a conversation. Where another peer's has the address (both are known by one number, and people are to decide whether they are one
/// person), it is addressed by another name. Errors: a conflict with one that has begun meanwhile.
fn begin(tx: &mut Tx<'_>, tenant: &Tenant, lookup: &ThreadLookup<'_>) -> Result<Thread> {
    let address = match has_another_peer(tx, tenant, lookup)? {
        true => other_address(tx, tenant, lookup)?,
        false => lookup.address(),
    };
    let mut change = Changeset::empty(CONVERSATIONS.fields);
    change.creates = true;
    change.set(conversations::channel, WHATSAPP);
    change.set(conversations::channel_id, lookup.channel);
    change.set(conversations::address, address.as_str());
    change.set(conversations::contact_id, lookup.resolved.contact_id);
    change.set(conversations::started_at, lookup.at);
    // Replaced by the time of its messages, which may be older than now.
    change.set(conversations::last_message_at, lookup.at);
    let (id, _) = match crud::create(tx, tenant, &CONVERSATIONS, change) {
        Err(error) if error.is_taken("conversations_address_key") => return Err(Error::serialization_conflict()),
        created => created?,
    };
    let mut sql = Statement::new("UPDATE conversations SET peer_id = ");
    sql.bind(lookup.resolved.peer_id)
        .sql(" WHERE business_id = ")
        .bind(tenant.id())
        .sql(" AND id = ")
        .bind(id)
        .run(tx)?;
    let contact_id = lookup.resolved.contact_id;
    Ok(Thread { id, contact_id, lead_id: None, address, started_at: lookup.at })
}

/// Whether the open conversation with the address is another peer's.
fn has_another_peer(tx: &mut Tx<'_>, tenant: &Tenant, lookup: &ThreadLookup<'_>) -> Result<bool> {
    let mut sql = Statement::new(
        "SELECT EXISTS (SELECT FROM conversations WHERE status <> 'closed' AND deleted_at IS NULL AND peer_id IS NOT NULL AND business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND channel = ").bind(WHATSAPP).sql(" AND address = ").bind(lookup.address());
    Ok(sql.sql(" AND channel_id = ").bind(lookup.channel).sql(")").scalar(tx)?.unwrap_or(false))
}

/// Where else the peer of a conversation that begins is reached. (Nowhere, for one whose only number another has now: then its own id stands
/// there, to which nothing can be sent.)
fn other_address(tx: &mut Tx<'_>, tenant: &Tenant, lookup: &ThreadLookup<'_>) -> Result<String> {
    if let Some(id) = &lookup.peer.user_id {
        return Ok(id.clone());
    }
    let address = "CASE WHEN kind = 'wa_id' THEN '+' || value ELSE value END";
    let mut sql = Statement::new("SELECT ");
    sql.sql(address).sql(
        " FROM contact_identities WHERE superseded_at IS NULL AND kind IN ('wa_id', 'user_id') AND business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND peer_id = ").bind(lookup.resolved.peer_id).sql(" AND ").sql(address).sql(" <> ");
    let other = sql.bind(lookup.address()).sql(" ORDER BY kind = 'user_id', id DESC LIMIT 1").scalar::<String>(tx)?;
    Ok(other.unwrap_or_else(|| lookup.resolved.peer_id.to_string()))
}

/// Sends messages of a peer's open conversations to where it is now, if they went to one of the addresses `former`. Queries: one.
pub fn move_address(tx: &mut Tx<'_>, tenant: &Tenant, peer: Uuid, former: Vec<String>, now: &Peer) -> Result<()> {
    let number = now.wa_id.as_ref().map(|number| format!("+{number}"));
    let Some(address) = number.or_else(|| now.user_id.clone()).or_else(|| now.parent_user_id.clone()) else {
        return Ok(());
    };
    let mut sql = Statement::new("UPDATE conversations c SET version = version + 1, updated_at = now(), address = ");
    sql.bind(&address).sql(" WHERE status <> 'closed' AND deleted_at IS NULL AND business_id = ").bind(tenant.id());
    sql.sql(" AND peer_id = ").bind(peer).sql(" AND address = ANY(").bind(former);
    // Where a conversation with the new address is open, both keep theirs: people decide whether they are one person.
    sql.sql(") AND NOT EXISTS (SELECT FROM conversations o WHERE o.business_id = c.business_id AND o.channel = c.channel AND o.address = ");
    sql.bind(address)
        .sql(" AND o.channel_id = c.channel_id AND o.status <> 'closed' AND o.deleted_at IS NULL)")
        .run(tx)?;
    Ok(())
}

/// The contact of a conversation, unless that is deleted.
pub fn contact_of(tx: &mut Tx<'_>, tenant: &Tenant, conversation: Uuid) -> Result<Option<Uuid>> {
    let mut sql = Statement::new(
        "SELECT k.id FROM conversations c JOIN contacts k ON k.business_id = c.business_id AND k.id = c.contact_id AND k.deleted_at IS NULL \
         WHERE c.business_id = ",
    );
    Ok(sql.bind(tenant.id()).sql(" AND c.id = ").bind(conversation).scalar(tx)?)
}

/// Ties an open conversation that people began to the peer that it is with, unless the peer has another one on the channel. Queries: one.
pub fn tie(tx: &mut Tx<'_>, tenant: &Tenant, conversation: Uuid, peer: Uuid) -> Result<()> {
    let mut sql = Statement::new("UPDATE conversations c SET version = version + 1, updated_at = now(), peer_id = ");
    sql.bind(peer).sql(" WHERE peer_id IS NULL AND status <> 'closed' AND deleted_at IS NULL AND channel_id IS NOT NULL AND business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(conversation);
    sql.sql(" AND NOT EXISTS (SELECT FROM conversations o WHERE o.business_id = c.business_id AND o.channel_id = c.channel_id AND o.peer_id = ");
    sql.bind(peer).sql(" AND o.status <> 'closed' AND o.deleted_at IS NULL)").run(tx)?;
    Ok(())
}
