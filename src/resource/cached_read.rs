//! Answers every read of a resource: validates the credential and serves the response from the cache or computes it.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::compute_read::compute_read;
use super::definition::Resource;
use super::list_query::Projection;
use super::read_query::ReadQuery;
use super::read_service::ReadService;
use crate::auth::{Action, TenantSettings};
use crate::background::detach;
use crate::base::error::Result;
use crate::cache::{Cache, CacheQuery, ComputedResponse, Entry, Key, Source};
use crate::http::cache_control::CacheControl;
use crate::http::caller::UnverifiedCaller;
use crate::http::response;

/// Answers the query that `ask` parses from the request. The credential is validated in the same round as the response.
pub async fn cached_read(
    reads: Data<ReadService>,
    mut caller: UnverifiedCaller,
    request: &HttpRequest,
    resource: &'static Resource,
    ask: impl Fn(&TenantSettings) -> Result<Arc<ReadQuery>>,
) -> Result<HttpResponse> {
    let Some(cache) = reads.cache.as_ref().filter(|cache| !cache.is_bypassed()) else {
        caller = Box::pin(caller.looked_up()).await?;
        let tenant = caller.identity().require(resource.area, Action::Read)?;
        let query = ask(caller.business())?;
        may_include(&caller, query.resource, query.view())?;
        let fresh = Box::pin(compute_read(query, reads.clone(), tenant)).await?;
        return Ok(response::entry(request, &Entry::uncached(fresh), Source::Bypass, None));
    };
    let control = CacheControl::of(request);
    let recent = control.accepted_age.and_then(|accepted| cache.recent_round(accepted));
    let (round, age) = match recent {
        Some((round, age)) => (round, Some(age)),
        None => (cache.round().await?, None),
    };
    // Looked up again after the round, so it is good for it.
    if let Some(renewed) = caller.confirm(&round).await? {
        caller = renewed;
    }
    let tenant = caller.identity().require(resource.area, Action::Read)?;
    let (role, restricted_to) = (caller.identity().role, caller.identity().restricted_to_user);
    let query = ask(caller.business())?;
    may_include(&caller, query.resource, query.view())?;
    if control.no_store || !query.resource.cacheable {
        cache.count_bypass(resource.plural);
        let fresh = Box::pin(compute_read(query, reads.clone(), tenant)).await?;
        return Ok(response::entry(request, &Entry::uncached(fresh), Source::Bypass, None));
    }
    let key = query.key(caller.business(), role, restricted_to);
    let mut tags = Cow::Borrowed(query.tags.as_slice());
    if restricted_to.is_some() {
        tags.to_mut().extend(query.visibility_tags(caller.business()));
    }
    let asked = CacheQuery { key: &key, tags: &tags, ttl: reads.ttl(resource) };
    let compute = || compute_read(query.clone(), reads.clone(), tenant.clone());
    let (entry, source) = cache.get_or_compute(asked, round, compute).await?;
    let hit = matches!(source, Source::Local | Source::Redis);
    if hit {
        reads.cache_parsed(caller.business(), &query);
    }
    // Responses restricted to one user are not refreshed ahead.
    if reads.refreshes && restricted_to.is_none() {
        reads.hot_queries.record(&key, &query, &tenant);
    }
    if hit && cache.should_sample() {
        let computing = compute_read(query.clone(), reads.clone(), tenant);
        detach("cache sample", recompute_and_compare(cache.clone(), computing, key.clone(), entry.clone()));
    }
    let coding = response::coding(request).filter(|_| resource.compressible);
    if let Some(coding) = coding {
        cache.compress_if_popular(&key, &entry, coding);
    }
    let mut reply = response::entry(request, &entry, source, coding);
    if let Some(age) = age.filter(|_| hit) {
        response::mark_age(&mut reply, source, age);
    }
    Ok(reply)
}

/// Requires read permission for every included relation. Errors: 403.
pub(super) fn may_include(caller: &UnverifiedCaller, resource: &Resource, view: &Projection) -> Result<()> {
    let areas = view.include.iter().map(|included| included.resource.area);
    areas
        .filter(|area| *area != resource.area)
        .try_for_each(|area| caller.identity().require(area, Action::Read).map(drop))
}

/// Recomputes a hit and compares it. Counts only if the entry is still valid in a round afterwards: then nothing changed
/// meanwhile.
async fn recompute_and_compare(
    cache: Arc<Cache>,
    computing: impl Future<Output = Result<ComputedResponse>>,
    key: Key,
    entry: Arc<Entry>,
) {
    if let Ok(again) = computing.await
        && cache.round().await.is_ok()
        && cache.is_current(&entry.tags, &entry.base)
    {
        cache.compare_sample(&key, &entry, &again);
    }
}
