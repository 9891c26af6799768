//! Refresh-ahead of the response cache: recomputes frequent queries as soon as their version stamps change, before a
//! client asks for them.
//!
//! One read in a few is recorded. Periodically the most recorded queries are validated in one round, and those whose
//! cache entry is outdated are recomputed through the same single flight as client reads, as long as nothing else waits
//! for the database. The busiest queries are saved to the database and computed once when a process starts
//! ([`warm_up`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::web::Data;
use parking_lot::Mutex;
use uuid::Uuid;

use super::read_query::ReadQuery;
use super::{ReadService, Resource};
use crate::auth::{Role, Tenant, TenantSettings};
use crate::background::{Outcome, Pulse};
use crate::cache::Key;
use crate::db::{SqlValue, Statement};

/// One read in this many is recorded.
const SAMPLE_EVERY: u64 = 8;
/// Maximum queries recorded between two refreshes; further ones are ignored.
const MAX_HOT_QUERIES: usize = 2_000;
/// Maximum queries checked per refresh: the most recorded ones.
const MAX_REFRESHES: usize = 64;

/// Maximum queries in the long-term record.
const MAX_BUSY_QUERIES: usize = 5_000;
/// How often the busiest queries are saved to the database.
const SAVE_PERIOD: Duration = Duration::from_secs(60);
/// Longest query text that is saved, in bytes.
const MAX_QUERY_TEXT_LEN: usize = 1_000;
/// Time limit of the warm-up.
const WARM_UP: Duration = Duration::from_secs(5);

/// Records the most frequent queries.
#[derive(Default)]
pub struct HotQueries {
    hits: AtomicU64,
    /// Since the last refresh.
    noted: Mutex<HashMap<Key, HotQuery>>,
    /// Over several refreshes; counts are halved at each save.
    busy: Mutex<HashMap<Key, HotQuery>>,
}

#[derive(Clone)]
struct HotQuery {
    question: Arc<ReadQuery>,
    tenant: Tenant,
    times: u32,
}

impl HotQueries {
    pub fn record(&self, key: &Key, question: &Arc<ReadQuery>, tenant: &Tenant) {
        if !self.hits.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLE_EVERY) {
            return;
        }
        let mut noted = self.noted.lock();
        if let Some(known) = noted.get_mut(key) {
            known.times += 1;
        } else if noted.len() < MAX_HOT_QUERIES {
            noted.insert(key.clone(), HotQuery { question: question.clone(), tenant: tenant.clone(), times: 1 });
        }
    }

    /// Returns the queries recorded most since the last refresh, and clears that record.
    fn drain_changed(&self) -> Vec<(Key, HotQuery)> {
        let mut noted: Vec<(Key, HotQuery)> = std::mem::take(&mut *self.noted.lock()).into_iter().collect();
        noted.sort_unstable_by_key(|(_, noted)| std::cmp::Reverse(noted.times));
        noted.truncate(MAX_REFRESHES);
        let mut busy = self.busy.lock();
        for (key, noted) in &noted {
            if let Some(known) = busy.get_mut(key) {
                known.times += noted.times;
            } else if busy.len() < MAX_BUSY_QUERIES {
                busy.insert(key.clone(), noted.clone());
            }
        }
        noted
    }

    /// Returns the `count` busiest queries that may be saved, and halves all counts, so that older reads weigh less.
    fn busiest(&self, count: usize) -> Vec<Remembered> {
        let mut busy = self.busy.lock();
        let mut busiest: Vec<&HotQuery> =
            busy.values().filter(|noted| noted.question.is_free_of_personal_data()).collect();
        busiest.sort_unstable_by_key(|noted| std::cmp::Reverse(noted.times));
        let remembered =
            busiest.into_iter().filter(|noted| noted.question.query_text.len() <= MAX_QUERY_TEXT_LEN).take(count);
        let remembered = remembered.map(|noted| Remembered {
            business: noted.tenant.id(),
            role: noted.tenant.role(),
            resource: noted.question.resource.plural,
            typed: noted.question.query_text.clone(),
        });
        let remembered = remembered.collect();
        busy.retain(|_, noted| {
            noted.times /= 2;
            noted.times > 0
        });
        remembered
    }
}

/// A query as it is saved.
#[derive(Clone)]
struct Remembered {
    business: Uuid,
    role: Role,
    resource: &'static str,
    typed: String,
}

/// Refreshes hot queries every `period`, until the process ends. Returns at once without a cache.
pub async fn refresh(engine: Data<ReadService>, period: Duration, pulse: Pulse) -> Outcome {
    let Some(cache) = engine.cache.clone() else { return Ok(()) };
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut remembered = Instant::now();
    loop {
        ticks.tick().await;
        pulse.succeeded();
        if remembered.elapsed() >= SAVE_PERIOD {
            remembered = Instant::now();
            save_busiest(&engine).await;
        }
        let hot = engine.hot_queries.drain_changed();
        let scopes: Arc<[_]> = hot.iter().flat_map(|(_, noted)| &noted.question.tags).copied().collect();
        if scopes.is_empty() {
            continue;
        }
        // One validation round for all; each response is computed after it.
        let Ok(mut rest) = cache.validate(&scopes).await else { continue };
        for (key, noted) in hot {
            let stamp;
            (stamp, rest) = rest.split(noted.question.tags.len());
            // Client reads come first.
            if engine.db.state().waiting > 0 {
                break;
            }
            let (question, tenant) = (noted.question, noted.tenant);
            let ttl = engine.ttl(question.resource);
            let computing = cache.refresh(&key, ttl, stamp, || question.compute(engine.clone(), tenant));
            if let Err(error) = computing.await {
                tracing::debug!(%error, "a hot answer could not be refreshed");
            }
        }
    }
}

/// Saves the busiest queries, replacing those saved before.
async fn save_busiest(engine: &ReadService) {
    let busiest = engine.hot_queries.busiest(engine.warmup_queries);
    if busiest.is_empty() {
        return;
    }
    let written = engine.db.unscoped().write("cache_remember", move |tx| {
        Statement::new("DELETE FROM cache_warmup_queries").run(tx)?;
        let mut sql = Statement::new(
            "INSERT INTO cache_warmup_queries (business_id, role, resource, typed) SELECT * FROM unnest(",
        );
        let texts = |text: fn(&Remembered) -> String| SqlValue::Texts(busiest.iter().map(text).collect());
        sql.bind(SqlValue::Uuids(busiest.iter().map(|row| row.business).collect()));
        sql.push(", ").bind(texts(|row| row.role.name().to_owned()));
        sql.push(", ").bind(texts(|row| row.resource.to_owned()));
        sql.push(", ").bind(texts(|row| row.typed.clone())).push(") ON CONFLICT DO NOTHING");
        Ok(sql.run(tx)?)
    });
    if let Err(error) = written.await {
        tracing::debug!(%error, "the busiest questions could not be written down");
    }
}

/// Computes the queries that an earlier process saved, one after the other, for a few seconds at most; stops when other
/// work waits for the database. Takes the registry of all resources.
pub async fn warm_up(engine: Data<ReadService>, resources: &'static [&'static Resource]) {
    let (Some(cache), true) = (engine.cache.clone(), engine.warmup_queries > 0) else { return };
    let began = Instant::now();
    let read = engine.db.unscoped().read("cache_warmup_queries", |conn| {
        let sql = "SELECT b.id, b.country, b.time_zone, b.currency, q.role, q.resource, q.typed \
                   FROM cache_warmup_queries q JOIN businesses b ON b.id = q.business_id";
        Ok(Statement::new(sql).rows(conn)?)
    });
    let Ok(rows) = read.await else { return };
    let mut warmed = 0;
    for row in rows {
        if began.elapsed() > WARM_UP || engine.db.state().waiting > 0 {
            break;
        }
        let text = |index| row.text(index).unwrap_or_default();
        let owned = |index| text(index).to_owned();
        let business = TenantSettings {
            id: row.uuid(0).unwrap_or_default(),
            country: owned(1),
            time_zone: owned(2),
            currency: owned(3),
        };
        // Skips roles and resources that this binary does not know.
        let resource = resources.iter().find(|resource| resource.plural == text(5));
        let (Some(role), Some(resource)) = (Role::named(text(4)), resource) else { continue };
        let Ok(question) =
            engine.parse_cached(resource, &business, text(6), || super::http::typed(resource, text(6), &business))
        else {
            continue;
        };
        let scopes: Arc<[_]> = question.tags.as_slice().into();
        let Ok(stamp) = cache.validate(&scopes).await else { break };
        let tenant = Tenant::for_warmup(business.id, role);
        let key = question.key(&business, role, None);
        let ttl = engine.ttl(resource);
        warmed +=
            usize::from(cache.refresh(&key, ttl, stamp, || question.compute(engine.clone(), tenant)).await.is_ok());
    }
    tracing::info!(warmed, ms = began.elapsed().as_millis() as u64, "warmed up");
}
