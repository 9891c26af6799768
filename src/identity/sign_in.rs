//! Signing in: passwords checked, sessions begun, renewed and ended.

use std::sync::Arc;

use actix_web::web::Data;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::oidc::Provider;
use super::passwords::Passwords;
use super::resets::Asked;
use super::sessions::{self, Device, Door, Renewal};
use super::throttle::{self, Attempt, Throttle};
use crate::auth::{Keyring, Ticket, hash};
use crate::config::Config;
use crate::db::{Actor, Db, Tx};
use crate::error::{Error, Fault, Result};
use crate::jobs::Supervisor;
use crate::mail::Mailer;

/// How many accounts may share an address, as behind a company's router.
const MANY: u32 = 20;

const WRONG: Error = Error::Refused {
    code: "wrong_password",
    detail: "The address or the password is wrong. Try again, or ask for a new password.",
};
const OVER: Error = Error::Refused {
    code: "session_over",
    detail: "The session is over. Sign in again: `POST /api/v1/auth/sessions`.",
};
pub(super) const TOKEN_OVER: Error = Error::Refused {
    code: "token_over",
    detail: "The link was used, replaced or withdrawn, or its time is over. Ask for another: \
             `POST /api/v1/auth/password-resets`, or whoever invited you.",
};

/// What signing in works with.
pub struct SignIn {
    pub db: Db,
    pub passwords: Passwords,
    pub(super) mail: Arc<Mailer>,
    /// None is configured.
    pub(super) provider: Option<Provider>,
    pub(super) accounts: Throttle,
    addresses: Throttle,
    pub(super) resets: Asked,
    pub(super) invitations: Asked,
    keyring: Data<Keyring>,
    pub(super) days: u32,
    pub(super) reset_minutes: u32,
    pub(super) invitation_days: u32,
}

impl SignIn {
    /// Errors: 500 when threads cannot be started, or the options of mail are no good.
    pub fn open(db: Db, keyring: Data<Keyring>, config: &Config, supervisor: &Supervisor) -> Result<Self> {
        Ok(Self {
            db,
            keyring,
            passwords: Passwords::start(config.password_threads, config.password_queue, supervisor)?,
            accounts: Throttle::new(config.sign_in_attempts),
            addresses: Throttle::new(config.sign_in_attempts.saturating_mul(MANY)),
            days: config.session_days,
            mail: Arc::new(Mailer::open(config)?),
            provider: Provider::open(config)?,
            resets: Asked::new(),
            invitations: Asked::new(),
            reset_minutes: config.password_reset_minutes,
            invitation_days: config.invitation_days,
        })
    }

    /// Signs a person in to one of their businesses: the one of the slug `business`, or else their only one.
    /// Errors: 401 whatever is wrong, 429 after too many of these; 409 when they must choose a business.
    pub async fn sign_in(&self, email: &str, password: &str, business: Option<&str>, device: Device) -> Result<Json> {
        let account = email.to_lowercase();
        let attempts =
            [self.accounts.reserve(&account)?, self.addresses.reserve(&throttle::place(device.address.as_deref()))?];
        let asked = account.clone();
        let person = self.db.across().read("person", move |conn| sessions::person(conn, &asked)).await?;
        let stored = person.as_ref().and_then(|person| person.hash.clone());
        let right = self.passwords.verify(stored.clone(), password.to_owned()).await?;
        let Some((person, verified)) = person.filter(|_| right).zip(stored) else {
            attempts.into_iter().for_each(Attempt::failed);
            return Err(WRONG);
        };
        self.accounts.succeeded(&account);
        let user = person.id;
        self.enter((user, &person.name), business, device, move |tx| sessions::still_has(tx, user, &verified)).await
    }

    /// Begins a session of a person, by id and name, who has shown who they are, in the business of the slug `business` or
    /// else their only one. `still` says, in the transaction that begins it, whether what they have shown still holds.
    /// Errors: 401 when it does not; 403 when they belong to no such business; 409 when they must choose one.
    pub(super) async fn enter(
        &self,
        (user, name): (Uuid, &str),
        business: Option<&str>,
        device: Device,
        still: impl Fn(&mut Tx<'_>) -> Result<bool> + Send + Sync + 'static,
    ) -> Result<Json> {
        let doors = self.db.across().read("doors", move |conn| sessions::doors(conn, user)).await?;
        let door = choose(doors, business)?;
        let ticket = Ticket { business: door.business, session: Uuid::now_v7(), user };
        let (refresh, device, days) = (sessions::generate()?, Arc::new(device), self.days);
        let hashed = hash(&refresh);
        let begun = self.db.across().write("sign_in", move |tx| {
            let holds = still(tx)?;
            if holds {
                sessions::begin(tx, ticket, &device, &hashed, days)?;
            }
            Ok(holds)
        });
        if !begun.await? {
            return Err(WRONG);
        }
        self.entered(ticket, &refresh, name, &door).await
    }

    /// What a session begins with: its tokens, and who came in where.
    pub(super) async fn entered(&self, ticket: Ticket, refresh: &str, name: &str, door: &Door) -> Result<Json> {
        let mut pair = self.pair(ticket, refresh).await?;
        pair["user"] = json!({ "id": ticket.user, "name": name });
        pair["business"] = json!({ "id": door.business, "slug": door.slug, "name": door.name });
        pair["role"] = json!(door.role);
        Ok(pair)
    }

    /// A new pair of tokens for a refresh token, which counts once. Errors: 401.
    pub async fn renew(&self, refresh: &str) -> Result<Json> {
        let (fresh, used, days) = (sessions::generate()?, hash(refresh), self.days);
        let hashed = hash(&fresh);
        match self.db.across().write("renew_session", move |tx| sessions::renew(tx, &used, &hashed, days)).await? {
            Renewal::Renewed(ticket) => self.pair(ticket, &fresh).await,
            Renewal::Unknown => Err(OVER),
            Renewal::Reused => {
                tracing::warn!("a refresh token came twice; its session was ended");
                Err(OVER)
            }
        }
    }

    /// Changes the password of `user`, who knows the `current` one, and ends their other sessions.
    /// Errors: 422 when it is wrong.
    pub async fn change_password(&self, user: Uuid, session: Uuid, current: String, new: String) -> Result<()> {
        let account = user.to_string();
        let attempt = self.accounts.reserve(&account)?;
        let stored = self.db.across().read("password", move |conn| sessions::password(conn, user)).await?;
        let right = self.passwords.verify(stored.clone(), current).await?;
        let Some(verified) = stored.filter(|_| right) else {
            attempt.failed();
            return Err(not_yours());
        };
        let hashed = self.passwords.hash(new).await?;
        let changed = self.db.across().by(Actor::User(user)).write("change_password", move |tx| {
            match sessions::still_has(tx, user, &verified)? {
                true => sessions::set_password(tx, user, &hashed, Some(session)),
                false => Err(not_yours()),
            }
        });
        changed.await
    }

    async fn pair(&self, ticket: Ticket, refresh: &str) -> Result<Json> {
        let tokens = self.keyring.tokens().await?;
        Ok(json!({
            "access_token": tokens.issue(ticket)?,
            "token_type": "Bearer",
            "expires_in": tokens.life().as_secs(),
            "refresh_token": refresh,
            "session_id": ticket.session,
        }))
    }
}

fn not_yours() -> Error {
    Error::Invalid(vec![Fault::new("/current_password", "wrong", "`current_password` is not your password.")])
}

fn choose(doors: Vec<Door>, business: Option<&str>) -> Result<Door> {
    let open: Vec<Json> = doors.iter().map(|door| json!({ "slug": door.slug, "name": door.name })).collect();
    let mut fitting = doors.into_iter().filter(|door| business.is_none_or(|slug| door.slug == slug));
    match (fitting.next(), fitting.next()) {
        (Some(door), None) => Ok(door),
        (Some(_), Some(_)) => Err(Error::Conflict {
            code: "choose_business",
            detail: "You belong to several businesses. Say which in `business`, by its slug.".into(),
            pointer: Some("/business".into()),
            extra: Box::new(json!({ "businesses": open })),
        }),
        (None, _) => Err(sessions::not_a_member()),
    }
}
