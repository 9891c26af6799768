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
/// So do as many operations of one feature.
const MIN_OPERATIONS: usize = 9;
/// A feature's tags at most: its own, and that of a resource below which it has an operation, too.
const MAX_FEATURE_TAGS: usize = 2;

/// A parameter, the tags of the operations that have it, and how many these are.
type Variant = (Parameter, BTreeSet<String>, usize);

/// Replaces each parameter that operations of several tags have by a reference. Of parameters with the same name and
/// different descriptions, that of most tags becomes the component.
pub fn share(api: &mut OpenApi) {
    let mut found: BTreeMap<String, Vec<Variant>> = BTreeMap::new();
    for operation in operations(api) {
        let tag = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
        for parameter in operation.parameters.iter().flatten() {
            let RefOr::T(parameter) = parameter else { continue };
            if parameter.name == OWN {
                continue;
            }
            let variants = found.entry(pascal(&parameter.name)).or_default();
            match variants.iter_mut().find(|(known, ..)| known == parameter) {
                Some((_, tags, operations)) => {
                    tags.insert(tag.clone());
                    *operations += 1;
                }
                None => variants.push((parameter.clone(), BTreeSet::from([tag.clone()]), 1)),
            }
        }
    }
    let shared: BTreeMap<String, Parameter> = found
        .into_iter()
        .filter_map(|(name, variants)| {
            let (parameter, tags, operations) =
                variants.into_iter().max_by_key(|(_, tags, operations)| (tags.len(), *operations))?;
            let is_of_feature = tags.len() <= MAX_FEATURE_TAGS && operations >= MIN_OPERATIONS;
            (tags.len() >= MIN_TAGS || is_of_feature).then_some((name, parameter))
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
