//! Sign-in by password; starting and refreshing sessions; changing passwords.

use std::sync::Arc;

use actix_web::web::Data;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::oidc::Provider;
use super::password_reset::Asked;
use super::passwords::Passwords;
use super::sessions::{self, Device, MembershipChoice, Renewal};
use super::throttle::{self, Attempt, Throttle};
use crate::auth::{Authenticator, SessionClaims, hash};
use crate::background::Supervisor;
use crate::base::email::Mailer;
use crate::base::error::{Error, FieldError, Result};
use crate::db::{Actor, Db, Tx};
use crate::identity::args::{OidcArgs, SignInArgs};

/// Failures allowed per address, as a multiple of those per account: accounts share addresses, as behind a company's
/// router.
const MANY: u32 = 20;

const WRONG: Error = Error::AuthRejected {
    code: "wrong_password",
    detail: "The address or the password is wrong. Try again, or ask for a new password.",
};
const OVER: Error = Error::AuthRejected {
    code: "session_over",
    detail: "The session is over. Sign in again: `POST /api/v1/auth/sessions`.",
};
pub(super) const TOKEN_OVER: Error = Error::AuthRejected {
    code: "token_over",
    detail: "The link was used, replaced or withdrawn, or its time is over. Ask for another: \
             `POST /api/v1/auth/password-resets`, or the person who invited you.",
};

/// Services, throttles and settings of sign-in.
pub struct SignIn {
    pub db: Db,
    pub passwords: Passwords,
    pub(super) mail: Arc<Mailer>,
    /// `None`: not configured.
    pub(super) provider: Option<Provider>,
    pub(super) accounts: Throttle,
    addresses: Throttle,
    pub(super) resets: Asked,
    pub(super) invitations: Asked,
    keyring: Data<Authenticator>,
    pub(super) days: u32,
    pub(super) reset_minutes: u32,
    pub(super) invitation_days: u32,
}

impl SignIn {
    /// Starts the hashing threads; connects to nothing. Errors: 500 when threads cannot be started, or the options of
    /// email or identity provider are invalid.
    pub fn open(
        db: Db,
        keyring: Data<Authenticator>,
        args: &SignInArgs,
        oidc: &OidcArgs,
        mailer: Mailer,
        supervisor: &Supervisor,
    ) -> Result<Self> {
        Ok(Self {
            db,
            keyring,
            passwords: Passwords::start(args.password_threads, args.password_queue, supervisor)?,
            accounts: Throttle::new(args.sign_in_attempts),
            addresses: Throttle::new(args.sign_in_attempts.saturating_mul(MANY)),
            days: args.session_days,
            mail: Arc::new(mailer),
            provider: Provider::open(oidc)?,
            resets: Asked::new(),
            invitations: Asked::new(),
            reset_minutes: args.password_reset_minutes,
            invitation_days: args.invitation_days,
        })
    }

    /// Signs a person in to one of their businesses: the one with the slug `business`, or else their only one. Errors:
    /// 401 for any wrong credential; 429 after too many of these; 403 when they belong to no such business; 409 when
    /// they must choose one.
    pub async fn sign_in(&self, email: &str, password: &str, business: Option<&str>, device: Device) -> Result<Json> {
        let account = email.to_lowercase();
        let attempts =
            [self.accounts.reserve(&account)?, self.addresses.reserve(&throttle::place(device.address.as_deref()))?];
        let asked = account.clone();
        let person = self.db.unscoped().read("person", move |conn| sessions::person(conn, &asked)).await?;
        let stored = person.as_ref().and_then(|person| person.hash.clone());
        let right = self.passwords.verify(stored.clone(), password.to_owned()).await?;
        let Some((person, verified)) = person.filter(|_| right).zip(stored) else {
            attempts.into_iter().for_each(Attempt::failed);
            return Err(WRONG);
        };
        self.accounts.succeeded(&account);
        let user = person.id;
        self.start_session((user, &person.name), business, device, move |tx| sessions::still_has(tx, user, &verified))
            .await
    }

    /// Starts a session for an authenticated person, by id and name, in the business with the slug `business`, or else
    /// their only one. `still` checks, in the transaction which starts the session, that the authentication still
    /// holds. Errors: 401 when it does not; 403 when they belong to no such business; 409 when they must choose one.
    pub(super) async fn start_session(
        &self,
        (user, name): (Uuid, &str),
        business: Option<&str>,
        device: Device,
        still: impl Fn(&mut Tx<'_>) -> Result<bool> + Send + Sync + 'static,
    ) -> Result<Json> {
        let doors = self.db.unscoped().read("doors", move |conn| sessions::doors(conn, user)).await?;
        let door = choose(doors, business)?;
        let ticket = SessionClaims { business: door.business, session: Uuid::now_v7(), user };
        let (refresh, device, days) = (sessions::generate()?, Arc::new(device), self.days);
        let hashed = hash(&refresh);
        let begun = self.db.unscoped().write("sign_in", move |tx| {
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

    /// Returns the response for a new session: its tokens, the user, the business and the role.
    pub(super) async fn entered(
        &self,
        ticket: SessionClaims,
        refresh: &str,
        name: &str,
        door: &MembershipChoice,
    ) -> Result<Json> {
        let mut pair = self.pair(ticket, refresh).await?;
        pair["user"] = json!({ "id": ticket.user, "name": name });
        pair["business"] = json!({ "id": door.business, "slug": door.slug, "name": door.name });
        pair["role"] = json!(door.role);
        Ok(pair)
    }

    /// Exchanges a refresh token, which is valid once, for a new pair of tokens. Errors: 401.
    pub async fn renew(&self, refresh: &str) -> Result<Json> {
        let (fresh, used, days) = (sessions::generate()?, hash(refresh), self.days);
        let hashed = hash(&fresh);
        match self.db.unscoped().write("renew_session", move |tx| sessions::renew(tx, &used, &hashed, days)).await? {
            Renewal::Renewed(ticket) => self.pair(ticket, &fresh).await,
            Renewal::Unknown => Err(OVER),
            Renewal::Reused => {
                tracing::warn!("a refresh token came twice; its session was ended");
                Err(OVER)
            }
        }
    }

    /// Changes the password of `user`, after verifying the `current` one, and ends their other sessions. Errors: 422
    /// when it is wrong; 429 after too many wrong ones.
    pub async fn change_password(&self, user: Uuid, session: Uuid, current: String, new: String) -> Result<()> {
        let account = user.to_string();
        let attempt = self.accounts.reserve(&account)?;
        let stored = self.db.unscoped().read("password", move |conn| sessions::password(conn, user)).await?;
        let right = self.passwords.verify(stored.clone(), current).await?;
        let Some(verified) = stored.filter(|_| right) else {
            attempt.failed();
            return Err(not_yours());
        };
        let hashed = self.passwords.hash(new).await?;
        let changed = self.db.unscoped().by(Actor::User(user)).write("change_password", move |tx| {
            match sessions::still_has(tx, user, &verified)? {
                true => sessions::set_password(tx, user, &hashed, Some(session)),
                false => Err(not_yours()),
            }
        });
        changed.await
    }

    async fn pair(&self, ticket: SessionClaims, refresh: &str) -> Result<Json> {
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
    Error::Invalid(vec![FieldError::new("/current_password", "wrong", "`current_password` is not your password.")])
}

fn choose(doors: Vec<MembershipChoice>, business: Option<&str>) -> Result<MembershipChoice> {
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
