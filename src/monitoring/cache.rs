//! The operators' endpoints of the cache: statistics and purge.

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value as Json, json};

use crate::auth::{Action, Area};
use crate::base::error::{Error, FieldError, Result};
use crate::cache::Counts;
use crate::db::Statement;
use crate::http::caller::Caller;
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
pub async fn statistics((reads, settings): State, caller: Caller, _: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    caller.require(Area::Operations, Action::Read)?;
    let Some(cache) = &reads.cache else {
        return Ok(HttpResponse::Ok().json(json!({ "enabled": false })));
    };
    let ttl = |plural: &str| settings.resource(plural).map(|resource| reads.ttl(resource).as_secs());
    let mut total = Counts::default();
    let mut resources = serde_json::Map::new();
    for (resource, counts) in cache.counts() {
        total.add(&counts);
        let mut shown = shown(&counts);
        shown["ttl_seconds"] = json!(ttl(resource));
        resources.insert(resource.to_owned(), shown);
    }
    let (entries, bytes) = cache.size();
    let redis = match cache.redis() {
        Some(remote) => json!(remote.state().await),
        None => json!({ "connected": false, "breaker": "off" }),
    };
    Ok(HttpResponse::Ok().json(json!({
        "enabled": true,
        "total": shown(&total),
        "resources": resources,
        "local": { "entries": entries, "bytes": bytes, "capacity_bytes": settings.capacity_bytes },
        "rounds": cache.validator_stats(),
        "redis": redis,
    })))
}

fn shown(counts: &Counts) -> Json {
    let hits = counts.hits_local + counts.hits_redis;
    let asked = hits + counts.misses + counts.collapsed;
    let mut shown = json!(counts);
    shown["hit_rate"] = if asked == 0 { Json::Null } else { json!((hits as f64 / asked as f64 * 1e4).round() / 1e4) };
    shown
}

/// Drops the cached responses of the caller's business for `{"resource":"leads"}`, or all without a body: on every
/// replica at once, because it moves their versions.
pub async fn purge((reads, settings): State, caller: Caller, _: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Operations, Action::Write)?;
    let resource = requested_resource(&settings, &body)?;
    let tables: Vec<String> = match resource {
        Some(resource) => resource.tables().iter().map(|table| (*table).to_owned()).collect(),
        None => {
            settings.resources.iter().flat_map(|resource| resource.tables()).map(|table| (*table).to_owned()).collect()
        }
    };
    let business = tenant.id();
    reads
        .db
        .for_tenant(&tenant)
        .write("cache_purge", move |tx| {
            let mut sql = Statement::new("SELECT rapport_bump_all_versions(");
            sql.bind(business).sql(", t) FROM unnest(").bind(tables.clone()).sql(") t");
            Ok(sql.run(tx)?)
        })
        .await?;
    let (local, redis) = match &reads.cache {
        Some(cache) => cache.purge(Some(business), resource.map(|resource| resource.plural)).await,
        None => (0, Some(0)),
    };
    Ok(HttpResponse::Ok().json(json!({ "local": local, "redis": redis })))
}

fn requested_resource(settings: &CacheSettings, body: &Bytes) -> Result<Option<&'static Resource>> {
    if body.is_empty() {
        return Ok(None);
    }
    let Json::Object(members) = body::json(body, 2)? else {
        return Err(Error::malformed("not_an_object", "The body must be a JSON object."));
    };
    let mut faults = Vec::new();
    let mut found = None;
    for (name, value) in &members {
        match (name.as_str(), value) {
            ("resource", Json::String(plural)) => match settings.resource(plural) {
                Some(resource) => found = Some(resource),
                None => {
                    let hint = did_you_mean(plural, settings.resources.iter().map(|resource| resource.plural));
                    faults.push(FieldError::new(
                        "/resource",
                        "not_a_choice",
                        format!("There is no resource `{plural}`.{hint}"),
                    ));
                }
            },
            ("resource", _) => faults.push(FieldError::new("/resource", "type", "`resource` must be a text.")),
            _ => faults.push(FieldError::new(
                format!("/{name}"),
                "unknown_field",
                format!("There is no field `{name}`. Did you mean `resource`?"),
            )),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(Error::Invalid(faults)) }
}
