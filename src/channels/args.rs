//! Command-line options of channels.

use std::path::PathBuf;

use clap::Args;
use url::Url;

use super::media::kinds::MAX_FILE_BYTES;
use super::secrets::SealingKeys;
use crate::base::options::{OptionErrors, Secret};

/// Longest secret in characters: Meta's access tokens have some 200.
pub const MAX_SECRET_LEN: usize = 1024;

/// Options of channels and what they deliver.
#[derive(Args, Clone, Debug)]
pub struct ChannelArgs {
    /// App secrets of WhatsApp that sign webhook requests, comma-separated: while one is rotated, the new and the old one
    #[arg(long, env = "RAPPORT_WHATSAPP_APP_SECRET", hide_env_values = true, value_delimiter = ',', value_parser = trimmed)]
    pub whatsapp_app_secret: Vec<Secret>,
    /// What WhatsApp has to name when it verifies the webhook's address, comma-separated
    #[arg(long, env = "RAPPORT_WHATSAPP_VERIFY_TOKEN", hide_env_values = true, value_delimiter = ',', value_parser = trimmed)]
    pub whatsapp_verify_token: Vec<Secret>,
    /// Folder with a folder for each business, named by its slug, whose files channels may take secrets from
    #[arg(long, env = "RAPPORT_SECRETS_DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Keys that seal the secrets of channels, 32 bytes in base64 each, comma-separated: the first seals, all open
    /// [default: made once, in the state folder, where the private server is used]
    #[arg(long, env = "RAPPORT_SEALING_KEY", hide_env_values = true)]
    pub sealing_key: Option<Secret>,
    /// Address of Meta's Graph API, with its version
    #[arg(long, env = "RAPPORT_WHATSAPP_API_URL", default_value = "https://graph.facebook.com/v24.0")]
    pub whatsapp_api_url: Url,
    /// Messages that a process hands to channels at once
    #[arg(long, env = "RAPPORT_SEND_CONCURRENCY", default_value_t = 64)]
    pub send_concurrency: usize,
    /// Of these, those of one channel
    #[arg(long, env = "RAPPORT_SEND_CONCURRENCY_PER_CHANNEL", default_value_t = 32)]
    pub send_concurrency_per_channel: usize,
    /// Largest file that is uploaded to be sent, in bytes
    #[arg(long, env = "RAPPORT_ATTACHMENT_BYTES", default_value_t = MAX_FILE_BYTES)]
    pub attachment_bytes: u64,
    /// How long what channels delivered is kept as it came, in days
    #[arg(long, env = "RAPPORT_INBOUND_RETENTION_DAYS", default_value_t = 30)]
    pub inbound_retention_days: u32,
}

/// Parses a secret of a list: blanks beside the commas are none of it.
fn trimmed(text: &str) -> Result<Secret, String> {
    Ok(Secret::from(text.trim().to_owned()))
}

impl ChannelArgs {
    pub fn validate(&self, errors: &mut OptionErrors) {
        let secrets = self.whatsapp_app_secret.iter().chain(&self.whatsapp_verify_token);
        errors.check(
            secrets.into_iter().all(|secret| (8..=MAX_SECRET_LEN).contains(&secret.expose().chars().count())),
            "RAPPORT_WHATSAPP_APP_SECRET and RAPPORT_WHATSAPP_VERIFY_TOKEN take secrets of 8 to 1024 characters",
        );
        if let Some(Err(detail)) = self.sealing_key.as_ref().map(|keys| SealingKeys::parse(keys.expose())) {
            errors.push(format!("RAPPORT_SEALING_KEY: {detail}"));
        }
        errors.check(
            matches!(self.whatsapp_api_url.scheme(), "https" | "http"),
            "RAPPORT_WHATSAPP_API_URL is an address that begins with https:// (http:// for tests)",
        );
        errors.check(
            (1..=1000).contains(&self.send_concurrency)
                && (1..=self.send_concurrency).contains(&self.send_concurrency_per_channel),
            "RAPPORT_SEND_CONCURRENCY must be 1 to 1000, and RAPPORT_SEND_CONCURRENCY_PER_CHANNEL at most as many",
        );
        errors.check(
            (1..=MAX_FILE_BYTES).contains(&self.attachment_bytes),
            "RAPPORT_ATTACHMENT_BYTES must be 1 to 104857600: channels take no larger files",
        );
        errors
            .check((1..=365).contains(&self.inbound_retention_days), "RAPPORT_INBOUND_RETENTION_DAYS must be 1 to 365");
    }
}
