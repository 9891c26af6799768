//! What the operations of every noun work with.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use super::Noun;
use super::ahead::Hot;
use super::coalesce::Coalescer;
use super::question::{Question, What};
use crate::auth::Business;
use crate::cache::Cache;
use crate::config::Config;
use crate::db::Db;
use crate::error::Result;

/// Bytes of understood questions that are remembered.
const REMEMBERED: u64 = 8 * 1024 * 1024;

/// A question as it was typed: by which business, under which of its settings, about what.
type Typed = (Uuid, u64, &'static str, String);

pub struct Engine {
    pub db: Db,
    pub coalescer: Coalescer,
    pub cache: Option<Arc<Cache>>,
    pub hot: Hot,
    /// Whether hot answers are refreshed ahead.
    pub refreshes: bool,
    /// How many of the busiest questions are asked when a process starts.
    pub warms: usize,
    /// Deepest nesting of a JSON body.
    pub body_depth: usize,
    ttl: Vec<(String, u64)>,
    understood: moka::sync::Cache<Typed, Arc<Question>, xxhash_rust::xxh3::Xxh3DefaultBuilder>,
}

impl Engine {
    pub fn new(db: Db, cache: Option<Arc<Cache>>, config: &Config) -> Self {
        let wait = Duration::from_millis(config.db_wait_ms);
        // Single reads wait for a round, not for a connection each, so more of them may.
        let coalescer = Coalescer::new(db.clone(), wait, config.db_queue * 4);
        let understood = moka::sync::Cache::builder()
            .max_capacity(REMEMBERED)
            .weigher(|typed: &Typed, _| (typed.3.len() * 2 + 1_000).try_into().unwrap_or(u32::MAX))
            .build_with_hasher(xxhash_rust::xxh3::Xxh3DefaultBuilder::new());
        Self {
            db,
            coalescer,
            cache,
            hot: Hot::default(),
            refreshes: config.cache_refresh_ms > 0,
            warms: config.cache_warm,
            body_depth: config.body_depth,
            ttl: config.cache_ttl.clone(),
            understood,
        }
    }

    /// How long answers of `noun` are kept at most.
    pub fn ttl(&self, noun: &Noun) -> Duration {
        noun.kept(&self.ttl)
    }

    /// What `typed` asks of `noun`; `read` is only needed where it was not understood lately. Errors: those of `read`.
    pub fn understand(
        &self,
        noun: &'static Noun,
        business: &Business,
        typed: &str,
        read: impl FnOnce() -> Result<What>,
    ) -> Result<Arc<Question>> {
        let typed = (business.id, business.settings(), noun.plural, typed.to_owned());
        if let Some(question) = self.understood.get(&typed) {
            return Ok(question);
        }
        Ok(Arc::new(Question::new(noun, read()?, business, &typed.3)))
    }

    /// Remembers how `question` is to be understood, so that it need not be read again. For what is asked repeatedly: of
    /// what is asked once there is much, and it is not worth it.
    pub fn remember(&self, business: &Business, question: &Arc<Question>) {
        if !question.remembered.swap(true, Ordering::Relaxed) && !question.typed.is_empty() {
            let typed = (business.id, business.settings(), question.noun.plural, question.typed.clone());
            self.understood.insert(typed, question.clone());
        }
    }
}
