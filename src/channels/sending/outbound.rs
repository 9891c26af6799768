//! What is handed to a channel, and what a channel answers, in the same types for every kind of channel.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::channels::channels::LOOPBACK;
use crate::channels::directory::ConnectedChannel;
use crate::channels::media::fetch::{FetchFailure, FetchedFile};
use crate::channels::media::send_file::StoredFile;
use crate::channels::whatsapp::error_codes::ErrorPolicy;

/// Who a message goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// A phone number, as digits.
    Number(String),
    /// A person who is known by the channel's id only.
    UserId(String),
    /// A group, by the channel's id.
    Group(String),
}

impl Recipient {
    /// Reads the address of a conversation; `None` where nothing can be sent to it. `is_group`: it is with a group.
    pub fn of_address(address: &str, is_group: bool) -> Option<Self> {
        if is_group {
            return Some(Self::Group(address.to_owned()));
        }
        match address.strip_prefix('+') {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(Self::Number(digits.to_owned()))
            }
            Some(_) => None,
            // `GB.13491208655302741918`
            None => address.contains('.').then(|| Self::UserId(address.to_owned())),
        }
    }
}

/// A message to hand over.
#[derive(Clone, Debug)]
pub struct Outbound {
    pub message_id: Uuid,
    /// Which attempt of the message it is.
    pub number: i64,
    /// Whether a person wrote it, and no program.
    pub is_by_person: bool,
    pub recipient: Recipient,
    pub content: OutboundContent,
    /// The channel's id of the message that it answers.
    pub reply_to: Option<String>,
}

/// What a message says.
#[derive(Clone, Debug)]
pub enum OutboundContent {
    /// A row of messages: its kind, text, file, what a program reads of it, and the channel's id of the file where that was uploaded.
    Message { kind: String, body: Option<String>, media: Option<Json>, payload: Option<Json>, uploaded: Option<String> },
    /// An emoji on the message with the channel's id `target`; none: it is taken back.
    Reaction { target: String, emoji: Option<String> },
}

/// What came of handing a message over.
#[derive(Clone, Debug)]
pub enum SendOutcome {
    /// The channel has it, by this id.
    Accepted { external_id: String },
    /// It did not reach the channel, for this reason.
    NotSent(String),
    /// It may have reached the channel: no answer came, or one that says nothing.
    Unknown(String),
    /// The channel has it not, and says why.
    Refused(Refusal),
}

impl SendOutcome {
    /// Its name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::NotSent(_) => "not_sent",
            Self::Unknown(_) => "unknown",
            Self::Refused(_) => "refused",
        }
    }
}

/// Why a channel did not take a message.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The channel's code, a number; null where it gave none.
    pub code: Json,
    pub title: String,
    pub details: Option<String>,
}

impl Refusal {
    pub fn policy(&self) -> ErrorPolicy {
        ErrorPolicy::of(&self.code)
    }
}

/// A kind of channel, as messages are handed to it.
pub trait ChannelAdapter: Send + Sync {
    /// Hands a message over. It never repeats what may have reached the channel.
    fn send<'a>(&'a self, channel: &'a Arc<ConnectedChannel>, message: &'a Outbound)
    -> LocalBoxFuture<'a, SendOutcome>;

    /// Tells the customer that a message was read, and with `is_typing` that an answer is being written. Errors: why it could not.
    fn mark_read<'a>(
        &'a self,
        channel: &'a Arc<ConnectedChannel>,
        external_id: &'a str,
        is_typing: bool,
    ) -> LocalBoxFuture<'a, Result<(), MarkFailure>>;

    /// Hands over a file that a message will name, and returns its id on the channel. It may be repeated. Errors: as those of a message that
    /// did not reach the channel.
    fn upload<'a>(
        &'a self,
        channel: &'a Arc<ConnectedChannel>,
        file: &'a StoredFile,
    ) -> LocalBoxFuture<'a, Result<String, SendOutcome>>;

    /// Begins to fetch a file that a customer sent.
    fn fetch_media<'a>(
        &'a self,
        channel: &'a Arc<ConnectedChannel>,
        media_id: &'a str,
    ) -> LocalBoxFuture<'a, Result<FetchedFile, FetchFailure>>;
}

/// Why a message could not be marked as read.
#[derive(Clone, Debug)]
pub struct MarkFailure {
    pub reason: String,
    /// Whether the same may succeed in a while.
    pub passes: bool,
}

/// The adapters of a process.
#[derive(Clone)]
pub struct Adapters {
    pub whatsapp: Arc<dyn ChannelAdapter>,
    pub loopback: Arc<dyn ChannelAdapter>,
}

impl Adapters {
    /// Returns the adapter of a kind of channel.
    pub fn of(&self, kind: &str) -> &Arc<dyn ChannelAdapter> {
        if kind == LOOPBACK { &self.loopback } else { &self.whatsapp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_numbers_ids_and_groups() {
        assert_eq!(Recipient::of_address("+4915112345678", false), Some(Recipient::Number("4915112345678".into())));
        assert_eq!(Recipient::of_address("GB.134", false), Some(Recipient::UserId("GB.134".into())));
        assert_eq!(Recipient::of_address("120363", true), Some(Recipient::Group("120363".into())));
        for wrong in ["+", "+49 30", "a visitor", ""] {
            assert_eq!(Recipient::of_address(wrong, false), None, "{wrong}");
        }
    }
}
