//! Command-line options of authentication.

use clap::Args;

use crate::base::options::{OptionErrors, Secret};

/// How credentials are verified.
#[derive(Args, Clone, Debug)]
pub struct CredentialArgs {
    /// How long a verified API key is trusted before it is looked up again, in milliseconds
    #[arg(long, env = "RAPPORT_CREDENTIAL_CACHE_MS", default_value_t = 1_000)]
    pub credential_cache_ms: u64,
    /// Signs access tokens, at least 32 characters [default: made once and kept in the database]
    #[arg(long, env = "RAPPORT_TOKEN_SECRET", hide_env_values = true)]
    pub token_secret: Option<Secret>,
    /// How long an access token counts, in seconds; the refresh token renews it
    #[arg(long, env = "RAPPORT_TOKEN_SECONDS", default_value_t = 600)]
    pub token_seconds: u64,
}

impl CredentialArgs {
    pub fn validate(&self, errors: &mut OptionErrors) {
        errors.check(
            self.token_secret.as_ref().is_none_or(|secret| secret.expose().len() >= 32),
            "RAPPORT_TOKEN_SECRET must have at least 32 characters",
        );
        errors.check((30..=86_400).contains(&self.token_seconds), "RAPPORT_TOKEN_SECONDS must be 30 to 86400");
    }
}
