//! How every read of a noun is answered: validated, from the cache or computed, by nobody who may not.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::question::Question;
use super::{Engine, Noun};
use crate::auth::{Action, Business, Tenant};
use crate::cache::{Cache, Entry, Key, Source, Stamp};
use crate::error::{Error, Result};
use crate::http::caller::Claim;
use crate::http::reply;

/// How often the credential may change while one request is answered.
const MOST_TURNS: usize = 5;

/// Answers what `ask` understands of the request. The credential is validated in the same round as the answer.
pub async fn answer(
    engine: Data<Engine>,
    mut claim: Claim,
    request: &HttpRequest,
    noun: &'static Noun,
    ask: impl Fn(&Business) -> Result<Arc<Question>>,
) -> Result<HttpResponse> {
    let Some(cache) = &engine.cache else {
        let tenant = claim.identity().may(noun.area, Action::Read)?;
        let question = ask(claim.business())?;
        let fresh = question.compute(engine.clone(), tenant).await?;
        let nothing = Stamp { epoch: 0, versions: Box::default() };
        return Ok(reply::entry(request, &Entry::new(nothing, fresh, Duration::ZERO), Source::Bypass, false));
    };
    for _ in 0..MOST_TURNS {
        let asked = ask(claim.business());
        let access = claim.identity().access();
        let data = asked.as_ref().map(|question| question.scopes.as_slice()).unwrap_or_default();
        let scopes: Arc<[_]> = access.iter().chain(data).copied().collect();
        let (seen, stamp) = cache.validate(&scopes).await?.split(access.len());
        // What was asked was understood with the business' settings of then.
        if let Some(renewed) = claim.confirm(&seen).await? {
            claim = renewed;
            continue;
        }
        let tenant = claim.identity().may(noun.area, Action::Read)?;
        let question = asked?;
        if bypasses(request) {
            cache.bypassed(noun.plural);
            let fresh = question.compute(engine.clone(), tenant).await?;
            return Ok(reply::entry(request, &Entry::new(stamp, fresh, Duration::ZERO), Source::Bypass, false));
        }
        #[cfg(feature = "mutants")]
        if crate::cache::mutants::is(crate::cache::mutants::Mutant::VersionAfterData) {
            let fresh = question.clone().compute(engine.clone(), tenant.clone()).await?;
            crate::cache::mutants::linger().await;
            let (_, late) = cache.validate(&scopes).await?.split(access.len());
            let key = question.key(claim.business(), tenant.role());
            let (entry, source) = cache.answer(&key, engine.ttl(noun), late, || async { Ok(fresh) }).await?;
            return Ok(reply::entry(request, &entry, source, noun.packed));
        }
        let key = question.key(claim.business(), tenant.role());
        let ttl = engine.ttl(noun);
        let (entry, source) =
            cache.answer(&key, ttl, stamp, || question.clone().compute(engine.clone(), tenant.clone())).await?;
        if engine.refreshes {
            engine.hot.note(&key, &question, &tenant);
        }
        if matches!(source, Source::Local | Source::Redis) && cache.samples() {
            actix_web::rt::spawn(sample(cache.clone(), engine.clone(), tenant, question, key, entry.clone()));
        }
        return Ok(reply::entry(request, &entry, source, noun.packed));
    }
    Err(Error::busy())
}

/// Whether the request wants the database's word (RFC 9111, section 5.2.1.5).
fn bypasses(request: &HttpRequest) -> bool {
    let values = request.headers().get_all(header::CACHE_CONTROL);
    values
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("no-store")))
}

/// Computes a hit again. It counts only when the versions were the same afterwards: then nothing changed meanwhile.
async fn sample(
    cache: Arc<Cache>,
    engine: Data<Engine>,
    tenant: Tenant,
    question: Arc<Question>,
    key: Key,
    entry: Arc<Entry>,
) {
    let scopes: Arc<[_]> = question.scopes.as_slice().into();
    if let Ok(again) = question.compute(engine, tenant).await
        && cache.validate(&scopes).await.is_ok_and(|stamp| stamp == entry.stamp)
    {
        cache.sampled(&key, &entry, &again);
    }
}
