//! The background task that fetches the files that customers sent, in any process.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value as Json;
use uuid::Uuid;

use super::fetch::{FetchFailure, FetchedFile};
use super::fetches::{self, ClaimedFetch, Lost, MAX_TRIES_OF_GONE};
use super::kinds;
use super::store::{ATTACHMENT_FILES, NewAttachment};
use crate::auth::Tenant;
use crate::background::{BackgroundTask, ClaimedWork, LogLimiter, Slots, TaskOutcome, Waker};
use crate::base::error::Result;
use crate::base::telemetry::metrics;
use crate::channels::directory::{ChannelDirectory, ChannelKey};
use crate::channels::sending::outbound::Adapters;
use crate::db::{Db, Tx};
use crate::http::file_writer::FileWriter;

/// How often due files are looked for: a person waits for them.
const PERIOD: Duration = Duration::from_secs(1);
/// Files that a process fetches at once, each a mebibyte in memory.
const MAX_AT_ONCE: usize = 8;
/// Of these, those of one channel.
const MAX_PER_CHANNEL: usize = 4;
/// How long a file may take: less than its claim lasts.
const MAX_TIME: Duration = Duration::from_secs(240);

/// Fetches files; shared by the process.
pub struct MediaFetcher {
    db: Db,
    directory: Arc<ChannelDirectory>,
    adapters: Adapters,
}

/// What came of fetching a file.
enum Fetched {
    File(NewAttachment),
    Lost(Lost, String),
    Later(String),
}

impl MediaFetcher {
    pub fn new(db: Db, directory: Arc<ChannelDirectory>, adapters: Adapters) -> Self {
        Self { db, directory, adapters }
    }

    pub fn task(self) -> BackgroundTask {
        BackgroundTask::claiming(self, Slots::new(MAX_AT_ONCE, MAX_PER_CHANNEL), PERIOD, Waker::default())
    }

    async fn record(&self, tenant: &Tenant, fetch: ClaimedFetch, id: Uuid, fetched: Fetched) -> Result<()> {
        let own = tenant.clone();
        let is_stored = matches!(fetched, Fetched::File(_));
        metrics::media_fetched(match &fetched {
            Fetched::File(_) => "stored",
            Fetched::Lost(Lost::Gone, _) => "gone",
            Fetched::Lost(Lost::Refused, _) => "refused",
            Fetched::Later(_) => "later",
        });
        let record = move |tx: &mut Tx<'_>| match &fetched {
            Fetched::File(file) => fetches::succeed(tx, &own, &fetch, file),
            Fetched::Lost(lost, reason) => fetches::lose(tx, &own, &fetch, *lost, reason).map(|()| false),
            Fetched::Later(reason) => fetches::try_again(tx, &own, &fetch, reason).map(|()| false),
        };
        let is_needed = self.db.for_tenant(tenant).write("media_record", record).await?;
        match is_stored && is_needed {
            true => Ok(()),
            false => self.forget(tenant, id).await,
        }
    }

    /// Deletes what came of a file that is not to be kept.
    async fn forget(&self, tenant: &Tenant, id: Uuid) -> Result<()> {
        let own = tenant.clone();
        self.db.for_tenant(tenant).write("media_forget", move |tx| ATTACHMENT_FILES.forget(tx, &own, id)).await
    }

    /// Fetches the file and stores its parts as `id`. Errors: the database's.
    async fn file(&self, tenant: &Tenant, fetch: &ClaimedFetch, id: Uuid) -> Result<Fetched> {
        let key = ChannelKey::Channel { business: fetch.business_id, id: fetch.channel_id };
        let media = fetch.media.as_ref().unwrap_or(&Json::Null);
        let Some(channel) = self.directory.find_anew(&key).await?.filter(|_| !fetch.is_revoked) else {
            return Ok(Fetched::Lost(Lost::Gone, "Its channel or the message was deleted.".to_owned()));
        };
        let mut file = match self.adapters.of(&fetch.channel_kind).fetch_media(&channel, &fetch.media_id).await {
            Ok(file) => file,
            Err(FetchFailure::Gone(reason)) if fetch.tries >= MAX_TRIES_OF_GONE => {
                return Ok(Fetched::Lost(Lost::Gone, reason));
            }
            Err(FetchFailure::Gone(reason) | FetchFailure::Passing(reason)) => return Ok(Fetched::Later(reason)),
        };
        let mime_type = mime_type(&file, media);
        if !kinds::is_plausible(&fetch.kind, &mime_type) {
            let reason = format!("It is `{mime_type}`, and was announced as `{}`.", fetch.kind);
            return Ok(Fetched::Lost(Lost::Refused, reason));
        }
        let most = kinds::max_bytes(&fetch.kind);
        let too_large = || Fetched::Lost(Lost::Refused, format!("It has more than {most} bytes."));
        if file.bytes.is_some_and(|bytes| bytes > most) {
            return Ok(too_large());
        }
        let mut writer = FileWriter::new(&self.db, tenant, &ATTACHMENT_FILES, id);
        let mut received = 0;
        while let Some(piece) = file.pieces.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(reason) => return Ok(Fetched::Later(reason)),
            };
            received += piece.len() as u64;
            if received > most {
                return Ok(too_large());
            }
            writer.write(&piece).await?;
        }
        let written = writer.finish().await?;
        let is_whole = file.bytes.is_none_or(|bytes| bytes == written.bytes)
            && file.sha256.is_none_or(|sha256| sha256 == written.sha256);
        if !is_whole || written.bytes == 0 {
            return Ok(Fetched::Later("It did not come whole.".to_owned()));
        }
        let file_name = media["file_name"].as_str().map(str::to_owned);
        Ok(Fetched::File(NewAttachment { id, file: written, file_name, mime_type }))
    }
}

impl ClaimedWork for MediaFetcher {
    type Claim = ClaimedFetch;
    const TASK: &'static str = "media";
    const WORK: &'static str = "media fetch";

    async fn claim(&self, free: usize, slots: Arc<Slots>) -> Result<(Vec<ClaimedFetch>, TaskOutcome)> {
        let claim = move |tx: &mut Tx<'_>| fetches::claim(tx, free, &slots);
        Ok((self.db.unscoped().write("media_claim", claim).await?, TaskOutcome::Rest))
    }

    fn slot_of(fetch: &ClaimedFetch) -> (Uuid, Uuid) {
        (fetch.business_id, fetch.channel_id)
    }

    /// Fetches one file, and records what came of it. What cannot be recorded is claimed again when its lease ends.
    async fn work(&self, fetch: ClaimedFetch) {
        static FAILURES: LogLimiter = LogLimiter::new();
        let (tenant, message, id) = (Tenant::for_channel(fetch.business_id), fetch.message_id, Uuid::now_v7());
        let fetched = match tokio::time::timeout(MAX_TIME, self.file(&tenant, &fetch, id)).await {
            Ok(Ok(fetched)) => Ok(fetched),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(Fetched::Later(format!("It did not come within {} minutes.", MAX_TIME.as_secs() / 60))),
        };
        let recorded = match fetched {
            Ok(fetched) => self.record(&tenant, fetch, id, fetched).await,
            Err(error) => self.forget(&tenant, id).await.and(Err(error)),
        };
        if let Err(error) = recorded
            && let Some(suppressed) = FAILURES.failed_with(&error)
        {
            tracing::warn!(%message, %error, suppressed, "the file of a message could not be stored");
        }
    }
}

/// What the channel says that the file is, else what the message says.
fn mime_type(file: &FetchedFile, media: &Json) -> String {
    let said = file.mime_type.as_deref().or_else(|| media["mime_type"].as_str()).unwrap_or_default();
    let essence = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kinds::is_media_type(&essence) { essence } else { "application/octet-stream".to_owned() }
}
