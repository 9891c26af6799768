//! Types of events: `lead.updated` is a noun and what happened to one of its rows.

use uuid::Uuid;

use crate::auth::{Action, Identity, Role, Tenant};
use crate::error::Result;
use crate::noun::{Noun, did_you_mean};
use crate::nouns::NOUNS;

/// What can happen to a row, as the audit log has it.
pub const ACTIONS: [&str; 5] = ["created", "updated", "deleted", "restored", "erased"];

/// A set of types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kinds(
    /// For each noun, in the order of the list, a bit for each action.
    Vec<u8>,
);

const EVERY_ACTION: u8 = (1 << ACTIONS.len()) - 1;

impl Kinds {
    pub fn none() -> Self {
        Self(vec![0; NOUNS.len()])
    }

    /// All types of the nouns that `wanted` picks.
    pub fn of(wanted: impl Fn(&'static Noun) -> bool) -> Self {
        Self(NOUNS.iter().map(|noun| if tells(noun) && wanted(noun) { EVERY_ACTION } else { 0 }).collect())
    }

    /// Those that `patterns` name, each `*`, `lead.*`, `*.updated` or `lead.updated`: what `rapport_webhook_wants` matches,
    /// and nothing else. Errors: what is wrong with each that names none.
    pub fn named<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Result<Self, Vec<String>> {
        let (mut kinds, mut faults) = (Self::none(), Vec::new());
        for pattern in patterns {
            let (name, action) = pattern.split_once('.').unwrap_or((pattern, "*"));
            let everything = pattern == "*" || (name != "*" && action == "*" && pattern.contains('.'));
            let nouns = NOUNS.iter().enumerate().filter(|(_, noun)| tells(noun));
            let chosen: Vec<usize> =
                nouns.filter(|(_, noun)| name == "*" || noun.name == name).map(|(place, _)| place).collect();
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

    pub fn has(&self, kind: Kind) -> bool {
        self.0.get(kind.noun).is_some_and(|actions| actions & (1 << kind.action) != 0)
    }

    pub fn add(&mut self, kind: Kind) {
        if let Some(actions) = self.0.get_mut(kind.noun) {
            *actions |= 1 << kind.action;
        }
    }

    /// The nouns of which it has a type.
    pub fn nouns(&self) -> impl Iterator<Item = &'static Noun> + '_ {
        NOUNS.into_iter().zip(&self.0).filter(|(_, actions)| **actions != 0).map(|(noun, _)| noun)
    }

    /// As the log has them: `leads.updated`.
    pub fn kept_as(&self) -> Vec<String> {
        let kinds = (0..NOUNS.len()).flat_map(|noun| (0..ACTIONS.len()).map(move |action| Kind { noun, action }));
        let name = |kind: Kind| format!("{}.{}", NOUNS[kind.noun].plural, ACTIONS[kind.action]);
        kinds.filter(|kind| self.has(*kind)).map(name).collect()
    }

    /// Those that the caller may read, and the tenant. Errors: 403 when there are none.
    pub fn readable(identity: &Identity) -> Result<(Self, Tenant)> {
        let kinds = Self::of(|noun| identity.may(noun.area, Action::Read).is_ok());
        let area = kinds.nouns().next().map_or(NOUNS[0].area, |noun| noun.area);
        Ok((kinds, identity.may(area, Action::Read)?))
    }

    /// Whether the caller may read all of these. Errors: 403 for the first that they may not.
    pub fn must_be_readable(&self, identity: &Identity) -> Result<()> {
        self.nouns().try_for_each(|noun| identity.may(noun.area, Action::Read).map(drop))
    }
}

/// Whether everybody may read the events of its rows: these are sent to webhooks.
pub fn is_sent(noun: &Noun) -> bool {
    tells(noun) && Role::Viewer.may(noun.area, Action::Read)
}

/// Names of the nouns whose events are sent, by their plural, for `rapport_order_events`.
pub fn sent() -> serde_json::Value {
    let nouns = NOUNS.iter().filter(|noun| is_sent(noun));
    nouns
        .map(|noun| (noun.plural.to_owned(), serde_json::Value::from(noun.name)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Whether there are events of its rows.
pub fn tells(noun: &Noun) -> bool {
    noun.has_history()
}

/// Every type, and every noun's.
pub fn every_name() -> Vec<String> {
    let nouns = NOUNS.iter().filter(|noun| tells(noun));
    nouns.flat_map(|noun| ACTIONS.iter().chain(&["*"]).map(move |action| format!("{}.{action}", noun.name))).collect()
}

/// One type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its place among the nouns.
    pub noun: usize,
    action: usize,
}

impl Kind {
    /// As the log has it; none, where this binary does not know it.
    pub fn kept(noun: &str, action: &str) -> Option<Self> {
        let noun = NOUNS.iter().position(|known| known.plural == noun)?;
        ACTIONS.iter().position(|known| *known == action).map(|action| Self { noun, action })
    }

    pub fn name(self) -> String {
        format!("{}.{}", NOUNS[self.noun].name, ACTIONS[self.action])
    }
}

/// A row that an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    pub kind: Kind,
    pub row: Uuid,
}
