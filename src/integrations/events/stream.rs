//! One event stream: sends missed events page by page, then new events when they are published.
//!
//! Nothing is sent before the credential was revalidated, in a validation round after the events were read; so what is
//! sent was allowed when it was read or later. The stream ends when the credential is no longer valid or its rights
//! have changed.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use actix_web::web::{Bytes, Data};
use futures_util::Stream;
use futures_util::stream::unfold;

use super::broadcaster::{self, Batch, Broadcaster, Subscription};
use super::event_log::{self, VisibilityFilter};
use super::event_types::EventTypes;
use super::query::After;
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::http::caller::UnverifiedCaller;

/// Events per page of missed events.
const PAGE: u32 = 500;
/// Range of the delay before a client reconnects, in milliseconds; random, so that they do not all reconnect at once.
const RETRY: std::ops::Range<u32> = 500..3_000;

pub struct Subscriber {
    pub hub: Data<Broadcaster>,
    pub place: Subscription,
    pub claim: UnverifiedCaller,
    pub tenant: Tenant,
    pub kinds: EventTypes,
    /// All events up to this number were sent.
    pub position: i64,
}

struct Following {
    follower: Subscriber,
    /// Number up to which pages must be read before live batches can be sent; `None` before it subscribes.
    listens_from: Option<i64>,
    begun: bool,
    over: bool,
    /// When the next heartbeat is due.
    beats: Instant,
    /// When the stream reaches its maximum age.
    ends: Instant,
}

/// The end of the stream, without a reason: the client reconnects with the number of its last event in any case.
struct StreamClosed;

impl Subscriber {
    pub fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + 'static {
        let now = Instant::now();
        let life = Duration::from_secs(self.hub.app.config.events.stream_minutes * 60);
        let beats = now + self.heartbeat();
        let following =
            Following { follower: self, listens_from: None, begun: false, over: false, beats, ends: now + life };
        unfold(following, |mut following| async move {
            let bytes = following.next().await?;
            Some((Ok(bytes), following))
        })
    }

    fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.hub.app.config.events.stream_heartbeat_seconds)
    }

    /// Revalidates the credential. Errors: it is no longer valid, or its rights have changed.
    async fn is_still_allowed(&mut self) -> Result<(), StreamClosed> {
        let now = self.claim.revalidate().await.map_err(|_| StreamClosed)?;
        if !now.identity().is_as(self.claim.identity()) {
            return Err(StreamClosed);
        }
        self.claim = now;
        Ok(())
    }

    /// Returns the part of `batch` to send.
    async fn part(&self, batch: &Batch) -> Result<Bytes, StreamClosed> {
        let seen = match self.tenant.restricted_to_user() {
            None => None,
            Some(_) => {
                let about: Vec<_> = batch.events.iter().map(|event| event.about).collect();
                let tenant = self.tenant.clone();
                let _turn = self.hub.reads.acquire().await.map_err(|_| StreamClosed)?;
                let db = self.hub.app.db.for_tenant(&tenant);
                let seen =
                    db.read("events_seen", move |conn| VisibilityFilter::of(conn, &tenant, about.iter().copied()));
                Some(seen.await.map_err(|_| StreamClosed)?)
            }
        };
        let wanted = batch.events.iter().filter(|event| {
            event.sequence > self.position
                && self.kinds.has(event.about.kind)
                && seen.as_ref().is_none_or(|seen| seen.has(event.about))
        });
        // Ranges of adjacent events; as a rule one, the whole batch.
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
                Err(StreamClosed) => {
                    self.over = true;
                    return Some(come_back());
                }
            }
        }
    }

    /// Sends a page of missed events. After the last one it subscribes, and reads what was published in between.
    async fn catch_up(&mut self) -> Result<Bytes, StreamClosed> {
        let Self { follower, listens_from, ends, .. } = self;
        if Instant::now() >= *ends || follower.hub.is_closed() {
            return Err(StreamClosed);
        }
        let turn = follower.hub.reads.acquire().await.map_err(|_| StreamClosed)?;
        let (tenant, kinds, after) =
            (follower.tenant.clone(), follower.kinds.clone(), After::Number(follower.position));
        let db = follower.hub.app.db.for_tenant(&tenant);
        let page = db.read("events_missed", move |conn| event_log::page(conn, &tenant, after, &kinds, PAGE));
        let page = page.await.map_err(|_| StreamClosed)?;
        drop(turn);
        follower.is_still_allowed().await?;
        follower.position = page.reached.max(follower.position);
        if listens_from.is_none() && page.next().is_none() {
            *listens_from = Some(follower.place.listen(follower.position));
        }
        let mut bytes = Vec::with_capacity(page.events.len() * 512);
        page.events.iter().for_each(|event| broadcaster::write(&mut bytes, event.sequence, event.about, &event.json));
        Ok(bytes.into())
    }

    /// Sends the next batch, or a heartbeat.
    async fn live(&mut self) -> Result<Bytes, StreamClosed> {
        let Self { follower, beats, ends, .. } = self;
        let wait = (*beats).min(*ends).saturating_duration_since(Instant::now());
        match tokio::time::timeout(wait, follower.place.next()).await {
            Ok(None) => Err(StreamClosed),
            Ok(Some(batch)) => {
                let part = follower.part(&batch).await?;
                if !part.is_empty() {
                    follower.is_still_allowed().await?;
                }
                follower.position = batch.reached.max(follower.position);
                Ok(part)
            }
            Err(_) if Instant::now() >= *ends => Err(StreamClosed),
            Err(_) => {
                follower.is_still_allowed().await?;
                if let Some(reached) = follower.place.reached() {
                    follower.position = reached.max(follower.position);
                }
                // An id without an event: a client that reconnects later need not scan the events that were not for it.
                Ok(format!(": heartbeat\nid: {}\n\n", follower.position).into())
            }
        }
    }
}

fn come_back() -> Bytes {
    format!("retry: {}\n\n", rand::random_range(RETRY)).into()
}
