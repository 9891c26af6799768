//! All streams of a process, and the one reader that reads new events for them.
//!
//! A stream enters a business' channel and listens from some number on. What was read goes to all who listen as one batch,
//! written once. Whoever does not take their batches falls out: their stream ends, and they go on from where they were.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Bytes, Data};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use super::kinds::{About, Kinds};
use super::log::{Event, columns};
use crate::app::App;
use crate::db::{Statement, Value};
use crate::error::{Error, Result};
use crate::jobs::{Outcome, Pulse};
use crate::ops::log_limiter::LogLimiter;

/// Events of one business that are read at once.
const LARGEST_BATCH: usize = 500;
/// Businesses that are read at once; of more, those come first that have something new.
const MOST_AT_ONCE: usize = 16;
/// Reads of streams that catch up, at once: a crowd that comes back must leave connections to others.
const CATCHING_UP: usize = 4;

/// New events of a business, as streams send them.
pub struct Batch {
    /// The first is the next after this.
    after: i64,
    /// It tells all up to this number.
    pub reached: i64,
    pub events: Vec<Written>,
    /// Written one after the other.
    pub bytes: Bytes,
    kinds: Kinds,
}

/// An event, and where it stands in the bytes of its batch.
pub struct Written {
    pub sequence: i64,
    pub about: About,
    pub at: Range<usize>,
}

impl Batch {
    fn of(after: i64, reached: i64, events: Vec<Event>) -> Self {
        let (mut bytes, mut kinds) = (Vec::with_capacity(events.len() * 512), Kinds::none());
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

/// Writes an event as a stream has it. JSON has no line breaks outside of strings, and inside they are escaped.
pub fn write(out: &mut Vec<u8>, sequence: i64, about: About, json: &[u8]) {
    out.extend_from_slice(format!("id: {sequence}\nevent: {}\ndata: ", about.kind.name()).as_bytes());
    out.extend_from_slice(json);
    out.extend_from_slice(b"\n\n");
}

pub struct Hub {
    pub app: Data<App>,
    /// Whose turn it is to catch up.
    pub reads: Semaphore,
    channels: Mutex<Channels>,
}

#[derive(Default)]
struct Channels {
    of: HashMap<Uuid, Channel>,
    streams: usize,
    /// No more: the process is about to stop.
    closed: bool,
}

#[derive(Default)]
struct Channel {
    streams: usize,
    /// What listeners have been given.
    reached: i64,
    listening: Vec<Arc<Inbox>>,
}

/// A stream's place in its channel, which it leaves when it is dropped.
pub struct Place {
    hub: Data<Hub>,
    business: Uuid,
    inbox: Arc<Inbox>,
}

struct Inbox {
    /// What the stream wants.
    kinds: Kinds,
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Arc<Batch>>,
    /// In these batches.
    events: usize,
    reached: i64,
    over: bool,
}

impl Hub {
    pub fn open(app: Data<App>) -> Self {
        Self { app, reads: Semaphore::new(CATCHING_UP), channels: Mutex::default() }
    }

    /// A place for a stream of `kinds` of `business`. Errors: 429 when it has too many; 503 when the process has, or stops.
    pub fn enter(hub: &Data<Self>, business: Uuid, kinds: Kinds) -> Result<Place> {
        let (most, most_each) = (hub.app.config.streams, hub.app.config.streams_per_business);
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
        let inbox = Inbox { kinds, state: Mutex::default(), bell: Notify::new() };
        Ok(Place { hub: hub.clone(), business, inbox: Arc::new(inbox) })
    }

    /// Ends all streams; those who followed them go elsewhere.
    fn close(&self) {
        let mut channels = self.channels.lock();
        channels.closed = true;
        channels.of.values().flat_map(|channel| &channel.listening).for_each(|inbox| inbox.end());
    }

    pub fn is_closed(&self) -> bool {
        self.channels.lock().closed
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.channels.lock().streams
    }

    /// Businesses that have listeners, and up to where these have been given all.
    fn wanted(&self) -> Vec<(Uuid, i64)> {
        let channels = self.channels.lock();
        let listening = channels.of.iter().filter(|(_, channel)| !channel.listening.is_empty());
        listening.map(|(business, channel)| (*business, channel.reached)).collect()
    }

    /// Gives `batch` to all who listen and want something of it.
    fn publish(&self, business: Uuid, batch: Batch) {
        let most = self.app.config.stream_buffer;
        let mut channels = self.channels.lock();
        // Whoever has come since the batch was read may be elsewhere.
        let Some(channel) = channels.of.get_mut(&business).filter(|channel| channel.reached == batch.after) else {
            return;
        };
        channel.reached = batch.reached;
        let batch = Arc::new(batch);
        channel.listening.retain(|inbox| inbox.take(&batch, most));
    }

    /// Reads what is new. Queries: one or two for up to [`MOST_AT_ONCE`] businesses, however many streams there are.
    /// Returns whether there may be more.
    async fn read(&self) -> Result<bool> {
        let mut wanted = self.wanted();
        if wanted.len() > MOST_AT_ONCE {
            wanted = self.moved(wanted).await?;
        }
        let mut more = false;
        for some in wanted.chunks(MOST_AT_ONCE) {
            let mut sql = Statement::new(format!("SELECT k.id, {} FROM unnest(", columns()));
            sql.bind(Value::Uuids(some.iter().map(|(business, _)| *business).collect())).push(", ");
            sql.bind(Value::Ints(some.iter().map(|(_, reached)| *reached).collect()));
            sql.push(&format!(
                ") AS k (id, after) CROSS JOIN LATERAL (SELECT * FROM events e WHERE e.business_id = k.id \
                 AND e.sequence > k.after ORDER BY e.sequence LIMIT {LARGEST_BATCH}) e \
                 LEFT JOIN audit_log a ON a.business_id = e.business_id AND a.id = e.id ORDER BY k.id, e.sequence"
            ));
            let rows = self.app.db.across().read("events_read", move |conn| Ok(sql.rows(conn)?)).await?;
            for rows in rows.chunk_by(|a, b| a.uuid(0) == b.uuid(0)) {
                let business = rows.first().and_then(|row| row.uuid(0)).unwrap_or_default();
                let Some((_, after)) = some.iter().find(|(known, _)| *known == business) else { continue };
                let reached = rows.last().and_then(|row| row.int(2)).unwrap_or(*after);
                let events = rows.iter().filter_map(|row| Event::read(row, 1)).collect();
                more |= rows.len() == LARGEST_BATCH;
                self.publish(business, Batch::of(*after, reached, events));
            }
        }
        Ok(more)
    }

    /// Those of `wanted` that have something new.
    async fn moved(&self, wanted: Vec<(Uuid, i64)>) -> Result<Vec<(Uuid, i64)>> {
        let mut sql = Statement::new("SELECT k.id FROM unnest(");
        sql.bind(Value::Uuids(wanted.iter().map(|(business, _)| *business).collect())).push(", ");
        sql.bind(Value::Ints(wanted.iter().map(|(_, reached)| *reached).collect()));
        sql.push(
            ") AS k (id, after) WHERE (SELECT max(e.sequence) FROM events e WHERE e.business_id = k.id) > k.after",
        );
        let moved = self.app.db.across().read("events_moved", move |conn| Ok(sql.rows(conn)?)).await?;
        let moved: std::collections::HashSet<Uuid> = moved.iter().filter_map(|row| row.uuid(0)).collect();
        Ok(wanted.into_iter().filter(|(business, _)| moved.contains(business)).collect())
    }
}

/// Reads for all streams, as long as the process serves.
pub async fn keep_reading(hub: Data<Hub>, pulse: Pulse) -> Outcome {
    let rest = Duration::from_millis(hub.app.config.stream_poll_ms);
    let failures = LogLimiter::new();
    while !hub.app.life.is_draining() {
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
        let _ = tokio::time::timeout(rest, hub.app.bells.events.notified()).await;
    }
    hub.close();
    Ok(())
}

impl Place {
    /// Listens from `position` on, up to which all was sent. Returns up to where the others have been given all: what is in
    /// between must be read first.
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

    /// The next batch; `None` when the stream is over.
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

    /// Up to where there is nothing more to be sent; `None` while there is.
    pub fn reached(&self) -> Option<i64> {
        let state = self.inbox.state.lock();
        state.batches.is_empty().then_some(state.reached)
    }
}

impl Drop for Place {
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

impl Inbox {
    /// Takes `batch`, unless that would be more than `most` events; then it is over.
    fn take(&self, batch: &Arc<Batch>, most: usize) -> bool {
        let mut state = self.state.lock();
        // One batch is always taken: less could not be sent at once.
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
