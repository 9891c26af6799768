//! Broadcasts new events to all event streams of this process, with one reader for all of them.
//!
//! A stream subscribes to a business' channel and receives events from some number on. New events of a business go to
//! all subscribers as one batch, serialized once. A subscriber that does not take its batches in time is dropped: its
//! stream ends, and the client reconnects with the number of its last event.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Bytes, Data};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use super::event_log::{Event, columns};
use super::event_types::{About, EventTypes};
use crate::app::state::AppState;
use crate::background::{Outcome, Pulse};
use crate::base::error::{Error, Result};
use crate::base::telemetry::log_limiter::LogLimiter;
use crate::db::{SqlValue, Statement};

/// Events of one business per read.
const MAX_BATCH: usize = 500;
/// Businesses per query. When more have subscribers, those without new events are left out first.
const MAX_CONCURRENT_READS: usize = 16;
/// Concurrent reads of streams that catch up: clients that reconnect all at once must leave connections to other
/// requests.
const CATCHING_UP: usize = 4;

/// New events of a business, serialized for streams.
pub struct Batch {
    /// The number before the first one that was read.
    after: i64,
    /// The batch is complete up to this number.
    pub reached: i64,
    pub events: Vec<Written>,
    /// The events, serialized one after the other.
    pub bytes: Bytes,
    kinds: EventTypes,
}

/// An event and its byte range in the batch.
pub struct Written {
    pub sequence: i64,
    pub about: About,
    pub at: Range<usize>,
}

impl Batch {
    fn of(after: i64, reached: i64, events: Vec<Event>) -> Self {
        let (mut bytes, mut kinds) = (Vec::with_capacity(events.len() * 512), EventTypes::none());
        let mut written = Vec::with_capacity(events.len());
        for Event { sequence, about, json } in events {
            let begins = bytes.len();
            write(&mut bytes, sequence, about, &json);
            kinds.add(about.kind);
            written.push(Written { sequence, about, at: begins..bytes.len() });
        }
        Self { after, reached, events: written, bytes: bytes.into(), kinds }
    }
}

/// Writes an event in the format of the stream. JSON has no line breaks outside of strings, and inside they are
/// escaped.
pub fn write(out: &mut Vec<u8>, sequence: i64, about: About, json: &[u8]) {
    out.extend_from_slice(format!("id: {sequence}\nevent: {}\ndata: ", about.kind.name()).as_bytes());
    out.extend_from_slice(json);
    out.extend_from_slice(b"\n\n");
}

pub struct Broadcaster {
    pub app: Data<AppState>,
    /// Permits for reads of streams that catch up.
    pub reads: Semaphore,
    channels: Mutex<Channels>,
}

#[derive(Default)]
struct Channels {
    of: HashMap<Uuid, Channel>,
    streams: usize,
    /// Set when the process drains: new streams are refused.
    closed: bool,
}

#[derive(Default)]
struct Channel {
    streams: usize,
    /// Number up to which events were given to the subscribers.
    reached: i64,
    listening: Vec<Arc<SubscriberQueue>>,
}

/// A stream's subscription to a channel, which ends when it is dropped.
pub struct Subscription {
    hub: Data<Broadcaster>,
    business: Uuid,
    inbox: Arc<SubscriberQueue>,
}

struct SubscriberQueue {
    /// The event types that the stream wants.
    kinds: EventTypes,
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Arc<Batch>>,
    /// Number of events in these batches.
    events: usize,
    reached: i64,
    over: bool,
}

impl Broadcaster {
    pub fn open(app: Data<AppState>) -> Self {
        Self { app, reads: Semaphore::new(CATCHING_UP), channels: Mutex::default() }
    }

    /// Registers a stream of `kinds` of `business`. Errors: 429 when the business has too many streams; 503 when the
    /// process has too many, or drains.
    pub fn enter(hub: &Data<Self>, business: Uuid, kinds: EventTypes) -> Result<Subscription> {
        let (most, most_each) =
            (hub.app.config.events.max_event_streams, hub.app.config.events.max_event_streams_per_business);
        let mut channels = hub.channels.lock();
        let full = |code, detail: String| Err(Error::Unavailable { code, detail, after: 5 });
        if channels.closed {
            return full("draining", "This process is about to stop. Try again: another will answer.".into());
        }
        if channels.streams >= most {
            return full(
                "streams_full",
                format!("There are {most} streams already, which is all that this process keeps."),
            );
        }
        let channel = channels.of.entry(business).or_default();
        if channel.streams >= most_each {
            let detail = format!("The business has {most_each} streams already. End one of them first.");
            return Err(Error::TooMany { code: "too_many_streams", detail, after: 30 });
        }
        channel.streams += 1;
        channels.streams += 1;
        let inbox = SubscriberQueue { kinds, state: Mutex::default(), bell: Notify::new() };
        Ok(Subscription { hub: hub.clone(), business, inbox: Arc::new(inbox) })
    }

    /// Ends all streams; the clients reconnect to other processes.
    fn close(&self) {
        let mut channels = self.channels.lock();
        channels.closed = true;
        channels.of.values().flat_map(|channel| &channel.listening).for_each(|inbox| inbox.end());
    }

    pub fn is_closed(&self) -> bool {
        self.channels.lock().closed
    }

    /// Number of open streams.
    pub fn streams(&self) -> usize {
        self.channels.lock().streams
    }

    /// Businesses with subscribers, and the number up to which these were given all events.
    fn wanted(&self) -> Vec<(Uuid, i64)> {
        let channels = self.channels.lock();
        let listening = channels.of.iter().filter(|(_, channel)| !channel.listening.is_empty());
        listening.map(|(business, channel)| (*business, channel.reached)).collect()
    }

    /// Gives `batch` to the subscribers that want some of it, and drops those that are too far behind.
    fn publish(&self, business: Uuid, batch: Batch) {
        let most = self.app.config.events.stream_buffer;
        let mut channels = self.channels.lock();
        // The first subscriber may have set another position since the batch was read.
        let Some(channel) = channels.of.get_mut(&business).filter(|channel| channel.reached == batch.after) else {
            return;
        };
        channel.reached = batch.reached;
        let batch = Arc::new(batch);
        channel.listening.retain(|inbox| inbox.take(&batch, most));
    }

    /// Reads and publishes new events. Queries: one for each [`MAX_CONCURRENT_READS`] businesses and at most one more,
    /// however many streams there are. Returns whether there may be more.
    async fn read(&self) -> Result<bool> {
        let mut wanted = self.wanted();
        if wanted.len() > MAX_CONCURRENT_READS {
            wanted = self.moved(wanted).await?;
        }
        let mut more = false;
        for some in wanted.chunks(MAX_CONCURRENT_READS) {
            let mut sql = Statement::new(format!("SELECT k.id, {} FROM unnest(", columns()));
            sql.bind(SqlValue::Uuids(some.iter().map(|(business, _)| *business).collect())).push(", ");
            sql.bind(SqlValue::Ints(some.iter().map(|(_, reached)| *reached).collect()));
            sql.push(&format!(
                ") AS k (id, after) CROSS JOIN LATERAL (SELECT * FROM events e WHERE e.business_id = k.id \
                 AND e.sequence > k.after ORDER BY e.sequence LIMIT {MAX_BATCH}) e \
                 LEFT JOIN audit_log a ON a.business_id = e.business_id AND a.id = e.id ORDER BY k.id, e.sequence"
            ));
            let rows = self.app.db.unscoped().read("events_read", move |conn| Ok(sql.rows(conn)?)).await?;
            for rows in rows.chunk_by(|a, b| a.uuid(0) == b.uuid(0)) {
                let business = rows.first().and_then(|row| row.uuid(0)).unwrap_or_default();
                let Some((_, after)) = some.iter().find(|(known, _)| *known == business) else { continue };
                let reached = rows.last().and_then(|row| row.int(2)).unwrap_or(*after);
                let events = rows.iter().filter_map(|row| Event::read(row, 1)).collect();
                more |= rows.len() == MAX_BATCH;
                self.publish(business, Batch::of(*after, reached, events));
            }
        }
        Ok(more)
    }

    /// Returns those of `wanted` that have new events.
    async fn moved(&self, wanted: Vec<(Uuid, i64)>) -> Result<Vec<(Uuid, i64)>> {
        let mut sql = Statement::new("SELECT k.id FROM unnest(");
        sql.bind(SqlValue::Uuids(wanted.iter().map(|(business, _)| *business).collect())).push(", ");
        sql.bind(SqlValue::Ints(wanted.iter().map(|(_, reached)| *reached).collect()));
        sql.push(
            ") AS k (id, after) WHERE (SELECT max(e.sequence) FROM events e WHERE e.business_id = k.id) > k.after",
        );
        let moved = self.app.db.unscoped().read("events_moved", move |conn| Ok(sql.rows(conn)?)).await?;
        let moved: std::collections::HashSet<Uuid> = moved.iter().filter_map(|row| row.uuid(0)).collect();
        Ok(wanted.into_iter().filter(|(business, _)| moved.contains(business)).collect())
    }
}

/// Reads for all streams until the process drains, then ends them.
pub async fn keep_reading(hub: Data<Broadcaster>, pulse: Pulse) -> Outcome {
    let rest = Duration::from_millis(hub.app.config.events.stream_poll_ms);
    let failures = LogLimiter::new();
    while !hub.app.lifecycle.is_draining() {
        match hub.read().await {
            Ok(more) => {
                pulse.succeeded();
                failures.recovered();
                if more {
                    continue;
                }
            }
            Err(error) => {
                pulse.failed(error.to_string());
                if let Some(suppressed) = failures.failed_with(&error) {
                    tracing::warn!(%error, suppressed, "events could not be read");
                }
            }
        }
        let _ = tokio::time::timeout(rest, hub.app.wakers.events.notified()).await;
    }
    hub.close();
    Ok(())
}

impl Subscription {
    /// Starts to receive batches; all events up to `position` were sent. Returns the number up to which other
    /// subscribers were given all events: those in between must be read first.
    pub fn listen(&self, position: i64) -> i64 {
        let mut channels = self.hub.channels.lock();
        if channels.closed {
            self.inbox.end();
        }
        let channel = channels.of.entry(self.business).or_default();
        if channel.listening.is_empty() {
            channel.reached = position;
        }
        self.inbox.state.lock().reached = channel.reached;
        channel.listening.push(self.inbox.clone());
        channel.reached
    }

    /// Returns the next batch; `None` when the stream is over.
    pub async fn next(&self) -> Option<Arc<Batch>> {
        loop {
            {
                let mut state = self.inbox.state.lock();
                if state.over {
                    return None;
                }
                if let Some(batch) = state.batches.pop_front() {
                    state.events -= batch.events.len();
                    return Some(batch);
                }
            }
            self.inbox.bell.notified().await;
        }
    }

    /// Returns the number up to which nothing is left to send; `None` while batches are queued.
    pub fn reached(&self) -> Option<i64> {
        let state = self.inbox.state.lock();
        state.batches.is_empty().then_some(state.reached)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut channels = self.hub.channels.lock();
        channels.streams = channels.streams.saturating_sub(1);
        if let Some(channel) = channels.of.get_mut(&self.business) {
            channel.listening.retain(|inbox| !Arc::ptr_eq(inbox, &self.inbox));
            channel.streams = channel.streams.saturating_sub(1);
            if channel.streams == 0 {
                channels.of.remove(&self.business);
            }
        }
    }
}

impl SubscriberQueue {
    /// Queues `batch`; ends the stream instead when more than `most` events would be queued.
    fn take(&self, batch: &Arc<Batch>, most: usize) -> bool {
        let mut state = self.state.lock();
        // An empty queue takes a batch of any size: batches are not split.
        if !state.batches.is_empty() && state.events + batch.events.len() > most {
            drop(state);
            self.end();
            return false;
        }
        state.reached = batch.reached;
        if self.kinds.meets(&batch.kinds) {
            state.events += batch.events.len();
            state.batches.push_back(batch.clone());
            self.bell.notify_one();
        }
        true
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.over = true;
        state.batches.clear();
        self.bell.notify_one();
    }
}
