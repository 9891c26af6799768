//! The settings of a business that parsing of input depends on.

use diesel::QueryableByName;
use uuid::Uuid;

use crate::db::schema::businesses;

/// Country, time zone and currency of a business.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
#[diesel(table_name = businesses)]
pub struct TenantSettings {
    /// Read from `business_id`, so that rows which belong to a business can embed its settings.
    #[diesel(column_name = business_id, sql_type = diesel::sql_types::Uuid)]
    pub id: Uuid,
    /// ISO 3166-1 alpha-2: the country of phone numbers without a country code.
    pub country: String,
    /// IANA time zone, which determines when its days begin.
    pub time_zone: String,
    /// ISO 4217.
    pub currency: String,
}

impl TenantSettings {
    /// Returns default settings, for input that does not depend on a business.
    pub fn nowhere() -> Self {
        Self { id: Uuid::nil(), country: "US".into(), time_zone: "UTC".into(), currency: "EUR".into() }
    }

    /// Returns a hash of its settings: equal settings parse input equally.
    pub fn settings(&self) -> u64 {
        let hash = |text: &str, seed| xxhash_rust::xxh3::xxh3_64_with_seed(text.as_bytes(), seed);
        hash(&self.country, hash(&self.time_zone, hash(&self.currency, 0)))
    }
}
