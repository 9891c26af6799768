//! Roles and permissions: which role may do which action in which area.

use std::fmt;

use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// A part of the API that permissions are granted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Companies, contacts, leads, conversations, bookings and the like.
    Crm,
    /// The business and what it offers: settings, services, staff, campaigns.
    Business,
    /// The users of the business and their roles.
    People,
    /// API keys.
    Keys,
    /// The audit log.
    Audit,
    /// All data about a person, on their request: export and erasure.
    Privacy,
    /// The state of the service.
    Operations,
    /// Webhooks, which events are sent to.
    Webhooks,
    /// Channels: through what customers are reached, with their secrets.
    Channels,
    /// Tasks for workers, which programs claim.
    Workers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Read,
    Write,
    Delete,
}

/// A role in a business, from the least to the most privileged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Agent,
    Manager,
    Admin,
    Owner,
}

impl Role {
    pub const NAMES: &'static [&'static str] = &["owner", "admin", "manager", "agent", "viewer"];

    /// | area | viewer | agent | manager | admin | owner |
    /// |---|---|---|---|---|---|
    /// | crm | read | read, write | all | all | all |
    /// | business | read | read | read, write | all | all |
    /// | people | read | read | read | all | all |
    /// | keys | – | – | – | all | all |
    /// | audit | – | – | – | read | read |
    /// | privacy | – | – | read | read, delete | read, delete |
    /// | operations | – | – | read | all | all |
    /// | webhooks | – | – | – | all | all |
    /// | channels | read | read | read | all | all |
    /// | workers | read | read, write | read, write | read, write | read, write |
    pub fn may(self, area: Area, action: Action) -> bool {
        use Action::*;
        let least = match (area, action) {
            (Area::Crm | Area::Business | Area::People | Area::Channels | Area::Workers, Read) => Role::Viewer,
            (Area::Crm | Area::Workers, Write) => Role::Agent,
            (Area::Crm, Delete) | (Area::Business, Write) | (Area::Operations | Area::Privacy, Read) => Role::Manager,
            (Area::Business | Area::Operations, _)
            | (Area::People | Area::Channels, Write | Delete)
            | (Area::Keys | Area::Webhooks, _) => Role::Admin,
            (Area::Audit, Read) | (Area::Privacy, Delete) => Role::Admin,
            // The service itself writes the audit log; privacy has no rows to write, and tasks that have ended go by themselves.
            (Area::Audit, Write | Delete) | (Area::Privacy, Write) | (Area::Workers, Delete) => return false,
        };
        self >= least
    }

    /// Returns all permissions of the role.
    pub fn permissions(self) -> Permissions {
        every().filter(|(area, action)| self.may(*area, *action)).collect()
    }

    /// Returns the least privileged role that has all of `permissions`.
    pub fn least_with(permissions: Permissions) -> Option<Self> {
        let roles = [Role::Viewer, Role::Agent, Role::Manager, Role::Admin, Role::Owner];
        roles.into_iter().find(|role| role.permissions().contain(permissions))
    }

    pub fn name(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Admin => "admin",
            Role::Manager => "manager",
            Role::Agent => "agent",
            Role::Viewer => "viewer",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        [Role::Owner, Role::Admin, Role::Manager, Role::Agent, Role::Viewer]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

fn every() -> impl Iterator<Item = (Area, Action)> {
    Area::ALL.into_iter().flat_map(|area| Action::ALL.map(|action| (area, action)))
}

/// A set of permissions, each an action in an area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions(u32);

impl Permissions {
    pub fn has(self, area: Area, action: Action) -> bool {
        self.0 & bit(area, action) != 0
    }

    pub fn contain(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// Returns each of them, in the order of [`Area::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        every().filter(move |(area, action)| self.has(*area, *action)).map(|(area, action)| Permission(area, action))
    }

    /// Returns their names, in the same order.
    pub fn names(self) -> impl Iterator<Item = String> {
        self.iter().map(|permission| permission.to_string())
    }

    /// Returns the permission that is named `name`, such as `crm:read`.
    pub fn named(name: &str) -> Option<Self> {
        let (area, action) = name.split_once(':')?;
        every().filter(|(a, b)| a.name() == area && b.name() == action).map(|one| [one].into_iter().collect()).next()
    }

    /// Returns the permissions that are also in `others`.
    pub fn of(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }
}

impl FromIterator<Permissions> for Permissions {
    fn from_iter<T: IntoIterator<Item = Permissions>>(all: T) -> Self {
        Self(all.into_iter().fold(0, |bits, one| bits | one.0))
    }
}

impl FromIterator<(Area, Action)> for Permissions {
    fn from_iter<T: IntoIterator<Item = (Area, Action)>>(all: T) -> Self {
        Self(all.into_iter().fold(0, |bits, (area, action)| bits | bit(area, action)))
    }
}

/// An action in an area, which is named `crm:read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission(Area, Action);

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.name(), self.1.name())
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PartialSchema for Permission {
    fn schema() -> utoipa::openapi::RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(Role::Owner.permissions().names()));
        Schema::from(text.description(Some("What a role or an API key may do, as `area:action`.")).build()).into()
    }
}

impl ToSchema for Permission {}

fn bit(area: Area, action: Action) -> u32 {
    1 << (area as u32 * Action::ALL.len() as u32 + action as u32)
}

impl Area {
    pub const ALL: [Self; 10] = [
        Self::Crm,
        Self::Business,
        Self::People,
        Self::Keys,
        Self::Audit,
        Self::Privacy,
        Self::Operations,
        Self::Webhooks,
        Self::Channels,
        Self::Workers,
    ];

    /// Returns the name in permissions.
    pub fn name(self) -> &'static str {
        match self {
            Area::Crm => "crm",
            Area::Business => "business",
            Area::People => "people",
            Area::Keys => "keys",
            Area::Audit => "audit",
            Area::Privacy => "privacy",
            Area::Operations => "operations",
            Area::Webhooks => "webhooks",
            Area::Channels => "channels",
            Area::Workers => "workers",
        }
    }
}

impl Action {
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Delete];

    /// Returns the name in permissions.
    pub fn name(self) -> &'static str {
        match self {
            Action::Read => "read",
            Action::Write => "write",
            Action::Delete => "delete",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Area::Crm => "customers and their business",
            Area::Business => "the business and its offer",
            Area::People => "people and roles",
            Area::Keys => "API keys",
            Area::Audit => "the audit log",
            Area::Privacy => "everything about a person",
            Area::Operations => "the state of the service",
            Area::Webhooks => "webhooks",
            Area::Channels => "channels",
            Area::Workers => "tasks for workers",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Read => "read",
            Action::Write => "change",
            Action::Delete => "delete",
        })
    }
}
