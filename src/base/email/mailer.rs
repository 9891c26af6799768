//! Email over SMTP, sent in the background of the request which causes it, so that the response time does not reveal
//! whether an email was sent.
//!
//! The queue is bounded, each email is attempted a few times, and failures are logged without address or text. An email
//! in progress when the process stops is lost, and has to be requested again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::address::Envelope;
use lettre::transport::smtp::{AsyncSmtpTransportBuilder, Error as SmtpError};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::args::EmailArgs;
use super::sender::Sender;
use crate::base::error::{Error, Result};
use crate::base::supervisor::detach;
use crate::base::telemetry::metrics;

/// Emails which may be in progress; further requests for one get 503.
const MAX_WAITING: usize = 256;
/// Concurrent connections to the SMTP server.
const MAX_CONCURRENT: usize = 4;
/// Timeout of the SMTP connection.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts per email, in all.
const ATTEMPTS: usize = 4;
/// Base URL of the links in logged emails, unless it is configured.
const LOCAL_APP: &str = "http://localhost:3000";

/// An email to one person.
#[derive(Debug)]
pub struct Email {
    pub to: String,
    pub subject: &'static str,
    pub text: String,
}

enum Transport {
    Smtp {
        server: Box<AsyncSmtpTransport<Tokio1Executor>>,
        from: Sender,
    },
    /// Writes emails to the log: with the embedded server only, where the reader of the log is the developer.
    Log,
    Nowhere,
}

pub struct Mailer {
    way: Transport,
    app: String,
    waiting: Arc<Semaphore>,
    sending: Semaphore,
}

/// A reserved slot for an email in progress.
pub struct Place {
    mailer: Arc<Mailer>,
    permit: OwnedSemaphorePermit,
}

impl Mailer {
    /// Connects to nothing yet. `prints`: without an SMTP server, emails are written to the log. Errors: 500 when the
    /// options are invalid.
    pub fn open(args: &EmailArgs, prints: bool) -> Result<Self> {
        let way = match (&args.smtp_url, &args.mail_from) {
            (Some(url), Some(from)) => {
                let server =
                    transport(url.expose()).map_err(|error| Error::Internal(format!("RAPPORT_SMTP_URL: {error}")))?;
                Transport::Smtp { server: Box::new(server.timeout(Some(TIMEOUT)).build()), from: from.clone() }
            }
            _ if prints => {
                tracing::info!("RAPPORT_SMTP_URL is not set: mails are printed here, as on the private server only");
                Transport::Log
            }
            _ => Transport::Nowhere,
        };
        let app = args.app_url.as_deref().unwrap_or(LOCAL_APP).trim_end_matches('/').to_owned();
        Ok(Self { way, app, waiting: Arc::new(Semaphore::new(MAX_WAITING)), sending: Semaphore::new(MAX_CONCURRENT) })
    }

    /// Reserves a slot for an email, before anything which depends on the email is done. Errors: 503 when there is no
    /// SMTP server, or too many emails are in progress.
    pub fn place(self: &Arc<Self>) -> Result<Place> {
        if matches!(self.way, Transport::Nowhere) {
            return Err(Error::Unavailable {
                code: "mail_not_configured",
                detail:
                    "This service sends no mail yet. Its operator has to set RAPPORT_SMTP_URL, RAPPORT_MAIL_FROM and \
                         RAPPORT_APP_URL."
                        .into(),
                after: 3600,
            });
        }
        let permit = self.waiting.clone().try_acquire_owned().map_err(|_| Error::Unavailable {
            code: "busy",
            detail: "Too many mails are under way. Try again shortly.".into(),
            after: 30,
        })?;
        Ok(Place { mailer: self.clone(), permit })
    }

    /// Returns the URL of the front end's `page` with `token` in the fragment, which browsers do not send, so that it
    /// appears in no server's log and in no `Referer`.
    pub fn link(&self, page: &str, token: &str) -> String {
        format!("{}/{page}#token={token}", self.app)
    }

    async fn deliver(&self, letter: Email) {
        let (server, from) = match &self.way {
            Transport::Smtp { server, from } => (server, from),
            Transport::Log => return tracing::info!(to = letter.to, text = letter.text, "a mail: {}", letter.subject),
            Transport::Nowhere => return,
        };
        let Some((envelope, message)) = compose(from, &letter) else {
            metrics::mailed("failed");
            return tracing::error!("a mail was not sent: its address is none that mail can be sent to");
        };
        let mut pauses = pauses();
        loop {
            let Err(error) = self.attempt(server, &envelope, &message).await else { return metrics::mailed("sent") };
            let Some(pause) = pauses.next().filter(|_| !error.is_permanent()) else {
                metrics::mailed("failed");
                return tracing::error!(reason = reason(&error), "a mail was not sent");
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(
        &self,
        server: &AsyncSmtpTransport<Tokio1Executor>,
        envelope: &Envelope,
        message: &[u8],
    ) -> Result<(), SmtpError> {
        // Held for one attempt only: an email in backoff does not block others.
        let _turn = self.sending.acquire().await;
        server.send_raw(envelope, message).await.map(|_| ())
    }
}

impl Place {
    /// Sends the email which the future yields, if any, in the background.
    pub fn send(self, letter: impl Future<Output = Result<Option<Email>>> + Send + 'static) {
        detach("mail", async move {
            match letter.await {
                Ok(Some(letter)) => self.mailer.deliver(letter).await,
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "a mail was not written"),
            }
            drop(self.permit);
        });
    }
}

/// Whether email can be sent to `address`.
pub fn is_reachable(address: &str) -> bool {
    address.parse::<Address>().is_ok()
}

/// Builds a message (RFC 5322) of one plain text, in base64 to allow any characters and line lengths. `None`: email
/// cannot be sent to the address.
fn compose(from: &Sender, letter: &Email) -> Option<(Envelope, Vec<u8>)> {
    /// Characters of a line (RFC 2045, section 6.8).
    const LINE: usize = 76;
    let to: Address = letter.to.parse().ok()?;
    let (id, domain, date) = (Uuid::now_v7(), from.address.domain(), chrono::Utc::now().to_rfc2822());
    let mut message = format!(
        "From: {from}\r\nTo: <{to}>\r\nSubject: {}\r\nDate: {date}\r\nMessage-ID: <{id}@{domain}>\r\n\
         Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n",
        letter.subject
    )
    .into_bytes();
    for line in STANDARD.encode(letter.text.replace('\n', "\r\n")).as_bytes().chunks(LINE) {
        message.extend_from_slice(line);
        message.extend_from_slice(b"\r\n");
    }
    Some((Envelope::new(Some(from.address.clone()), vec![to]).ok()?, message))
}

/// Backoff: one second, four, sixteen; with jitter, which spreads emails that failed together.
fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_secs(1))
        .with_factor(4.0)
        .with_max_times(ATTEMPTS - 1)
        .with_jitter()
        .build()
}

/// Describes the failure without the server's message, which repeats the address.
fn reason(error: &SmtpError) -> String {
    match error.status() {
        Some(status) => format!("the SMTP server answered {status}"),
        None if error.is_timeout() => "the SMTP server did not answer in time".into(),
        #[cfg(feature = "tls")]
        None if error.is_tls() => "no TLS connection to the SMTP server".into(),
        None => "the SMTP server cannot be reached".into(),
    }
}

#[cfg(feature = "tls")]
fn transport(url: &str) -> Result<AsyncSmtpTransportBuilder, SmtpError> {
    AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
}

/// Without TLS lettre parses no URLs. Validation of the configuration has refused those which require TLS.
#[cfg(not(feature = "tls"))]
fn transport(url: &str) -> Result<AsyncSmtpTransportBuilder, String> {
    let url = url::Url::parse(url).map_err(|error| error.to_string())?;
    let server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(url.host_str().unwrap_or("localhost"));
    let server = server.port(url.port().unwrap_or(25));
    let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    Ok(match url.password() {
        Some(password) => server.credentials((plain(url.username()), plain(password)).into()),
        None => server,
    })
}
