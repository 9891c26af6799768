//! Answers every read of a resource: validates the credential and serves the response from the cache or computes it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::list_query::Projection;
use super::read_query::ReadQuery;
use super::{ReadService, Resource};
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
    engine: Data<ReadService>,
    mut claim: UnverifiedCaller,
    request: &HttpRequest,
    resource: &'static Resource,
    ask: impl Fn(&TenantSettings) -> Result<Arc<ReadQuery>>,
) -> Result<HttpResponse> {
    let Some(cache) = engine.cache.as_ref().filter(|cache| !cache.is_bypassed()) else {
        claim = claim.looked_up().await?;
        let tenant = claim.identity().require(resource.area, Action::Read)?;
        let question = ask(claim.business())?;
        may_include(&claim, question.resource, question.view())?;
        let fresh = question.compute(engine.clone(), tenant).await?;
        return Ok(response::entry(
            request,
            &Entry::new(VersionStamp::default(), fresh, Duration::ZERO),
            Source::Bypass,
            None,
        ));
    };
    let bypasses = is_no_store(request);
    for _ in 0..MAX_CREDENTIAL_CHANGES {
        let (role, sees_only) = (claim.identity().role, claim.identity().restricted_to_user);
        let asked = ask(claim.business()).map(|question| (question.key(claim.business(), role, sees_only), question));
        let bypasses = bypasses || asked.as_ref().is_ok_and(|(_, question)| !question.resource.cacheable);
        let kept = match &asked {
            Ok((key, _)) if !bypasses => cache.local(key),
            _ => None,
        };
        let access = claim.identity().access();
        let data = asked.as_ref().map(|(_, question)| question.tags.as_slice()).unwrap_or_default();
        let through = match (&asked, sees_only) {
            (Ok((_, question)), Some(_)) => question.visibility_tags(claim.business()),
            _ => Vec::new(),
        };
        let scopes: Arc<[_]> = access.iter().chain(data).chain(&through).copied().collect();
        // Where rounds of one generation confirmed both credential and entry, versions need no comparison if this round
        // is of that generation, too.
        let confirmed = claim.identity().confirmed();
        let since = if kept.as_ref().is_some_and(|entry| entry.confirmed() == confirmed) { confirmed } else { 0 };
        let found = cache.check(&scopes, since).await?;
        let (seen, stamp) = found.stamp.map(|stamp| stamp.split(access.len())).unzip();
        // A changed identity may come with other settings of the business, under which the query is parsed again.
        if let Some(renewed) = claim.confirm(found.generation, seen.as_ref()).await? {
            claim = renewed;
            continue;
        }
        let tenant = claim.identity().require(resource.area, Action::Read)?;
        let (key, question) = asked?;
        may_include(&claim, question.resource, question.view())?;
        if bypasses {
            cache.count_bypass(resource.plural);
            let fresh = question.compute(engine.clone(), tenant).await?;
            return Ok(response::entry(
                request,
                &Entry::new(VersionStamp::default(), fresh, Duration::ZERO),
                Source::Bypass,
                None,
            ));
        }
        let compute = || question.clone().compute(engine.clone(), tenant.clone());
        let (entry, source) = match (stamp, kept) {
            (None, Some(entry)) => (cache.count_hit(&key, entry), Source::Local),
            (None, None) => return Err(Error::Internal("a round without versions".into())),
            #[cfg(feature = "mutants")]
            (Some(_), kept) if mutants::is(Mutant::VersionAfterData) => {
                let fresh = compute().await?;
                mutants::delay().await;
                let late = cache.validate(&question.tags.as_slice().into()).await?;
                cache.get_or_compute(&key, kept, engine.ttl(resource), late, || async { Ok(fresh) }).await?
            }
            (Some(stamp), kept) => cache.get_or_compute(&key, kept, engine.ttl(resource), stamp, compute).await?,
        };
        entry.confirm(found.generation);
        let hit = matches!(source, Source::Local | Source::Redis);
        if hit {
            engine.cache_parsed(claim.business(), &question);
        }
        // Responses restricted to one user are not refreshed ahead.
        if engine.refreshes && sees_only.is_none() {
            engine.hot_queries.record(&key, &question, &tenant);
        }
        if hit && cache.should_sample() {
            let computing = question.clone().compute(engine.clone(), tenant);
            let scopes = scopes[access.len()..].into();
            detach("cache sample", recompute_and_compare(cache.clone(), scopes, computing, key.clone(), entry.clone()));
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
pub(super) fn may_include(claim: &UnverifiedCaller, resource: &Resource, view: &Projection) -> Result<()> {
    let areas = view.include.iter().map(|(relation, _)| relation.resource.area);
    areas
        .filter(|area| *area != resource.area)
        .try_for_each(|area| claim.identity().require(area, Action::Read).map(drop))
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
    scopes: Arc<[CacheTag]>,
    computing: impl Future<Output = Result<ComputedResponse>>,
    key: Key,
    entry: Arc<Entry>,
) {
    if let Ok(again) = computing.await
        && cache.validate(&scopes).await.is_ok_and(|stamp| stamp == entry.stamp)
    {
        cache.compare_sample(&key, &entry, &again);
    }
}
