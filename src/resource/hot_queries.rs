//! Records which queries are read most.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use uuid::Uuid;

use super::read_query::ReadQuery;
use super::read_request::ReadRequest;
use crate::auth::{Role, Tenant};
use crate::cache::Key;

/// One read in this many is recorded.
const SAMPLE_EVERY: u64 = 8;
/// Maximum queries recorded between two refreshes; further ones are ignored.
const MAX_HOT_QUERIES: usize = 2_000;
/// Maximum queries checked per refresh: the most recorded ones.
const MAX_REFRESHES: usize = 64;

/// Maximum queries in the long-term record.
const MAX_BUSY_QUERIES: usize = 5_000;
/// Longest query string that is saved, in bytes.
const MAX_QUERY_LEN: usize = 1_000;

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
pub(super) struct HotQuery {
    pub(super) query: Arc<ReadQuery>,
    pub(super) tenant: Tenant,
    times: u32,
}

impl HotQueries {
    pub fn record(&self, key: &Key, query: &Arc<ReadQuery>, tenant: &Tenant) {
        if !self.hits.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLE_EVERY) {
            return;
        }
        let mut noted = self.noted.lock();
        if let Some(known) = noted.get_mut(key) {
            known.times += 1;
        } else if noted.len() < MAX_HOT_QUERIES {
            noted.insert(key.clone(), HotQuery { query: query.clone(), tenant: tenant.clone(), times: 1 });
        }
    }

    /// Returns the queries recorded most since the last refresh, and clears that record.
    pub(super) fn drain_changed(&self) -> Vec<(Key, HotQuery)> {
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
    pub(super) fn busiest(&self, count: usize) -> Vec<SavedQuery> {
        let mut busy = self.busy.lock();
        let mut busiest: Vec<&HotQuery> =
            busy.values().filter(|noted| noted.query.is_free_of_personal_data()).collect();
        busiest.sort_unstable_by_key(|noted| std::cmp::Reverse(noted.times));
        let saved = busiest.into_iter().filter_map(|noted| {
            Some(SavedQuery {
                business: noted.tenant.id(),
                role: noted.tenant.role(),
                resource: noted.query.resource.plural,
                request: noted.query.request.clone().filter(|request| request.query().len() <= MAX_QUERY_LEN)?,
            })
        });
        let saved = saved.take(count).collect();
        busy.retain(|_, noted| {
            noted.times /= 2;
            noted.times > 0
        });
        saved
    }
}

/// A query as it is saved.
#[derive(Clone)]
pub(super) struct SavedQuery {
    pub(super) business: Uuid,
    pub(super) role: Role,
    pub(super) resource: &'static str,
    pub(super) request: ReadRequest,
}
