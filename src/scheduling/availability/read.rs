//! Availability as a read of the cache: what it depends on are the calendars that it has looked at.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::load::{Wish, load};
use super::offers::offers;
use super::parameters::Parameters;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::base::timestamp;
use crate::cache::{CacheTag, ComputedResponse};
use crate::resource::computed_read::ComputedRead;
use crate::resource::crud;
use crate::scheduling::services::SERVICES;
use crate::scheduling::staff::STAFF;

/// What can be booked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "data": [
    { "starts_at": "2027-01-15T09:00:00.000000Z", "ends_at": "2027-01-15T10:00:00.000000Z", "staff_id": "0192d0c6-2f3b-7b57-a56f-9f1b6f0e7c12" },
] })))]
pub struct Availability {
    /// In the order of time; no start twice.
    pub data: Vec<AvailableSlot>,
}

/// A start that can be booked.
#[derive(Debug, Serialize, ToSchema)]
pub struct AvailableSlot {
    #[serde(serialize_with = "timestamp::serialize")]
    pub starts_at: DateTime<Utc>,
    #[serde(serialize_with = "timestamp::serialize")]
    pub ends_at: DateTime<Utc>,
    /// Who performs it; of several who are free, who has the fewest bookings on that day, then by priority.
    pub staff_id: Uuid,
}

/// A request for availability, as of a minute: so an answer of the cache does not depend on the clock.
#[derive(Debug)]
pub struct AvailabilityRead {
    pub parameters: Parameters,
    pub now: DateTime<Utc>,
}

impl ComputedRead for AvailabilityRead {
    fn canonical(&self) -> String {
        let Parameters { service, staff, range } = &self.parameters;
        let (from, to) = (range.start.timestamp_micros(), range.end.timestamp_micros());
        format!("availability {service} {staff:?} {from} {to} {}", self.now.timestamp())
    }

    /// Who else performs a service, and who has no list of services, may change with any row of these.
    fn tables(&self) -> Vec<&'static str> {
        vec!["holidays", "staff", "staff_services"]
    }

    fn shown_tables(&self) -> Vec<&'static str> {
        vec![SERVICES.table, STAFF.table]
    }

    fn compute(&self, conn: &mut PgConnection, tenant: &Tenant) -> Result<ComputedResponse> {
        let Parameters { service, staff, range } = self.parameters;
        let wish = Wish { service, staff, range };
        let performers =
            load(conn, tenant, &[wish], &[], self.now)?.pop().flatten().ok_or_else(|| crud::not_found(&SERVICES))?;
        let found = offers(&performers.calendars, range, self.now);
        let data = found.into_iter().map(|offer| AvailableSlot {
            starts_at: offer.start,
            ends_at: offer.end,
            staff_id: offer.staff,
        });
        let body = serde_json::to_vec(&Availability { data: data.collect() })
            .map_err(|error| Error::Internal(error.to_string()))?;
        let etag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&body));
        let business = tenant.id();
        let mut tags: Vec<CacheTag> = self.tables().into_iter().map(|table| CacheTag::table(business, table)).collect();
        // Buffers of the services of other bookings count, too; they change rarely.
        tags.push(CacheTag::table(business, SERVICES.table));
        tags.extend(CacheTag::rows(business, "bookings", [service]));
        for table in ["schedule_hours", "schedule_overrides", "bookings"] {
            tags.extend(CacheTag::rows(business, table, performers.staff.iter().copied()));
        }
        Ok(ComputedResponse { body, etag, tags })
    }
}
