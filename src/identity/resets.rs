//! A new password for who forgot theirs, or never had one: the mailbox proves who they are.

use diesel::pg::PgConnection;
use uuid::Uuid;

use super::letters;
use super::sessions;
use super::sign_in::{SignIn, TOKEN_OVER};
use super::throttle::{self, Attempt, Throttle};
use crate::auth::{Hash, hash, secret};
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Result};

/// Mails of a kind that one mailbox can be sent within the throttle's window, and that one caller can have sent.
const MOST_TO_ONE: u32 = 5;
const MOST_BY_ONE: u32 = 100;

/// How often mails of a kind were asked for.
pub struct Asked {
    mailboxes: Throttle,
    callers: Throttle,
}

impl Asked {
    pub fn new() -> Self {
        Self { mailboxes: Throttle::new(MOST_TO_ONE), callers: Throttle::new(MOST_BY_ONE) }
    }

    /// Counts a mail to `email` that `caller` asks for, whether it will be sent or not. Errors: 429.
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
    /// Sends whoever has the address `email` a link to a new password. The answer does not wait to learn whether there is
    /// such a person. Errors: 429; 503 when mail cannot be sent.
    pub fn ask_for_reset(&self, email: &str, address: &str) -> Result<()> {
        let place = self.mail.place()?;
        self.resets.admit(email, &throttle::place(Some(address)))?;
        let (db, mail, minutes, email) = (self.db.clone(), self.mail.clone(), self.reset_minutes, email.to_owned());
        place.send(async move {
            let token = secret("pt_")?;
            let hashed = hash(&token);
            let issued = db.across().write("issue_reset", move |tx| issue(tx, &email, &hashed, minutes)).await?;
            // To the address that the person has, not to what was typed.
            Ok(issued.map(|to| letters::reset(to, &mail.link("passwords", &token), minutes)))
        });
        Ok(())
    }

    /// Gives the person to whom `token` was mailed the password `new`, and ends all their sessions. Errors: 401 when the
    /// token does not count (any more).
    pub async fn reset_password(&self, token: &str, new: String) -> Result<()> {
        let hashed = hash(token);
        // Asked first: hashing is dear, and not to be had for a made-up token.
        if !self.db.across().read("reset_token", move |conn| counts(conn, &hashed)).await? {
            return Err(TOKEN_OVER);
        }
        let new = self.passwords.hash(new).await?;
        let email = self.db.across().write("reset_password", move |tx| redeem(tx, &hashed, &new)).await?;
        // Who guessed too often and then proved their mailbox need not wait.
        self.accounts.succeeded(&email.ok_or(TOKEN_OVER)?.to_lowercase());
        Ok(())
    }
}

/// Keeps the token of this hash for whoever has the address `email`, for `minutes`; their address, if there is someone.
fn issue(tx: &mut Tx<'_>, email: &str, token: &Hash, minutes: u32) -> Result<Option<String>> {
    Statement::new("DELETE FROM password_tokens WHERE expires_at <= now()").run(tx)?;
    let Some(person) = sessions::person(tx, email)? else { return Ok(None) };
    let mut sql = Statement::new("INSERT INTO password_tokens (hash, user_id, expires_at) VALUES (");
    sql.bind(Value::Bytes(token.to_vec())).push(", ").bind(Value::Uuid(Some(person.id)));
    sql.push(&format!(", now() + interval '{minutes} minutes')")).run(tx)?;
    Ok(Some(person.email))
}

/// Before there is a tenant.
fn counts(conn: &mut PgConnection, token: &Hash) -> Result<bool> {
    let mut sql = Statement::new("SELECT user_id FROM password_tokens WHERE expires_at > now() AND hash = ");
    Ok(sql.bind(Value::Bytes(token.to_vec())).row(conn)?.is_some())
}

/// Uses the token up for the password of `hash`; the person's address. `None`: it does not count (any more).
fn redeem(tx: &mut Tx<'_>, token: &Hash, password: &str) -> Result<Option<String>> {
    // Of two who come at once, the second finds it gone.
    let mut sql = Statement::new("DELETE FROM password_tokens WHERE expires_at > now() AND hash = ");
    sql.bind(Value::Bytes(token.to_vec())).push(" RETURNING user_id");
    let Some(user) = sql.row(tx)?.and_then(|row| row.uuid(0)) else { return Ok(None) };
    sessions::set_password(tx, user, password, None)?;
    email_of(tx, user).map(Some)
}

fn email_of(conn: &mut PgConnection, user: Uuid) -> Result<String> {
    let mut sql = Statement::new("SELECT email FROM users WHERE id = ");
    let row = sql.bind(Value::Uuid(Some(user))).row(conn)?;
    Ok(row.as_ref().and_then(|row| row.text(0)).unwrap_or_default().to_owned())
}
