//! The background task that reads the templates of channels, in any process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use uuid::Uuid;

use super::built_in;
use super::list_client::{self, ListFailure};
use super::number_quality;
use super::store::{self, TemplateKey};
use super::sync::{self, ClaimedSync};
use crate::auth::Tenant;
use crate::background::{BackgroundTask, ClaimedWork, LogLimiter, Slots, TaskOutcome, Waker};
use crate::base::error::Result;
use crate::base::options::Secret;
use crate::channels::channels::WHATSAPP;
use crate::channels::directory::{ChannelDirectory, ChannelKey};
use crate::channels::whatsapp::graph::GraphClient;
use crate::db::{Db, Tx};

/// How often due channels are looked for: who has asked for it waits.
const PERIOD: Duration = Duration::from_secs(2);
/// Channels that a process reads at once.
const MAX_AT_ONCE: usize = 4;
/// Pages of an account: Meta allows 6,000 templates. A list that goes on is no list.
const MAX_PAGES: usize = 100;
/// How long one list may take: a channel that answers slowly leaves its place to others. A fast one takes seconds.
const MAX_TIME: Duration = Duration::from_secs(300);

/// Reads templates; shared by the process.
pub struct TemplateReader {
    db: Db,
    directory: Arc<ChannelDirectory>,
    graph: GraphClient,
}

/// Where the templates of a channel are listed.
enum TemplateSource {
    BuiltIn,
    Account { id: String, token: Secret, number: Option<String> },
}

impl TemplateReader {
    pub fn new(db: Db, directory: Arc<ChannelDirectory>, graph: GraphClient) -> Self {
        Self { db, directory, graph }
    }

    pub fn task(self) -> BackgroundTask {
        BackgroundTask::claiming(self, Slots::new(MAX_AT_ONCE, 1), PERIOD, Waker::default())
    }

    async fn read_pages(&self, tenant: &Tenant, claimed: &ClaimedSync) -> Result<Result<(), ListFailure>> {
        let (account, token, number) = match self.source(claimed).await? {
            Ok(TemplateSource::Account { id, token, number }) => (id, token, number),
            Ok(TemplateSource::BuiltIn) => {
                self.store(tenant, claimed, Vec::new(), built_in::list(), true).await?;
                return Ok(Ok(()));
            }
            Err(failure) => return Ok(Err(failure)),
        };
        let (mut listed, mut after): (Vec<TemplateKey>, Option<String>) = (Vec::new(), None);
        let began = Instant::now();
        for _ in 0..MAX_PAGES {
            if began.elapsed() > MAX_TIME {
                let error = format!("The list of templates took more than {} minutes.", MAX_TIME.as_secs() / 60);
                return Ok(Err(ListFailure { error, passes: true }));
            }
            let page = match list_client::page(&self.graph, &account, &token, after.as_deref()).await {
                Ok(page) => page,
                Err(failure) => return Ok(Err(failure)),
            };
            after = page.after;
            match self.store(tenant, claimed, listed, page.data, after.is_none()).await? {
                Some(all) if after.is_some() => listed = all,
                // That was all, or another process has taken over.
                _ => return self.rate(tenant, claimed, number, &token).await.map(Ok),
            }
        }
        Ok(Err(ListFailure::lasting("The list of templates does not end.")))
    }

    /// Reads and notes the rating of the channel's number. What cannot be read stays as it is until tomorrow.
    async fn rate(&self, tenant: &Tenant, claimed: &ClaimedSync, number: Option<String>, token: &Secret) -> Result<()> {
        let Some(number) = number else { return Ok(()) };
        let (own, channel) = (tenant.clone(), claimed.channel_id);
        match number_quality::read(&self.graph, &number, token).await {
            Ok(quality) => {
                let note = move |tx: &mut Tx<'_>| number_quality::store(tx, &own, channel, quality);
                self.db.for_tenant(tenant).write("channel_quality", note).await
            }
            Err(error) => {
                tracing::debug!(%channel, %error, "the rating of a number could not be read");
                Ok(())
            }
        }
    }

    async fn source(&self, claimed: &ClaimedSync) -> Result<Result<TemplateSource, ListFailure>> {
        let key = ChannelKey::Channel { business: claimed.business_id, id: claimed.channel_id };
        let Some(channel) = self.directory.find_anew(&key).await? else {
            return Ok(Err(ListFailure::lasting("The channel is deleted.")));
        };
        if channel.kind != WHATSAPP {
            return Ok(Ok(TemplateSource::BuiltIn));
        }
        Ok(match (&channel.account_id, &channel.access_token) {
            (Some(id), Some(token)) => Ok(TemplateSource::Account {
                id: id.clone(),
                token: token.clone(),
                number: channel.phone_number_id.clone(),
            }),
            _ => Err(ListFailure::lasting("The channel has no account, or no access token that opens.")),
        })
    }

    /// Writes a page, and ends the synchronisation with the last. Returns the keys of this page and those before; `None` where this process
    /// does not have the synchronisation any more.
    async fn store(
        &self,
        tenant: &Tenant,
        claimed: &ClaimedSync,
        listed: Vec<TemplateKey>,
        page: Json,
        is_last: bool,
    ) -> Result<Option<Vec<TemplateKey>>> {
        let (own, claimed) = (tenant.clone(), claimed.clone());
        let store = move |tx: &mut Tx<'_>| {
            if !sync::renew(tx, &own, &claimed)? {
                return Ok(None);
            }
            let mut all = listed.clone();
            all.extend(store::write(tx, &own, claimed.channel_id, &page, claimed.started_at)?);
            if is_last {
                sync::succeed(tx, &own, &claimed, &all)?;
            }
            Ok(Some(all))
        };
        self.db.for_tenant(tenant).write("template_sync_store", store).await
    }
}

impl ClaimedWork for TemplateReader {
    type Claim = ClaimedSync;
    const TASK: &'static str = "template sync";
    const WORK: &'static str = "template sync";

    async fn claim(&self, free: usize, _slots: Arc<Slots>) -> Result<(Vec<ClaimedSync>, TaskOutcome)> {
        let claim = move |tx: &mut Tx<'_>| sync::claim(tx, free as u32);
        Ok((self.db.unscoped().write("template_sync_claim", claim).await?, TaskOutcome::Rest))
    }

    fn slot_of(claimed: &ClaimedSync) -> (Uuid, Uuid) {
        (claimed.business_id, claimed.channel_id)
    }

    /// Reads the templates of one channel, and notes how that ended. What cannot be noted is claimed again when its lease ends.
    async fn work(&self, claimed: ClaimedSync) {
        static FAILURES: LogLimiter = LogLimiter::new();
        let (tenant, channel) = (Tenant::for_channel(claimed.business_id), claimed.channel_id);
        let failure = match self.read_pages(&tenant, &claimed).await {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure,
            Err(error) => {
                if let Some(suppressed) = FAILURES.failed_with(&error) {
                    tracing::warn!(%channel, %error, suppressed, "the templates of a channel could not be stored");
                }
                let passes = error.is_transient();
                ListFailure { error: "The templates could not be stored; the log says why.".to_owned(), passes }
            }
        };
        tracing::warn!(%channel, error = failure.error, "the templates of a channel could not be read");
        let own = tenant.clone();
        let fail = move |tx: &mut Tx<'_>| sync::fail(tx, &own, &claimed, &failure.error, failure.passes);
        if let Err(error) = self.db.for_tenant(&tenant).write("template_sync_fail", fail).await
            && let Some(suppressed) = FAILURES.failed_with(&error)
        {
            tracing::warn!(%channel, %error, suppressed, "how a synchronisation ended could not be noted");
        }
    }
}
