//! Sending of an invitation: `POST /invitations` stores it and emails its link.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use diesel::pg::PgConnection;
use uuid::Uuid;

use super::email_links::EmailThrottle;
use super::email_templates;
use super::invitations::INVITATIONS;
use super::role_rules::guard_role;
use crate::auth::{Action, Hash, Tenant, hash, secret};
use crate::base::email::Mailer;
use crate::base::error::{Error, Result};
use crate::db::schema::invitations;
use crate::db::{Db, Statement, Tx};
use crate::http::caller::Caller;
use crate::http::idempotency;
use crate::http::routing::Routes;
use crate::resource::http::{API, no_parameters};
use crate::resource::{Changeset, Row, body, crud};

/// Maximum nesting of an invitation's body.
const DEPTH: usize = 4;

/// Adds the operation which creates invitations to the routes of `/invitations`.
pub fn routes(collection: Routes) -> Routes {
    collection.on(Method::POST, invite)
}

async fn invite(
    sender: Data<InvitationSender>,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = caller.require(INVITATIONS.area, Action::Write)?;
    no_parameters(&request)?;
    let change = Changeset::parse(&INVITATIONS, body::json(&body, DEPTH)?, true, caller.business())?;
    sender.send(tenant, &request, &body, change).await
}

/// Stores invitations and emails their links.
pub struct InvitationSender {
    pub db: Db,
    pub mailer: Arc<Mailer>,
    pub emails: EmailThrottle,
    /// Days for which an invitation is valid.
    pub days: u32,
}

impl InvitationSender {
    /// Creates the invitation `change` to the tenant's business and emails it; a replay by idempotency key emails
    /// nothing. Errors: those of [`insert`]; 429 when too many were sent there; 503 when email cannot be sent.
    async fn send(
        &self,
        tenant: Tenant,
        request: &HttpRequest,
        body: &[u8],
        change: Changeset,
    ) -> Result<HttpResponse> {
        let slot = self.mailer.place()?;
        let to = change.text(invitations::email).unwrap_or_default().to_owned();
        self.emails.admit(&to, &tenant.id().to_string())?;
        let (token, days) = (secret("in_")?, self.days);
        let hashed = hash(&token);
        let own = tenant.clone();
        let name = self.db.for_tenant(&tenant).read("invite", move |conn| business_name(conn, &own));
        let (business, own) = (name.await?, tenant.clone());
        let (reply, replayed) = idempotency::write_or_replay(&self.db, &tenant, request, body, "invite", move |tx| {
            let (id, row) = insert(tx, &own, &change, &hashed, days)?;
            Ok(row.created(format!("{API}/{}/{id}", INVITATIONS.plural)))
        })
        .await?;
        if !replayed {
            let email = email_templates::invitation(to, &business, &self.mailer.link("invitations", &token), days);
            slot.send(async { Ok(Some(email)) });
        }
        Ok(reply)
    }
}

/// Creates the invitation `change`, valid for `days`, with the token of this hash; it replaces one for the same
/// address. Errors: 403 when its role, or that of the replaced one, is above the caller's own; 409 for a member.
fn insert(tx: &mut Tx<'_>, tenant: &Tenant, change: &Changeset, token: &Hash, days: u32) -> Result<(Uuid, Row)> {
    guard_role(tenant, change.text(invitations::role))?;
    let business = || tenant.id();
    // Row-level security limits the query to this business, so it reveals nothing about other people.
    let mut member =
        Statement::new("SELECT u.id FROM users u JOIN memberships m ON m.user_id = u.id WHERE lower(u.email) = lower(");
    member.bind(change.text(invitations::email)).sql(") AND m.business_id = ").bind(business());
    if member.scalar::<Uuid>(tx)?.is_some() {
        return Err(Error::Conflict {
            code: "already_member",
            detail: "This person belongs to the business already. Change their role: `PATCH /api/v1/users/{id}`."
                .into(),
            pointer: Some("/email".into()),
            extra: Box::default(),
        });
    }
    let mut before = Statement::new("SELECT role FROM invitations WHERE business_id = ");
    before.bind(business()).sql(" AND lower(email) = lower(").bind(change.text(invitations::email)).sql(") FOR UPDATE");
    guard_role(tenant, before.scalar::<String>(tx)?.as_deref())?;
    let mut sql =
        Statement::new("INSERT INTO invitations (business_id, id, email, name, role, hash, expires_at) VALUES (");
    sql.bind(business()).sql(", ").bind(Uuid::now_v7()).sql(", ").bind(change.text(invitations::email)).sql(", ");
    sql.bind(change.text(invitations::name)).sql(", ").bind(change.text(invitations::role)).sql(", ");
    sql.bind(token.to_vec()).sql(", now() + interval '").number(days).sql(
        " days') ON CONFLICT (business_id, lower(email)) DO UPDATE SET email = excluded.email, \
         name = excluded.name, role = excluded.role, hash = excluded.hash, expires_at = excluded.expires_at, \
         version = invitations.version + 1, updated_at = now() RETURNING id",
    );
    let id = sql.scalar::<Uuid>(tx)?.ok_or_else(|| Error::Internal("an insert returned no row".into()))?;
    let row = crud::one(tx, tenant, &INVITATIONS, id, &Default::default())?;
    Ok((id, row.ok_or_else(|| crud::not_found(&INVITATIONS))?))
}

/// Returns the name of the tenant's business, for the email.
fn business_name(conn: &mut PgConnection, tenant: &Tenant) -> Result<String> {
    let mut sql = Statement::new("SELECT name FROM businesses WHERE id = ");
    Ok(sql.bind(tenant.id()).scalar(conn)?.unwrap_or_default())
}
