//! Command-line options of signing in.

use clap::Args;

use crate::base::options::{OptionErrors, Secret, is_page_url};

/// Options of signing in.
#[derive(Args, Clone, Debug)]
pub struct SignInArgs {
    /// How long a session lasts at most without being renewed, in days
    #[arg(long, env = "RAPPORT_SESSION_DAYS", default_value_t = 30)]
    pub session_days: u32,
    /// Passwords that are checked at once; each takes 19 MiB and keeps a core busy
    #[arg(long, env = "RAPPORT_PASSWORD_THREADS", default_value_t = 1)]
    pub password_threads: usize,
    /// Sign-ins that may wait for that; more are sent away with 503
    #[arg(long, env = "RAPPORT_PASSWORD_QUEUE", default_value_t = 32)]
    pub password_queue: usize,
    /// Wrong passwords in 15 minutes, of one account or one address, after which it must wait
    #[arg(long, env = "RAPPORT_SIGN_IN_ATTEMPTS", default_value_t = 10)]
    pub sign_in_attempts: u32,
    /// How long a link to a new password counts, in minutes
    #[arg(long, env = "RAPPORT_PASSWORD_RESET_MINUTES", default_value_t = 60)]
    pub password_reset_minutes: u32,
    /// How long an invitation counts, in days
    #[arg(long, env = "RAPPORT_INVITATION_DAYS", default_value_t = 7)]
    pub invitation_days: u32,
}

impl SignInArgs {
    pub fn validate(&self, errors: &mut OptionErrors) {
        errors.check((1..=3650).contains(&self.session_days), "RAPPORT_SESSION_DAYS must be 1 to 3650");
        errors.check((1..=64).contains(&self.password_threads), "RAPPORT_PASSWORD_THREADS must be 1 to 64");
        errors.check(self.password_queue >= 1, "RAPPORT_PASSWORD_QUEUE must be at least 1");
        errors.check(self.sign_in_attempts >= 1, "RAPPORT_SIGN_IN_ATTEMPTS must be at least 1");
        errors.check(
            (5..=1440).contains(&self.password_reset_minutes),
            "RAPPORT_PASSWORD_RESET_MINUTES must be 5 to 1440",
        );
        errors.check((1..=90).contains(&self.invitation_days), "RAPPORT_INVITATION_DAYS must be 1 to 90");
    }
}

/// The identity provider; without an issuer there is none.
#[derive(Args, Clone, Debug)]
pub struct OidcArgs {
    /// Identity provider for signing in (OpenID Connect): its issuer, as it writes it
    #[arg(long, env = "RAPPORT_OIDC_ISSUER")]
    pub oidc_issuer: Option<String>,
    /// Id of this service as a client of the identity provider
    #[arg(long, env = "RAPPORT_OIDC_CLIENT_ID")]
    pub oidc_client_id: Option<String>,
    /// Secret of that client, if it has one
    #[arg(long, env = "RAPPORT_OIDC_CLIENT_SECRET", hide_env_values = true)]
    pub oidc_client_secret: Option<Secret>,
    /// Page of the front end that the identity provider sends browsers back to: `https://app.example.com/oidc`
    #[arg(long, env = "RAPPORT_OIDC_REDIRECT_URL")]
    pub oidc_redirect_url: Option<String>,
}

impl OidcArgs {
    pub fn validate(&self, errors: &mut OptionErrors) {
        errors.check(
            self.oidc_issuer.is_none() == self.oidc_client_id.is_none()
                && self.oidc_issuer.is_none() == self.oidc_redirect_url.is_none(),
            "RAPPORT_OIDC_ISSUER, RAPPORT_OIDC_CLIENT_ID and RAPPORT_OIDC_REDIRECT_URL are set together",
        );
        for url in [&self.oidc_issuer, &self.oidc_redirect_url].into_iter().flatten() {
            errors.check(
                is_page_url(url),
                "RAPPORT_OIDC_ISSUER and RAPPORT_OIDC_REDIRECT_URL must be addresses such as https://id.example.com",
            );
        }
        errors.check(
            cfg!(feature = "tls") || self.oidc_issuer.as_ref().is_none_or(|url| !url.starts_with("https:")),
            "RAPPORT_OIDC_ISSUER asks for TLS, and this program was built without it",
        );
    }
}
