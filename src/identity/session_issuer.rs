//! Issues sessions and their tokens, for every way of signing in.

use std::sync::Arc;

use actix_web::web::Data;
use uuid::Uuid;

use super::device::Device;
use super::membership_choice::{self, MembershipChoice};
use super::responses::{BusinessSummary, SignedIn, TokenPair, TokenType, UserSummary};
use super::sessions::{self, Renewal};
use crate::auth::{Authenticator, Role, SessionClaims, hash};
use crate::base::error::{Error, Result};
use crate::db::{Db, Tx};

const SESSION_OVER: Error = Error::AuthRejected {
    code: "session_over",
    detail: "The session is over. Sign in again: `POST /api/v1/auth/sessions`.",
};

/// Starts and renews sessions.
#[derive(Clone)]
pub struct SessionIssuer {
    db: Db,
    authenticator: Data<Authenticator>,
    /// Days after which a session ends unless it is renewed.
    pub days: u32,
}

impl SessionIssuer {
    /// Issues sessions which end after `days` unless they are renewed.
    pub fn new(db: Db, authenticator: Data<Authenticator>, days: u32) -> Self {
        Self { db, authenticator, days }
    }

    /// Starts a session for an authenticated person, by id and name, in the business with the slug `business`, or else
    /// their only one. `recheck` checks, in the transaction which starts the session, that the authentication still
    /// holds. Errors: those of `recheck`; 403 when they belong to no such business; 409 when they must choose one.
    pub async fn start_session(
        &self,
        (user, name): (Uuid, &str),
        business: Option<&str>,
        device: Device,
        recheck: impl Fn(&mut Tx<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Result<SignedIn> {
        let choices = self
            .db
            .unscoped()
            .read("sign_in_memberships", move |conn| membership_choice::choices_of(conn, user))
            .await?;
        let membership = membership_choice::choose(choices, business)?;
        let claims = SessionClaims { business: membership.business, session: Uuid::now_v7(), user };
        let (refresh, device, days) = (sessions::generate()?, Arc::new(device), self.days);
        let hashed = hash(&refresh);
        let begun = self.db.unscoped().write("sign_in", move |tx| {
            recheck(tx)?;
            sessions::begin(tx, claims, &device, &hashed, days)
        });
        begun.await?;
        self.sign_in_response(claims, &refresh, name, &membership).await
    }

    /// Returns the response for a new session: its tokens, the user, the business and the role.
    pub async fn sign_in_response(
        &self,
        claims: SessionClaims,
        refresh: &str,
        name: &str,
        membership: &MembershipChoice,
    ) -> Result<SignedIn> {
        let MembershipChoice { business, slug, name: business_name, role } = membership;
        Ok(SignedIn {
            tokens: self.token_pair(claims, refresh.to_owned()).await?,
            user: UserSummary { id: claims.user, name: name.to_owned() },
            business: BusinessSummary { id: *business, slug: slug.clone(), name: business_name.clone() },
            role: Role::named(role).ok_or_else(|| Error::Internal(format!("a membership has the role {role}")))?,
        })
    }

    /// Exchanges a refresh token, which is valid once, for a new pair of tokens. Errors: 401.
    pub async fn renew(&self, refresh: &str) -> Result<TokenPair> {
        let (fresh, used, days) = (sessions::generate()?, hash(refresh), self.days);
        let hashed = hash(&fresh);
        match self.db.unscoped().write("renew_session", move |tx| sessions::renew(tx, &used, &hashed, days)).await? {
            Renewal::Renewed(claims) => self.token_pair(claims, fresh).await,
            Renewal::Unknown => Err(SESSION_OVER),
            Renewal::Reused => {
                tracing::warn!("a refresh token came twice; its session was ended");
                Err(SESSION_OVER)
            }
        }
    }

    async fn token_pair(&self, claims: SessionClaims, refresh_token: String) -> Result<TokenPair> {
        let tokens = self.authenticator.tokens().await?;
        Ok(TokenPair {
            access_token: tokens.issue(claims)?,
            token_type: TokenType::Bearer,
            expires_in: u32::try_from(tokens.life().as_secs()).unwrap_or(u32::MAX),
            refresh_token,
            session_id: claims.session,
        })
    }
}
