//! Answers every read of a resource: validates the credential and serves the response from the cache or computes it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::compute_read::compute_read;
use super::definition::Resource;
use super::list_query::Projection;
use super::read_query::ReadQuery;
use super::read_service::ReadService;
use crate::auth::{Action, TenantSettings};
use crate::background::detach;
use crate::base::error::{Error, Result};
#[cfg(feature = "mutants")]
use crate::base::mutants::{self, Mutant};
use crate::cache::{Cache, CacheTag, ComputedResponse, Entry, Key, Source, VersionStamp};
use crate::http::caller::UnverifiedCaller;
use crate::http::response;

/// How often the caller's identity may change during one request before it gets 503.
const MAX_CREDENTIAL_CHANGES: usize = 5;

/// Answers the query that `ask` parses from the request. The credential is validated in the same round as the response.
pub async fn cached_read(
    reads: Data<ReadService>,
    mut caller: UnverifiedCaller,
    request: &HttpRequest,
    resource: &'static Resource,
    ask: impl Fn(&TenantSettings) -> Result<Arc<ReadQuery>>,
) -> Result<HttpResponse> {
    let Some(cache) = reads.cache.as_ref().filter(|cache| !cache.is_bypassed()) else {
        caller = caller.looked_up().await?;
        let tenant = caller.identity().require(resource.area, Action::Read)?;
        let query = ask(caller.business())?;
        may_include(&caller, query.resource, query.view())?;
        let fresh = compute_read(query, reads.clone(), tenant).await?;
        return Ok(response::entry(
            request,
            &Entry::new(VersionStamp::default(), fresh, Duration::ZERO),
            Source::Bypass,
            None,
        ));
    };
    let bypasses = is_no_store(request);
    for _ in 0..MAX_CREDENTIAL_CHANGES {
        let (role, restricted_to) = (caller.identity().role, caller.identity().restricted_to_user);
        let asked = ask(caller.business()).map(|query| (query.key(caller.business(), role, restricted_to), query));
        let bypasses = bypasses || asked.as_ref().is_ok_and(|(_, query)| !query.resource.cacheable);
        let kept = match &asked {
            Ok((key, _)) if !bypasses => cache.local(key),
            _ => None,
        };
        let access = caller.identity().access();
        let data = asked.as_ref().map(|(_, query)| query.tags.as_slice()).unwrap_or_default();
        let through = match (&asked, restricted_to) {
            (Ok((_, query)), Some(_)) => query.visibility_tags(caller.business()),
            _ => Vec::new(),
        };
        let tags: Arc<[_]> = access.iter().chain(data).chain(&through).copied().collect();
        // Where rounds of one generation confirmed both credential and entry, versions need no comparison if this round
        // is of that generation, too.
        let confirmed = caller.identity().confirmed();
        let since = if kept.as_ref().is_some_and(|entry| entry.confirmed() == confirmed) { confirmed } else { 0 };
        let found = cache.check(&tags, since).await?;
        let (seen, stamp) = found.stamp.map(|stamp| stamp.split(access.len())).unzip();
        // A changed identity may come with other settings of the business, under which the query is parsed again.
        if let Some(renewed) = caller.confirm(found.generation, seen.as_ref()).await? {
            caller = renewed;
            continue;
        }
        let tenant = caller.identity().require(resource.area, Action::Read)?;
        let (key, query) = asked?;
        may_include(&caller, query.resource, query.view())?;
        if bypasses {
            cache.count_bypass(resource.plural);
            let fresh = compute_read(query, reads.clone(), tenant).await?;
            return Ok(response::entry(
                request,
                &Entry::new(VersionStamp::default(), fresh, Duration::ZERO),
                Source::Bypass,
                None,
            ));
        }
        let compute = || compute_read(query.clone(), reads.clone(), tenant.clone());
        let (entry, source) = match (stamp, kept) {
            (None, Some(entry)) => (cache.count_hit(&key, entry), Source::Local),
            (None, None) => return Err(Error::Internal("a round without versions".into())),
            #[cfg(feature = "mutants")]
            (Some(_), kept) if mutants::is(Mutant::VersionAfterData) => {
                let fresh = compute().await?;
                mutants::delay().await;
                let late = cache.validate(&query.tags.as_slice().into()).await?;
                cache.get_or_compute(&key, kept, reads.ttl(resource), late, || async { Ok(fresh) }).await?
            }
            (Some(stamp), kept) => cache.get_or_compute(&key, kept, reads.ttl(resource), stamp, compute).await?,
        };
        entry.confirm(found.generation);
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
            let tags = tags[access.len()..].into();
            detach("cache sample", recompute_and_compare(cache.clone(), tags, computing, key.clone(), entry.clone()));
        }
        let coding = response::coding(request).filter(|_| resource.compressible);
        if let Some(coding) = coding {
            cache.compress_if_popular(&key, &entry, coding);
        }
        return Ok(response::entry(request, &entry, source, coding));
    }
    Err(Error::busy())
}

/// Requires read permission for every included relation. Errors: 403.
pub(super) fn may_include(caller: &UnverifiedCaller, resource: &Resource, view: &Projection) -> Result<()> {
    let areas = view.include.iter().map(|included| included.resource.area);
    areas
        .filter(|area| *area != resource.area)
        .try_for_each(|area| caller.identity().require(area, Action::Read).map(drop))
}

/// Whether the request has `Cache-Control: no-store` (RFC 9111, section 5.2.1.5).
fn is_no_store(request: &HttpRequest) -> bool {
    let values = request.headers().get_all(header::CACHE_CONTROL);
    values
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("no-store")))
}

/// Recomputes a hit and compares it. Counts only if the versions are the same afterwards: then nothing changed
/// meanwhile.
async fn recompute_and_compare(
    cache: Arc<Cache>,
    tags: Arc<[CacheTag]>,
    computing: impl Future<Output = Result<ComputedResponse>>,
    key: Key,
    entry: Arc<Entry>,
) {
    if let Ok(again) = computing.await
        && cache.validate(&tags).await.is_ok_and(|stamp| stamp == entry.stamp)
    {
        cache.compare_sample(&key, &entry, &again);
    }
}
