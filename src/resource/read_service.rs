//! Shared state of every resource's operations: database, row loader, response cache, and the cache of parsed queries.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use super::Resource;
use super::args::ReadArgs;
use super::cache_refresh::HotQueries;
use super::read_query::{ReadQuery, ReadTarget};
use super::row_loader::RowLoader;
use crate::auth::TenantSettings;
use crate::base::error::Result;
use crate::cache::Cache;
use crate::db::{Db, PoolArgs};

/// Capacity of the cache of parsed queries, in bytes.
const MAX_PARSED_BYTES: u64 = 8 * 1024 * 1024;

/// Key of a parsed query: business, hash of its settings, resource, query text.
type QueryText = (Uuid, u64, &'static str, String);

pub struct ReadService {
    pub db: Db,
    pub row_loader: RowLoader,
    pub cache: Option<Arc<Cache>>,
    pub hot_queries: HotQueries,
    /// Whether hot queries are refreshed ahead.
    pub refreshes: bool,
    /// How many of the busiest queries are computed when a process starts.
    pub warmup_queries: usize,
    /// Maximum nesting depth of a JSON body.
    pub body_depth: usize,
    ttl: Vec<(String, u64)>,
    understood: moka::sync::Cache<QueryText, Arc<ReadQuery>, xxhash_rust::xxh3::Xxh3DefaultBuilder>,
}

impl ReadService {
    pub fn new(db: Db, cache: Option<Arc<Cache>>, args: &ReadArgs, pool: &PoolArgs, body_depth: usize) -> Self {
        let wait = Duration::from_millis(pool.db_wait_ms);
        // Single reads wait for a batch, not for a connection each, so more of them may wait.
        let coalescer = RowLoader::new(db.clone(), wait, pool.db_queue * 4);
        let understood = moka::sync::Cache::builder()
            .max_capacity(MAX_PARSED_BYTES)
            .weigher(|typed: &QueryText, _| (typed.3.len() * 2 + 1_000).try_into().unwrap_or(u32::MAX))
            .build_with_hasher(xxhash_rust::xxh3::Xxh3DefaultBuilder::new());
        Self {
            db,
            row_loader: coalescer,
            cache,
            hot_queries: HotQueries::default(),
            refreshes: args.cache_refresh_ms > 0,
            warmup_queries: args.cache_warmup_queries,
            body_depth,
            ttl: args.cache_ttl.clone(),
            understood,
        }
    }

    /// Returns how long responses of the resource are cached at most.
    pub fn ttl(&self, resource: &Resource) -> Duration {
        resource.cache_ttl_or(&self.ttl)
    }

    /// Returns the parsed form of a query text; calls `read` only if it is not cached. Errors: those of `read`.
    pub fn parse_cached(
        &self,
        resource: &'static Resource,
        business: &TenantSettings,
        typed: &str,
        read: impl FnOnce() -> Result<ReadTarget>,
    ) -> Result<Arc<ReadQuery>> {
        let typed = (business.id, business.settings(), resource.plural, typed.to_owned());
        if let Some(question) = self.understood.get(&typed) {
            return Ok(question);
        }
        Ok(Arc::new(ReadQuery::new(resource, read()?, business, &typed.3)))
    }

    /// Caches the parsed form of a query. For queries that repeat: those asked once are many and not worth it.
    pub fn cache_parsed(&self, business: &TenantSettings, question: &Arc<ReadQuery>) {
        if !question.is_cached.swap(true, Ordering::Relaxed) && !question.query_text.is_empty() {
            let typed = (business.id, business.settings(), question.resource.plural, question.query_text.clone());
            self.understood.insert(typed, question.clone());
        }
    }
}
