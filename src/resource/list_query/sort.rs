//! Parses the parameter `sort`.

use super::parameter_errors::ParameterErrors;
use crate::base::suggest::did_you_mean;
use crate::resource::definition::Resource;
use crate::resource::sort::Sort;

/// Returns the sort that `given` names, or else the default one, and whether it is descending.
pub(super) fn parse_sort(
    resource: &'static Resource,
    given: Option<&str>,
    errors: &mut ParameterErrors,
) -> (&'static Sort, bool) {
    let given = given.unwrap_or(resource.default_sort);
    let (name, descending) = given.strip_prefix('-').map_or((given, false), |name| (name, true));
    let found = resource.sorts.iter().find(|sort| sort.name == name);
    if found.is_none() {
        let hint = did_you_mean(name, resource.sorts.iter().map(|sort| sort.name));
        errors.add("sort", "unknown_sort", format!("{} cannot be sorted by `{name}`.{hint}", resource.plural));
    }
    (found.unwrap_or(&resource.sorts[0]), descending)
}
