//! The table of permissions.

use std::fmt;

/// A part of the API that permissions are given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Companies, contacts, leads, conversations, bookings and the like.
    Crm,
    /// What the business is and what it offers: its settings, services, staff, campaigns.
    Business,
    /// The people of the business and their roles.
    People,
    /// API keys.
    Keys,
    /// The state of the service.
    Operations,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Read,
    Write,
    Delete,
}

/// From least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
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
    /// | operations | – | – | read | all | all |
    pub fn may(self, area: Area, action: Action) -> bool {
        use Action::*;
        let least = match (area, action) {
            (Area::Crm | Area::Business | Area::People, Read) => Role::Viewer,
            (Area::Crm, Write) => Role::Agent,
            (Area::Crm, Delete) | (Area::Business, Write) | (Area::Operations, Read) => Role::Manager,
            (Area::Business | Area::Operations, _) | (Area::People, Write | Delete) | (Area::Keys, _) => Role::Admin,
        };
        self >= least
    }

    /// All that it may do.
    pub fn permissions(self) -> impl Iterator<Item = (Area, Action)> {
        let all = Area::ALL.into_iter().flat_map(|area| Action::ALL.map(|action| (area, action)));
        all.filter(move |(area, action)| self.may(*area, *action))
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

impl Area {
    pub const ALL: [Self; 5] = [Self::Crm, Self::Business, Self::People, Self::Keys, Self::Operations];

    /// As permissions name it.
    pub fn name(self) -> &'static str {
        match self {
            Area::Crm => "crm",
            Area::Business => "business",
            Area::People => "people",
            Area::Keys => "keys",
            Area::Operations => "operations",
        }
    }
}

impl Action {
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Delete];

    /// As permissions name it.
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
            Area::Operations => "the state of the service",
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
