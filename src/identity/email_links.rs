//! Links in emails: how often they can be requested, and the error for a link which is not valid any more.

use super::throttle::{Attempt, Throttle};
use crate::base::error::{Error, Result};

/// Emails of a kind which one mailbox can be sent, and one caller can request, within the throttle's window.
const MAX_PER_ACCOUNT: u32 = 5;
const MAX_PER_ADDRESS: u32 = 100;

pub const LINK_EXPIRED: Error = Error::AuthRejected {
    code: "token_over",
    detail: "The link was used, replaced or withdrawn, or its time is over. Ask for another: \
             `POST /api/v1/auth/password-resets`, or the person who invited you.",
};

/// Counts requests for emails of one kind.
pub struct EmailThrottle {
    mailboxes: Throttle,
    callers: Throttle,
}

impl EmailThrottle {
    pub fn new() -> Self {
        Self { mailboxes: Throttle::new(MAX_PER_ACCOUNT), callers: Throttle::new(MAX_PER_ADDRESS) }
    }

    /// Counts an email to `email` requested by `caller`, whether it is sent or not. Errors: 429.
    pub fn admit(&self, email: &str, caller: &str) -> Result<()> {
        let mailbox = email.to_lowercase();
        let attempts =
            [self.mailboxes.reserve(&mailbox).map_err(too_many)?, self.callers.reserve(caller).map_err(too_many)?];
        attempts.into_iter().for_each(Attempt::failed);
        Ok(())
    }
}

fn too_many(error: Error) -> Error {
    match error {
        Error::TooMany { code, after, .. } => {
            let detail = format!("Too many mails were asked for. Wait {} minutes and try again.", after.div_ceil(60));
            Error::TooMany { code, detail, after }
        }
        other => other,
    }
}
