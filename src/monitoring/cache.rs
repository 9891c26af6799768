//! The operators' endpoints of the cache: statistics and purge.

use std::collections::BTreeMap;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};

use super::dto::{CacheFigures, CacheStatistics, LocalTier, PurgeRequest, Purged, ResourceCacheFigures};
use crate::auth::{Action, Area};
use crate::base::error::{Error, FieldError, Result};
use crate::cache::{Counts, RedisState};
use crate::db::Statement;
use crate::http::caller::Caller;
use crate::http::openapi_problems::{BodyProblems, CallerProblems, ServiceProblems};
use crate::resource::{ReadService, Resource, body, did_you_mean};

/// What the endpoints know of the application; shared with the handlers as `Data<CacheSettings>`.
#[derive(Clone, Copy, Debug)]
pub struct CacheSettings {
    /// All resources of the API.
    pub resources: &'static [&'static Resource],
    /// Memory of the cache in this process, in bytes.
    pub capacity_bytes: u64,
}

impl CacheSettings {
    fn resource(&self, plural: &str) -> Option<&'static Resource> {
        self.resources.iter().copied().find(|resource| resource.plural == plural)
    }
}

/// What the handlers use.
type State = (Data<ReadService>, Data<CacheSettings>);

/// Returns counters per resource and in total, sizes, validation rounds, and the state of Redis.
#[utoipa::path(
    get,
    path = "/api/v1/ops/cache",
    tag = "ops",
    operation_id = "cacheStatistics",
    summary = "How the cache does",
    description = "Of this process, since it started: counts for each resource and in all, size, validation rounds, Redis.",
    responses((status = 200, description = "The figures.", body = CacheStatistics), CallerProblems, ServiceProblems)
)]
pub async fn statistics((reads, settings): State, caller: Caller, _: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    caller.require(Area::Operations, Action::Read)?;
    let Some(cache) = &reads.cache else {
        return Ok(HttpResponse::Ok().json(CacheStatistics::default()));
    };
    let mut total = Counts::default();
    let mut resources = BTreeMap::new();
    for (plural, counts) in cache.counts() {
        total.add(&counts);
        let ttl_seconds = settings.resource(plural).map(|resource| reads.ttl(resource).as_secs());
        resources.insert(plural, ResourceCacheFigures { figures: figures(counts), ttl_seconds });
    }
    let (entries, bytes) = cache.size();
    let redis = match cache.redis() {
        Some(remote) => remote.state().await,
        None => RedisState { breaker: "off", ..RedisState::default() },
    };
    Ok(HttpResponse::Ok().json(CacheStatistics {
        enabled: true,
        total: Some(figures(total)),
        resources: Some(resources),
        local: Some(LocalTier { entries, bytes, capacity_bytes: settings.capacity_bytes }),
        rounds: Some(cache.validator_stats()),
        redis: Some(redis),
    }))
}

fn figures(counts: Counts) -> CacheFigures {
    let hits = counts.hits_local + counts.hits_redis;
    let asked = hits + counts.misses + counts.collapsed;
    let hit_rate = (asked > 0).then(|| (hits as f64 / asked as f64 * 1e4).round() / 1e4);
    CacheFigures { counts, hit_rate }
}

/// Drops the cached responses of the caller's business for `{"resource":"leads"}`, or all without a body: on every
/// replica at once, because the log of changes says that all rows have changed.
#[utoipa::path(
    post,
    path = "/api/v1/ops/cache/purge",
    tag = "ops",
    operation_id = "purgeCache",
    summary = "Forget cached answers of the business",
    description = "On every replica at once. Never needed for answers to be right; it frees memory and helps to compare.",
    request_body = PurgeRequest,
    responses(
        (status = 200, description = "How many answers this process and Redis held.", body = Purged),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
pub async fn purge((reads, settings): State, caller: Caller, _: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Operations, Action::Write)?;
    let resource = requested_resource(&settings, &body)?;
    let mut tables: Vec<String> = match resource {
        Some(resource) => resource.tables().iter().map(|table| (*table).to_owned()).collect(),
        None => {
            settings.resources.iter().flat_map(|resource| resource.tables()).map(|table| (*table).to_owned()).collect()
        }
    };
    // Users belong to all businesses; what a business sees of them depends on their memberships, too.
    tables.retain(|table| table != "users");
    let business = tenant.id();
    reads
        .db
        .unscoped()
        .write("cache_purge", move |tx| {
            let mut sql = Statement::new("SELECT rapport_log_all(");
            sql.bind(business).sql(", t) FROM unnest(").bind(tables.clone()).sql(") t");
            Ok(sql.run(tx)?)
        })
        .await?;
    let (local, redis) = match &reads.cache {
        Some(cache) => cache.purge(Some(business), resource.map(|resource| resource.plural)).await,
        None => (0, Some(0)),
    };
    Ok(HttpResponse::Ok().json(Purged { local, redis }))
}

/// Returns the resource that the body names. Errors: 400; 422.
fn requested_resource(settings: &CacheSettings, body: &Bytes) -> Result<Option<&'static Resource>> {
    let PurgeRequest { resource: Some(plural) } = body::read(body)? else { return Ok(None) };
    if let Some(resource) = settings.resource(&plural) {
        return Ok(Some(resource));
    }
    let hint = did_you_mean(&plural, settings.resources.iter().map(|resource| resource.plural));
    let detail = format!("There is no resource `{plural}`.{hint}");
    Err(Error::Invalid(vec![FieldError::new("/resource", "not_a_choice", detail)]))
}
