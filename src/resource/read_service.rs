//! Shared state of every resource's operations: database, row loader, response cache, and the cache of parsed queries.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use uuid::Uuid;

use super::definition::Resource;
use super::hot_queries::HotQueries;
use super::read_query::{ReadQuery, ReadTarget};
use super::read_request::ReadRequest;
use super::row_loader::RowLoader;
use crate::auth::TenantSettings;
use crate::base::error::Result;
use crate::cache::Cache as ResponseCache;
use crate::db::Db;

/// Capacity of the cache of parsed queries, in bytes.
const MAX_PARSED_BYTES: u64 = 8 * 1024 * 1024;

/// What a parsed query takes besides its text, in bytes, roughly.
const PARSED_BYTES: u64 = 1_000;

/// Key of a parsed query: business, hash of its settings, resource, request.
type ParsedKey = (Uuid, u64, &'static str, ReadRequest);

/// The bytes of a parsed query: its text is in the key and, parsed, in the value.
#[derive(Clone)]
struct ParsedBytes;

impl Weighter<ParsedKey, Arc<ReadQuery>> for ParsedBytes {
    fn weight(&self, key: &ParsedKey, _: &Arc<ReadQuery>) -> u64 {
        key.3.query().len() as u64 * 2 + PARSED_BYTES
    }
}

/// How resources are read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// How long a single read waits for a batch of the row loader to begin.
    pub db_wait: Duration,
    /// Maximum pending single reads of one resource; further ones get 503.
    pub max_pending_reads: usize,
    /// Whether hot queries are refreshed ahead.
    pub refreshes: bool,
    /// How many of the busiest queries are computed when a process starts.
    pub warmup_queries: usize,
    /// Maximum nesting depth of a JSON body.
    pub body_depth: usize,
    /// How long responses are cached at most: seconds, by the plural of the resource.
    pub cache_ttl: Vec<(String, u64)>,
}

/// What all operations of resources share.
pub struct ReadService {
    pub db: Db,
    pub row_loader: RowLoader,
    pub cache: Option<Arc<ResponseCache>>,
    pub hot_queries: HotQueries,
    /// Whether hot queries are refreshed ahead.
    pub refreshes: bool,
    /// How many of the busiest queries are computed when a process starts.
    pub warmup_queries: usize,
    /// Maximum nesting depth of a JSON body.
    pub body_depth: usize,
    ttl: Vec<(String, u64)>,
    parsed: Cache<ParsedKey, Arc<ReadQuery>, ParsedBytes, xxhash_rust::xxh3::Xxh3DefaultBuilder>,
}

impl ReadService {
    pub fn new(db: Db, cache: Option<Arc<ResponseCache>>, options: ReadOptions) -> Self {
        let row_loader = RowLoader::new(db.clone(), options.db_wait, options.max_pending_reads);
        let parsed = Cache::with(
            (MAX_PARSED_BYTES / PARSED_BYTES) as usize,
            MAX_PARSED_BYTES,
            ParsedBytes,
            xxhash_rust::xxh3::Xxh3DefaultBuilder::new(),
            DefaultLifecycle::default(),
        );
        Self {
            db,
            row_loader,
            cache,
            hot_queries: HotQueries::default(),
            refreshes: options.refreshes,
            warmup_queries: options.warmup_queries,
            body_depth: options.body_depth,
            ttl: options.cache_ttl,
            parsed,
        }
    }

    /// Returns how long responses of the resource are cached at most.
    pub fn ttl(&self, resource: &Resource) -> Duration {
        resource.cache_ttl_or(&self.ttl)
    }

    /// Returns the parsed form of a request, from the cache if it is there. Errors: those of [`ReadTarget::parse`].
    pub fn parse_cached(
        &self,
        resource: &'static Resource,
        business: &TenantSettings,
        request: ReadRequest,
    ) -> Result<Arc<ReadQuery>> {
        let key = (business.id, business.settings(), resource.plural, request);
        if let Some(query) = self.parsed.get(&key) {
            return Ok(query);
        }
        let (.., request) = key;
        let target = ReadTarget::parse(resource, &request, business)?;
        Ok(Arc::new(ReadQuery::new(resource, target, business, Some(request))))
    }

    /// Caches the parsed form of a query. For queries that repeat: those asked once are many and not worth it.
    pub fn cache_parsed(&self, business: &TenantSettings, query: &Arc<ReadQuery>) {
        if !query.is_cached.swap(true, Ordering::Relaxed)
            && let Some(request) = &query.request
        {
            let key = (business.id, business.settings(), query.resource.plural, request.clone());
            self.parsed.insert(key, query.clone());
        }
    }
}
