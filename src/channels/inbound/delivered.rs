//! An update with all that is needed to apply it, or to park it.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::parked::Parked;
use super::update::InboundUpdate;
use crate::channels::directory::ConnectedChannel;
use crate::channels::whatsapp::webhook_item::ItemList;

/// An update as it is applied, or parked until it can be.
pub struct Delivered<'a> {
    pub channel: &'a ConnectedChannel,
    /// What it is, as the resource of inbound updates names it.
    pub kind: &'a str,
    pub received_at: DateTime<Utc>,
    /// What it was read from.
    pub raw: &'a Json,
    pub update: &'a InboundUpdate,
    /// Hashes of the people that it is about.
    pub people: &'a [String],
}

impl Delivered<'_> {
    /// Whether it is of the channel's past, from before that was connected: it wakes nobody.
    pub fn is_past(&self) -> bool {
        self.raw["list"] == ItemList::History.as_str()
    }

    pub fn parked(&self) -> Parked<'_> {
        let Self { channel, kind, received_at, raw, people, .. } = *self;
        Parked { channel: channel.id, kind, received_at, payload: raw, people }
    }
}
