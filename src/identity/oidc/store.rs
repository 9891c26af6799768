//! Storage of login attempts and of external identities. Runs unscoped, because the tenant is not known yet.

use diesel::QueryableByName;

use super::id_token::ExternalIdentity;
use crate::auth::Hash;
use crate::base::error::Result;
use crate::db::schema::oidc_login_attempts;
use crate::db::{Statement, Tx};
use crate::identity::provisioning::Person;

/// Expired attempts which are deleted with each new one.
const MAX_PURGED: u32 = 100;

/// A login attempt whose browser was sent to the provider.
pub struct LoginAttempt {
    pub state: Hash,
    pub secret: Hash,
    pub nonce: String,
    pub verifier: String,
}

/// What a stored attempt has beyond its state and secret.
#[derive(QueryableByName)]
#[diesel(table_name = oidc_login_attempts)]
struct StoredAttempt {
    nonce: String,
    verifier: String,
}

/// Stores a login attempt which expires after `seconds`, and deletes some expired ones.
pub fn save(tx: &mut Tx<'_>, attempt: &LoginAttempt, seconds: i64) -> Result<()> {
    let mut expired = Statement::new(
        "DELETE FROM oidc_login_attempts WHERE state IN (SELECT state FROM oidc_login_attempts WHERE expires_at < now() \
         LIMIT ",
    );
    expired.number(MAX_PURGED).sql(" FOR UPDATE SKIP LOCKED)").run(tx)?;
    let mut sql =
        Statement::new("INSERT INTO oidc_login_attempts (state, secret, nonce, verifier, expires_at) VALUES (");
    sql.bind(attempt.state.to_vec()).sql(", ").bind(attempt.secret.to_vec());
    sql.sql(", ").bind(&attempt.nonce).sql(", ").bind(&attempt.verifier);
    sql.sql(", now() + make_interval(secs => ").bind(seconds).sql("))").run(tx)?;
    Ok(())
}

/// Takes the attempt of `state`, if `secret` matches and it has not expired. It can be taken once.
pub fn take(tx: &mut Tx<'_>, state: &Hash, secret: &Hash) -> Result<Option<LoginAttempt>> {
    let mut sql = Statement::new("DELETE FROM oidc_login_attempts WHERE expires_at > now() AND state = ");
    sql.bind(state.to_vec()).sql(" AND secret = ").bind(secret.to_vec());
    let taken = sql.sql(" RETURNING nonce, verifier").first::<StoredAttempt>(tx)?;
    Ok(taken.map(|StoredAttempt { nonce, verifier }| LoginAttempt { state: *state, secret: *secret, nonce, verifier }))
}

/// Returns the person to whom the external identity belongs, or else the person with the address which the provider has
/// verified, to whom the identity is linked from then on.
pub fn person(tx: &mut Tx<'_>, identity: &ExternalIdentity) -> Result<Option<Person>> {
    let mut known =
        Statement::new("SELECT u.id, u.name FROM identities i JOIN users u ON u.id = i.user_id WHERE i.issuer = ");
    known.bind(&identity.issuer).sql(" AND i.subject = ").bind(&identity.subject);
    if let Some(person) = known.first::<Person>(tx)? {
        return Ok(Some(person));
    }
    let Some(address) = &identity.verified_email else { return Ok(None) };
    let mut addressed = Statement::new("SELECT id, name FROM users WHERE lower(email) = lower(");
    let person = addressed.bind(address).sql(") FOR SHARE").first::<Person>(tx)?;
    if let Some(person) = &person {
        let mut link = Statement::new("INSERT INTO identities (issuer, subject, user_id) VALUES (");
        link.bind(&identity.issuer).sql(", ").bind(&identity.subject).sql(", ");
        link.bind(person.id).sql(") ON CONFLICT (issuer, subject) DO NOTHING").run(tx)?;
    }
    Ok(person)
}
