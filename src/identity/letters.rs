//! What people are written. Nothing stands in a letter that a stranger could have typed, but the name of a business: who
//! can make the service write to others must not choose the words.

use crate::mail::Letter;

/// To who asked for a new password; the `link` counts for `minutes`.
pub fn reset(to: String, link: &str, minutes: u32) -> Letter {
    let text = format!(
        "Hello,\n\n\
         you, or someone who typed your address, asked for a new password. Choose one here:\n\n\
         {link}\n\n\
         The link counts once, for {minutes} minutes. If you did not ask for it, do nothing: your password stays as it is.\n"
    );
    Letter { to, subject: "A new password", text }
}

/// To who was asked to join `business`; the `link` counts for `days`.
pub fn invitation(to: String, business: &str, link: &str, days: u32) -> Letter {
    // On one line, whatever its name is.
    let business = business.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = format!(
        "Hello,\n\n\
         you are invited to work with \"{business}\". Join here:\n\n\
         {link}\n\n\
         The link counts once, for {days} days. If you do not know them, do nothing.\n"
    );
    Letter { to, subject: "An invitation", text }
}
