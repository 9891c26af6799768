//! The names of a list's parameters.

use std::borrow::Cow;

use super::filter_op::FilterOp;
use crate::resource::definition::{Resource, Search};

/// Returns the names of a list's parameters, without `metadata.<key>`.
pub fn names(resource: &Resource) -> Vec<Cow<'static, str>> {
    let mut names: Vec<Cow<'static, str>> =
        ["sort", "limit", "cursor", "include", "fields", "count"].map(Cow::from).into();
    if resource.search != Search::None {
        names.push("q".into());
    }
    if resource.search == Search::Words {
        names.push("highlight".into());
    }
    if resource.soft_delete() {
        names.push("deleted".into());
    }
    names.extend(resource.filterable().flat_map(|field| FilterOp::of(field).iter().map(|op| op.name(field))));
    names
}
