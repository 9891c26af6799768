//! Which rows are about a contact: those that are linked to them, what hangs on these, and what is linked to nobody but has
//! their address.

use diesel::pg::PgConnection;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::crm::bookings::BOOKINGS;
use crate::crm::contacts::CONTACTS;
use crate::crm::conversations::CONVERSATIONS;
use crate::crm::decisions::DECISIONS;
use crate::crm::leads::LEADS;
use crate::crm::messages::MESSAGES;
use crate::crm::notes::NOTES;
use crate::crm::tasks::TASKS;
use crate::db::{Statement, Value};
use crate::error::Result;
use crate::noun::history::AUDIT_LOG;
use crate::noun::{Noun, select, store};

/// What an export has rows of.
pub static NOUNS: [&Noun; 9] =
    [&CONTACTS, &LEADS, &CONVERSATIONS, &MESSAGES, &DECISIONS, &BOOKINGS, &TASKS, &NOTES, &AUDIT_LOG];

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

/// The rows about a contact, by noun; the contact first. Deleted ones too.
pub struct Reach(pub Vec<(&'static Noun, Vec<Uuid>)>);

impl Reach {
    /// Finds them, in one query for each noun, and with `locks` keeps them, so that nothing is hung on them meanwhile.
    /// Errors: 404 when there is no such contact.
    pub fn find(conn: &mut PgConnection, tenant: &Tenant, contact: Uuid, locks: bool) -> Result<Self> {
        let addresses = addresses(conn, tenant, contact, locks)?;
        let mut found = Self(vec![(&CONTACTS, vec![contact])]);
        for path in &PATHS {
            let mut sql = path.rows(tenant, contact, &addresses, &found);
            let rows = sql.push(if locks { " FOR UPDATE" } else { "" }).rows(conn)?;
            found.0.push((path.noun, rows.iter().filter_map(|row| row.uuid(0)).collect()));
        }
        Ok(found)
    }

    fn of(&self, noun: &Noun) -> Vec<Uuid> {
        let mine = self.0.iter().find(|(known, _)| std::ptr::eq(*known, noun));
        mine.map(|(_, ids)| ids.clone()).unwrap_or_default()
    }

    /// All ids, of whatever noun.
    pub fn ids(&self) -> Vec<Uuid> {
        self.0.iter().flat_map(|(_, ids)| ids).copied().collect()
    }
}

/// The e-mail addresses and phone numbers that `contact` has, and has had as far as the audit log tells. Errors: 404.
fn addresses(conn: &mut PgConnection, tenant: &Tenant, contact: Uuid, locks: bool) -> Result<Vec<String>> {
    let mut sql = Statement::new("SELECT lower(t.email), t.phone FROM contacts t");
    sql.append(select::scoped(&CONTACTS, tenant)).push(" AND t.id = ").bind(Value::Uuid(Some(contact)));
    let row = sql.push(if locks { " FOR UPDATE" } else { "" }).row(conn)?.ok_or_else(|| store::missing(&CONTACTS))?;
    let mut addresses: Vec<String> = [0, 1].into_iter().filter_map(|cell| row.text(cell).map(str::to_owned)).collect();
    let mut before = Statement::new(
        "SELECT lower(t.changes #>> ARRAY[field, 'old']) FROM audit_log t CROSS JOIN unnest(ARRAY['email', 'phone']) field",
    );
    before.append(select::scoped(&AUDIT_LOG, tenant)).push(" AND t.row_id = ").bind(Value::Uuid(Some(contact)));
    let rows = before.push(" AND t.changes #>> ARRAY[field, 'old'] IS NOT NULL").rows(conn)?;
    addresses.extend(rows.iter().filter_map(|row| row.text(0).map(str::to_owned)));
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}

impl Path {
    fn rows(&self, tenant: &Tenant, contact: Uuid, addresses: &[String], found: &Reach) -> Statement {
        let mut sql = Statement::new(format!("SELECT t.id FROM {} t", self.noun.table));
        sql.append(select::scoped(self.noun, tenant)).push(" AND (");
        let nobody = if self.named { "t.contact_id IS NULL AND " } else { "" };
        match self.named {
            true => sql.push("t.contact_id = ").bind(Value::Uuid(Some(contact))),
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
