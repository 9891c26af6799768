//! `rapport api-key create`: creates an API key for a business.

use diesel::PgConnection;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::BoxError;
use crate::db::DatabaseArgs;
use crate::db::database_target::DatabaseTarget;
use crate::db::embedded::Absent;
use crate::db::{self, Statement};
use crate::{auth::Role, identity::api_keys};

/// Creates a key for the business `slug` and prints it as the last word.
pub fn create(
    database: &DatabaseArgs,
    slug: &str,
    role: Role,
    name: &str,
    create_business: bool,
) -> Result<(), BoxError> {
    let target = DatabaseTarget::open_beside(database, Absent::Refuse)?;
    let mut conn = target.connect_migrated()?;
    let business = business_or_new(&mut conn, slug, create_business)?;
    let key = api_keys::generate()?;
    store(&mut conn, business, name, role, &key)?;
    println!("API key of {slug} ({role}); it is not shown again: {key}");
    Ok(())
}

/// Stores `key`; a key that exists already is left unchanged.
pub fn store(conn: &mut PgConnection, business: Uuid, name: &str, role: Role, key: &str) -> Result<(), BoxError> {
    let tenant = Tenant::for_operator(business);
    db::in_transaction(conn, |tx| api_keys::insert(tx, &tenant, name, role, key, Default::default()))?;
    Ok(())
}

/// Returns the id of the business `slug`.
pub fn business(conn: &mut PgConnection, slug: &str) -> Result<Option<Uuid>, BoxError> {
    let mut sql = Statement::new("SELECT id FROM businesses WHERE slug = ");
    Ok(sql.bind(slug).scalar(conn)?)
}

/// Returns the id of the business `slug`, created if it does not exist and `create` says so. Errors: explained.
pub fn business_or_new(conn: &mut PgConnection, slug: &str, create: bool) -> Result<Uuid, BoxError> {
    match (business(conn, slug)?, create) {
        (Some(business), _) => Ok(business),
        (None, true) => make_business(conn, slug),
        (None, false) => Err(format!("there is no business `{slug}`; add --create-business to make it").into()),
    }
}

fn make_business(conn: &mut PgConnection, slug: &str) -> Result<Uuid, BoxError> {
    let id = Uuid::now_v7();
    let mut sql = Statement::new("INSERT INTO businesses (id, name, slug) VALUES (");
    sql.bind(id).sql(", ").bind(slug).sql(", ").bind(slug).sql(")");
    sql.run(conn).map_err(|error| match error {
        diesel::result::Error::DatabaseError(diesel::result::DatabaseErrorKind::CheckViolation, _) => {
            BoxError::from(format!("`{slug}` is no slug: lower-case letters, digits and hyphens, at most 63"))
        }
        other => other.into(),
    })?;
    Ok(id)
}
