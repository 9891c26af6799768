//! What a channel reports, in the same types for every channel: messages, reactions, edits, revocations, statuses.
//!
//! A channel's parser makes them; each is applied in one transaction. They hold what the channel said, without rules of
//! this house: texts are not cut, numbers are not normalised, nothing is looked up.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// The other side of a conversation, by every name that the channel gave. All members may be missing; none is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Phone number as WhatsApp writes it: 5 to 15 digits without `+`. Not always the number that people dial
    /// ([`crate::base::phone_variants`]).
    pub wa_id: Option<String>,
    /// Id of the person for this business (BSUID), such as `GB.13491208655302741918`. Changes with the number.
    pub user_id: Option<String>,
    /// The same for a group of businesses (`US.ENT.…`).
    pub parent_user_id: Option<String>,
    /// Chosen by the person, as sent: with or without `@`.
    pub username: Option<String>,
    /// Name that the person shows; anything may stand in it.
    pub profile_name: Option<String>,
}

impl Peer {
    /// Whether no member identifies the peer: a name alone does not.
    pub fn is_anonymous(&self) -> bool {
        self.wa_id.is_none() && self.user_id.is_none() && self.parent_user_id.is_none()
    }

    /// Takes from `other` each member that is missing here.
    pub fn or(self, other: Peer) -> Peer {
        Peer {
            wa_id: self.wa_id.or(other.wa_id),
            user_id: self.user_id.or(other.user_id),
            parent_user_id: self.parent_user_id.or(other.parent_user_id),
            username: self.username.or(other.username),
            profile_name: self.profile_name.or(other.profile_name),
        }
    }
}

/// Which side wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The peer wrote to the business.
    Inbound,
    /// The business wrote to the peer.
    Outbound,
}

impl Direction {
    /// Returns `inbound` or `outbound`.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        }
    }
}

/// How a message came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The channel delivered it as it was written.
    Channel,
    /// The business wrote it in the app on its phone (WhatsApp coexistence, `smb_message_echoes`).
    PhoneApp,
    /// Older than the connection of the channel, delivered afterwards: no bot, webhook or notification starts.
    History,
}

impl Origin {
    /// Returns `channel`, `phone_app` or `history`.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Channel => "channel",
            Origin::PhoneApp => "phone_app",
            Origin::History => "history",
        }
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// `text`, `image`, `audio`, `video`, `document`, `sticker`, `location`, `contacts`, `order`, `interactive`,
    /// `system` or `unknown`.
    pub kind: &'static str,
    /// Text to show, whole: the writer cuts it to what a message may have. Never empty.
    pub body: Option<String>,
    /// The file, as an object with those of `id`, `mime_type`, `sha256`, `file_name` (safe to offer), `voice` and
    /// `animated` that were sent.
    pub media: Option<Value>,
    /// The file's name as sent, for metadata: hostile, never for a path or a header.
    pub file_name: Option<String>,
    /// What a program can read: an object of at most 64 KiB as JSON; its members by kind: [`crate::channels::whatsapp::content::content`].
    pub payload: Option<Value>,
    /// Why the channel could not deliver the content: `code`, `title`, `details`, each possibly null.
    pub error: Option<Value>,
    /// Whether a file must still be fetched, or will be described by a later update under the same external id.
    pub media_is_pending: bool,
}

impl Content {
    /// Whether it is a call, of which several events tell.
    pub fn is_call(&self) -> bool {
        self.kind == "system" && self.payload.as_ref().is_some_and(|payload| payload["type"] == "call")
    }
}

/// A message that becomes a row.
#[derive(Clone, Debug, PartialEq)]
pub struct InboundMessage {
    /// The channel's id, its key: an update may come several times.
    pub external_id: String,
    /// When it was sent, to the second; when it was received if the channel gave no usable time.
    pub sent_at: DateTime<Utc>,
    pub direction: Direction,
    pub origin: Origin,
    /// In a group the author; in an outbound message the recipient. Anonymous only in a group, or with
    /// [`Origin::History`]: then it describes the file of a message that is known by its id, else it cannot be placed.
    pub peer: Peer,
    /// The channel's id of the group, whose thread is the group's and not the author's.
    pub group_id: Option<String>,
    /// State of an old message (`sent`, `delivered`, `read`, `failed`); only with [`Origin::History`].
    pub status: Option<&'static str>,
    pub content: Content,
    /// External id of the message that this one answers.
    pub reply_to: Option<String>,
    /// The advertisement that led here.
    pub referral: Option<Referral>,
    pub identity_change: Option<IdentityChange>,
}

/// An advertisement or post that led a person to write (Click to WhatsApp). At least one member is present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referral {
    /// `ad` or `post`.
    pub source_type: Option<String>,
    pub source_id: Option<String>,
    pub source_url: Option<String>,
    pub headline: Option<String>,
    pub body: Option<String>,
    /// Click id, which Meta's conversions API takes back.
    pub ctwa_clid: Option<String>,
}

/// A person's number or user id became another. Both sides identify the person, and no member is the same in both; one
/// that is missing in `current` was not reported, so it is not lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityChange {
    pub previous: Peer,
    pub current: Peer,
    /// Whether the number became another, which may be unknown: then no former one is theirs any more. Else they keep it.
    pub is_of_number: bool,
}

/// A reaction was set, replaced or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    pub external_id: String,
    pub reacted_at: DateTime<Utc>,
    /// External id of the message.
    pub target: String,
    /// None if the reaction was removed.
    pub emoji: Option<String>,
    pub peer: Peer,
    pub direction: Direction,
}

/// A message got another text or caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    pub external_id: String,
    pub edited_at: DateTime<Utc>,
    /// External id of the message.
    pub target: String,
    /// The new text or caption; the same as `content.body`.
    pub body: Option<String>,
    /// The whole new content.
    pub content: Content,
    pub peer: Peer,
    pub direction: Direction,
}

/// Its author deleted a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub external_id: String,
    pub revoked_at: DateTime<Utc>,
    /// External id of the message.
    pub target: String,
    pub peer: Peer,
    pub direction: Direction,
}

/// How far an outbound message came. Statuses arrive in any order and several times.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusUpdate {
    /// External id of the message.
    pub target: String,
    /// `sent`, `delivered`, `read` or `failed`; `played` (a voice message) counts as `read`.
    pub status: &'static str,
    /// When it was reached, to the second; when it was received if the channel gave no usable time.
    pub occurred_at: DateTime<Utc>,
    /// In a group the participant, if it speaks of one.
    pub recipient: Peer,
    /// Whether it speaks of one participant of a group, not of the whole message.
    pub is_of_participant: bool,
    /// `code`, `title`, `details`, each possibly null. A second failure may come without.
    pub error: Option<Value>,
    /// As sent: `billable`, `pricing_model`, `category`, `type`.
    pub pricing: Option<Value>,
    /// Text that was given with the send call (`biz_opaque_callback_data`).
    pub callback_data: Option<String>,
}

/// A person stopped or resumed the marketing messages of the business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketingPreference {
    pub peer: Peer,
    pub is_stopped: bool,
    /// To the second; when it was received if the channel gave no usable time.
    pub changed_at: DateTime<Utc>,
}

/// A template changed on the channel.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateUpdate {
    /// The channel's id of the template.
    pub external_id: Option<String>,
    pub name: String,
    /// As sent: `en-US` or `en_US`.
    pub language: String,
    /// When it changed, to the second; when that was received if the channel gave no usable time.
    pub changed_at: DateTime<Utc>,
    pub change: TemplateChange,
}

/// What of a template changed, in the channel's words.
#[derive(Clone, Debug, PartialEq)]
pub enum TemplateChange {
    Status {
        event: String,
        reason: Option<String>,
    },
    Category {
        category: String,
    },
    Quality {
        score: String,
    },
    /// Its texts; the update as sent.
    Components {
        update: Value,
    },
}

/// The channel does not work until people have seen to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelFailure {
    /// `code`, `title`, `details`, each possibly null.
    pub error: Value,
    /// To the second; when it was received if the channel gave no usable time.
    pub occurred_at: DateTime<Utc>,
}

/// One thing that a channel reported.
#[derive(Clone, Debug, PartialEq)]
pub enum InboundUpdate {
    Message(Box<InboundMessage>),
    Reaction(Box<Reaction>),
    Edit(Box<Edit>),
    Revocation(Box<Revocation>),
    Status(Box<StatusUpdate>),
    Template(Box<TemplateUpdate>),
    Preference(Box<MarketingPreference>),
    Failure(Box<ChannelFailure>),
    /// A number of the account is rated otherwise now.
    NumberRated,
    /// Nothing to apply; the reasons are those of the channel's parser.
    Ignored {
        reason: &'static str,
    },
}
