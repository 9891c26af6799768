//! How every read of a noun is answered: validated, from the cache or computed, by nobody who may not.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::params::View;
use super::question::Question;
use super::{Engine, Noun};
use crate::auth::{Action, Business};
#[cfg(feature = "mutants")]
use crate::cache::mutants::{self, Mutant};
use crate::cache::{Cache, Entry, Fresh, Key, Scope, Source, Stamp};
use crate::error::{Error, Result};
use crate::http::caller::Claim;
use crate::http::reply;
use crate::jobs::detach;

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
    let Some(cache) = engine.cache.as_ref().filter(|cache| !cache.is_bypassed()) else {
        claim = claim.looked_up().await?;
        let tenant = claim.identity().may(noun.area, Action::Read)?;
        let question = ask(claim.business())?;
        may_include(&claim, question.noun, question.view())?;
        let fresh = question.compute(engine.clone(), tenant).await?;
        return Ok(reply::entry(request, &Entry::new(Stamp::default(), fresh, Duration::ZERO), Source::Bypass, None));
    };
    let bypasses = bypasses(request);
    for _ in 0..MOST_TURNS {
        let (role, sees_only) = (claim.identity().role, claim.identity().sees_only);
        let asked = ask(claim.business()).map(|question| (question.key(claim.business(), role, sees_only), question));
        let bypasses = bypasses || asked.as_ref().is_ok_and(|(_, question)| !question.noun.cached);
        let kept = match &asked {
            Ok((key, _)) if !bypasses => cache.kept(key),
            _ => None,
        };
        let access = claim.identity().access();
        let data = asked.as_ref().map(|(_, question)| question.scopes.as_slice()).unwrap_or_default();
        let through = match (&asked, sees_only) {
            (Ok((_, question)), Some(_)) => question.seen_through(claim.business()),
            _ => Vec::new(),
        };
        let scopes: Arc<[_]> = access.iter().chain(data).chain(&through).copied().collect();
        // Where rounds of one generation have confirmed both, versions need not be compared if this round is of it, too.
        let confirmed = claim.identity().confirmed();
        let since = if kept.as_ref().is_some_and(|entry| entry.confirmed() == confirmed) { confirmed } else { 0 };
        let found = cache.check(&scopes, since).await?;
        let (seen, stamp) = found.stamp.map(|stamp| stamp.split(access.len())).unzip();
        // What was asked was understood with the business' settings of then.
        if let Some(renewed) = claim.confirm(found.generation, seen.as_ref()).await? {
            claim = renewed;
            continue;
        }
        let tenant = claim.identity().may(noun.area, Action::Read)?;
        let (key, question) = asked?;
        may_include(&claim, question.noun, question.view())?;
        if bypasses {
            cache.bypassed(noun.plural);
            let fresh = question.compute(engine.clone(), tenant).await?;
            return Ok(reply::entry(
                request,
                &Entry::new(Stamp::default(), fresh, Duration::ZERO),
                Source::Bypass,
                None,
            ));
        }
        let compute = || question.clone().compute(engine.clone(), tenant.clone());
        let (entry, source) = match (stamp, kept) {
            (None, Some(entry)) => (cache.hit(&key, entry), Source::Local),
            (None, None) => return Err(Error::Internal("a round without versions".into())),
            #[cfg(feature = "mutants")]
            (Some(_), kept) if mutants::is(Mutant::VersionAfterData) => {
                let fresh = compute().await?;
                mutants::linger().await;
                let late = cache.validate(&question.scopes.as_slice().into()).await?;
                cache.answer(&key, kept, engine.ttl(noun), late, || async { Ok(fresh) }).await?
            }
            (Some(stamp), kept) => cache.answer(&key, kept, engine.ttl(noun), stamp, compute).await?,
        };
        entry.confirm(found.generation);
        let hit = matches!(source, Source::Local | Source::Redis);
        if hit {
            engine.remember(claim.business(), &question);
        }
        // What one person sees is not made ready for others.
        if engine.refreshes && sees_only.is_none() {
            engine.hot.note(&key, &question, &tenant);
        }
        if hit && cache.samples() {
            let computing = question.clone().compute(engine.clone(), tenant);
            let scopes = scopes[access.len()..].into();
            detach("cache sample", sample(cache.clone(), scopes, computing, key.clone(), entry.clone()));
        }
        let coding = reply::coding(request).filter(|_| noun.packed);
        if let Some(coding) = coding {
            cache.pack(&key, &entry, coding);
        }
        return Ok(reply::entry(request, &entry, source, coding));
    }
    Err(Error::busy())
}

/// What is shown with the rows needs a permission of its own. Errors: 403.
pub(super) fn may_include(claim: &Claim, noun: &Noun, view: &View) -> Result<()> {
    let areas = view.include.iter().map(|(relation, _)| relation.noun.area);
    areas.filter(|area| *area != noun.area).try_for_each(|area| claim.identity().may(area, Action::Read).map(drop))
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
    scopes: Arc<[Scope]>,
    computing: impl Future<Output = Result<Fresh>>,
    key: Key,
    entry: Arc<Entry>,
) {
    if let Ok(again) = computing.await
        && cache.validate(&scopes).await.is_ok_and(|stamp| stamp == entry.stamp)
    {
        cache.sampled(&key, &entry, &again);
    }
}
