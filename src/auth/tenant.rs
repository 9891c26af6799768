//! The business that a query is confined to. A [`Tenant`] is what every query needs, and permission is the only way to
//! one.

use uuid::Uuid;

use super::{Action, Area, Identity, Permissions, Principal, Role};
use crate::db::{Actor, Bounds};
use crate::error::{Error, Result};

/// What of a business the reading of input depends on.
#[derive(Clone, Debug)]
pub struct Business {
    pub id: Uuid,
    /// ISO 3166-1 alpha-2: how phone numbers without a country code are read.
    pub country: String,
    /// IANA zone in which its days begin.
    pub time_zone: String,
    /// ISO 4217.
    pub currency: String,
}

impl Business {
    /// None at all, for input that does not depend on one.
    pub fn nowhere() -> Self {
        Self { id: Uuid::nil(), country: "US".into(), time_zone: "UTC".into(), currency: "EUR".into() }
    }

    /// Identifies its settings: what is typed under the same settings is read the same.
    pub fn settings(&self) -> u64 {
        let hash = |text: &str, seed| xxhash_rust::xxh3::xxh3_64_with_seed(text.as_bytes(), seed);
        hash(&self.country, hash(&self.time_zone, hash(&self.currency, 0)))
    }
}

/// The business that a query is confined to, and the role in which it is asked.
#[derive(Clone, Debug)]
pub struct Tenant {
    id: Uuid,
    role: Role,
    permissions: Permissions,
    sees_only: Option<Uuid>,
    actor: Option<Actor>,
}

impl From<&Tenant> for Bounds {
    fn from(tenant: &Tenant) -> Self {
        Bounds { business: Some(tenant.id), actor: tenant.actor }
    }
}

impl Tenant {
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The role of whoever asks.
    pub fn role(&self) -> Role {
        self.role
    }

    /// All that whoever asks may do.
    pub fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// The person whose own leads and conversations are all that is seen; `None`: no such limit.
    pub fn sees_only(&self) -> Option<Uuid> {
        self.sees_only
    }

    /// Whoever acts.
    pub fn actor(&self) -> Option<Actor> {
        self.actor
    }

    /// Whoever made a job, as they were then: it is done as them.
    pub fn of_job(
        id: Uuid,
        role: Role,
        permissions: Permissions,
        sees_only: Option<Uuid>,
        actor: Option<Actor>,
    ) -> Self {
        Self { id, role, permissions, sees_only, actor }
    }

    /// Whoever asked in this role before: to have the answer ready. It is shown to nobody who may not see it, because every
    /// reader's credential is validated first.
    pub fn of_memory(business: Uuid, role: Role) -> Self {
        Self::unlimited(business, role)
    }

    /// The operator of this machine, who runs a command line on the database itself.
    pub fn of_operator(business: Uuid) -> Self {
        Self::unlimited(business, Role::Owner)
    }

    fn unlimited(id: Uuid, role: Role) -> Self {
        Self { id, role, permissions: role.permissions(), sees_only: None, actor: None }
    }
}

impl Identity {
    /// Its business, for what needs no permission because it is about the caller: see `Caller::person`.
    pub fn own(&self) -> Tenant {
        let actor = match self.principal {
            Principal::Key(id) => Actor::Key(id),
            Principal::User { id, .. } => Actor::User(id),
        };
        let Self { role, permissions, sees_only, .. } = *self;
        Tenant { id: self.business.id, role, permissions, sees_only, actor: Some(actor) }
    }

    /// Its business, if it is permitted `action` in `area`. Errors: 403.
    pub fn may(&self, area: Area, action: Action) -> Result<Tenant> {
        let role = self.role;
        if !self.permissions.has(area, action) {
            let detail = if role.may(area, action) {
                format!(
                    "This key may not {action} {area}. Ask for one with the permission `{}:{}`.",
                    area.name(),
                    action.name()
                )
            } else {
                format!(
                    "The role `{role}` may not {action} {area}. Ask an owner of the business for another role or key."
                )
            };
            return Err(Error::Forbidden(detail));
        }
        Ok(self.own())
    }
}
