//! What the error codes of the Cloud API mean for a message (Meta, "Error codes"): the same ones come as answers and in statuses.

use serde_json::Value as Json;

/// No customer service window is open.
pub const WINDOW_CLOSED: i64 = 131_047;

/// The customer has stopped the business' marketing messages.
pub const OPTED_OUT: i64 = 131_050;

/// What becomes of a message, and of its channel, after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorPolicy {
    /// It passes: the same is tried again.
    Later,
    /// Only templates go through.
    AsTemplate,
    /// The customer has had enough of such messages for today.
    AfterADay,
    /// The customer wants no such messages.
    OptedOut,
    /// Nothing of this channel goes through until people have seen to it.
    ChannelPaused,
    /// It was handed over, and nobody knows what became of it.
    UnknownOutcome,
    /// It never goes through.
    Never,
}

impl ErrorPolicy {
    /// The policy of an error's `code`.
    pub fn of(code: &Json) -> Self {
        match (code.as_i64(), code.as_str()) {
            (_, Some("unknown_outcome")) => Self::UnknownOutcome,
            (_, Some("not_sent")) => Self::Later,
            (Some(code), _) => Self::of_number(code),
            _ => Self::Never,
        }
    }

    fn of_number(code: i64) -> Self {
        match code {
            1 | 2 | 4 | 17 | 80_007 | 80_008 | 130_429 | 131_000 | 131_016 | 131_048 | 131_056 | 131_057 | 133_004 => {
                Self::Later
            }
            470 | WINDOW_CLOSED => Self::AsTemplate,
            131_049 => Self::AfterADay,
            OPTED_OUT => Self::OptedOut,
            0 | 3 | 10 | 190 | 200..=299 | 368 | 131_005 | 131_031 | 131_042 | 131_045 | 133_010 => Self::ChannelPaused,
            _ => Self::Never,
        }
    }

    /// How the message may be sent again, as its `error.retry` has it.
    pub fn retry(self) -> &'static str {
        match self {
            Self::Later => "later",
            Self::AsTemplate => "as_template",
            Self::AfterADay => "after_a_day",
            Self::OptedOut => "opted_out",
            Self::ChannelPaused => "when_the_channel_works",
            Self::UnknownOutcome => "if_not_received",
            Self::Never => "never",
        }
    }
}
