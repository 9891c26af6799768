//! Moves parameters that many operations have into components, so that client generators have one type for each.

use std::collections::{BTreeMap, BTreeSet};

use utoipa::openapi::path::Parameter;
use utoipa::openapi::{OpenApi, Ref, RefOr};

use super::operations::operations;
use crate::resource::openapi::pascal;

/// Each resource has orders of its own.
const OWN: &str = "sort";

/// Operations of this many tags have a parameter before it becomes a component: generators name a type for each.
const MIN_TAGS: usize = 8;

/// Replaces each parameter that operations of several tags have by a reference. Of parameters with the same name and
/// different descriptions, that of most tags becomes the component.
pub fn share(api: &mut OpenApi) {
    let mut found: BTreeMap<String, Vec<(Parameter, BTreeSet<String>)>> = BTreeMap::new();
    for operation in operations(api) {
        let tag = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
        for parameter in operation.parameters.iter().flatten() {
            let RefOr::T(parameter) = parameter else { continue };
            if parameter.name == OWN {
                continue;
            }
            let variants = found.entry(pascal(&parameter.name)).or_default();
            match variants.iter_mut().find(|(known, _)| known == parameter) {
                Some((_, tags)) => drop(tags.insert(tag.clone())),
                None => variants.push((parameter.clone(), BTreeSet::from([tag.clone()]))),
            }
        }
    }
    let shared: BTreeMap<String, Parameter> = found
        .into_iter()
        .filter_map(|(name, variants)| {
            let (parameter, tags) = variants.into_iter().max_by_key(|(_, tags)| tags.len())?;
            (tags.len() >= MIN_TAGS).then_some((name, parameter))
        })
        .collect();
    for parameter in operations(api).flat_map(|operation| operation.parameters.iter_mut().flatten()) {
        let RefOr::T(own) = parameter else { continue };
        let name = pascal(&own.name);
        if shared.get(&name) == Some(own) {
            *parameter = RefOr::Ref(Ref::new(format!("#/components/parameters/{name}")));
        }
    }
    let components = api.components.get_or_insert_default();
    components.parameters.extend(shared.into_iter().map(|(name, parameter)| (name, RefOr::T(parameter))));
}
