//! Change of one's own password, which ends all other sessions.

use std::sync::Arc;

use uuid::Uuid;

use super::passwords::Passwords;
use super::stored_passwords;
use super::throttle::Throttle;
use crate::base::error::{Error, FieldError, Result};
use crate::db::{Actor, Db};

pub struct PasswordChange {
    pub db: Db,
    pub passwords: Arc<Passwords>,
    /// Failures by account, in any flow which checks its password.
    pub accounts: Arc<Throttle>,
}

impl PasswordChange {
    /// Changes the password of `user`, after verifying the `current` one, and ends their other sessions. Errors: 422
    /// when it is wrong; 429 after too many wrong ones.
    pub async fn change(&self, user: Uuid, session: Uuid, current: String, new: String) -> Result<()> {
        let account = user.to_string();
        let attempt = self.accounts.reserve(&account)?;
        let stored = self.db.unscoped().read("password", move |conn| stored_passwords::password(conn, user)).await?;
        let matches = self.passwords.verify(stored.clone(), current).await?;
        let Some(verified) = stored.filter(|_| matches) else {
            attempt.failed();
            return Err(wrong_password());
        };
        let hashed = self.passwords.hash(new).await?;
        let changed = self.db.unscoped().by(Actor::User(user)).write("change_password", move |tx| {
            match stored_passwords::still_has(tx, user, &verified)? {
                true => stored_passwords::set_password(tx, user, &hashed, Some(session)),
                false => Err(wrong_password()),
            }
        });
        changed.await
    }
}

fn wrong_password() -> Error {
    Error::Invalid(vec![FieldError::new("/current_password", "wrong", "`current_password` is not your password.")])
}
