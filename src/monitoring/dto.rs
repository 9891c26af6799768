//! What the probes, the state of the service and the endpoints of the cache take and return.

use std::collections::BTreeMap;

use deserr::Deserr;
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::analytics::StatisticsBacklog;
use crate::base::supervisor::{Panics, TaskState};
use crate::base::zones::ZoneData;
use crate::cache::{Counts, RedisState, ValidatorStats};
use crate::db::PoolState;
use crate::db::catalogue::CatalogueState;
use crate::resource::body::BodyErrors;
use crate::resource::registry;

/// The state of the process.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "status": "ready" })))]
pub struct Health {
    pub status: HealthStatus,
    /// With `impaired`: each component that cannot serve, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = BTreeMap<String, String>, required = false)]
    pub reasons: Option<BTreeMap<&'static str, String>>,
}

/// What a probe finds.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    Alive,
    Ready,
    Started,
    Starting,
    Draining,
    Impaired,
}

/// The state of the service: each dependency with its latency, and what runs in the background.
#[derive(Serialize, ToSchema)]
pub struct HealthDetails {
    pub status: ServiceStatus,
    /// Each component that cannot serve, and why.
    #[schema(value_type = BTreeMap<String, String>)]
    pub reasons: BTreeMap<&'static str, String>,
    pub version: &'static str,
    pub uptime_seconds: u64,
    /// The data of time zones in use.
    pub time_zones: ZoneData,
    pub database: DependencyState,
    /// What the last check of the database's catalogue found; null before the first.
    #[schema(required = true)]
    pub catalogue: Option<CatalogueState>,
    pub pool: PoolState,
    /// What is not folded into the statistics yet; null before this process looked.
    #[schema(required = true)]
    pub statistics: Option<StatisticsBacklog>,
    pub redis: DependencyState,
    /// By name.
    #[schema(value_type = BTreeMap<String, TaskState>)]
    pub background_tasks: BTreeMap<&'static str, TaskState>,
    /// Panics since the process started, by the work in which they happened.
    #[schema(value_type = BTreeMap<String, Panics>)]
    pub background_panics: BTreeMap<&'static str, Panics>,
}

/// Whether the service answers requests as it should.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServiceStatus {
    Ready,
    Draining,
    Degraded,
}

/// The state of a dependency.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "status": "up", "latency_ms": 0.3 })))]
pub struct DependencyState {
    pub status: DependencyStatus,
    /// How long it took to answer; null unless it is up.
    #[schema(required = true)]
    pub latency_ms: Option<f64>,
    /// Why it is down, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether a dependency answers; `off`: none is configured.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DependencyStatus {
    Up,
    Down,
    Off,
}

/// How the cache of this process does since it started; only `enabled` where there is none.
#[derive(Default, Serialize, ToSchema)]
pub struct CacheStatistics {
    pub enabled: bool,
    /// The counters of all resources together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<CacheFigures>,
    /// By resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = BTreeMap<String, ResourceCacheFigures>, required = false)]
    pub resources: Option<BTreeMap<&'static str, ResourceCacheFigures>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalTier>,
    /// Validation rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounds: Option<ValidatorStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisState>,
}

/// Counters of the cache.
#[derive(Serialize, ToSchema)]
pub struct CacheFigures {
    #[serde(flatten)]
    pub counts: Counts,
    /// Of the responses that were asked for, the share that the cache had; null before the first.
    #[schema(required = true)]
    pub hit_rate: Option<f64>,
}

/// Counters of the cache for a resource.
#[derive(Serialize, ToSchema)]
pub struct ResourceCacheFigures {
    #[serde(flatten)]
    pub figures: CacheFigures,
    /// How long its responses are kept at most.
    #[schema(required = true)]
    pub ttl_seconds: Option<u64>,
}

/// The size of the local tier.
#[derive(Serialize, ToSchema)]
pub struct LocalTier {
    pub entries: u64,
    pub bytes: u64,
    pub capacity_bytes: u64,
}

/// Which cached answers are to be forgotten.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "resource": "leads" })))]
pub struct PurgeRequest {
    /// Only answers about these; all, when left out.
    #[deserr(default)]
    #[schema(value_type = Option<CachedResource>)]
    pub resource: Option<String>,
}

/// A resource, by its plural.
pub struct CachedResource;

impl PartialSchema for CachedResource {
    fn schema() -> RefOr<Schema> {
        let plurals = registry::all().iter().map(|resource| resource.plural);
        let names = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(plurals));
        names.description(Some("A resource, by its plural.")).into()
    }
}

impl ToSchema for CachedResource {}

/// How many answers were forgotten.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "local": 12, "redis": 40 })))]
pub struct Purged {
    /// How many this process held.
    pub local: u64,
    /// How many Redis held; null when it does not answer.
    #[schema(required = true)]
    pub redis: Option<u64>,
}
