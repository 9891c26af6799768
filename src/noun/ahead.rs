//! Refresh ahead: what is asked for often is computed again as soon as its versions have moved, before anyone waits for it.
//!
//! One hit in a few is noted. Now and then the questions noted most are validated together, and those whose entry is
//! superseded are answered again, through the same door as readers (single-flight), and only while the database has
//! nothing else waiting. The busiest questions of some time are remembered in the database, and asked once when a process
//! starts ([`warm_up`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::web::Data;
use parking_lot::Mutex;
use uuid::Uuid;

use super::question::Question;
use super::{Engine, Noun};
use crate::auth::{Business, Role, Tenant};
use crate::cache::Key;
use crate::db::{Statement, Value};
use crate::jobs::{Outcome, Pulse};

/// One hit in so many is noted.
const NOTED: u64 = 8;
/// Questions noted between two looks; more are not.
const MOST_NOTED: usize = 2_000;
/// Questions looked at in one turn: those noted most.
const MOST_REFRESHED: usize = 64;

/// Questions of some time that are kept in mind.
const MOST_BUSY: usize = 5_000;
/// How often the busiest are written down.
const REMEMBERED_EVERY: Duration = Duration::from_secs(60);
/// Longest question that is written down, in bytes.
const LONGEST: usize = 1_000;
/// Time that a warm-up may take.
const WARM_UP: Duration = Duration::from_secs(5);

/// The questions that were asked most.
#[derive(Default)]
pub struct Hot {
    hits: AtomicU64,
    /// Since the last look.
    noted: Mutex<HashMap<Key, Noted>>,
    /// Of some time, fading.
    busy: Mutex<HashMap<Key, Noted>>,
}

#[derive(Clone)]
struct Noted {
    question: Arc<Question>,
    tenant: Tenant,
    times: u32,
}

impl Hot {
    pub fn note(&self, key: &Key, question: &Arc<Question>, tenant: &Tenant) {
        if !self.hits.fetch_add(1, Ordering::Relaxed).is_multiple_of(NOTED) {
            return;
        }
        let mut noted = self.noted.lock();
        if let Some(known) = noted.get_mut(key) {
            known.times += 1;
        } else if noted.len() < MOST_NOTED {
            noted.insert(key.clone(), Noted { question: question.clone(), tenant: tenant.clone(), times: 1 });
        }
    }

    /// The questions noted most, and a clean page.
    fn take(&self) -> Vec<(Key, Noted)> {
        let mut noted: Vec<(Key, Noted)> = std::mem::take(&mut *self.noted.lock()).into_iter().collect();
        noted.sort_unstable_by_key(|(_, noted)| std::cmp::Reverse(noted.times));
        noted.truncate(MOST_REFRESHED);
        let mut busy = self.busy.lock();
        for (key, noted) in &noted {
            if let Some(known) = busy.get_mut(key) {
                known.times += noted.times;
            } else if busy.len() < MOST_BUSY {
                busy.insert(key.clone(), noted.clone());
            }
        }
        noted
    }

    /// The busiest `count` of some time, as they can be written down; what is older counts for half from now on.
    fn busiest(&self, count: usize) -> Vec<Remembered> {
        let mut busy = self.busy.lock();
        let mut busiest: Vec<&Noted> = busy.values().filter(|noted| noted.question.is_impersonal()).collect();
        busiest.sort_unstable_by_key(|noted| std::cmp::Reverse(noted.times));
        let remembered = busiest.into_iter().filter(|noted| noted.question.typed.len() <= LONGEST).take(count);
        let remembered = remembered.map(|noted| Remembered {
            business: noted.tenant.id(),
            role: noted.tenant.role(),
            noun: noted.question.noun.plural,
            typed: noted.question.typed.clone(),
        });
        let remembered = remembered.collect();
        busy.retain(|_, noted| {
            noted.times /= 2;
            noted.times > 0
        });
        remembered
    }
}

/// A question as it is written down.
#[derive(Clone)]
struct Remembered {
    business: Uuid,
    role: Role,
    noun: &'static str,
    typed: String,
}

/// Looks every `period`, for as long as the process lives.
pub async fn refresh(engine: Data<Engine>, period: Duration, pulse: Pulse) -> Outcome {
    let Some(cache) = engine.cache.clone() else { return Ok(()) };
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut remembered = Instant::now();
    loop {
        ticks.tick().await;
        pulse.succeeded();
        if remembered.elapsed() >= REMEMBERED_EVERY {
            remembered = Instant::now();
            remember(&engine).await;
        }
        let hot = engine.hot.take();
        let scopes: Arc<[_]> = hot.iter().flat_map(|(_, noted)| &noted.question.scopes).copied().collect();
        if scopes.is_empty() {
            continue;
        }
        // One round for all; each answer is computed after it.
        let Ok(mut rest) = cache.validate(&scopes).await else { continue };
        for (key, noted) in hot {
            let stamp;
            (stamp, rest) = rest.split(noted.question.scopes.len());
            // Readers come first.
            if engine.db.state().waiting > 0 {
                break;
            }
            let (question, tenant) = (noted.question, noted.tenant);
            let ttl = engine.ttl(question.noun);
            let computing = cache.refresh(&key, ttl, stamp, || question.compute(engine.clone(), tenant));
            if let Err(error) = computing.await {
                tracing::debug!(%error, "a hot answer could not be refreshed");
            }
        }
    }
}

/// Writes the busiest questions down, in place of those before.
async fn remember(engine: &Engine) {
    let busiest = engine.hot.busiest(engine.warms);
    if busiest.is_empty() {
        return;
    }
    let written = engine.db.across().write("cache_remember", move |tx| {
        Statement::new("DELETE FROM cache_questions").run(tx)?;
        let mut sql =
            Statement::new("INSERT INTO cache_questions (business_id, role, noun, typed) SELECT * FROM unnest(");
        let texts = |text: fn(&Remembered) -> String| Value::Texts(busiest.iter().map(text).collect());
        sql.bind(Value::Uuids(busiest.iter().map(|row| row.business).collect()));
        sql.push(", ").bind(texts(|row| row.role.name().to_owned()));
        sql.push(", ").bind(texts(|row| row.noun.to_owned()));
        sql.push(", ").bind(texts(|row| row.typed.clone())).push(") ON CONFLICT DO NOTHING");
        Ok(sql.run(tx)?)
    });
    if let Err(error) = written.await {
        tracing::debug!(%error, "the busiest questions could not be written down");
    }
}

/// Asks what was asked most before this process began: one question after the other, for a few seconds at most.
/// `nouns` are those that there are.
pub async fn warm_up(engine: Data<Engine>, nouns: &'static [&'static Noun]) {
    let (Some(cache), true) = (engine.cache.clone(), engine.warms > 0) else { return };
    let began = Instant::now();
    let read = engine.db.across().read("cache_questions", |conn| {
        let sql = "SELECT b.id, b.country, b.time_zone, b.currency, q.role, q.noun, q.typed \
                   FROM cache_questions q JOIN businesses b ON b.id = q.business_id";
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
        let business = Business {
            id: row.uuid(0).unwrap_or_default(),
            country: owned(1),
            time_zone: owned(2),
            currency: owned(3),
        };
        // What this binary does not know any more is left out.
        let noun = nouns.iter().find(|noun| noun.plural == text(5));
        let (Some(role), Some(noun)) = (Role::named(text(4)), noun) else { continue };
        let Ok(question) = engine.understand(noun, &business, text(6), || super::http::typed(noun, text(6), &business))
        else {
            continue;
        };
        let scopes: Arc<[_]> = question.scopes.as_slice().into();
        let Ok(stamp) = cache.validate(&scopes).await else { break };
        let tenant = Tenant::of_memory(business.id, role);
        let key = question.key(&business, role, None);
        let ttl = engine.ttl(noun);
        warmed +=
            usize::from(cache.refresh(&key, ttl, stamp, || question.compute(engine.clone(), tenant)).await.is_ok());
    }
    tracing::info!(warmed, ms = began.elapsed().as_millis() as u64, "warmed up");
}
