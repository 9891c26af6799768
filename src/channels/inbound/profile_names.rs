//! Names that people show on a channel. A contact that a message created has the name of the earliest message that showed one, in
//! whatever order messages come. A name that a person has edited, or that was there before, is never overwritten.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{Statement, Tx};
use crate::resource::clean_text;

/// Longest part of a name in characters, as contacts have it.
const MAX_PART_LEN: usize = 100;
/// Longest name in characters.
const MAX_NAME_LEN: usize = 200;
/// What the title of a lead begins with that a message created.
pub const LEAD_TITLE: &str = "WhatsApp";

/// A name that a message came with.
#[derive(Clone, Copy, Debug)]
pub struct ProfileName<'a> {
    pub name: &'a str,
    pub at: DateTime<Utc>,
    /// The channel's id of the message.
    pub by: &'a str,
}

/// A name in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameParts {
    pub first: Option<String>,
    pub last: Option<String>,
}

/// Takes a name apart: the first word, and the rest.
pub fn split(name: &str) -> NameParts {
    let name = clean_text::line(name);
    let part =
        |text: &str| Some(text.trim().chars().take(MAX_PART_LEN).collect::<String>()).filter(|text| !text.is_empty());
    match name.trim().split_once(char::is_whitespace) {
        Some((first, last)) => NameParts { first: part(first), last: part(last) },
        None => NameParts { first: part(&name), last: None },
    }
}

/// The title of a lead of someone with this name.
pub fn lead_title(name: Option<&str>) -> String {
    let name = name.map(clean_text::line).filter(|name| !name.trim().is_empty());
    name.map_or_else(
        || LEAD_TITLE.to_owned(),
        |name| format!("{LEAD_TITLE}: {}", name.trim().chars().take(MAX_NAME_LEN - 12).collect::<String>()),
    )
}

/// The first identity of a peer.
#[derive(QueryableByName)]
struct FirstIdentity {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Nullable<Text>)]
    profile_name: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    profile_name_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    profile_name_by: Option<String>,
    #[diesel(sql_type = Bool)]
    names_contact: bool,
}

/// Notes the name that a peer showed, if no earlier message showed one; a contact that was named by a later one is renamed. Queries: one;
/// up to four where the name is the earliest.
pub fn record(tx: &mut Tx<'_>, tenant: &Tenant, peer: Uuid, contact: Uuid, shown: ProfileName<'_>) -> Result<()> {
    let name: String = clean_text::line(shown.name).trim().chars().take(MAX_NAME_LEN).collect();
    if name.is_empty() {
        return Ok(());
    }
    let mut sql = Statement::new(
        "SELECT id, profile_name, profile_name_at, profile_name_by, names_contact FROM contact_identities WHERE business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND peer_id = ").bind(peer).sql(" ORDER BY id LIMIT 1");
    let Some(first) = sql.first::<FirstIdentity>(tx)? else { return Ok(()) };
    if let (Some(at), Some(by)) = (first.profile_name_at, &first.profile_name_by)
        && (at, by.as_str()) <= (shown.at, shown.by)
    {
        return Ok(());
    }
    let mut sql =
        Statement::new("UPDATE contact_identities SET version = version + 1, updated_at = now(), profile_name = ");
    sql.bind(&name).sql(", profile_name_at = ").bind(shown.at).sql(", profile_name_by = ").bind(shown.by);
    sql.sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND id = ").bind(first.id).run(tx)?;
    if first.names_contact && first.profile_name.as_ref() != Some(&name) {
        rename(tx, tenant, contact, first.profile_name.as_deref(), &name)?;
    }
    Ok(())
}

/// Renames a contact, and the leads that are called after it, where they are called as `before`.
fn rename(tx: &mut Tx<'_>, tenant: &Tenant, contact: Uuid, before: Option<&str>, name: &str) -> Result<()> {
    let (old, new) = (before.map(split), split(name));
    let mut sql = Statement::new("UPDATE contacts SET version = version + 1, updated_at = now(), first_name = ");
    sql.bind(new.first).sql(", last_name = ").bind(new.last).sql(" WHERE business_id = ").bind(tenant.id());
    sql.sql(" AND id = ").bind(contact);
    if let Some(NameParts { first, last }) = old {
        sql.sql(" AND (first_name, last_name) IS NOT DISTINCT FROM (").bind(first).sql(", ").bind(last).sql(")");
    } else {
        // One without a name was called by the username, or not at all.
        sql.sql(" AND (version = 1 OR first_name IS NULL AND last_name IS NULL)");
    }
    sql.run(tx)?;
    let mut sql = Statement::new("UPDATE leads SET version = version + 1, updated_at = now(), title = ");
    sql.bind(lead_title(Some(name)))
        .sql(" WHERE business_id = ")
        .bind(tenant.id())
        .sql(" AND contact_id = ")
        .bind(contact);
    sql.sql(" AND title = ").bind(lead_title(before)).run(tx)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_splits_into_first_word_and_rest() {
        let parts = |name: &str| {
            let NameParts { first, last } = split(name);
            (first.unwrap_or_default(), last.unwrap_or_default())
        };
        assert_eq!(parts(" Isla  Reed "), ("Isla".into(), "Reed".into()));
        assert_eq!(parts("Padaria do Zé"), ("Padaria".into(), "do Zé".into()));
        assert_eq!(parts("Mo"), ("Mo".into(), String::new()));
        assert_eq!(parts(""), (String::new(), String::new()));
    }
}
