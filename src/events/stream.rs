//! One stream: first what its reader has missed, page by page, then what comes, as it comes.
//!
//! Nothing is sent before the credential was looked at again, in a validation round after the events were read; so what is
//! sent was allowed when it happened to be read or later. A stream whose credential says something else by now ends.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use actix_web::web::{Bytes, Data};
use futures_util::Stream;
use futures_util::stream::unfold;

use super::hub::{self, Batch, Hub, Place};
use super::kinds::Kinds;
use super::log::{self, Seen};
use super::query::After;
use crate::auth::Tenant;
use crate::error::Result;
use crate::http::caller::Claim;

/// Events of a page of what was missed.
const PAGE: u32 = 500;
/// After how long a reader comes back whose stream has ended, in milliseconds: not all at once.
const RETRY: std::ops::Range<u32> = 500..3_000;

pub struct Follower {
    pub hub: Data<Hub>,
    pub place: Place,
    pub claim: Claim,
    pub tenant: Tenant,
    pub kinds: Kinds,
    /// All up to here was sent.
    pub position: i64,
}

struct Following {
    follower: Follower,
    /// Up to where pages must be read before what comes can be sent; `None`: it does not listen yet.
    listens_from: Option<i64>,
    begun: bool,
    over: bool,
    /// When it must say something.
    beats: Instant,
    /// When it is old.
    ends: Instant,
}

/// Why a stream is over does not matter to it: whoever follows comes back with the number of their last event.
struct Over;

impl Follower {
    pub fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + 'static {
        let now = Instant::now();
        let life = Duration::from_secs(self.hub.app.config.stream_minutes * 60);
        let beats = now + self.heartbeat();
        let following =
            Following { follower: self, listens_from: None, begun: false, over: false, beats, ends: now + life };
        unfold(following, |mut following| async move {
            let bytes = following.next().await?;
            Some((Ok(bytes), following))
        })
    }

    fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.hub.app.config.stream_heartbeat_seconds)
    }

    /// Looks at the credential again.
    async fn is_still_allowed(&mut self) -> Result<(), Over> {
        let now = self.claim.again().await.map_err(|_| Over)?;
        if !now.identity().is_as(self.claim.identity()) {
            return Err(Over);
        }
        self.claim = now;
        Ok(())
    }

    /// What of `batch` is to be sent.
    async fn part(&self, batch: &Batch) -> Result<Bytes, Over> {
        let seen = match self.tenant.sees_only() {
            None => None,
            Some(_) => {
                let about: Vec<_> = batch.events.iter().map(|event| event.about).collect();
                let tenant = self.tenant.clone();
                let _turn = self.hub.reads.acquire().await.map_err(|_| Over)?;
                let db = self.hub.app.db.within(&tenant);
                let seen = db.read("events_seen", move |conn| Seen::of(conn, &tenant, about.iter().copied()));
                Some(seen.await.map_err(|_| Over)?)
            }
        };
        let wanted = batch.events.iter().filter(|event| {
            event.sequence > self.position
                && self.kinds.has(event.about.kind)
                && seen.as_ref().is_none_or(|seen| seen.has(event.about))
        });
        // Runs of events that stand one after the other; as a rule one, of all.
        let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
        for event in wanted {
            match runs.last_mut() {
                Some(run) if run.end == event.at.start => run.end = event.at.end,
                _ => runs.push(event.at.clone()),
            }
        }
        Ok(match runs.as_slice() {
            [] => Bytes::new(),
            [run] => batch.bytes.slice(run.clone()),
            runs => runs.iter().flat_map(|run| batch.bytes[run.clone()].iter().copied()).collect(),
        })
    }
}

impl Following {
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        if !self.begun {
            self.begun = true;
            return Some(come_back());
        }
        loop {
            let done = match self.listens_from {
                Some(from) if self.follower.position >= from => self.live().await,
                _ => self.catch_up().await,
            };
            match done {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    self.beats = Instant::now() + self.follower.heartbeat();
                    return Some(bytes);
                }
                Err(Over) => {
                    self.over = true;
                    return Some(come_back());
                }
            }
        }
    }

    /// Sends a page of what was missed. At its end it listens, and reads what came in between.
    async fn catch_up(&mut self) -> Result<Bytes, Over> {
        let Self { follower, listens_from, ends, .. } = self;
        if Instant::now() >= *ends || follower.hub.is_closed() {
            return Err(Over);
        }
        let turn = follower.hub.reads.acquire().await.map_err(|_| Over)?;
        let (tenant, kinds, after) =
            (follower.tenant.clone(), follower.kinds.clone(), After::Number(follower.position));
        let db = follower.hub.app.db.within(&tenant);
        let page = db.read("events_missed", move |conn| log::page(conn, &tenant, after, &kinds, PAGE));
        let page = page.await.map_err(|_| Over)?;
        drop(turn);
        follower.is_still_allowed().await?;
        follower.position = page.reached.max(follower.position);
        if listens_from.is_none() && page.next().is_none() {
            *listens_from = Some(follower.place.listen(follower.position));
        }
        let mut bytes = Vec::with_capacity(page.events.len() * 512);
        page.events.iter().for_each(|event| hub::write(&mut bytes, event.sequence, event.about, &event.json));
        Ok(bytes.into())
    }

    /// Sends what comes, or says that there is nothing.
    async fn live(&mut self) -> Result<Bytes, Over> {
        let Self { follower, beats, ends, .. } = self;
        let wait = (*beats).min(*ends).saturating_duration_since(Instant::now());
        match tokio::time::timeout(wait, follower.place.next()).await {
            Ok(None) => Err(Over),
            Ok(Some(batch)) => {
                let part = follower.part(&batch).await?;
                if !part.is_empty() {
                    follower.is_still_allowed().await?;
                }
                follower.position = batch.reached.max(follower.position);
                Ok(part)
            }
            Err(_) if Instant::now() >= *ends => Err(Over),
            Err(_) => {
                follower.is_still_allowed().await?;
                if let Some(reached) = follower.place.reached() {
                    follower.position = reached.max(follower.position);
                }
                // A number without an event: whoever comes back later need not go through all that was not for them.
                Ok(format!(": heartbeat\nid: {}\n\n", follower.position).into())
            }
        }
    }
}

fn come_back() -> Bytes {
    format!("retry: {}\n\n", rand::random_range(RETRY)).into()
}
