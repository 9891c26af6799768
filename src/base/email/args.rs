//! Command-line options of email.

use clap::Args;

use super::sender::{Sender, sender};
use crate::base::options::{OptionErrors, Secret, is_page_url};

/// Options of email.
#[derive(Args, Clone, Debug)]
pub struct EmailArgs {
    /// SMTP server for mails to people: `smtps://user:password@host`, or `smtp://…?tls=required` for STARTTLS; without it the
    /// private server prints them to its log, and with DATABASE_URL what needs mail answers 503
    #[arg(long, env = "RAPPORT_SMTP_URL", hide_env_values = true)]
    pub smtp_url: Option<Secret>,
    /// Who mails are from: `Rapport <crm@example.com>`
    #[arg(long, env = "RAPPORT_MAIL_FROM", value_parser = sender)]
    pub mail_from: Option<Sender>,
    /// Address of the front end, whose pages `passwords` and `invitations` get the token of a mail in the fragment of their
    /// address: `https://app.example.com/passwords#token=…` [default: http://localhost:3000, where mails are printed]
    #[arg(long, env = "RAPPORT_APP_URL")]
    pub app_url: Option<String>,
}

impl EmailArgs {
    pub fn validate(&self, errors: &mut OptionErrors) {
        errors.check(
            self.smtp_url.is_none() || (self.mail_from.is_some() && self.app_url.is_some()),
            "RAPPORT_SMTP_URL needs RAPPORT_MAIL_FROM and RAPPORT_APP_URL",
        );
        errors.check(
            self.app_url.as_ref().is_none_or(|url| is_page_url(url)),
            "RAPPORT_APP_URL must be an address such as https://app.example.com, without `?` and `#`",
        );
        errors.check(
            self.smtp_url.as_ref().is_none_or(|url| is_smtp(url.expose())),
            "RAPPORT_SMTP_URL must be smtps://host, smtp://host?tls=required, or smtp://host for a server that takes no TLS",
        );
        errors.check(
            cfg!(feature = "tls") || self.smtp_url.as_ref().is_none_or(|url| !asks_for_tls(url.expose())),
            "RAPPORT_SMTP_URL asks for TLS, and this program was built without it",
        );
    }
}

fn is_smtp(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "smtps" | "smtp") && url.host().is_some())
}

fn asks_for_tls(smtp: &str) -> bool {
    smtp.starts_with("smtps:") || smtp.contains("tls=")
}
