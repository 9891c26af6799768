//! Password reset by email, for people who forgot their password or never had one: the mailbox proves their identity.

use diesel::pg::PgConnection;
use uuid::Uuid;

use super::email_templates;
use super::sessions;
use super::sign_in::{SignIn, TOKEN_OVER};
use super::throttle::{self, Attempt, Throttle};
use crate::auth::{Hash, hash, secret};
use crate::base::error::{Error, Result};
use crate::db::{SqlValue, Statement, Tx};

/// Emails of a kind which one mailbox can be sent, and one caller can request, within the throttle's window.
const MAX_PER_ACCOUNT: u32 = 5;
const MAX_PER_ADDRESS: u32 = 100;

/// Counts requests for emails of one kind.
pub struct Asked {
    mailboxes: Throttle,
    callers: Throttle,
}

impl Asked {
    pub fn new() -> Self {
        Self { mailboxes: Throttle::new(MAX_PER_ACCOUNT), callers: Throttle::new(MAX_PER_ADDRESS) }
    }

    /// Counts an email to `email` requested by `caller`, whether it is sent or not. Errors: 429.
    pub fn admit(&self, email: &str, caller: &str) -> Result<()> {
        let mailbox = email.to_lowercase();
        let attempts =
            [self.mailboxes.reserve(&mailbox).map_err(too_many)?, self.callers.reserve(caller).map_err(too_many)?];
        attempts.into_iter().for_each(Attempt::failed);
        Ok(())
    }
}

fn too_many(error: Error) -> Error {
    match error {
        Error::TooMany { code, after, .. } => {
            let detail = format!("Too many mails were asked for. Wait {} minutes and try again.", after.div_ceil(60));
            Error::TooMany { code, detail, after }
        }
        other => other,
    }
}

impl SignIn {
    /// Sends the person with the address `email` a reset link. Returns before the person is looked up, so that the
    /// response does not reveal whether they exist. Errors: 429; 503 when email cannot be sent.
    pub fn ask_for_reset(&self, email: &str, address: &str) -> Result<()> {
        let place = self.mail.place()?;
        self.resets.admit(email, &throttle::place(Some(address)))?;
        let (db, mail, minutes, email) = (self.db.clone(), self.mail.clone(), self.reset_minutes, email.to_owned());
        place.send(async move {
            let token = secret("pt_")?;
            let hashed = hash(&token);
            let issued = db.unscoped().write("issue_reset", move |tx| issue(tx, &email, &hashed, minutes)).await?;
            // To the stored address, not to the one which was entered.
            Ok(issued.map(|to| email_templates::reset(to, &mail.link("passwords", &token), minutes)))
        });
        Ok(())
    }

    /// Sets the password `new` of the person who was sent `token`, and ends all their sessions. Errors: 401 when the
    /// token is not valid (any more).
    pub async fn reset_password(&self, token: &str, new: String) -> Result<()> {
        let hashed = hash(token);
        // Checked before hashing, which is expensive and must not be triggered by made-up tokens.
        if !self.db.unscoped().read("reset_token", move |conn| counts(conn, &hashed)).await? {
            return Err(TOKEN_OVER);
        }
        let new = self.passwords.hash(new).await?;
        let email = self.db.unscoped().write("reset_password", move |tx| redeem(tx, &hashed, &new)).await?;
        // A person who proved their mailbox need not wait because of earlier failures.
        self.accounts.succeeded(&email.ok_or(TOKEN_OVER)?.to_lowercase());
        Ok(())
    }
}

/// Stores the token hash for the person with the address `email`, valid for `minutes`; returns the stored address, or
/// `None` if there is no such person.
fn issue(tx: &mut Tx<'_>, email: &str, token: &Hash, minutes: u32) -> Result<Option<String>> {
    Statement::new("DELETE FROM password_tokens WHERE expires_at <= now()").run(tx)?;
    let Some(person) = sessions::person(tx, email)? else { return Ok(None) };
    let mut sql = Statement::new("INSERT INTO password_tokens (hash, user_id, expires_at) VALUES (");
    sql.bind(SqlValue::Bytes(token.to_vec())).push(", ").bind(SqlValue::Uuid(Some(person.id)));
    sql.push(&format!(", now() + interval '{minutes} minutes')")).run(tx)?;
    Ok(Some(person.email))
}

/// Whether the token is valid. Runs unscoped, because the tenant is not known yet.
fn counts(conn: &mut PgConnection, token: &Hash) -> Result<bool> {
    let mut sql = Statement::new("SELECT user_id FROM password_tokens WHERE expires_at > now() AND hash = ");
    Ok(sql.bind(SqlValue::Bytes(token.to_vec())).row(conn)?.is_some())
}

/// Redeems the token: sets the hashed password and returns the person's address. `None`: the token is not valid (any
/// more).
fn redeem(tx: &mut Tx<'_>, token: &Hash, password: &str) -> Result<Option<String>> {
    // Of two concurrent requests the second finds it deleted.
    let mut sql = Statement::new("DELETE FROM password_tokens WHERE expires_at > now() AND hash = ");
    sql.bind(SqlValue::Bytes(token.to_vec())).push(" RETURNING user_id");
    let Some(user) = sql.row(tx)?.and_then(|row| row.uuid(0)) else { return Ok(None) };
    sessions::set_password(tx, user, password, None)?;
    email_of(tx, user).map(Some)
}

fn email_of(conn: &mut PgConnection, user: Uuid) -> Result<String> {
    let mut sql = Statement::new("SELECT email FROM users WHERE id = ");
    let row = sql.bind(SqlValue::Uuid(Some(user))).row(conn)?;
    Ok(row.as_ref().and_then(|row| row.text(0)).unwrap_or_default().to_owned())
}
