//! Event types such as `lead.updated`: a resource and what happened to one of its rows.

use uuid::Uuid;

use crate::app::registry::RESOURCES;
use crate::auth::{Action, Identity, Role, Tenant};
use crate::base::error::Result;
use crate::resource::{Resource, did_you_mean};

/// Actions on a row, as the audit log names them.
pub const ACTIONS: [&str; 5] = ["created", "updated", "deleted", "restored", "erased"];

/// A set of event types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTypes(
    /// For each resource, in the order of the registry, a bit for each action.
    Vec<u8>,
);

const EVERY_ACTION: u8 = (1 << ACTIONS.len()) - 1;

impl EventTypes {
    pub fn none() -> Self {
        Self(vec![0; RESOURCES.len()])
    }

    /// Returns all types of the resources that `wanted` selects.
    pub fn of(wanted: impl Fn(&'static Resource) -> bool) -> Self {
        Self(
            RESOURCES
                .iter()
                .map(|resource| if tells(resource) && wanted(resource) { EVERY_ACTION } else { 0 })
                .collect(),
        )
    }

    /// Parses `patterns`, each `*`, `lead.*`, `*.updated` or `lead.updated`: exactly what `rapport_webhook_wants`
    /// matches. Errors: a message for each pattern that matches no type.
    pub fn named<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Result<Self, Vec<String>> {
        let (mut kinds, mut faults) = (Self::none(), Vec::new());
        for pattern in patterns {
            let (name, action) = pattern.split_once('.').unwrap_or((pattern, "*"));
            let everything = pattern == "*" || (name != "*" && action == "*" && pattern.contains('.'));
            let resources = RESOURCES.iter().enumerate().filter(|(_, resource)| tells(resource));
            let chosen: Vec<usize> = resources
                .filter(|(_, resource)| name == "*" || resource.name == name)
                .map(|(place, _)| place)
                .collect();
            let bits = match ACTIONS.iter().position(|known| *known == action) {
                Some(bit) => 1 << bit,
                None if everything => EVERY_ACTION,
                None => 0,
            };
            if chosen.is_empty() || bits == 0 {
                let hint = match pattern {
                    "*.*" => " All of them are `*`.".to_owned(),
                    _ => did_you_mean(pattern, every_name().iter().map(String::as_str).chain(["*"])),
                };
                let hint = if hint.len() > 200 {
                    " There are names such as `lead.updated` and `lead.*`."
                } else {
                    hint.as_str()
                };
                faults.push(format!("There is no type `{pattern}`.{hint}"));
            }
            chosen.into_iter().for_each(|place| kinds.0[place] |= bits);
        }
        if faults.is_empty() { Ok(kinds) } else { Err(faults) }
    }

    pub fn both(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    pub fn contains(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| b & !a == 0)
    }

    pub fn has(&self, kind: EventType) -> bool {
        self.0.get(kind.resource).is_some_and(|actions| actions & (1 << kind.action) != 0)
    }

    pub fn add(&mut self, kind: EventType) {
        if let Some(actions) = self.0.get_mut(kind.resource) {
            *actions |= 1 << kind.action;
        }
    }

    /// The resources of which it has a type.
    pub fn resources(&self) -> impl Iterator<Item = &'static Resource> + '_ {
        RESOURCES.into_iter().zip(&self.0).filter(|(_, actions)| **actions != 0).map(|(resource, _)| resource)
    }

    /// Names of the types as the event log stores them: `leads.updated`.
    pub fn kept_as(&self) -> Vec<String> {
        let kinds = (0..RESOURCES.len())
            .flat_map(|resource| (0..ACTIONS.len()).map(move |action| EventType { resource, action }));
        let name = |kind: EventType| format!("{}.{}", RESOURCES[kind.resource].plural, ACTIONS[kind.action]);
        kinds.filter(|kind| self.has(*kind)).map(name).collect()
    }

    /// Returns the types that the caller may read, and the tenant. Errors: 403 when there are none.
    pub fn readable(identity: &Identity) -> Result<(Self, Tenant)> {
        let kinds = Self::of(|resource| identity.require(resource.area, Action::Read).is_ok());
        let area = kinds.resources().next().map_or(RESOURCES[0].area, |resource| resource.area);
        Ok((kinds, identity.require(area, Action::Read)?))
    }

    /// Errors: 403 for the first resource that the caller may not read.
    pub fn must_be_readable(&self, identity: &Identity) -> Result<()> {
        self.resources().try_for_each(|resource| identity.require(resource.area, Action::Read).map(drop))
    }
}

/// Whether events of the resource are sent to webhooks: only those that a viewer may read.
pub fn is_sent(resource: &Resource) -> bool {
    tells(resource) && Role::Viewer.may(resource.area, Action::Read)
}

/// Names of the resources whose events are sent to webhooks, by their plural, for `rapport_sequence_events`.
pub fn sent() -> serde_json::Value {
    let resources = RESOURCES.iter().filter(|resource| is_sent(resource));
    resources
        .map(|resource| (resource.plural.to_owned(), serde_json::Value::from(resource.name)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Whether there are events of the resource's rows.
pub fn tells(resource: &Resource) -> bool {
    resource.has_history()
}

/// The names of all types, and the wildcard of each resource.
pub fn every_name() -> Vec<String> {
    let resources = RESOURCES.iter().filter(|resource| tells(resource));
    resources
        .flat_map(|resource| ACTIONS.iter().chain(&["*"]).map(move |action| format!("{}.{action}", resource.name)))
        .collect()
}

/// An event type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType {
    /// Index of the resource in the registry.
    pub resource: usize,
    action: usize,
}

impl EventType {
    /// Parses the names that the event log stores; `None` for a type that this binary does not know.
    pub fn kept(resource: &str, action: &str) -> Option<Self> {
        let resource = RESOURCES.iter().position(|known| known.plural == resource)?;
        ACTIONS.iter().position(|known| *known == action).map(|action| Self { resource, action })
    }

    pub fn name(self) -> String {
        format!("{}.{}", RESOURCES[self.resource].name, ACTIONS[self.action])
    }
}

/// The type of an event, and the row it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    pub kind: EventType,
    pub row: Uuid,
}
