//! What a booking has from its service: how long it takes, and what it costs.

use std::collections::{BTreeSet, HashMap};

use chrono::TimeDelta;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::db::schema::bookings;
use crate::db::{SqlValue, Statement, Tx};
use crate::resource::PendingRow;

/// The terms of a service, as a member of staff performs it.
#[derive(Clone, Debug, QueryableByName)]
struct Terms {
    #[diesel(sql_type = SqlUuid)]
    service_id: Uuid,
    /// Nil where nobody is chosen.
    #[diesel(sql_type = SqlUuid)]
    staff_id: Uuid,
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
        let id = |change: Option<SqlValue>| change.and_then(|value| value.as_uuid());
        let staff = id(draft.changes.get(bookings::staff_id).cloned()).unwrap_or_default();
        id(draft.changes.get(bookings::service_id).cloned()).filter(|_| is_new).map(|service| (service, staff))
    };
    let wanted: BTreeSet<(Uuid, Uuid)> = drafts.iter().filter_map(follows).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let known = terms(tenant, &wanted).load::<Terms>(tx)?;
    let known: HashMap<(Uuid, Uuid), Terms> =
        known.into_iter().map(|terms| ((terms.service_id, terms.staff_id), terms)).collect();
    for draft in drafts.iter_mut() {
        let Some(pair) = follows(draft) else { continue };
        let (Some(terms), Some(start)) = (known.get(&pair), draft.changes.time(bookings::starts_at)) else {
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

/// Selects the terms of services, each with a member of staff: theirs where they differ.
fn terms(tenant: &Tenant, wanted: &BTreeSet<(Uuid, Uuid)>) -> Statement {
    let mut sql = Statement::new(
        "SELECT w.service_id, w.staff_id, coalesce(l.duration_minutes, v.duration_minutes) AS duration_minutes, \
         coalesce(l.price_minor, v.price_minor) AS price_minor, \
         CASE WHEN l.price_minor IS NULL THEN v.currency ELSE coalesce(l.currency, v.currency) END AS currency FROM unnest(",
    );
    sql.bind(wanted.iter().map(|(service, _)| *service).collect::<Vec<_>>()).sql("::uuid[], ");
    sql.bind(wanted.iter().map(|(_, staff)| *staff).collect::<Vec<_>>());
    sql.sql("::uuid[]) AS w (service_id, staff_id) JOIN services v ON v.id = w.service_id AND v.deleted_at IS NULL AND v.business_id = ");
    sql.bind(tenant.id()).sql(
        " LEFT JOIN staff_services l ON l.business_id = v.business_id AND l.service_id = v.id AND l.staff_id = w.staff_id",
    );
    sql
}
