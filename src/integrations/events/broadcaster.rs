//! Broadcasts new events to all event streams of this process, with one reader for all of them.
//!
//! A stream subscribes to a business' channel and receives events from some number on. New events of a business go to
//! all subscribers as one batch, serialized once. A subscriber that does not take its batches in time is dropped: its
//! stream ends, and the client reconnects with the number of its last event.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use actix_web::web::Data;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use super::batch::Batch;
use super::event_types::EventTypes;
use super::settings::StreamSettings;
use crate::base::error::{Error, Result};
use crate::db::Db;

/// Concurrent reads of streams that catch up: clients that reconnect all at once must leave connections to other
/// requests.
const CATCHING_UP: usize = 4;

/// Signals that are queued for a stream, beside its events: what is shown for seconds is not worth more.
const MAX_QUEUED_SIGNALS: usize = 16;

pub struct Broadcaster {
    pub db: Db,
    pub settings: StreamSettings,
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
    broadcaster: Data<Broadcaster>,
    business: Uuid,
    queue: Arc<SubscriberQueue>,
}

struct SubscriberQueue {
    /// The event types that the stream wants.
    types: EventTypes,
    state: Mutex<State>,
    /// Notified when a batch is queued, and at the end.
    changed: Notify,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Arc<Batch>>,
    /// Number of events in these batches, without signals.
    events: usize,
    /// Number of signals among these batches.
    signals: usize,
    reached: i64,
    over: bool,
}

impl Broadcaster {
    pub fn new(db: Db, settings: StreamSettings) -> Self {
        Self { db, settings, reads: Semaphore::new(CATCHING_UP), channels: Mutex::default() }
    }

    /// Registers a stream of `types` of `business`. Errors: 429 when the business has too many streams; 503 when the
    /// process has too many, or drains.
    pub fn subscribe(this: &Data<Self>, business: Uuid, types: EventTypes) -> Result<Subscription> {
        let (most, most_each) = (this.settings.max_streams, this.settings.max_streams_per_business);
        let mut channels = this.channels.lock();
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
        let queue = SubscriberQueue { types, state: Mutex::default(), changed: Notify::new() };
        Ok(Subscription { broadcaster: this.clone(), business, queue: Arc::new(queue) })
    }

    /// Ends all streams; the clients reconnect to other processes.
    pub fn close(&self) {
        let mut channels = self.channels.lock();
        channels.closed = true;
        channels.of.values().flat_map(|channel| &channel.listening).for_each(|queue| queue.end());
    }

    pub fn is_closed(&self) -> bool {
        self.channels.lock().closed
    }

    /// Number of open streams.
    pub fn streams(&self) -> usize {
        self.channels.lock().streams
    }

    /// Businesses with subscribers, and the number up to which these were given all events.
    pub fn subscribed(&self) -> Vec<(Uuid, i64)> {
        let channels = self.channels.lock();
        let listening = channels.of.iter().filter(|(_, channel)| !channel.listening.is_empty());
        listening.map(|(business, channel)| (*business, channel.reached)).collect()
    }

    /// Gives `batch` to the subscribers that want some of it, and drops those that are too far behind.
    pub fn publish(&self, business: Uuid, batch: Batch) {
        let most = self.settings.max_queued_events;
        let mut channels = self.channels.lock();
        // The first subscriber may have set another position since the batch was read.
        let Some(channel) = channels.of.get_mut(&business).filter(|channel| channel.reached == batch.after) else {
            return;
        };
        channel.reached = batch.reached;
        let batch = Arc::new(batch);
        channel.listening.retain(|queue| queue.take(&batch, most));
    }
}

impl Broadcaster {
    /// Gives what is no event of the log to the subscribers of this process that want it. One that is behind goes without.
    pub fn signal(&self, business: Uuid, batch: Batch) {
        let batch = Arc::new(batch);
        let channels = self.channels.lock();
        let listening = channels.of.get(&business).into_iter().flat_map(|channel| &channel.listening);
        listening.for_each(|queue| queue.signal(&batch));
    }
}

impl Subscription {
    /// Starts to receive batches; all events up to `position` were sent. Returns the number up to which other
    /// subscribers were given all events: those in between must be read first.
    pub fn listen(&self, position: i64) -> i64 {
        let mut channels = self.broadcaster.channels.lock();
        if channels.closed {
            self.queue.end();
        }
        let channel = channels.of.entry(self.business).or_default();
        if channel.listening.is_empty() {
            channel.reached = position;
        }
        self.queue.state.lock().reached = channel.reached;
        channel.listening.push(self.queue.clone());
        channel.reached
    }

    /// Returns the next batch; `None` when the stream is over.
    pub async fn next(&self) -> Option<Arc<Batch>> {
        loop {
            {
                let mut state = self.queue.state.lock();
                if state.over {
                    return None;
                }
                if let Some(batch) = state.batches.pop_front() {
                    match batch.is_signal() {
                        true => state.signals -= 1,
                        false => state.events -= batch.events.len(),
                    }
                    return Some(batch);
                }
            }
            self.queue.changed.notified().await;
        }
    }

    /// Returns the number up to which nothing is left to send; `None` while batches are queued.
    pub fn reached(&self) -> Option<i64> {
        let state = self.queue.state.lock();
        state.batches.is_empty().then_some(state.reached)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut channels = self.broadcaster.channels.lock();
        channels.streams = channels.streams.saturating_sub(1);
        if let Some(channel) = channels.of.get_mut(&self.business) {
            channel.listening.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
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
        // A queue without events takes a batch of any size: batches are not split.
        if state.events > 0 && state.events + batch.events.len() > most {
            drop(state);
            self.end();
            return false;
        }
        state.reached = batch.reached;
        if self.types.intersects(&batch.types) {
            state.events += batch.events.len();
            state.batches.push_back(batch.clone());
            self.changed.notify_one();
        }
        true
    }

    /// Queues what is no event of the log, unless [`MAX_QUEUED_SIGNALS`] are queued.
    fn signal(&self, batch: &Arc<Batch>) {
        let mut state = self.state.lock();
        if state.signals < MAX_QUEUED_SIGNALS && self.types.intersects(&batch.types) {
            state.signals += 1;
            state.batches.push_back(batch.clone());
            self.changed.notify_one();
        }
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.over = true;
        state.batches.clear();
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::channels::conversations::CONVERSATIONS;
    use crate::integrations::events::event_types::{About, EventRegistry};
    use crate::integrations::events::stored_event::Event;
    use crate::resource::Resource;

    static RESOURCES: [&Resource; 1] = [&CONVERSATIONS];

    #[test]
    fn signals_are_few_and_end_no_stream() {
        let registry = EventRegistry::from_resources(&RESOURCES);
        let event_type = registry.stored("conversations", "updated").expect("a type");
        let about = About { event_type, row: Uuid::nil() };
        let types = registry.parse(["*"]).expect("types");
        let queue = SubscriberQueue { types, state: Mutex::default(), changed: Notify::new() };
        let signal = Arc::new(Batch::signal(registry, about, "conversation.typing", b"{}"));
        (0..MAX_QUEUED_SIGNALS + 5).for_each(|_| queue.signal(&signal));
        assert_eq!(queue.state.lock().batches.len(), MAX_QUEUED_SIGNALS);
        let event = |sequence| Event { sequence, about, created_at: Utc::now(), json: b"{}".to_vec() };
        let batch =
            |after, reached| Arc::new(Batch::of(registry, after, reached, (after + 1..=reached).map(event).collect()));
        assert!(queue.take(&batch(0, 3), 2), "the first batch may have any size");
        assert!(queue.take(&batch(3, 4), 4));
        assert!(!queue.take(&batch(4, 5), 4), "it is too far behind");
    }
}
