//! The statements on credentials: the lookup of an identity, and the record of its use.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

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
pub const USE_NOTED_EVERY: Duration = Duration::from_secs(60);

/// Looks up a credential, without a tenant: the result determines the tenant.
pub async fn look_up(db: Db, credential: Credential) -> Result<Option<Identity>> {
    // In a task of its own: its time is not charged to the request, which it may outlive.
    let looked_up = detach("credential", async move {
        let sql = match credential {
            Credential::Key(hash) => of_key(hash),
            Credential::Token(_, claims, _) => of_session(claims),
        };
        let found = db.unscoped().read("credential", move |conn| Ok(sql.row(conn)?)).await?;
        let Some(row) = found else { return Ok(None) };
        let text = |index| row.text(index).unwrap_or_default().to_owned();
        let seconds = |index| row.int(index).map(|seconds| Duration::from_secs(seconds.max(0) as u64));
        let millis = |index| row.int(index).map(|millis| Duration::from_millis(millis.max(0) as u64));
        let (id, other) = (row.uuid(0).unwrap_or_default(), row.uuid(7).unwrap_or_default());
        let business = row.uuid(2).unwrap_or_default();
        // A change of the business moves both versions, too.
        let (principal, access, left) = match credential {
            Credential::Key(_) => (Principal::Key(id), [CacheTag::row(business, "api_keys", id)].into(), millis(8)),
            Credential::Token(_, claims, left) => (
                Principal::User { id: claims.user, session: id },
                [CacheTag::row(business, "sessions", id), CacheTag::row(business, "memberships", other)].into(),
                Some(millis(8).map_or(left, |session| session.min(left))),
            ),
        };
        let role = Role::named(&text(1)).ok_or_else(|| Error::Internal("a credential of no known role".into()))?;
        let limited = role == Role::Agent && text(10) == "assigned";
        let identity = Identity {
            principal,
            role,
            // Permissions unknown to this binary are not granted.
            permissions: row.text(9).map_or(role.permissions(), |names| {
                role.permissions().of(names.split(' ').filter_map(Permissions::named).collect())
            }),
            restricted_to_user: if let (Principal::User { id, .. }, true) = (principal, limited) {
                Some(id)
            } else {
                None
            },
            settings: TenantSettings { id: business, country: text(3), time_zone: text(4), currency: text(5) },
            ends: left.and_then(|left| Instant::now().checked_add(left)),
            access,
            seen: None,
            confirmed: AtomicU64::new(0),
            noted: Mutex::new(Instant::now().checked_sub(seconds(6).unwrap_or_default())),
        };
        Ok(if identity.has_ended() { None } else { Some(identity) })
    });
    looked_up.outcome().await?
}

/// Business columns of both lookups, which select: id, role, business and its settings, seconds since the last use,
/// membership, milliseconds until expiry (rounded down, so never extended), permissions where they differ from the
/// role's, and the visibility of agents.
const BUSINESS: &str = "b.id, b.country, b.time_zone, b.currency";

fn of_key(hash: Hash) -> Statement {
    let mut sql = Statement::new(format!(
        "SELECT k.id, k.role, {BUSINESS}, coalesce(extract(epoch FROM now() - k.last_used_at), 1e7)::bigint, NULL::uuid, \
         floor(1000 * extract(epoch FROM \
             least(k.expires_at, CASE WHEN k.hash <> h.hash THEN k.previous_until END) - now()))::bigint, \
         array_to_string(k.permissions, ' '), b.agent_visibility FROM (SELECT "
    ));
    sql.bind(hash.to_vec()).sql(
        " AS hash) h JOIN api_keys k ON k.hash = h.hash OR k.previous_hash = h.hash \
         JOIN businesses b ON b.id = k.business_id",
    );
    sql
}

fn of_session(claims: SessionClaims) -> Statement {
    let mut sql = Statement::new(format!(
        "SELECT s.id, m.role, {BUSINESS}, extract(epoch FROM now() - s.last_used_at)::bigint, m.id, \
         floor(1000 * extract(epoch FROM s.expires_at - now()))::bigint, NULL::text, b.agent_visibility \
         FROM sessions s JOIN memberships m ON m.business_id = s.business_id AND m.user_id = s.user_id \
         JOIN businesses b ON b.id = s.business_id WHERE s.business_id = "
    ));
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
            let mut sql = Statement::new(format!("UPDATE {table} SET last_used_at = now() WHERE business_id = "));
            sql.bind(business).sql(" AND id = ").bind(id);
            // Only one of several processes records it: each record moves the credential's version.
            sql.push(&format!(
                " AND (last_used_at < now() - interval '{} seconds' OR last_used_at IS NULL)",
                USE_NOTED_EVERY.as_secs()
            ));
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
