//! Sign-in by password.

use std::sync::Arc;

use super::device::Device;
use super::passwords::Passwords;
use super::responses::SignedIn;
use super::session_issuer::SessionIssuer;
use super::stored_passwords;
use super::throttle::{self, Attempt, Throttle};
use crate::base::error::{Error, Result};
use crate::db::Db;

const WRONG: Error = Error::AuthRejected {
    code: "wrong_password",
    detail: "The address or the password is wrong. Try again, or ask for a new password.",
};

/// Checks addresses and passwords, and starts sessions.
pub struct SignIn {
    pub db: Db,
    pub passwords: Arc<Passwords>,
    /// Failures by account, in any flow which checks its password.
    pub accounts: Arc<Throttle>,
    /// Failures by client network.
    pub addresses: Throttle,
    pub sessions: SessionIssuer,
}

impl SignIn {
    /// Signs a person in to one of their businesses: the one with the slug `business`, or else their only one. Errors:
    /// 401 for any wrong credential; 429 after too many of these; 403 when they belong to no such business; 409 when
    /// they must choose one.
    pub async fn sign_in(
        &self,
        email: &str,
        password: String,
        business: Option<&str>,
        device: Device,
    ) -> Result<SignedIn> {
        let account = email.to_lowercase();
        let attempts = [
            self.accounts.reserve(&account)?,
            self.addresses.reserve(&throttle::client_network(device.address.as_deref()))?,
        ];
        let address = account.clone();
        let person =
            self.db.unscoped().read("sign_in_user", move |conn| stored_passwords::person(conn, &address)).await?;
        let stored = person.as_ref().and_then(|person| person.hash.clone());
        let matches = self.passwords.verify(stored.clone(), password).await?;
        let Some((person, verified)) = person.filter(|_| matches).zip(stored) else {
            attempts.into_iter().for_each(Attempt::failed);
            return Err(WRONG);
        };
        self.accounts.succeeded(&account);
        let user = person.id;
        self.sessions
            .start_session((user, &person.name), business, device, move |tx| {
                if stored_passwords::still_has(tx, user, &verified)? { Ok(()) } else { Err(WRONG) }
            })
            .await
    }
}
