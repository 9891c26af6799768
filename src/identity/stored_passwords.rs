//! Storage of password hashes, and of what else sign-in reads of a person.

use diesel::QueryableByName;
use diesel::pg::PgConnection;
use diesel::sql_types::{Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use crate::base::error::Result;
use crate::db::{Statement, Tx};

/// The data of a person which sign-in needs.
#[derive(QueryableByName)]
pub struct Person {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = Text)]
    pub email: String,
    /// Hash of the password; `None`: no password is set yet.
    #[diesel(sql_type = Nullable<Text>)]
    pub hash: Option<String>,
}

/// Returns the person with this address. Runs unscoped, because the tenant is not known yet.
pub fn person(conn: &mut PgConnection, email: &str) -> Result<Option<Person>> {
    let mut sql = Statement::new(
        "SELECT u.id, u.name, u.email, p.hash FROM users u LEFT JOIN passwords p ON p.user_id = u.id WHERE lower(u.email) = lower(",
    );
    sql.bind(email).sql(")");
    Ok(sql.first(conn)?)
}

/// Returns the hash of the password of `user`. Runs unscoped, before the tenant is known or for the caller.
pub fn password(conn: &mut PgConnection, user: Uuid) -> Result<Option<String>> {
    let mut sql = Statement::new("SELECT hash FROM passwords WHERE user_id = ");
    Ok(sql.bind(user).scalar(conn)?)
}

/// Whether the password of `user` is still that of `hash`, which was verified earlier, and locks it until the end of
/// the transaction. Otherwise a session could begin, or a password be set, with a password which was just replaced.
pub fn still_has(tx: &mut Tx<'_>, user: Uuid, hash: &str) -> Result<bool> {
    let mut sql = Statement::new("SELECT user_id FROM passwords WHERE user_id = ");
    sql.bind(user).sql(" AND hash = ").bind(hash).sql(" FOR UPDATE");
    Ok(sql.scalar::<Uuid>(tx)?.is_some())
}

/// Sets the password of `user`, hashed, ends their sessions in every business except `kept`, and deletes their password
/// reset tokens.
pub fn set_password(tx: &mut Tx<'_>, user: Uuid, hash: &str, kept: Option<Uuid>) -> Result<()> {
    let mut sql = Statement::new("INSERT INTO passwords (user_id, hash) VALUES (");
    sql.bind(user).sql(", ").bind(hash);
    sql.sql(") ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, changed_at = now()").run(tx)?;
    let mut sql = Statement::new("DELETE FROM password_tokens WHERE user_id = ");
    sql.bind(user).run(tx)?;
    let mut sql = Statement::new("DELETE FROM sessions WHERE user_id = ");
    sql.bind(user).sql(" AND id IS DISTINCT FROM ").bind(kept).run(tx)?;
    Ok(())
}
