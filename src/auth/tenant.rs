//! The tenant that a query is confined to. Every query needs a [`Tenant`]; a request gets one from its caller's
//! identity, by a permission or for the caller's own data.

use uuid::Uuid;

use super::identity::{Identity, Principal};
use super::roles::{Action, Area, Permissions, Role};
use crate::base::error::{Error, Result};
use crate::db::{Actor, SessionContext};

/// The business that a query is confined to, with the caller's role, permissions and restriction.
#[derive(Clone, Debug)]
pub struct Tenant {
    id: Uuid,
    role: Role,
    permissions: Permissions,
    restricted_to_user: Option<Uuid>,
    actor: Option<Actor>,
}

impl From<&Tenant> for SessionContext {
    fn from(tenant: &Tenant) -> Self {
        SessionContext { business: Some(tenant.id), actor: tenant.actor }
    }
}

impl Tenant {
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Returns the caller's role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the caller's permissions.
    pub fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// The user whose own leads and conversations are all that the caller may see; `None`: no such restriction.
    pub fn restricted_to_user(&self) -> Option<Uuid> {
        self.restricted_to_user
    }

    /// Returns the acting user or API key.
    pub fn actor(&self) -> Option<Actor> {
        self.actor
    }

    /// Creates the tenant of a job, which runs with what its creator was permitted when creating it.
    pub fn for_job(
        id: Uuid,
        role: Role,
        permissions: Permissions,
        restricted_to_user: Option<Uuid>,
        actor: Option<Actor>,
    ) -> Self {
        Self { id, role, permissions, restricted_to_user, actor }
    }

    /// Creates a tenant for computing a response ahead of its readers in this role. It discloses nothing: each reader's
    /// credential is validated first.
    pub fn for_warmup(business: Uuid, role: Role) -> Self {
        Self::unlimited(business, role)
    }

    /// Creates the tenant of an operator who runs a command on the database itself.
    pub fn for_operator(business: Uuid) -> Self {
        Self::unlimited(business, Role::Owner)
    }

    /// Creates the tenant of a channel, whose updates are applied as they come.
    pub fn for_channel(business: Uuid) -> Self {
        Self::unlimited(business, Role::Owner)
    }

    fn unlimited(id: Uuid, role: Role) -> Self {
        Self { id, role, permissions: role.permissions(), restricted_to_user: None, actor: None }
    }
}

impl Identity {
    /// Returns its business, for operations on the caller, which need no permission: see `Caller::person`.
    pub fn own(&self) -> Tenant {
        let actor = match self.principal {
            Principal::Key(id) => Actor::Key(id),
            Principal::User { id, .. } => Actor::User(id),
        };
        let Self { role, permissions, restricted_to_user, .. } = *self;
        Tenant { id: self.settings.id, role, permissions, restricted_to_user, actor: Some(actor) }
    }

    /// Returns its business if it is permitted `action` in `area`. Errors: 403.
    pub fn require(&self, area: Area, action: Action) -> Result<Tenant> {
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
