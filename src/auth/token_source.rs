//! The secret that signs access tokens: configured, or made once and shared through the database.

use std::time::Duration;

use super::args::CredentialArgs;
use super::secret::random;
use super::token::Tokens;
use crate::base::error::{Error, Result};
use crate::base::options::Secret;
use crate::db::{Db, Statement};

/// Source of the secret that signs access tokens.
pub struct TokenSource {
    configured: Option<Secret>,
    lifetime: Duration,
    made: tokio::sync::OnceCell<Tokens>,
}

impl TokenSource {
    pub fn new(args: &CredentialArgs) -> Self {
        Self {
            configured: args.token_secret.clone(),
            lifetime: Duration::from_secs(args.token_seconds),
            made: tokio::sync::OnceCell::new(),
        }
    }

    /// Returns what issues and verifies access tokens. Unless configured, their secret is generated once and stored in
    /// the database, so that all replicas share it. Errors: 503 when it cannot be read.
    pub async fn tokens(&self, db: &Db) -> Result<&Tokens> {
        let make = || async {
            let secret = match &self.configured {
                Some(secret) => secret.expose().as_bytes().to_vec(),
                None => shared_secret(db).await?,
            };
            Ok(Tokens::new(&secret, self.lifetime))
        };
        self.made.get_or_try_init(make).await
    }
}

/// Returns the secret that all replicas share; the first that asks makes it.
async fn shared_secret(db: &Db) -> Result<Vec<u8>> {
    let made = random::<32>()?;
    db.unscoped()
        .write("token_secret", move |tx| {
            let mut sql = Statement::new("INSERT INTO service_secrets (name, secret) VALUES ('access tokens', ");
            sql.bind(made.to_vec()).sql(") ON CONFLICT (name) DO NOTHING").run(tx)?;
            let stored = Statement::new("SELECT secret FROM service_secrets WHERE name = 'access tokens'");
            stored.scalar::<Vec<u8>>(tx)?.ok_or_else(|| Error::Internal("the secret of access tokens is gone".into()))
        })
        .await
}
