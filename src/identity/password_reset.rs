//! Password reset by email, for people who forgot their password or never had one: the mailbox proves their identity.

use std::sync::Arc;

use diesel::pg::PgConnection;
use uuid::Uuid;

use super::email_links::{EmailThrottle, LINK_EXPIRED};
use super::email_templates;
use super::passwords::Passwords;
use super::stored_passwords;
use super::throttle::{self, Throttle};
use crate::auth::{Hash, hash, secret};
use crate::base::email::Mailer;
use crate::base::error::Result;
use crate::db::{Db, Statement, Tx};

/// Emails reset links and redeems them.
pub struct PasswordReset {
    pub db: Db,
    pub mailer: Arc<Mailer>,
    pub passwords: Arc<Passwords>,
    /// Failures by account, in any flow which checks its password.
    pub accounts: Arc<Throttle>,
    pub emails: EmailThrottle,
    /// Minutes for which a link is valid.
    pub minutes: u32,
}

impl PasswordReset {
    /// Sends the person with the address `email` a reset link. Returns before the person is looked up, so that the
    /// response does not reveal whether they exist. Errors: 429; 503 when email cannot be sent.
    pub fn request(&self, email: &str, address: &str) -> Result<()> {
        let slot = self.mailer.place()?;
        self.emails.admit(email, &throttle::client_network(Some(address)))?;
        let (db, mailer, minutes, email) = (self.db.clone(), self.mailer.clone(), self.minutes, email.to_owned());
        slot.send(async move {
            let token = secret("pt_")?;
            let hashed = hash(&token);
            let issued = db.unscoped().write("issue_reset", move |tx| issue(tx, &email, &hashed, minutes)).await?;
            // To the stored address, not to the one which was entered.
            Ok(issued.map(|to| email_templates::reset(to, &mailer.link("passwords", &token), minutes)))
        });
        Ok(())
    }

    /// Sets the password `new` of the person who was sent `token`, and ends all their sessions. Errors: 401 when the
    /// token is not valid (any more).
    pub async fn redeem(&self, token: &str, new: String) -> Result<()> {
        let hashed = hash(token);
        // Checked before hashing, which is expensive and must not be triggered by made-up tokens.
        if !self.db.unscoped().read("reset_token", move |conn| is_valid(conn, &hashed)).await? {
            return Err(LINK_EXPIRED);
        }
        let new = self.passwords.hash(new).await?;
        let email = self.db.unscoped().write("reset_password", move |tx| redeem(tx, &hashed, &new)).await?;
        // A person who proved their mailbox need not wait because of earlier failures.
        self.accounts.succeeded(&email.ok_or(LINK_EXPIRED)?.to_lowercase());
        Ok(())
    }
}

/// Stores the token hash for the person with the address `email`, valid for `minutes`; returns the stored address, or
/// `None` if there is no such person.
fn issue(tx: &mut Tx<'_>, email: &str, token: &Hash, minutes: u32) -> Result<Option<String>> {
    Statement::new("DELETE FROM password_tokens WHERE expires_at <= now()").run(tx)?;
    let Some(person) = stored_passwords::person(tx, email)? else { return Ok(None) };
    let mut sql = Statement::new("INSERT INTO password_tokens (hash, user_id, expires_at) VALUES (");
    sql.bind(token.to_vec()).sql(", ").bind(person.id);
    sql.sql(", now() + interval '").number(minutes).sql(" minutes')").run(tx)?;
    Ok(Some(person.email))
}

/// Whether the token is valid. Runs unscoped, because the tenant is not known yet.
fn is_valid(conn: &mut PgConnection, token: &Hash) -> Result<bool> {
    let mut sql = Statement::new("SELECT user_id FROM password_tokens WHERE expires_at > now() AND hash = ");
    Ok(sql.bind(token.to_vec()).scalar::<Uuid>(conn)?.is_some())
}

/// Redeems the token: sets the hashed password and returns the person's address. `None`: the token is not valid (any
/// more).
fn redeem(tx: &mut Tx<'_>, token: &Hash, password: &str) -> Result<Option<String>> {
    // Of two concurrent requests the second finds it deleted.
    let mut sql = Statement::new("DELETE FROM password_tokens WHERE expires_at > now() AND hash = ");
    sql.bind(token.to_vec()).sql(" RETURNING user_id");
    let Some(user) = sql.scalar::<Uuid>(tx)? else { return Ok(None) };
    stored_passwords::set_password(tx, user, password, None)?;
    email_of(tx, user).map(Some)
}

fn email_of(conn: &mut PgConnection, user: Uuid) -> Result<String> {
    let mut sql = Statement::new("SELECT email FROM users WHERE id = ");
    Ok(sql.bind(user).scalar(conn)?.unwrap_or_default())
}
