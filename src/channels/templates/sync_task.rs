//! The background task that reads the templates of channels, in any process.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value as Json;

use super::built_in;
use super::list_client::{self, ListFailure};
use super::store::{self, TemplateKey};
use super::sync::{self, ClaimedSync};
use crate::auth::Tenant;
use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::base::options::Secret;
use crate::channels::channels::WHATSAPP;
use crate::channels::directory::{ChannelDirectory, ChannelKey};
use crate::channels::whatsapp::graph::GraphClient;
use crate::db::{Db, Tx};

/// Channels that a process reads at once.
const MAX_AT_ONCE: u32 = 4;
/// Pages of an account: Meta allows 6,000 templates. A list that goes on is no list.
const MAX_PAGES: usize = 100;

/// Reads templates; shared by the process.
pub struct TemplateReader {
    pub db: Db,
    pub directory: Arc<ChannelDirectory>,
    pub graph: GraphClient,
}

/// Where the templates of a channel are listed.
enum TemplateSource {
    BuiltIn,
    Account { id: String, token: Secret },
}

impl TemplateReader {
    pub fn task(self) -> BackgroundTask {
        let reader = Arc::new(self);
        let run = move || {
            let reader = reader.clone();
            async move { reader.read_due().await }
        };
        BackgroundTask::new("template sync", Duration::from_secs(2), run)
    }

    async fn read_due(&self) -> Result<TaskOutcome> {
        let claimed = self.db.unscoped().write("template_sync_claim", |tx| sync::claim(tx, MAX_AT_ONCE)).await?;
        let outcome = if claimed.len() == MAX_AT_ONCE as usize { TaskOutcome::Again } else { TaskOutcome::Rest };
        let read = join_all(claimed.into_iter().map(|claimed| self.read(claimed))).await;
        read.into_iter().collect::<Result<()>>()?;
        Ok(outcome)
    }

    /// Reads the templates of one channel, and notes how that ended. Errors: 503; then it is due again when its lease ends.
    async fn read(&self, claimed: ClaimedSync) -> Result<()> {
        let tenant = Tenant::for_channel(claimed.business_id);
        let Err(failure) = self.read_pages(&tenant, &claimed).await? else { return Ok(()) };
        let channel = claimed.channel_id;
        tracing::warn!(%channel, error = failure.error, "the templates of a channel could not be read");
        let own = tenant.clone();
        let fail = move |tx: &mut Tx<'_>| sync::fail(tx, &own, &claimed, &failure.error, failure.passes);
        self.db.for_tenant(&tenant).write("template_sync_fail", fail).await
    }

    async fn read_pages(&self, tenant: &Tenant, claimed: &ClaimedSync) -> Result<Result<(), ListFailure>> {
        let (account, token) = match self.source(claimed).await? {
            Ok(TemplateSource::Account { id, token }) => (id, token),
            Ok(TemplateSource::BuiltIn) => {
                self.store(tenant, claimed, Vec::new(), built_in::list(), true).await?;
                return Ok(Ok(()));
            }
            Err(failure) => return Ok(Err(failure)),
        };
        let (mut listed, mut after): (Vec<TemplateKey>, Option<String>) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let page = match list_client::page(&self.graph, &account, &token, after.as_deref()).await {
                Ok(page) => page,
                Err(failure) => return Ok(Err(failure)),
            };
            after = page.after;
            match self.store(tenant, claimed, listed, page.data, after.is_none()).await? {
                Some(all) if after.is_some() => listed = all,
                // That was all, or another process has taken over.
                _ => return Ok(Ok(())),
            }
        }
        Ok(Err(ListFailure::lasting("The list of templates does not end.")))
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
            (Some(id), Some(token)) => Ok(TemplateSource::Account { id: id.clone(), token: token.clone() }),
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
