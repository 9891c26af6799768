//! Event types such as `lead.updated`: a resource and what happened to one of its rows.

use uuid::Uuid;

use crate::auth::{Action, Area, Identity, Role, Tenant};
use crate::base::error::Result;
use crate::resource::{Resource, did_you_mean, registry};

/// Actions on a row, as the audit log names them.
pub const ACTIONS: [&str; 5] = ["created", "updated", "deleted", "restored", "erased"];

const EVERY_ACTION: u8 = (1 << ACTIONS.len()) - 1;

/// All event types of the API, which follow from its resources.
#[derive(Clone, Copy, Debug)]
pub struct EventRegistry {
    resources: &'static [&'static Resource],
}

impl EventRegistry {
    /// The types of the API with `resources`.
    pub const fn from_resources(resources: &'static [&'static Resource]) -> Self {
        Self { resources }
    }

    /// The types of this process, for hooks.
    pub fn of_process() -> Self {
        Self::from_resources(registry::all())
    }

    /// The resources that have events.
    pub fn resources(self) -> impl Iterator<Item = &'static Resource> {
        self.resources.iter().copied().filter(|resource| has_events(resource))
    }

    /// The names of all types, and the wildcard of each resource.
    pub fn names(self) -> Vec<String> {
        let of_resource = |resource: &'static Resource| {
            ACTIONS.iter().chain(&["*"]).map(move |action| format!("{}.{action}", resource.name))
        };
        self.resources().flat_map(of_resource).collect()
    }

    /// Names of the resources whose events are sent to webhooks, by their plural, for `rapport_add_deliveries`.
    pub fn sent(self) -> serde_json::Value {
        let resources = self.resources.iter().filter(|resource| is_sent(resource));
        resources
            .map(|resource| (resource.plural.to_owned(), serde_json::Value::from(resource.name)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    pub fn none(self) -> EventTypes {
        EventTypes { registry: self, actions: vec![0; self.resources.len()] }
    }

    /// Returns all types of the resources that `wanted` selects.
    pub fn of(self, wanted: impl Fn(&'static Resource) -> bool) -> EventTypes {
        let actions = |resource: &&'static Resource| {
            if has_events(resource) && wanted(resource) { EVERY_ACTION } else { 0 }
        };
        EventTypes { registry: self, actions: self.resources.iter().map(actions).collect() }
    }

    /// Parses `patterns`, each `*`, `lead.*`, `*.updated` or `lead.updated`: exactly what `rapport_webhook_wants`
    /// matches. Errors: a message for each pattern that matches no type.
    pub fn parse<'p>(self, patterns: impl IntoIterator<Item = &'p str>) -> Result<EventTypes, Vec<String>> {
        let (mut types, mut faults) = (self.none(), Vec::new());
        for pattern in patterns {
            let (name, action) = pattern.split_once('.').unwrap_or((pattern, "*"));
            let everything = pattern == "*" || (name != "*" && action == "*" && pattern.contains('.'));
            let resources = self.resources.iter().enumerate().filter(|(_, resource)| has_events(resource));
            let chosen: Vec<usize> = resources
                .filter(|(_, resource)| name == "*" || resource.name == name)
                .map(|(index, _)| index)
                .collect();
            let bits = match ACTIONS.iter().position(|known| *known == action) {
                Some(bit) => 1 << bit,
                None if everything => EVERY_ACTION,
                None => 0,
            };
            if chosen.is_empty() || bits == 0 {
                let hint = match pattern {
                    "*.*" => " All of them are `*`.".to_owned(),
                    _ => did_you_mean(pattern, self.names().iter().map(String::as_str).chain(["*"])),
                };
                let hint = if hint.len() > 200 {
                    " There are names such as `lead.updated` and `lead.*`."
                } else {
                    hint.as_str()
                };
                faults.push(format!("There is no type `{pattern}`.{hint}"));
            }
            chosen.into_iter().for_each(|index| types.actions[index] |= bits);
        }
        if faults.is_empty() { Ok(types) } else { Err(faults) }
    }

    /// Returns the types that the caller may read, and the tenant. Errors: 403 when there are none.
    pub fn readable(self, identity: &Identity) -> Result<(EventTypes, Tenant)> {
        let types = self.of(|resource| identity.require(resource.area, Action::Read).is_ok());
        let first = types.resources().next().or(self.resources.first().copied());
        let area = first.map_or(Area::Crm, |resource| resource.area);
        Ok((types, identity.require(area, Action::Read)?))
    }

    /// Parses the names that the event log stores; `None` for a type that this binary does not know.
    pub fn stored(self, resource: &str, action: &str) -> Option<EventType> {
        let index = self.resources.iter().position(|known| known.plural == resource)?;
        let action = ACTIONS.iter().position(|known| *known == action)?;
        Some(EventType { resource: self.resources[index], index, action })
    }
}

/// A set of event types.
#[derive(Clone, Debug)]
pub struct EventTypes {
    pub registry: EventRegistry,
    /// For each resource of the registry a bit for each action.
    actions: Vec<u8>,
}

impl EventTypes {
    pub fn is_empty(&self) -> bool {
        self.actions.iter().all(|actions| *actions == 0)
    }

    pub fn intersection(&self, other: &Self) -> Self {
        let actions = self.actions.iter().zip(&other.actions).map(|(a, b)| a & b).collect();
        Self { registry: self.registry, actions }
    }

    pub fn intersects(&self, other: &Self) -> bool {
        self.actions.iter().zip(&other.actions).any(|(a, b)| a & b != 0)
    }

    pub fn has(&self, event_type: EventType) -> bool {
        self.actions.get(event_type.index).is_some_and(|actions| actions & (1 << event_type.action) != 0)
    }

    pub fn add(&mut self, event_type: EventType) {
        if let Some(actions) = self.actions.get_mut(event_type.index) {
            *actions |= 1 << event_type.action;
        }
    }

    /// The resources of which it has a type.
    pub fn resources(&self) -> impl Iterator<Item = &'static Resource> + '_ {
        let resources = self.registry.resources.iter().zip(&self.actions);
        resources.filter(|(_, actions)| **actions != 0).map(|(resource, _)| *resource)
    }

    /// Names of the types as the event log stores them: `leads.updated`.
    pub fn stored_names(&self) -> Vec<String> {
        let with_actions = self.registry.resources.iter().zip(&self.actions);
        let names = with_actions.flat_map(|(resource, bits)| {
            let actions = ACTIONS.iter().enumerate().filter(move |(action, _)| bits & (1 << action) != 0);
            actions.map(move |(_, action)| format!("{}.{action}", resource.plural))
        });
        names.collect()
    }

    /// Errors: 403 for the first resource that the caller may not read.
    pub fn must_be_readable(&self, identity: &Identity) -> Result<()> {
        self.resources().try_for_each(|resource| identity.require(resource.area, Action::Read).map(drop))
    }
}

/// Whether events of the resource are sent to webhooks: only those that a viewer may read.
pub fn is_sent(resource: &Resource) -> bool {
    has_events(resource) && Role::Viewer.may(resource.area, Action::Read)
}

/// Whether there are events of the resource's rows.
fn has_events(resource: &Resource) -> bool {
    resource.has_history()
}

/// An event type.
#[derive(Clone, Copy, Debug)]
pub struct EventType {
    pub resource: &'static Resource,
    /// Index of the resource in the registry.
    pub index: usize,
    action: usize,
}

impl EventType {
    pub fn name(self) -> String {
        format!("{}.{}", self.resource.name, ACTIONS[self.action])
    }
}

/// The type of an event, and the row it is about.
#[derive(Clone, Copy, Debug)]
pub struct About {
    pub event_type: EventType,
    pub row: Uuid,
}
