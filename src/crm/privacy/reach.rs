//! Which rows are about a contact: those that were merged with them, those that are linked to these, what hangs on them, and
//! what is linked to nobody but has their address.

use diesel::pg::PgConnection;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::crm::bookings::BOOKINGS;
use crate::crm::contacts::CONTACTS;
use crate::crm::conversations::CONVERSATIONS;
use crate::crm::decisions::DECISIONS;
use crate::crm::leads::LEADS;
use crate::crm::merges::MERGES;
use crate::crm::messages::MESSAGES;
use crate::crm::notes::NOTES;
use crate::crm::tasks::TASKS;
use crate::db::{Statement, Value};
use crate::error::Result;
use crate::noun::history::AUDIT_LOG;
use crate::noun::{Noun, select, store};

/// What an export has rows of.
pub static NOUNS: [&Noun; 10] =
    [&CONTACTS, &LEADS, &CONVERSATIONS, &MESSAGES, &DECISIONS, &BOOKINGS, &TASKS, &NOTES, &MERGES, &AUDIT_LOG];

/// How rows of a noun lead to a contact.
struct Path {
    noun: &'static Noun,
    /// Links to rows that were found before, of which one is enough where the row names no other contact.
    through: &'static [(&'static str, &'static Noun)],
    /// Whether it names a contact itself.
    named: bool,
    /// Columns that can hold their address.
    addresses: &'static [&'static str],
}

/// In an order in which each leads through those before.
static PATHS: [Path; 7] = [
    Path { noun: &LEADS, through: &[], named: true, addresses: &[] },
    Path { noun: &CONVERSATIONS, through: &[("lead_id", &LEADS)], named: true, addresses: &["address"] },
    Path { noun: &MESSAGES, through: &[("conversation_id", &CONVERSATIONS)], named: false, addresses: &[] },
    Path {
        noun: &DECISIONS,
        through: &[("lead_id", &LEADS), ("conversation_id", &CONVERSATIONS)],
        named: false,
        addresses: &[],
    },
    Path {
        noun: &BOOKINGS,
        through: &[("lead_id", &LEADS)],
        named: true,
        addresses: &["customer_phone", "customer_email"],
    },
    Path { noun: &TASKS, through: &[("lead_id", &LEADS)], named: true, addresses: &[] },
    Path {
        noun: &NOTES,
        through: &[("lead_id", &LEADS), ("conversation_id", &CONVERSATIONS), ("booking_id", &BOOKINGS)],
        named: true,
        addresses: &[],
    },
];

/// The rows about a contact, by noun; the contact first, with whoever became one with them. Deleted ones too.
pub struct Reach(pub Vec<(&'static Noun, Vec<Uuid>)>);

impl Reach {
    /// Finds them, in one query for each noun, and with `locks` keeps them, so that nothing is hung on them meanwhile.
    /// Errors: 404 when there is no such contact.
    pub fn find(conn: &mut PgConnection, tenant: &Tenant, contact: Uuid, locks: bool) -> Result<Self> {
        let (persons, addresses) = persons(conn, tenant, contact, locks)?;
        let mut found = Self(vec![(&CONTACTS, persons.clone())]);
        let mut add = |found: &mut Self, noun: &'static Noun, mut sql: Statement| -> Result<()> {
            let rows = sql.push(if locks { " FOR UPDATE" } else { "" }).rows(conn)?;
            found.0.push((noun, rows.iter().filter_map(|row| row.uuid(0)).collect()));
            Ok(())
        };
        for path in &PATHS {
            let sql = path.rows(tenant, &persons, &addresses, &found);
            add(&mut found, path.noun, sql)?;
        }
        add(&mut found, &MERGES, merges(tenant, &persons))?;
        Ok(found)
    }

    /// The ids of the rows of `noun`.
    pub fn of(&self, noun: &Noun) -> Vec<Uuid> {
        let mine = self.0.iter().find(|(known, _)| std::ptr::eq(*known, noun));
        mine.map(|(_, ids)| ids.clone()).unwrap_or_default()
    }

    /// All ids, of whatever noun.
    pub fn ids(&self) -> Vec<Uuid> {
        self.0.iter().flat_map(|(_, ids)| ids).copied().collect()
    }
}

/// The contact and whoever became one with them, and the e-mail addresses and phone numbers that they have, and have had as
/// far as the audit log tells. What somebody else's merge brought them, and its undoing took away, was never theirs.
/// Errors: 404.
fn persons(conn: &mut PgConnection, tenant: &Tenant, contact: Uuid, locks: bool) -> Result<(Vec<Uuid>, Vec<String>)> {
    let mut sql = Statement::new("WITH RECURSIVE same (id) AS (SELECT ");
    sql.bind(Value::Uuid(Some(contact)));
    sql.push(" UNION SELECT other.id FROM same JOIN merges m ON m.business_id = ").bind(Value::Uuid(Some(tenant.id())));
    sql.push(
        " AND m.noun = 'contacts' AND m.reverted_at IS NULL AND (m.survivor_id = same.id OR m.from_ids @> ARRAY[same.id::text]) \
         CROSS JOIN LATERAL (SELECT m.survivor_id AS id UNION SELECT unnest(m.from_ids)::uuid) other) \
         SELECT t.id, lower(t.email), t.phone FROM contacts t",
    );
    sql.append(select::scoped(&CONTACTS, tenant)).push(" AND t.id IN (SELECT id FROM same) ORDER BY t.id");
    let rows = sql.push(if locks { " FOR UPDATE OF t" } else { "" }).rows(conn)?;
    let persons: Vec<Uuid> = rows.iter().filter_map(|row| row.uuid(0)).collect();
    if !persons.contains(&contact) {
        return Err(store::missing(&CONTACTS));
    }
    let now = rows.iter().flat_map(|row| [1, 2].map(|cell| row.text(cell).map(str::to_owned)));
    let mut addresses: Vec<String> = now.flatten().collect();
    let mut before = Statement::new(
        "SELECT lower(t.changes #>> ARRAY[field, 'old']) FROM audit_log t CROSS JOIN unnest(ARRAY['email', 'phone']) field",
    );
    before.append(select::scoped(&AUDIT_LOG, tenant)).push(" AND t.row_id = ANY(").bind(Value::Uuids(persons.clone()));
    before.push(") AND t.changes #>> ARRAY[field, 'old'] IS NOT NULL");
    before
        .push(" AND NOT EXISTS (SELECT FROM merges m WHERE m.business_id = t.business_id AND m.survivor_id = t.row_id");
    before.push(" AND m.reverted_at IS NOT NULL AND m.created_at <= t.created_at");
    before.push(" AND lower(m.changes #>> ARRAY[field, 'new']) = lower(t.changes #>> ARRAY[field, 'old'])");
    // Of one that was undone and done once more.
    before.push(" AND NOT m.from_ids <@ ").bind(Value::Texts(persons.iter().map(Uuid::to_string).collect()));
    let rows = before.push(")").rows(conn)?;
    addresses.extend(rows.iter().filter_map(|row| row.text(0).map(str::to_owned)));
    addresses.sort();
    addresses.dedup();
    Ok((persons, addresses))
}

/// What merges have kept of them, undone or not.
fn merges(tenant: &Tenant, persons: &[Uuid]) -> Statement {
    let mut sql = Statement::new("SELECT t.id FROM merges t");
    sql.append(select::scoped(&MERGES, tenant)).push(" AND t.noun = 'contacts' AND (t.survivor_id = ANY(");
    sql.bind(Value::Uuids(persons.to_vec())).push(") OR t.from_ids && ");
    sql.bind(Value::Texts(persons.iter().map(Uuid::to_string).collect())).push(") ORDER BY t.id");
    sql
}

impl Path {
    fn rows(&self, tenant: &Tenant, persons: &[Uuid], addresses: &[String], found: &Reach) -> Statement {
        let mut sql = Statement::new(format!("SELECT t.id FROM {} t", self.noun.table));
        sql.append(select::scoped(self.noun, tenant)).push(" AND (");
        let nobody = if self.named { "t.contact_id IS NULL AND " } else { "" };
        match self.named {
            true => sql.push("t.contact_id = ANY(").bind(Value::Uuids(persons.to_vec())).push(")"),
            false => sql.push("false"),
        };
        for (column, noun) in self.through {
            sql.push(&format!(" OR ({nobody}t.{column} = ANY(")).bind(Value::Uuids(found.of(noun))).push("))");
        }
        for column in self.addresses.iter().filter(|_| !addresses.is_empty()) {
            // A number may have been written with its extension.
            sql.push(&format!(" OR ({nobody}split_part(lower(t.{column}), ';ext=', 1) = ANY("));
            sql.bind(Value::Texts(addresses.to_vec())).push("))");
        }
        sql.push(") ORDER BY t.id");
        sql
    }
}
