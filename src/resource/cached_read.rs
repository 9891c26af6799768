//! Answers every read of a resource: validates the credential and serves the response from the cache or computes it.

use std::future::Future;
use std::sync::Arc;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::compute_read::compute_read;
use super::definition::Resource;
use super::list_query::Projection;
use super::read_query::{ReadQuery, ReadTarget};
use super::read_service::ReadService;
use super::registry;
use crate::auth::{Action, Identity, Tenant};
use crate::background::detach;
use crate::base::error::Result;
use crate::cache::{Cache, CacheQuery, CacheTag, ComputedResponse, Entry, Key, Source};
use crate::http::cache_control::CacheControl;
use crate::http::caller::UnverifiedCaller;
use crate::http::response;

/// Answers the query that `ask` parses from the request. The credential is validated in the same round as the response.
pub async fn cached_read(
    reads: Data<ReadService>,
    mut caller: UnverifiedCaller,
    request: &HttpRequest,
    resource: &'static Resource,
    ask: impl Fn(&Identity) -> Result<Arc<ReadQuery>>,
) -> Result<HttpResponse> {
    let Some(cache) = reads.cache.as_ref().filter(|cache| !cache.is_bypassed()) else {
        caller = Box::pin(caller.looked_up()).await?;
        return Asked::by(&caller, resource, &ask)?.uncached(request, &reads).await;
    };
    let control = CacheControl::of(request);
    let recent = control.accepted_age.and_then(|accepted| cache.recent_round(accepted));
    // With the identity as it was last confirmed: it says what to look for, but nothing is answered before this round.
    let mut asked = Asked::by(&caller, resource, &ask);
    let (round, age, mut ahead) = match (recent, &asked) {
        (Some((round, age)), _) => (round, Some(age), None),
        (None, Ok(asked)) if asked.uses_cache(&control) => {
            let (round, ahead) = cache.look_up_beside_round(asked.lookup(&reads), || asked.compute(&reads)).await?;
            (round, None, ahead)
        }
        (None, _) => (cache.round().await?, None, None),
    };
    if let Some(renewed) = caller.confirm(&round).await? {
        // Looked up again after the round, so it is good for it.
        caller = renewed;
        let again = Asked::by(&caller, resource, &ask);
        // A response depends on what the key says, which is usually the same: most changes of a key are of its last use.
        let is_same = matches!((&asked, &again), (Ok(asked), Ok(again)) if asked.has_same_response(again));
        ahead = ahead.filter(|_| is_same);
        asked = again;
    }
    let asked = asked?;
    if !asked.uses_cache(&control) {
        cache.count_bypass(resource.plural);
        return asked.uncached(request, &reads).await;
    }
    let (entry, source) = cache.get_or_compute(asked.lookup(&reads), round, ahead, || asked.compute(&reads)).await?;
    let Asked { query, tenant, key, .. } = asked;
    let hit = matches!(source, Source::Local | Source::Redis);
    if hit {
        reads.cache_parsed(caller.business(), &query);
    }
    // Responses restricted to one user are not refreshed ahead.
    if reads.refreshes && key.restricted_to.is_none() {
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

/// What a caller asks, and may.
struct Asked {
    query: Arc<ReadQuery>,
    tenant: Tenant,
    key: Key,
    /// All tags of the response to a restricted caller, as far as the query says.
    restricted_tags: Option<Vec<CacheTag>>,
}

impl Asked {
    /// Parses the query with the caller's settings. Errors: 400; 403.
    fn by(
        caller: &UnverifiedCaller,
        resource: &'static Resource,
        ask: &impl Fn(&Identity) -> Result<Arc<ReadQuery>>,
    ) -> Result<Self> {
        let (identity, business) = (caller.identity(), caller.business());
        let tenant = identity.require(resource.area, Action::Read)?;
        let query = ask(identity)?;
        may_include(caller, query.resource, query.view())?;
        may_compute(caller, &query)?;
        let key = query.key(business, identity.role, identity.restricted_to_user);
        let tags = || query.tags.iter().copied().chain(query.visibility_tags(business)).collect();
        let restricted_tags = key.restricted_to.map(|_| tags());
        Ok(Self { query, tenant, key, restricted_tags })
    }

    fn has_same_response(&self, other: &Self) -> bool {
        self.key == other.key && self.restricted_tags == other.restricted_tags
    }

    fn uses_cache(&self, control: &CacheControl) -> bool {
        !control.no_store && self.query.resource.cacheable
    }

    fn lookup(&self, reads: &ReadService) -> CacheQuery<'_> {
        let tags = self.restricted_tags.as_deref().unwrap_or(&self.query.tags);
        CacheQuery { key: &self.key, tags, ttl: reads.ttl(self.query.resource) }
    }

    fn compute(&self, reads: &Data<ReadService>) -> impl Future<Output = Result<ComputedResponse>> + use<> {
        compute_read(self.query.clone(), reads.clone(), self.tenant.clone())
    }

    /// Computes the response beside the cache.
    async fn uncached(&self, request: &HttpRequest, reads: &Data<ReadService>) -> Result<HttpResponse> {
        // In a box, so that hits do not carry the space of a computation.
        let fresh = Box::pin(self.compute(reads)).await?;
        Ok(response::entry(request, &Entry::uncached(fresh), Source::Bypass, None))
    }
}

/// Requires read permission for every included relation. Errors: 403.
pub(super) fn may_include(caller: &UnverifiedCaller, resource: &Resource, view: &Projection) -> Result<()> {
    let areas = view.include.iter().map(|included| included.resource.area);
    areas
        .filter(|area| *area != resource.area)
        .try_for_each(|area| caller.identity().require(area, Action::Read).map(drop))
}

/// Requires read permission for every resource that a computed response is made of: it may show names of their rows.
/// Errors: 403.
fn may_compute(caller: &UnverifiedCaller, query: &ReadQuery) -> Result<()> {
    let ReadTarget::Computed(read) = &query.target else { return Ok(()) };
    let tables = read.shown_tables();
    let shown = registry::all().iter().filter(|resource| resource.tables().iter().any(|table| tables.contains(table)));
    shown
        .filter(|resource| resource.area != query.resource.area)
        .try_for_each(|resource| caller.identity().require(resource.area, Action::Read).map(drop))
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
