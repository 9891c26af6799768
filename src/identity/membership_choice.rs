//! The businesses to which a person may sign in, and the choice among them.

use diesel::QueryableByName;
use diesel::pg::PgConnection;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::base::error::{Error, Result};
use crate::db::Statement;

/// A business which a person may sign in to.
#[derive(QueryableByName)]
pub struct MembershipChoice {
    #[diesel(sql_type = SqlUuid)]
    pub business: Uuid,
    #[diesel(sql_type = Text)]
    pub slug: String,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = Text)]
    pub role: String,
}

/// Returns the businesses to which `user` belongs, by name.
pub fn choices_of(conn: &mut PgConnection, user: Uuid) -> Result<Vec<MembershipChoice>> {
    let mut sql = Statement::new(
        "SELECT b.id AS business, b.slug, b.name, m.role FROM memberships m JOIN businesses b ON b.id = m.business_id \
         WHERE m.user_id = ",
    );
    sql.bind(user).sql(" ORDER BY lower(b.name), b.slug");
    Ok(sql.load(conn)?)
}

/// Returns the choice with the slug `business`, or else the only one. Errors: 403 when there is none; 409 when there are
/// several.
pub fn choose(choices: Vec<MembershipChoice>, business: Option<&str>) -> Result<MembershipChoice> {
    let listed: Vec<Json> = choices.iter().map(|choice| json!({ "slug": choice.slug, "name": choice.name })).collect();
    let mut matching = choices.into_iter().filter(|choice| business.is_none_or(|slug| choice.slug == slug));
    match (matching.next(), matching.next()) {
        (Some(choice), None) => Ok(choice),
        (Some(_), Some(_)) => Err(Error::Conflict {
            code: "choose_business",
            detail: "You belong to several businesses. Say which in `business`, by its slug.".into(),
            pointer: Some("/business".into()),
            extra: Box::new(json!({ "businesses": listed })),
        }),
        (None, _) => Err(not_a_member()),
    }
}

/// Error: the person does not belong to the business.
pub fn not_a_member() -> Error {
    Error::Forbidden("You do not belong to this business.".into())
}
