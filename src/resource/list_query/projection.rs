//! Parses the parameters `include` and `fields`: which fields of a row are shown, and which relations with it.

use super::parameter_errors::ParameterErrors;
use crate::base::suggest::did_you_mean;
use crate::resource::definition::Resource;
use crate::resource::relation::Relation;
use crate::resource::row_json::FieldMask;

/// Which fields of a row are shown, and which relations with it.
#[derive(Clone, Debug, Default)]
pub struct Projection {
    pub mask: FieldMask,
    /// The relations to expand, in the resource's order.
    pub include: Vec<Included>,
}

/// A relation that is expanded.
#[derive(Clone, Copy, Debug)]
pub struct Included {
    pub relation: &'static Relation,
    /// The related resource.
    pub resource: &'static Resource,
    /// Which of its fields are shown.
    pub mask: FieldMask,
}

/// Resolves the names of relations to include and of fields to show.
pub(super) fn parse_projection(
    resource: &'static Resource,
    include: &[String],
    fields: &[String],
    errors: &mut ParameterErrors,
) -> Projection {
    for name in include.iter().filter(|name| resource.relation(name).is_none()) {
        let hint = did_you_mean(name, resource.relations.iter().map(|relation| relation.name));
        errors.add("include", "unknown_relation", format!("{} have no relation `{name}`.{hint}", resource.plural));
    }
    let included = resource.relations.iter().filter(|relation| include.iter().any(|name| name == relation.name));
    let included = included.map(|relation| Included { relation, resource: relation.resource(), mask: None });
    let mut projection = Projection { mask: None, include: included.collect() };
    for name in fields {
        let shown = match name.split_once('.') {
            Some((relation, field)) => {
                let included = projection.include.iter_mut().find(|included| included.relation.name == relation);
                included.and_then(|included| show(&mut included.mask, included.resource, field))
            }
            None => show(&mut projection.mask, resource, name),
        };
        if shown.is_none() {
            let hint = unknown_field_hint(resource, &projection, name);
            errors.add("fields", "unknown_field", format!("There is no field `{name}` here.{hint}"));
        }
    }
    projection
}

fn show(mask: &mut FieldMask, resource: &Resource, field: &str) -> Option<()> {
    let index = resource.index(field)?;
    *mask.get_or_insert(0) |= 1 << index;
    Some(())
}

fn unknown_field_hint(resource: &Resource, projection: &Projection, name: &str) -> String {
    let relation = name.split_once('.').and_then(|(relation, _)| resource.relation(relation));
    let is_missing = |relation: &&Relation| projection.include.iter().all(|one| one.relation.name != relation.name);
    if let Some(relation) = relation.filter(is_missing) {
        return format!(" Add `include={}` to show its fields.", relation.name);
    }
    let own = resource.fields.iter().map(|field| field.name.to_owned());
    let related = projection.include.iter().flat_map(|included| {
        included.resource.fields.iter().map(|field| format!("{}.{}", included.relation.name, field.name))
    });
    let known: Vec<String> = own.chain(related).collect();
    did_you_mean(name, known.iter().map(String::as_str))
}
