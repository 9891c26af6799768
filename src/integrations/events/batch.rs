//! A batch of new events of one business, serialized once for all its streams.

use std::ops::Range;

use actix_web::web::Bytes;

use super::event_types::{About, EventRegistry, EventTypes};
use super::stored_event::Event;

/// New events of a business, serialized for streams.
pub struct Batch {
    /// The number before the first one that was read.
    pub after: i64,
    /// The batch is complete up to this number.
    pub reached: i64,
    pub events: Vec<Written>,
    /// The events, serialized one after the other.
    pub bytes: Bytes,
    pub types: EventTypes,
}

/// An event and its byte range in the batch.
pub struct Written {
    pub sequence: i64,
    pub about: About,
    pub at: Range<usize>,
}

impl Batch {
    /// What is sent to those who listen now, and is no event of the log: it has no number. `name` is its type on the stream; it is sent to those
    /// who would be sent an event `about` the same.
    pub fn signal(registry: EventRegistry, about: About, name: &str, json: &[u8]) -> Self {
        let mut bytes = format!("event: {name}\ndata: ").into_bytes();
        bytes.extend_from_slice(json);
        bytes.extend_from_slice(b"\n\n");
        let mut types = registry.none();
        types.add(about.event_type);
        // Later than any number that was sent, and it moves none.
        let written = Written { sequence: i64::MAX, about, at: 0..bytes.len() };
        Self { after: i64::MIN, reached: i64::MIN, events: vec![written], bytes: bytes.into(), types }
    }

    /// Whether it is no part of the log ([`Batch::signal`]).
    pub fn is_signal(&self) -> bool {
        self.reached == i64::MIN
    }

    pub fn of(registry: EventRegistry, after: i64, reached: i64, events: Vec<Event>) -> Self {
        let (mut bytes, mut types) = (Vec::with_capacity(events.len() * 512), registry.none());
        let mut written = Vec::with_capacity(events.len());
        for Event { sequence, about, json, .. } in events {
            let begins = bytes.len();
            write(&mut bytes, sequence, about, &json);
            types.add(about.event_type);
            written.push(Written { sequence, about, at: begins..bytes.len() });
        }
        Self { after, reached, events: written, bytes: bytes.into(), types }
    }
}

/// Writes an event in the format of the stream. JSON has no line breaks outside of strings, and inside they are
/// escaped.
pub fn write(out: &mut Vec<u8>, sequence: i64, about: About, json: &[u8]) {
    out.extend_from_slice(format!("id: {sequence}\nevent: {}\ndata: ", about.event_type.name()).as_bytes());
    out.extend_from_slice(json);
    out.extend_from_slice(b"\n\n");
}
