//! Query parameters of the event log: start position, event types and page size.

use crate::base::error::{Error, FieldError, Result};
use crate::resource::did_you_mean;
use crate::resource::list_query::{DEFAULT_LIMIT, MAX_FILTER_VALUES, MAX_LIMIT};

use super::event_types::{EventRegistry, EventTypes};

/// Where to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The oldest event that is kept.
    Nothing,
    Number(i64),
    /// Events that are numbered from now on.
    Latest,
}

#[derive(Clone, Debug)]
pub struct Asked {
    /// `None`: the default of the operation.
    pub after: Option<After>,
    /// The types that `resource` and `type` both select; `None`: all that the caller may read.
    pub types: Option<EventTypes>,
    pub limit: u32,
}

impl Asked {
    /// Parses `query`, which may have the parameters `names`. Errors: 400 with every validation error.
    pub fn read(registry: EventRegistry, query: &str, names: &[&str]) -> Result<Self> {
        let mut asked = Self { after: None, types: None, limit: DEFAULT_LIMIT };
        let (mut faults, mut seen) = (Vec::new(), Vec::new());
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let mut fault = |code, detail| faults.push(FieldError::new(format!("/query/{name}"), code, detail));
            if !names.contains(&&*name) {
                let hint = did_you_mean(&name, names.iter().copied());
                fault("unknown_parameter", format!("There is no parameter `{name}` here.{hint}"));
                continue;
            }
            if seen.contains(&name) {
                fault("repeated", format!("`{name}` may be given once."));
                continue;
            }
            match &*name {
                "after" => match after(&value) {
                    Some(after) => asked.after = Some(after),
                    None => fault("invalid", "`after` is the number of an event, or `latest`.".into()),
                },
                "limit" => match value.parse() {
                    Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => asked.limit = limit,
                    _ => fault("out_of_range", format!("`limit` is a whole number from 1 to {MAX_LIMIT}.")),
                },
                _ if words(&value).count() > MAX_FILTER_VALUES => {
                    fault("out_of_range", format!("`{name}` takes at most {MAX_FILTER_VALUES} values."));
                }
                "resource" => match resources(registry, &value) {
                    Ok(types) => asked.narrow(types),
                    Err(details) => details.into_iter().for_each(|detail| fault("unknown_resource", detail)),
                },
                _ => match registry.parse(words(&value)) {
                    Ok(types) => asked.narrow(types),
                    Err(details) => details.into_iter().for_each(|detail| fault("unknown_type", detail)),
                },
            }
            seen.push(name);
        }
        if faults.is_empty() { Ok(asked) } else { Err(Error::parameters(faults)) }
    }

    fn narrow(&mut self, types: EventTypes) {
        self.types = Some(match &self.types {
            Some(known) => known.intersection(&types),
            None => types,
        });
    }
}

/// Parses `17` or `latest`.
pub fn after(text: &str) -> Option<After> {
    match text.trim() {
        "latest" => Some(After::Latest),
        number => number.parse().ok().filter(|number| (0..1 << 53).contains(number)).map(After::Number),
    }
}

fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim)
}

fn resources(registry: EventRegistry, value: &str) -> Result<EventTypes, Vec<String>> {
    let known: Vec<&str> = registry.resources().map(|resource| resource.plural).collect();
    let unknown = words(value).filter(|word| !known.contains(word));
    let faults: Vec<String> = unknown
        .map(|word| format!("There are no events of `{word}`.{}", did_you_mean(word, known.iter().copied())))
        .collect();
    if faults.is_empty() {
        Ok(registry.of(|resource| words(value).any(|word| word == resource.plural)))
    } else {
        Err(faults)
    }
}
