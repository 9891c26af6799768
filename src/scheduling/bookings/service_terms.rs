//! What a booking has from its service: how long it takes, and what it costs.

use std::collections::HashMap;

use chrono::TimeDelta;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::db::schema::bookings;
use crate::db::{Statement, Tx};
use crate::resource::PendingRow;

/// The terms of a service.
#[derive(Clone, Debug, QueryableByName)]
struct Terms {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Integer)]
    duration_minutes: i32,
    #[diesel(sql_type = Nullable<BigInt>)]
    price_minor: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    currency: Option<String>,
}

/// Sets the end of new bookings that have none, and with it the price where that was left out. Queries: one where any has no end.
pub fn apply(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [PendingRow]) -> Result<()> {
    let follows = |draft: &PendingRow| {
        let is_new = draft.is_accepted() && draft.changes.creates && draft.changes.time(bookings::ends_at).is_none();
        draft.changes.get(bookings::service_id).and_then(|service| service.as_uuid()).filter(|_| is_new)
    };
    let wanted: Vec<Uuid> = drafts.iter().filter_map(follows).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let mut sql =
        Statement::new("SELECT id, duration_minutes, price_minor, currency FROM services WHERE business_id = ");
    let known = sql.bind(tenant.id()).sql(" AND id = ANY(").bind(wanted).sql(")").load::<Terms>(tx)?;
    let known: HashMap<Uuid, Terms> = known.into_iter().map(|terms| (terms.id, terms)).collect();
    for draft in drafts.iter_mut() {
        let Some(service) = follows(draft) else { continue };
        let (Some(terms), Some(start)) = (known.get(&service), draft.changes.time(bookings::starts_at)) else {
            let detail = "There is no such service; without one a booking needs `ends_at`.";
            draft.refuse(Error::Invalid(vec![FieldError::new("/service_id", "not_found", detail)]));
            continue;
        };
        draft.changes.set(bookings::ends_at, start + TimeDelta::minutes(terms.duration_minutes.into()));
        if draft.changes.get(bookings::price_minor).is_none() && terms.price_minor.is_some() {
            draft.changes.set(bookings::price_minor, terms.price_minor);
            draft.changes.set(bookings::currency, terms.currency.clone());
        }
    }
    Ok(())
}
