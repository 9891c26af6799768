//! `me` in the filters of a list: the id of the user who asks. It is replaced before the query is parsed, so that the query, its cache key and
//! its cursors name the user, and no response of one user is another's.

use std::borrow::Cow;

use super::definition::Resource;
use crate::auth::Principal;

/// How the user who asks is named.
const ME: &str = "me";

/// Returns `query` (still percent-encoded) with `me` replaced in filters by users. An API key is no user: its query stays, and is refused.
pub fn named<'q>(resource: &Resource, query: &'q str, principal: Principal) -> Cow<'q, str> {
    let (Principal::User { id, .. }, true) = (principal, query.contains("=me")) else { return query.into() };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, ME)) if names_users(resource, name) => format!("{name}={id}").into(),
        _ => Cow::from(pair),
    });
    pairs.collect::<Vec<_>>().join("&").into()
}

/// Whether the filter `name` takes ids of users.
fn names_users(resource: &Resource, name: &str) -> bool {
    resource.relations.iter().any(|relation| relation.column == name && relation.resource_plural == "users")
        || resource.filters.iter().any(|filter| filter.field.name == name && filter.is_of_users)
}
