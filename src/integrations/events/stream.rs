//! One event stream: sends missed events page by page, then new events when they are published.
//!
//! Nothing is sent before the credential was revalidated, in a validation round after the events were read; so what is
//! sent was allowed when it was read or later. The stream ends when the credential is no longer valid or its rights
//! have changed.

use std::convert::Infallible;
use std::time::Instant;

use actix_web::web::{Bytes, Data};
use futures_util::Stream;
use futures_util::stream::unfold;

use super::batch::{self, Batch};
use super::broadcaster::{Broadcaster, Subscription};
use super::event_log::{self, VisibilityFilter};
use super::event_types::EventTypes;
use super::query::After;
use super::settings::StreamSettings;
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::http::caller::UnverifiedCaller;

/// Events per page of missed events.
const PAGE: u32 = 500;
/// Range of the delay before a client reconnects, in milliseconds; random, so that they do not all reconnect at once.
const RETRY: std::ops::Range<u32> = 500..3_000;

pub struct Subscriber {
    pub broadcaster: Data<Broadcaster>,
    pub subscription: Subscription,
    pub caller: UnverifiedCaller,
    pub tenant: Tenant,
    pub types: EventTypes,
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
        let StreamSettings { heartbeat, max_age, .. } = self.broadcaster.settings;
        let (beats, ends) = (now + heartbeat, now + max_age);
        let following = Following { follower: self, listens_from: None, begun: false, over: false, beats, ends };
        unfold(following, |mut following| async move {
            let bytes = following.next().await?;
            Some((Ok(bytes), following))
        })
    }

    /// Revalidates the credential. Errors: it is no longer valid, or its rights have changed.
    async fn is_still_allowed(&mut self) -> Result<(), StreamClosed> {
        let now = self.caller.revalidate().await.map_err(|_| StreamClosed)?;
        if !now.identity().is_as(self.caller.identity()) {
            return Err(StreamClosed);
        }
        self.caller = now;
        Ok(())
    }

    /// Returns the part of `batch` to send.
    async fn part(&self, batch: &Batch) -> Result<Bytes, StreamClosed> {
        let seen = match self.tenant.restricted_to_user() {
            None => None,
            Some(_) => {
                let about: Vec<_> = batch.events.iter().map(|event| event.about).collect();
                let tenant = self.tenant.clone();
                let _turn = self.broadcaster.reads.acquire().await.map_err(|_| StreamClosed)?;
                let db = self.broadcaster.db.for_tenant(&tenant);
                let seen = db
                    .read("events_visibility", move |conn| VisibilityFilter::of(conn, &tenant, about.iter().copied()));
                Some(seen.await.map_err(|_| StreamClosed)?)
            }
        };
        let wanted = batch.events.iter().filter(|event| {
            event.sequence > self.position
                && self.types.has(event.about.event_type)
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
                    self.beats = Instant::now() + self.follower.broadcaster.settings.heartbeat;
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
        if Instant::now() >= *ends || follower.broadcaster.is_closed() {
            return Err(StreamClosed);
        }
        let turn = follower.broadcaster.reads.acquire().await.map_err(|_| StreamClosed)?;
        let (tenant, types, after) =
            (follower.tenant.clone(), follower.types.clone(), After::Number(follower.position));
        let db = follower.broadcaster.db.for_tenant(&tenant);
        let page = db.read("events_catch_up", move |conn| event_log::page(conn, &tenant, after, &types, PAGE));
        let page = page.await.map_err(|_| StreamClosed)?;
        drop(turn);
        follower.is_still_allowed().await?;
        follower.position = page.reached.max(follower.position);
        if listens_from.is_none() && page.next().is_none() {
            *listens_from = Some(follower.subscription.listen(follower.position));
        }
        let mut bytes = Vec::with_capacity(page.events.len() * 512);
        page.events.iter().for_each(|event| batch::write(&mut bytes, event.sequence, event.about, &event.json));
        Ok(bytes.into())
    }

    /// Sends the next batch, or a heartbeat.
    async fn live(&mut self) -> Result<Bytes, StreamClosed> {
        let Self { follower, beats, ends, .. } = self;
        let wait = (*beats).min(*ends).saturating_duration_since(Instant::now());
        match tokio::time::timeout(wait, follower.subscription.next()).await {
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
                if let Some(reached) = follower.subscription.reached() {
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
