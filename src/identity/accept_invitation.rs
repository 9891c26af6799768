//! Acceptance of an invitation, which makes the invited person a member and signs them in.

use std::sync::Arc;

use diesel::QueryableByName;
use diesel::pg::PgConnection;
use uuid::Uuid;

use super::add_member::{KnownMember, add_member};
use super::device::Device;
use super::email_links::LINK_EXPIRED;
use super::membership_choice::{self, MembershipChoice};
use super::passwords::Passwords;
use super::provisioning::{Person, find_or_create_person};
use super::responses::SignedIn;
use super::session_issuer::SessionIssuer;
use super::sessions;
use crate::auth::{Hash, SessionClaims, hash};
use crate::base::error::{Error, FieldError, Result};
use crate::db::schema::invitations;
use crate::db::{Actor, Db, Statement, Tx};

/// Redeems the links of invitations.
pub struct InvitationAcceptance {
    pub db: Db,
    pub passwords: Arc<Passwords>,
    pub sessions: SessionIssuer,
}

impl InvitationAcceptance {
    /// Makes the person who was sent `token` a member, and signs them in. A person without a password needs one; a
    /// known person keeps name and password. Errors: 401 when the token is not valid (any more); 422.
    pub async fn accept(
        &self,
        token: &str,
        password: Option<String>,
        name: Option<String>,
        device: Device,
    ) -> Result<SignedIn> {
        let hashed = hash(token);
        let known = self.db.unscoped().read("invitation", move |conn| has_password(conn, &hashed)).await?;
        // Checked before a password is hashed, which is expensive.
        let password = match (known.ok_or(LINK_EXPIRED)?, password) {
            (true, Some(_)) => return Err(keeps_password()),
            (false, None) => return Err(needs_password()),
            (false, Some(password)) => Some(self.passwords.hash(password).await?),
            (true, None) => None,
        };
        let (session, refresh, device) = (Uuid::now_v7(), sessions::generate()?, Arc::new(device));
        let (refresh_hash, days) = (hash(&refresh), self.sessions.days);
        let joined = self.db.unscoped().write("accept_invitation", move |tx| {
            let Some(joined) = accept(tx, &hashed, name.as_deref(), password.as_deref())? else {
                return Ok(None);
            };
            let claims = SessionClaims { business: joined.membership.business, session, user: joined.user };
            sessions::begin(tx, claims, &device, &refresh_hash, days)?;
            Ok(Some((claims, joined)))
        });
        let (claims, Joined { name, membership, .. }) = joined.await?.ok_or(LINK_EXPIRED)?;
        self.sessions.sign_in_response(claims, &refresh, &name, &membership).await
    }
}

/// Whether the invited person has a password; `None`: the token is not valid (any more). Runs unscoped, because the
/// tenant is not known yet.
fn has_password(conn: &mut PgConnection, token: &Hash) -> Result<Option<bool>> {
    let mut sql = Statement::new(
        "SELECT p.user_id IS NOT NULL FROM invitations i LEFT JOIN users u ON lower(u.email) = lower(i.email) \
         LEFT JOIN passwords p ON p.user_id = u.id WHERE i.expires_at > now() AND i.hash = ",
    );
    Ok(sql.bind(token.to_vec()).scalar(conn)?)
}

/// An invitation that is being redeemed.
#[derive(QueryableByName)]
#[diesel(table_name = invitations)]
struct RedeemedInvitation {
    business_id: Uuid,
    email: String,
    name: String,
    role: String,
}

/// A person who accepted an invitation, and their membership.
struct Joined {
    user: Uuid,
    name: String,
    membership: MembershipChoice,
}

/// Redeems the invitation of this token: the invited person becomes a member. A new person is called `name`, or else as
/// the invitation says; the `password` (hashed) is set if they have none. `None`: the token is not valid (any more).
/// Errors: 422 when they need a password, or have one already.
fn accept(tx: &mut Tx<'_>, token: &Hash, name: Option<&str>, password: Option<&str>) -> Result<Option<Joined>> {
    // Of two concurrent requests the second finds it deleted.
    let mut used = Statement::new("DELETE FROM invitations WHERE expires_at > now() AND hash = ");
    used.bind(token.to_vec()).sql(" RETURNING business_id, email, name, role");
    let Some(invitation) = used.first::<RedeemedInvitation>(tx)? else { return Ok(None) };
    let business = invitation.business_id;
    tx.set_context(business, None)?;
    let name = name.unwrap_or(&invitation.name);
    let Person { id: user, name } = find_or_create_person(tx, &invitation.email, name)?;
    tx.set_context(business, Some(Actor::User(user)))?;
    first_password(tx, user, password)?;
    // A person who became a member in another way meanwhile keeps that role.
    add_member(tx, business, user, &invitation.role, KnownMember::Keeps)?;
    Ok(Some(Joined { user, name, membership: membership(tx, business, user)? }))
}

/// Sets the password of a person who has none; never replaces one.
fn first_password(tx: &mut Tx<'_>, user: Uuid, password: Option<&str>) -> Result<()> {
    let Some(password) = password else {
        let mut sql = Statement::new("SELECT user_id FROM passwords WHERE user_id = ");
        let has_one = sql.bind(user).scalar::<Uuid>(tx)?.is_some();
        return if has_one { Ok(()) } else { Err(needs_password()) };
    };
    let mut sql = Statement::new("INSERT INTO passwords (user_id, hash) VALUES (");
    sql.bind(user).sql(", ").bind(password);
    let set = sql.sql(") ON CONFLICT (user_id) DO NOTHING").run(tx)? > 0;
    if set { Ok(()) } else { Err(keeps_password()) }
}

fn membership(tx: &mut Tx<'_>, business: Uuid, user: Uuid) -> Result<MembershipChoice> {
    let choices = membership_choice::choices_of(tx, user)?;
    let joined = choices.into_iter().find(|choice| choice.business == business);
    joined.ok_or_else(membership_choice::not_a_member)
}

fn needs_password() -> Error {
    let detail = "You have no password yet. Choose one: `password`.";
    Error::Invalid(vec![FieldError::new("/password", "required", detail)])
}

fn keeps_password() -> Error {
    let detail = "You have a password already, and keep it. Leave `password` out.";
    Error::Invalid(vec![FieldError::new("/password", "has_password", detail)])
}
