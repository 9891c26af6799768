//! Who is expected back from the provider, and whom identities elsewhere belong to. Before there is a tenant.

use uuid::Uuid;

use super::provider::Someone;
use crate::auth::Hash;
use crate::db::{Statement, Tx, Value};
use crate::error::Result;

/// Departures that are over and are removed with each new one.
const SWEPT: u32 = 100;

/// One who has left for the provider.
pub struct Departure {
    pub state: Hash,
    pub secret: Hash,
    pub nonce: String,
    pub verifier: String,
}

pub struct Person {
    pub id: Uuid,
    pub name: String,
}

pub fn note(tx: &mut Tx<'_>, departure: &Departure, seconds: i64) -> Result<()> {
    Statement::new(format!(
        "DELETE FROM oidc_departures WHERE state IN (SELECT state FROM oidc_departures WHERE expires_at < now() \
         LIMIT {SWEPT} FOR UPDATE SKIP LOCKED)"
    ))
    .run(tx)?;
    let mut sql = Statement::new("INSERT INTO oidc_departures (state, secret, nonce, verifier, expires_at) VALUES (");
    sql.bind(Value::Bytes(departure.state.to_vec())).push(", ").bind(Value::Bytes(departure.secret.to_vec()));
    sql.push(", ").bind(Value::text(&departure.nonce)).push(", ").bind(Value::text(&departure.verifier));
    sql.push(", now() + make_interval(secs => ").bind(Value::Int(Some(seconds))).push("))").run(tx)?;
    Ok(())
}

/// The departure of `state`, if `secret` is its own and it is not over. It can be taken once.
pub fn take(tx: &mut Tx<'_>, state: &Hash, secret: &Hash) -> Result<Option<Departure>> {
    let mut sql = Statement::new("DELETE FROM oidc_departures WHERE expires_at > now() AND state = ");
    sql.bind(Value::Bytes(state.to_vec())).push(" AND secret = ").bind(Value::Bytes(secret.to_vec()));
    let row = sql.push(" RETURNING nonce, verifier").row(tx)?;
    let owned = |cell: Option<&str>| cell.unwrap_or_default().to_owned();
    Ok(row.map(|row| Departure {
        state: *state,
        secret: *secret,
        nonce: owned(row.text(0)),
        verifier: owned(row.text(1)),
    }))
}

/// Who `someone` is here: whoever their identity belongs to, or else whoever has the address that the provider has
/// verified, to whom it belongs from now on.
pub fn person(tx: &mut Tx<'_>, someone: &Someone) -> Result<Option<Person>> {
    let mut known =
        Statement::new("SELECT u.id, u.name FROM identities i JOIN users u ON u.id = i.user_id WHERE i.issuer = ");
    known.bind(Value::text(&someone.issuer)).push(" AND i.subject = ").bind(Value::text(&someone.subject));
    if let Some(row) = known.row(tx)? {
        return Ok(row.uuid(0).map(|id| Person { id, name: row.text(1).unwrap_or_default().to_owned() }));
    }
    let Some(address) = &someone.verified_email else { return Ok(None) };
    let mut addressed = Statement::new("SELECT id, name FROM users WHERE lower(email) = lower(");
    let row = addressed.bind(Value::text(address)).push(") FOR SHARE").row(tx)?;
    let person =
        row.and_then(|row| Some(Person { id: row.uuid(0)?, name: row.text(1).unwrap_or_default().to_owned() }));
    if let Some(person) = &person {
        let mut link = Statement::new("INSERT INTO identities (issuer, subject, user_id) VALUES (");
        link.bind(Value::text(&someone.issuer)).push(", ").bind(Value::text(&someone.subject)).push(", ");
        link.bind(Value::Uuid(Some(person.id))).push(") ON CONFLICT (issuer, subject) DO NOTHING").run(tx)?;
    }
    Ok(person)
}
