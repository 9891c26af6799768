//! The statements on credentials: the lookup of an identity, and the record of its use.

use std::time::{Duration, Instant};

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use parking_lot::Mutex;
use uuid::Uuid;

use super::identity::{Credential, Hash, Identity, Principal};
use super::roles::{Permissions, Role};
use super::tenant_settings::TenantSettings;
use super::token::SessionClaims;
use crate::base::error::{Error, Result};
use crate::base::supervisor::detach;
use crate::base::telemetry::log_limiter::LogLimiter;
use crate::cache::CacheTag;
use crate::db::{Db, Statement};

/// `last_used_at` of a credential is written at most this often.
pub const USE_NOTED_EVERY: Duration = Duration::from_secs(USE_NOTED_SECONDS as u64);
const USE_NOTED_SECONDS: u32 = 60;

/// Looks up a credential, without a tenant: the result determines the tenant.
pub async fn look_up(db: Db, credential: Credential) -> Result<Option<Identity>> {
    // In a task of its own: its time is not charged to the request, which it may outlive.
    let looked_up = detach("credential", async move {
        let sql = match credential {
            Credential::Key(hash) => of_key(hash),
            Credential::Token(_, claims, _) => of_session(claims),
        };
        let found = db.unscoped().read("credential", move |conn| Ok(sql.first::<FoundCredential>(conn)?)).await?;
        let identity = found.map(|found| found.identity(credential)).transpose()?;
        Ok(identity.filter(|identity| !identity.has_ended()))
    });
    looked_up.outcome().await?
}

/// A credential with its role and the settings of its business, as both lookups select it.
#[derive(QueryableByName)]
struct FoundCredential {
    /// The API key or the session.
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(embed)]
    business: TenantSettings,
    /// Since its use was last recorded.
    #[diesel(sql_type = BigInt)]
    idle_seconds: i64,
    /// `None` for an API key.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    membership_id: Option<Uuid>,
    /// Until it expires; rounded down, so never extended.
    #[diesel(sql_type = Nullable<BigInt>)]
    milliseconds_left: Option<i64>,
    /// Where they differ from the role's.
    #[diesel(sql_type = Nullable<Array<Text>>)]
    permissions: Option<Vec<String>>,
    #[diesel(sql_type = Text)]
    agent_visibility: String,
}

impl FoundCredential {
    fn identity(self, credential: Credential) -> Result<Identity> {
        let (id, business) = (self.id, self.business.id);
        let left = self.milliseconds_left.map(|left| Duration::from_millis(left.max(0) as u64));
        let (principal, rows, left) = match credential {
            Credential::Key(_) => (Principal::Key(id), vec![("api_keys", id)], left),
            Credential::Token(_, claims, of_token) => (
                Principal::User { id: claims.user, session: id },
                vec![("sessions", id), ("memberships", self.membership_id.unwrap_or_default())],
                Some(left.map_or(of_token, |left| left.min(of_token))),
            ),
        };
        // The settings of the business are part of it.
        let rows = rows.into_iter().chain([("businesses", business)]);
        let access = rows.flat_map(|(table, id)| CacheTag::rows(business, table, [id])).collect();
        let role = Role::named(&self.role).ok_or_else(|| Error::Internal("a credential of no known role".into()))?;
        let limited = role == Role::Agent && self.agent_visibility == "assigned";
        let idle = Duration::from_secs(self.idle_seconds.max(0) as u64);
        Ok(Identity {
            principal,
            role,
            // Permissions unknown to this binary are not granted.
            permissions: self.permissions.map_or(role.permissions(), |names| {
                role.permissions().of(names.iter().filter_map(|name| Permissions::named(name)).collect())
            }),
            restricted_to_user: if let (Principal::User { id, .. }, true) = (principal, limited) {
                Some(id)
            } else {
                None
            },
            settings: self.business,
            ends: left.and_then(|left| Instant::now().checked_add(left)),
            access,
            base: None,
            noted: Mutex::new(Instant::now().checked_sub(idle)),
        })
    }
}

/// Selects the [`FoundCredential`] of an API key.
fn of_key(hash: Hash) -> Statement {
    let mut sql = Statement::new(
        "SELECT k.id, k.role, b.id AS business_id, b.country, b.time_zone, b.currency, \
             coalesce(extract(epoch FROM now() - k.last_used_at), 1e7)::bigint AS idle_seconds, \
             NULL::uuid AS membership_id, \
             floor(1000 * extract(epoch FROM \
                 least(k.expires_at, CASE WHEN k.hash <> h.hash THEN k.previous_until END) - now()))::bigint \
                 AS milliseconds_left, \
             k.permissions, b.agent_visibility FROM (SELECT ",
    );
    sql.bind(hash.to_vec()).sql(
        " AS hash) h JOIN api_keys k ON k.hash = h.hash OR k.previous_hash = h.hash \
         JOIN businesses b ON b.id = k.business_id",
    );
    sql
}

/// Selects the [`FoundCredential`] of a session.
fn of_session(claims: SessionClaims) -> Statement {
    let mut sql = Statement::new(
        "SELECT s.id, m.role, b.id AS business_id, b.country, b.time_zone, b.currency, \
             extract(epoch FROM now() - s.last_used_at)::bigint AS idle_seconds, m.id AS membership_id, \
             floor(1000 * extract(epoch FROM s.expires_at - now()))::bigint AS milliseconds_left, \
             NULL::text[] AS permissions, b.agent_visibility \
         FROM sessions s JOIN memberships m ON m.business_id = s.business_id AND m.user_id = s.user_id \
         JOIN businesses b ON b.id = s.business_id WHERE s.business_id = ",
    );
    sql.bind(claims.business).sql(" AND s.id = ").bind(claims.session);
    sql.sql(" AND s.user_id = ").bind(claims.user);
    sql
}

/// Records the use of a credential without delaying the request.
pub fn record_use(db: Db, business: Uuid, principal: Principal) {
    detach("credential use", async move {
        let noted = db.unscoped().write("credential_used", move |tx| {
            let (table, id) = match principal {
                Principal::Key(id) => ("api_keys", id),
                Principal::User { session, .. } => ("sessions", session),
            };
            let mut sql = Statement::new("UPDATE ");
            sql.ident(table).sql(" SET last_used_at = now() WHERE business_id = ");
            sql.bind(business).sql(" AND id = ").bind(id);
            // Only one of several processes records it: each record has the credential looked up again.
            sql.sql(" AND (last_used_at < now() - interval '").number(USE_NOTED_SECONDS);
            sql.sql(" seconds' OR last_used_at IS NULL)");
            Ok(sql.run(tx)?)
        });
        static FAILURES: LogLimiter = LogLimiter::new();
        if let Err(error) = noted.await
            && let Some(suppressed) = FAILURES.failed_with(&error)
        {
            tracing::warn!(%error, suppressed, "cannot note the use of a credential");
        }
    });
}
