//! Email templates. They contain no text which a third party can enter, except the name of a business: a client which
//! can make the service send email must not choose its words.

use crate::base::email::Email;

/// Email to a person who requested a new password; the `link` is valid for `minutes`.
pub fn reset(to: String, link: &str, minutes: u32) -> Email {
    let text = format!(
        "Hello,\n\n\
         you, or someone who typed your address, asked for a new password. Choose one here:\n\n\
         {link}\n\n\
         The link counts once, for {minutes} minutes. If you did not ask for it, do nothing: your password stays as it is.\n"
    );
    Email { to, subject: "A new password", text }
}

/// Email to a person who is invited to `business`; the `link` is valid for `days`.
pub fn invitation(to: String, business: &str, link: &str, days: u32) -> Email {
    // On one line, even if the name has line breaks.
    let business = business.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = format!(
        "Hello,\n\n\
         you are invited to work with \"{business}\". Join here:\n\n\
         {link}\n\n\
         The link counts once, for {days} days. If you do not know them, do nothing.\n"
    );
    Email { to, subject: "An invitation", text }
}
