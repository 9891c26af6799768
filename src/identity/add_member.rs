//! Makes a person a member of a business.

use uuid::Uuid;

use crate::base::error::Result;
use crate::db::{Statement, Tx};

/// What becomes of the role of a person who is a member already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownMember {
    /// The role stays.
    Keeps,
    /// The role is replaced, and the version grows if it is another one.
    Gets,
}

/// Makes `user` a member of `business` in `role`.
pub fn add_member(tx: &mut Tx<'_>, business: Uuid, user: Uuid, role: &str, known: KnownMember) -> Result<()> {
    let mut sql = Statement::new("INSERT INTO memberships (business_id, id, user_id, role) VALUES (");
    sql.bind(business).sql(", ").bind(Uuid::now_v7()).sql(", ").bind(user).sql(", ").bind(role);
    sql.sql(match known {
        KnownMember::Keeps => ") ON CONFLICT (business_id, user_id) DO NOTHING",
        KnownMember::Gets => {
            ") ON CONFLICT (business_id, user_id) DO UPDATE SET role = excluded.role, version = memberships.version + 1, \
             updated_at = now() WHERE memberships.role <> excluded.role"
        }
    });
    sql.run(tx)?;
    Ok(())
}
