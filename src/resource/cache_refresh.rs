//! Refresh-ahead of the response cache: recomputes frequent queries as soon as their data changes, before a client asks
//! for them.
//!
//! One read in a few is recorded. Periodically a validation round tells which of the most recorded queries have
//! outdated cache entries. These are recomputed through the same single flight as client reads, as long as nothing else waits
//! for the database. The busiest queries are saved to the database and computed once when a process starts
//! ([`warm_up`]).

use std::time::{Duration, Instant};

use actix_web::web::Data;
use diesel::prelude::*;

use super::compute_read::compute_read;
use super::definition::Resource;
use super::hot_queries::SavedQuery;
use super::read_request::ReadRequest;
use super::read_service::ReadService;
use crate::auth::{Role, Tenant, TenantSettings};
use crate::background::{Outcome, Pulse};
use crate::cache::CacheQuery;
use crate::db::Statement;
use crate::db::schema::cache_warmup_queries;

/// How often the busiest queries are saved to the database.
const SAVE_PERIOD: Duration = Duration::from_secs(60);
/// Time limit of the warm-up.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long the warm-up waits while requests wait for a connection.
const WARM_UP_PAUSE: Duration = Duration::from_millis(10);

/// Refreshes hot queries every `period`, until the process ends. Returns at once without a cache.
pub async fn refresh(reads: Data<ReadService>, period: Duration, pulse: Pulse) -> Outcome {
    let Some(cache) = reads.cache.clone() else { return Ok(()) };
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut saved_at = Instant::now();
    loop {
        ticks.tick().await;
        pulse.succeeded();
        if saved_at.elapsed() >= SAVE_PERIOD {
            saved_at = Instant::now();
            save_busiest(&reads).await;
        }
        let recorded = reads.hot_queries.drain_changed();
        if recorded.is_empty() {
            continue;
        }
        // One validation round for all; each response is computed after it.
        let Ok(round) = cache.round().await else { continue };
        for (key, hot) in recorded {
            // Client reads come first.
            if reads.db.state().waiting > 0 {
                break;
            }
            let (query, tenant) = (hot.query, hot.tenant);
            let asked = CacheQuery { key: &key, tags: &query.tags, ttl: reads.ttl(query.resource) };
            let compute = || compute_read(query.clone(), reads.clone(), tenant);
            if let Err(error) = cache.refresh(asked, round.clone(), compute).await {
                tracing::debug!(%error, "a hot answer could not be refreshed");
            }
        }
    }
}

/// Saves the busiest queries, replacing those saved before.
async fn save_busiest(reads: &ReadService) {
    let busiest = reads.hot_queries.busiest(reads.warmup_queries);
    if busiest.is_empty() {
        return;
    }
    let written = reads.db.unscoped().write("cache_warmup_store", move |tx| {
        Statement::new("DELETE FROM cache_warmup_queries").run(tx)?;
        let mut sql = Statement::new(
            "INSERT INTO cache_warmup_queries (business_id, role, resource, typed) SELECT * FROM unnest(",
        );
        let texts = |text: fn(&SavedQuery) -> String| busiest.iter().map(text).collect::<Vec<_>>();
        sql.bind(busiest.iter().map(|query| query.business).collect::<Vec<_>>());
        sql.sql(", ").bind(texts(|query| query.role.name().to_owned()));
        sql.sql(", ").bind(texts(|query| query.resource.to_owned()));
        sql.sql(", ").bind(texts(|query| query.request.to_string())).sql(") ON CONFLICT DO NOTHING");
        Ok(sql.run(tx)?)
    });
    if let Err(error) = written.await {
        tracing::debug!(%error, "the busiest questions could not be written down");
    }
}

/// A saved query, with the settings of its business.
#[derive(QueryableByName)]
#[diesel(table_name = cache_warmup_queries)]
struct WarmupQuery {
    #[diesel(embed)]
    business: TenantSettings,
    role: String,
    resource: String,
    /// The text of a [`ReadRequest`].
    typed: String,
}

impl WarmupQuery {
    /// Returns its role, resource and request; `None` where this binary does not know one of them.
    fn parse(&self, resources: &'static [&'static Resource]) -> Option<(Role, &'static Resource, ReadRequest)> {
        let resource = resources.iter().find(|resource| resource.plural == self.resource)?;
        Some((Role::named(&self.role)?, resource, self.typed.parse().ok()?))
    }
}

/// Computes the queries that an earlier process saved, one after the other, for a few seconds at most; stops when other
/// work waits for the database. Takes the registry of all resources.
pub async fn warm_up(reads: Data<ReadService>, resources: &'static [&'static Resource]) {
    let (Some(cache), true) = (reads.cache.clone(), reads.warmup_queries > 0) else { return };
    let began = Instant::now();
    let read = reads.db.unscoped().read("cache_warmup_queries", |conn| {
        let sql = "SELECT q.business_id, b.country, b.time_zone, b.currency, q.role, q.resource, q.typed \
                   FROM cache_warmup_queries q JOIN businesses b ON b.id = q.business_id";
        Ok(Statement::new(sql).load::<WarmupQuery>(conn)?)
    });
    let Ok(saved) = read.await else { return };
    let mut warmed = 0;
    for saved in saved {
        // Requests come first.
        while reads.db.state().waiting > 0 && began.elapsed() <= WARM_UP {
            tokio::time::sleep(WARM_UP_PAUSE).await;
        }
        if began.elapsed() > WARM_UP {
            break;
        }
        let Some((role, resource, request)) = saved.parse(resources) else { continue };
        let business = saved.business;
        let Ok(query) = reads.parse_cached(resource, &business, request) else { continue };
        let Ok(round) = cache.round().await else { break };
        let tenant = Tenant::for_warmup(business.id, role);
        let key = query.key(&business, role, None);
        let asked = CacheQuery { key: &key, tags: &query.tags, ttl: reads.ttl(resource) };
        let compute = || compute_read(query.clone(), reads.clone(), tenant);
        warmed += usize::from(cache.refresh(asked, round, compute).await.is_ok());
    }
    tracing::info!(warmed, ms = began.elapsed().as_millis() as u64, "warmed up");
}
