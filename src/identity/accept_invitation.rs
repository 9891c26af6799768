//! The invitation flow: sends an invitation, and makes the person who accepts it a member.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value as Json;
use uuid::Uuid;

use super::email_templates;
use super::invitations::{self, INVITATIONS, Joined};
use super::sessions::{self, Device};
use super::sign_in::{SignIn, TOKEN_OVER};
use crate::auth::{SessionClaims, Tenant, hash, secret};
use crate::base::error::Result;
use crate::http::idempotency;
use crate::resource::Changeset;
use crate::resource::http::API;

impl SignIn {
    /// Creates the invitation `change` to the tenant's business and emails it; a replay by idempotency key emails
    /// nothing. Errors: those of [`invitations::invite`]; 429 when too many were sent there; 503 when email cannot be
    /// sent.
    pub async fn invite(
        &self,
        tenant: Tenant,
        request: &HttpRequest,
        body: &[u8],
        change: Changeset,
    ) -> Result<HttpResponse> {
        let place = self.mail.place()?;
        let to = change.text("email").unwrap_or_default().to_owned();
        self.invitations.admit(&to, &tenant.id().to_string())?;
        let (token, days) = (secret("in_")?, self.invitation_days);
        let hashed = hash(&token);
        let own = tenant.clone();
        let named = self.db.for_tenant(&tenant).read("invite", move |conn| invitations::business_name(conn, &own));
        let (business, own) = (named.await?, tenant.clone());
        let (reply, replayed) = idempotency::write_or_replay(&self.db, &tenant, request, body, "invite", move |tx| {
            let (id, row) = invitations::invite(tx, &own, &change, &hashed, days)?;
            Ok(row.created(format!("{API}/{}/{id}", INVITATIONS.plural)))
        })
        .await?;
        if !replayed {
            let letter = email_templates::invitation(to, &business, &self.mail.link("invitations", &token), days);
            place.send(async { Ok(Some(letter)) });
        }
        Ok(reply)
    }

    /// Makes the person who was sent `token` a member, and signs them in. A person without a password needs one; a
    /// known person keeps name and password. Errors: 401 when the token is not valid (any more); 422.
    pub async fn join(
        &self,
        token: &str,
        password: Option<String>,
        name: Option<String>,
        device: Device,
    ) -> Result<Json> {
        let hashed = hash(token);
        let asked = self.db.unscoped().read("invitation", move |conn| invitations::has_password(conn, &hashed)).await?;
        // Checked before a password is hashed, which is expensive.
        let password = match (asked.ok_or(TOKEN_OVER)?, password) {
            (true, Some(_)) => return Err(invitations::keeps_password()),
            (false, None) => return Err(invitations::needs_password()),
            (false, Some(password)) => Some(self.passwords.hash(password).await?),
            (true, None) => None,
        };
        let (session, refresh, device, days) = (Uuid::now_v7(), sessions::generate()?, Arc::new(device), self.days);
        let renewal = hash(&refresh);
        let joined = self.db.unscoped().write("join", move |tx| {
            let Some(joined) = invitations::accept(tx, &hashed, name.as_deref(), password.as_deref())? else {
                return Ok(None);
            };
            let ticket = SessionClaims { business: joined.door.business, session, user: joined.user };
            sessions::begin(tx, ticket, &device, &renewal, days)?;
            Ok(Some((ticket, joined)))
        });
        let (ticket, Joined { name, door, .. }) = joined.await?.ok_or(TOKEN_OVER)?;
        self.entered(ticket, &refresh, &name, &door).await
    }
}
