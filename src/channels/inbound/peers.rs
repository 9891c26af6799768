//! Finds the person, or the group, that a channel speaks of; creates the contact of one who is new.
//!
//! Names of one account share a peer. The rule that finds a peer first wins: id of the user, id above it, a former id of the user, the
//! number as written, another national spelling of the number. A new peer's contact is who has the number as phone number, in
//! any of its spellings, or a new one. Where names lead to several contacts nothing is moved: a duplicate is proposed.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::profile_names::{self, ProfileName};
use super::update::Peer;
use super::{locks, proposals};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::base::phone_variants;
use crate::crm::contacts::CONTACTS;
use crate::db::schema::contacts;
use crate::db::{SqlValue, Statement, Tx};
use crate::resource::{Changeset, crud};

/// In what a peer is looked for.
pub struct PeerContext<'a> {
    pub tenant: &'a Tenant,
    /// Within what ids of users are unique: the business portfolio, or nothing.
    pub scope: &'a str,
    /// When the peer was seen.
    pub at: DateTime<Utc>,
    /// Whether a name that was given up before finds who had it, where nobody has it now: what tells of a change is about that one.
    pub finds_former: bool,
}

impl<'a> PeerContext<'a> {
    pub fn new(tenant: &'a Tenant, scope: &'a str, at: DateTime<Utc>) -> Self {
        Self { tenant, scope, at, finds_former: false }
    }
}

/// A peer and whose it is.
#[derive(Clone, Debug)]
pub struct ResolvedPeer {
    pub peer_id: Uuid,
    /// `None` for a group.
    pub contact_id: Option<Uuid>,
}

/// A name of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub kind: &'static str,
    scope: String,
    pub value: String,
}

/// An identity that shares a value with the peer, with its contact if that is not deleted.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct KnownIdentity {
    #[diesel(sql_type = SqlUuid)]
    pub peer_id: Uuid,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    scope: String,
    #[diesel(sql_type = Text)]
    value: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    superseded_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub contact_id: Option<Uuid>,
}

impl KnownIdentity {
    /// Whether it is the name `key`. One that came before the portfolio of its channel was known has no scope, and is the same person's: ids of
    /// users are too long to be equal by chance.
    pub fn is(&self, key: &Key) -> bool {
        let is_in_scope = self.scope == key.scope || self.scope.is_empty() || key.scope.is_empty();
        self.kind == key.kind && is_in_scope && self.value == key.value
    }

    pub fn is_superseded(&self) -> bool {
        self.superseded_at.is_some()
    }

    /// Whether the name is taken, or the peer had given it up after it was seen: then a message of before comes late.
    pub fn holds(&self, key: &Key, peer: Uuid, seen: DateTime<Utc>) -> bool {
        self.is(key) && self.superseded_at.is_none_or(|superseded| self.peer_id == peer && superseded >= seen)
    }
}

/// Finds a person by the names of `peer`, one of which identifies them, and adds those that are new. `shown`: the name that a message of
/// theirs came with. Locks them until the transaction ends. Queries: two where nothing is new.
pub fn resolve(
    tx: &mut Tx<'_>,
    context: &PeerContext<'_>,
    peer: &Peer,
    shown: Option<ProfileName<'_>>,
) -> Result<ResolvedPeer> {
    let (tenant, keys) = (context.tenant, keys(context, peer));
    let line = peer.wa_id.as_deref().map(phone_variants::match_key);
    lock(tx, context, &[peer])?;
    let known = known(tx, tenant, &keys, line.as_deref())?;
    let found = first(&known, &keys, context);
    #[cfg(feature = "mutants")]
    crate::base::mutants::stall();
    let peer_id = found.map_or_else(Uuid::now_v7, |found| found.peer_id);
    let mut names_contact = false;
    let contact_id = match found.and_then(|found| found.contact_id) {
        Some(contact) => contact,
        None => {
            let (contact, is_new) = contact_of(tx, tenant, peer)?;
            names_contact = is_new;
            if found.is_some() {
                adopt(tx, tenant, peer_id, contact, is_new)?;
            }
            contact
        }
    };
    let missing: Vec<&Key> =
        keys.iter().filter(|key| !known.iter().any(|known| known.holds(key, peer_id, context.at))).collect();
    let is_new_line = missing.iter().any(|key| key.kind == "wa_id");
    if !missing.is_empty() {
        add(tx, tenant, peer_id, Some(contact_id), &missing, line.as_deref(), names_contact)?;
    }
    let others: Vec<Uuid> =
        known.iter().filter(|known| !known.is_superseded()).filter_map(|known| known.contact_id).collect();
    proposals::propose(tx, tenant, contact_id, &others, "Both are known by names of one account.")?;
    if let (Some(number), true) = (&peer.wa_id, is_new_line && !names_contact) {
        give_phone(tx, tenant, contact_id, number)?;
    }
    if let Some(shown) = shown {
        profile_names::record(tx, tenant, peer_id, contact_id, shown)?;
    }
    Ok(ResolvedPeer { peer_id, contact_id: Some(contact_id) })
}

/// Finds a person who is known, by a name of `peer` or as the contact with the number; `None` for anyone else, who is not made known.
/// Queries: three; two more where someone is found.
pub fn resolve_known(tx: &mut Tx<'_>, context: &PeerContext<'_>, peer: &Peer) -> Result<Option<ResolvedPeer>> {
    lock(tx, context, &[peer])?;
    let keys = keys(context, peer);
    let line = peer.wa_id.as_deref().map(phone_variants::match_key);
    let known = known(tx, context.tenant, &keys, line.as_deref())?;
    if let Some(found) = first(&known, &keys, context) {
        // Also one whose contact was deleted, and is not brought back.
        return Ok(Some(ResolvedPeer { peer_id: found.peer_id, contact_id: found.contact_id }));
    }
    match &peer.wa_id {
        Some(number) if with_phone(tx, context.tenant, number)?.is_some() => resolve(tx, context, peer, None).map(Some),
        _ => Ok(None),
    }
}

/// Locks people by all their names, until the transaction ends. Queries: one.
pub fn lock(tx: &mut Tx<'_>, context: &PeerContext<'_>, peers: &[&Peer]) -> Result<()> {
    let keys = peers.iter().flat_map(|peer| keys(context, peer));
    let lines = peers
        .iter()
        .filter_map(|peer| peer.wa_id.as_deref())
        .map(|number| format!("line {}", phone_variants::match_key(number)));
    let names: Vec<String> = keys.map(|key| format!("{} {}", key.kind, key.value)).chain(lines).collect();
    locks::people(tx, context.tenant, names.iter().map(String::as_str))
}

/// Finds a group, or makes it known. Queries: two, or three.
pub fn resolve_group(tx: &mut Tx<'_>, tenant: &Tenant, group: &str) -> Result<ResolvedPeer> {
    let key = Key { kind: "group", scope: String::new(), value: group.to_owned() };
    locks::people(tx, tenant, [format!("group {group}").as_str()])?;
    let known = known(tx, tenant, std::slice::from_ref(&key), None)?;
    let peer_id = known.iter().find(|known| known.is(&key)).map(|known| known.peer_id);
    let peer_id = match peer_id {
        Some(peer_id) => peer_id,
        None => {
            let peer_id = Uuid::now_v7();
            add(tx, tenant, peer_id, None, &[&key], None, false)?;
            peer_id
        }
    };
    Ok(ResolvedPeer { peer_id, contact_id: None })
}

/// The names that identify a peer, the strongest first; and its username.
pub(super) fn keys(context: &PeerContext<'_>, peer: &Peer) -> Vec<Key> {
    let key = |kind, scope: &str, value: &Option<String>| {
        value.as_ref().map(|value| Key { kind, scope: scope.to_owned(), value: value.clone() })
    };
    let username =
        peer.username.as_ref().map(|name| name.trim_start_matches('@').to_owned()).filter(|name| !name.is_empty());
    [
        key("user_id", context.scope, &peer.user_id),
        key("parent_user_id", "", &peer.parent_user_id),
        key("wa_id", "", &peer.wa_id),
        key("username", "", &username),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(super) fn known(tx: &mut Tx<'_>, tenant: &Tenant, keys: &[Key], line: Option<&str>) -> Result<Vec<KnownIdentity>> {
    let mut sql = Statement::new(
        "SELECT i.peer_id, i.kind, i.scope, i.value, i.superseded_at, c.id AS contact_id \
         FROM contact_identities i LEFT JOIN contacts c ON c.business_id = i.business_id AND c.id = i.contact_id AND c.deleted_at IS NULL \
         WHERE i.business_id = ",
    );
    sql.bind(tenant.id())
        .sql(" AND (i.value = ANY(")
        .bind(keys.iter().map(|key| key.value.clone()).collect::<Vec<_>>());
    sql.sql(") OR i.match_key = ")
        .bind(line.map(str::to_owned))
        .sql(") ORDER BY i.superseded_at DESC NULLS FIRST, i.id");
    Ok(sql.load(tx)?)
}

/// The identity that finds the peer, by the order of the rules. A former number finds who had it when the message was written. A username
/// finds nobody: people give them up, and others take them.
pub(super) fn first<'k>(
    known: &'k [KnownIdentity],
    keys: &[Key],
    context: &PeerContext<'_>,
) -> Option<&'k KnownIdentity> {
    let of_key = |kinds: &[&str], is_good: &dyn Fn(&KnownIdentity) -> bool| {
        let keys = keys.iter().filter(|key| kinds.contains(&key.kind));
        keys.flat_map(|key| known.iter().find(|known| known.is(key) && is_good(known))).next()
    };
    let had_it = |known: &KnownIdentity| known.superseded_at.is_some_and(|superseded| superseded >= context.at);
    of_key(&["user_id", "parent_user_id"], &|known| !known.is_superseded())
        .or_else(|| of_key(&["user_id"], &KnownIdentity::is_superseded))
        .or_else(|| of_key(&["wa_id"], &had_it))
        .or_else(|| of_key(&["wa_id"], &|known| !known.is_superseded()))
        .or_else(|| known.iter().find(|known| known.kind == "wa_id" && !known.is_superseded()))
        .or_else(|| of_key(&["wa_id"], &|_| context.finds_former))
}

/// Who has the peer's number, or a new contact, with whether it is new.
fn contact_of(tx: &mut Tx<'_>, tenant: &Tenant, peer: &Peer) -> Result<(Uuid, bool)> {
    if let Some(number) = &peer.wa_id
        && let Some(contact) = with_phone(tx, tenant, number)?
        && !has_given_up(tx, tenant, contact, number)?
    {
        return Ok((contact, false));
    }
    // A contact that was deleted is not brought back: the person writes again, and is there anew.
    let mut change = Changeset::empty(CONTACTS.fields);
    change.creates = true;
    let name = profile_names::split(peer.profile_name.as_deref().or(peer.username.as_deref()).unwrap_or_default());
    change.set(contacts::first_name, name.first);
    change.set(contacts::last_name, name.last);
    change.set(contacts::phone, peer.wa_id.as_ref().map(|number| format!("+{number}")));
    let (contact, _) = crud::create(tx, tenant, &CONTACTS, change)?;
    Ok((contact, true))
}

/// The oldest contact with a number, as it is written if there is one.
pub(super) fn with_phone(tx: &mut Tx<'_>, tenant: &Tenant, number: &str) -> Result<Option<Uuid>> {
    let phones: Vec<String> = phone_variants::variants(number).into_iter().map(|digits| format!("+{digits}")).collect();
    let mut sql = Statement::new("SELECT id FROM contacts WHERE deleted_at IS NULL AND business_id = ");
    sql.bind(tenant.id()).sql(" AND phone = ANY(").bind(phones).sql(") ORDER BY phone <> ").bind(format!("+{number}"));
    Ok(sql.sql(", created_at, id LIMIT 1").scalar(tx)?)
}

/// Whether a contact is known to have another number now than this one, which it may still have as its phone number.
fn has_given_up(tx: &mut Tx<'_>, tenant: &Tenant, contact: Uuid, number: &str) -> Result<bool> {
    let mut sql = Statement::new(
        "SELECT EXISTS (SELECT FROM contact_identities WHERE superseded_at IS NOT NULL AND kind = 'wa_id' AND business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND contact_id = ").bind(contact).sql(" AND match_key = ");
    Ok(sql.bind(phone_variants::match_key(number)).sql(")").scalar(tx)?.unwrap_or(false))
}

/// Gives a contact without a phone number the peer's; one that another contact has is a sign that both are one person.
fn give_phone(tx: &mut Tx<'_>, tenant: &Tenant, contact: Uuid, number: &str) -> Result<()> {
    match with_phone(tx, tenant, number)? {
        Some(other) => proposals::propose(tx, tenant, contact, &[other], "Both are reached at one number."),
        None => {
            let mut sql = Statement::new("UPDATE contacts SET version = version + 1, updated_at = now(), phone = ");
            sql.bind(format!("+{number}")).sql(" WHERE phone IS NULL AND business_id = ").bind(tenant.id());
            sql.sql(" AND id = ").bind(contact).run(tx)?;
            Ok(())
        }
    }
}

/// Gives the names of a peer to a contact, where theirs is gone, or they had none. `names_contact`: whether it is called by the names that they show.
fn adopt(tx: &mut Tx<'_>, tenant: &Tenant, peer: Uuid, contact: Uuid, names_contact: bool) -> Result<()> {
    let mut sql =
        Statement::new("UPDATE contact_identities SET version = version + 1, updated_at = now(), contact_id = ");
    sql.bind(contact).sql(", names_contact = ").bind(SqlValue::Bool(Some(names_contact)));
    sql.sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND peer_id = ").bind(peer).run(tx)?;
    Ok(())
}

/// Adds names to a peer. One that another peer has meanwhile stays with that.
pub(super) fn add(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    peer: Uuid,
    contact: Option<Uuid>,
    keys: &[&Key],
    line: Option<&str>,
    names_contact: bool,
) -> Result<()> {
    let mut sql = Statement::new(
        "INSERT INTO contact_identities (business_id, id, peer_id, contact_id, kind, scope, value, match_key, names_contact, \
         marketing_opted_out_at, marketing_changed_at) SELECT n.*, o.marketing_opted_out_at, o.marketing_changed_at FROM (VALUES ",
    );
    for (place, key) in keys.iter().enumerate() {
        sql.sql(if place == 0 { "(" } else { ", (" })
            .bind(tenant.id())
            .sql(", ")
            .bind(Uuid::now_v7())
            .sql(", ")
            .bind(peer);
        let match_key = line.filter(|_| key.kind == "wa_id").map(str::to_owned);
        sql.sql(", ").bind(contact).sql(", ").bind(key.kind).sql(", ").bind(&key.scope).sql(", ").bind(&key.value);
        sql.sql(", ").bind(match_key).sql(", ").bind(SqlValue::Bool(Some(names_contact && place == 0))).sql(")");
    }
    // What a person wants is theirs, by whatever name.
    sql.sql(
        ") n LEFT JOIN LATERAL (SELECT marketing_opted_out_at, marketing_changed_at FROM contact_identities \
         WHERE marketing_changed_at IS NOT NULL AND business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND peer_id = ").bind(peer);
    sql.sql(" ORDER BY marketing_changed_at DESC LIMIT 1) o ON true");
    sql.sql(" ON CONFLICT (business_id, kind, scope, value) WHERE superseded_at IS NULL DO NOTHING").run(tx)?;
    Ok(())
}
