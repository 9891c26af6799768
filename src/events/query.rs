//! What is asked of the log: from where, and which types.

use crate::error::{Error, Fault, Result};
use crate::noun::did_you_mean;
use crate::noun::params::{DEFAULT_LIMIT, LARGEST_LIMIT};
use crate::nouns::NOUNS;

use super::kinds::{self, Kinds};

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The oldest that is kept.
    Nothing,
    Number(i64),
    /// What is ordered from now on.
    Latest,
}

#[derive(Clone, Debug)]
pub struct Asked {
    /// Nothing: whatever is usual there.
    pub after: Option<After>,
    /// Those of `noun` and `type`; nothing: all that may be read.
    pub kinds: Option<Kinds>,
    pub limit: u32,
}

impl Asked {
    /// Understands `query`, which may have the parameters `names`. Errors: 400 with every fault.
    pub fn read(query: &str, names: &[&str]) -> Result<Self> {
        let mut asked = Self { after: None, kinds: None, limit: DEFAULT_LIMIT };
        let (mut faults, mut seen) = (Vec::new(), Vec::new());
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let mut fault = |code, detail| faults.push(Fault::new(format!("/query/{name}"), code, detail));
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
                    Ok(limit) if (1..=LARGEST_LIMIT).contains(&limit) => asked.limit = limit,
                    _ => fault("out_of_range", format!("`limit` is a whole number from 1 to {LARGEST_LIMIT}.")),
                },
                "noun" => match nouns(&value) {
                    Ok(kinds) => asked.narrow(kinds),
                    Err(details) => details.into_iter().for_each(|detail| fault("unknown_noun", detail)),
                },
                _ => match Kinds::named(words(&value)) {
                    Ok(kinds) => asked.narrow(kinds),
                    Err(details) => details.into_iter().for_each(|detail| fault("unknown_type", detail)),
                },
            }
            seen.push(name);
        }
        if faults.is_empty() { Ok(asked) } else { Err(Error::parameters(faults)) }
    }

    fn narrow(&mut self, kinds: Kinds) {
        self.kinds = Some(match &self.kinds {
            Some(known) => known.both(&kinds),
            None => kinds,
        });
    }
}

/// `17` or `latest`.
pub fn after(text: &str) -> Option<After> {
    match text.trim() {
        "latest" => Some(After::Latest),
        number => number.parse().ok().filter(|number| (0..1 << 53).contains(number)).map(After::Number),
    }
}

fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim)
}

fn nouns(value: &str) -> Result<Kinds, Vec<String>> {
    let known: Vec<&str> = NOUNS.iter().filter(|noun| kinds::tells(noun)).map(|noun| noun.plural).collect();
    let unknown = words(value).filter(|word| !known.contains(word));
    let faults: Vec<String> = unknown
        .map(|word| format!("There are no events of `{word}`.{}", did_you_mean(word, known.iter().copied())))
        .collect();
    if faults.is_empty() { Ok(Kinds::of(|noun| words(value).any(|word| word == noun.plural))) } else { Err(faults) }
}
