//! Access to the private server's demo business: an API key, and a user of each role to sign in as. With `DATABASE_URL`
//! neither exists.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diesel::sql_types::{Bool, Text, Uuid as SqlUuid};
use diesel::{PgConnection, QueryableByName};
use uuid::Uuid;

use super::api_key;
use crate::app::seed;
use crate::auth::Role;
use crate::auth::random;
use crate::base::error::BoxError;
use crate::base::options::Secret;
use crate::db::database_target::DatabaseTarget;
use crate::db::{self, Statement, embedded};
use crate::identity::{api_keys, passwords, stored_passwords};

const SLUG: &str = "demo";

/// The domain of the demo users' addresses (src/app/seed/demo.sql), which no real address can have.
const DOMAIN: &str = "@harbourandspoke.example";

/// The credentials of the demo business.
pub struct Demo {
    pub key: String,
    pub password: String,
    /// Email addresses and roles, the highest role first.
    pub people: Vec<(String, String)>,
}

/// Creates the demo business and its credentials at the first start; both stay the same from then on. `fixed` is an API
/// key from the configuration.
pub fn open(target: &DatabaseTarget, fixed: Option<&Secret>) -> Result<Demo, BoxError> {
    let mut conn = target.connect()?;
    if seed::demo(&mut conn)? {
        tracing::info!("made the demo business");
    }
    let business = api_key::business(&mut conn, SLUG)?.ok_or("the demo business is missing")?;
    let key = match fixed {
        Some(fixed) => fixed.expose().to_owned(),
        None => kept(&target.state.join("demo-api-key"), || Ok(api_keys::generate()?))?,
    };
    api_key::store(&mut conn, business, SLUG, Role::Owner, &key)?;
    // Random, although the data is fictitious: the address may be reachable from a network.
    let password = kept(&target.state.join("demo-password"), || Ok(URL_SAFE_NO_PAD.encode(random::<9>()?)))?;
    let people = admit(&mut conn, business, &password)?;
    Ok(Demo { key, password, people })
}

/// Returns the secret in the file `path`, which is created if it does not exist.
fn kept(path: &Path, make: impl FnOnce() -> Result<String, BoxError>) -> Result<String, BoxError> {
    let kept = std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    match kept {
        Some(kept) => Ok(kept),
        None => {
            let made = make()?;
            embedded::write_secret(path, &made)?;
            Ok(made)
        }
    }
}

/// A user of the demo business.
#[derive(QueryableByName)]
struct DemoUser {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    email: String,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Bool)]
    has_password: bool,
}

/// Sets `password` for the users of the demo business that have none. Returns all of them with their roles.
fn admit(conn: &mut PgConnection, business: Uuid, password: &str) -> Result<Vec<(String, String)>, BoxError> {
    let mut sql = Statement::new(
        "SELECT u.id, u.email, m.role, p.user_id IS NOT NULL AS has_password \
         FROM memberships m JOIN users u ON u.id = m.user_id \
         LEFT JOIN passwords p ON p.user_id = u.id WHERE m.business_id = ",
    );
    sql.bind(business).sql(" AND u.email LIKE '%' || ").bind(DOMAIN);
    sql.sql(" ORDER BY array_position('{owner,admin,manager,agent,viewer}'::text[], m.role::text)");
    let users = sql.load::<DemoUser>(conn)?;
    let without: Vec<Uuid> = users.iter().filter(|user| !user.has_password).map(|user| user.id).collect();
    // Hashing takes longer than the rest of the start, and happens once.
    if !without.is_empty() {
        let hash = passwords::hash_now(password)?;
        db::in_transaction(conn, |tx| {
            without.iter().try_for_each(|user| stored_passwords::set_password(tx, *user, &hash, None))
        })?;
    }
    Ok(users.into_iter().map(|user| (user.email, user.role)).collect())
}
