//! Notes of the import preview: the columns which do not simply map to a field, and why.

use serde_json::{Map, Value as Json};

use super::column_target::Target;
use super::mapping::{Column, Mapping};
use crate::resource::FieldType;

/// Notes by header, in the file's order.
pub fn of_columns(mapping: &Mapping) -> Map<String, Json> {
    let mut columns: Vec<&Column> = mapping.columns.iter().collect();
    columns.sort_by_key(|column| column.index);
    columns
        .iter()
        .filter_map(|column| Some((column.header.clone(), of_column(mapping, &columns, column)?.into())))
        .collect()
}

/// Notes by member, of rows which are JSON objects.
pub fn of_members<'m>(ignored: impl Iterator<Item = &'m String>) -> Map<String, Json> {
    let detail = "Set by the service, or part of another row: it is left out.";
    ignored.map(|name| (name.clone(), detail.into())).collect()
}

fn of_column(mapping: &Mapping, columns: &[&Column], column: &Column) -> Option<String> {
    let header = &column.header;
    // `mapping.columns` is in order of preference.
    let first = |takes: &dyn Fn(&Target) -> bool| mapping.columns.iter().find(|column| takes(&column.target));
    let name = column.target.name();
    let other = match &column.target {
        Target::Field(field) if field.field_type == FieldType::Tags => {
            let other = first(&|target| target.name() == name).filter(|other| other.header != *header)?;
            return Some(format!(
                "`{}` is taken as `{}`, too: the labels of all these columns are united.",
                other.header, field.name
            ));
        }
        Target::Field(_) | Target::Company(_) | Target::Link(_) => first(&|target| target.name() == name),
        Target::FullName => {
            first(&|target| matches!(target.name().as_deref(), Some("first_name" | "last_name" | "full_name")))
        }
        Target::ServiceSet(_) => {
            return Some(format!(
                "Set by the service, so no import sets it: left out of the row that this file's row was exported from, else kept as \
                 `metadata.{header}`."
            ));
        }
        Target::Related(_) => {
            return Some(format!(
                "A field of a row that is linked, which no import sets: left out of a row that is there, of a new one kept as \
                 `metadata.{header}`."
            ));
        }
        Target::Id => {
            return Some("Finds the row that has this id here. Where none has it, it is the row's external id.".into());
        }
        Target::Metadata(key) => {
            if let Some(other) = first(&|target| target.name() == name).filter(|other| other.header != *header) {
                return Some(format!(
                    "`{}` is taken as `metadata.{key}`, too. Another value of this one is kept beside it under a number: \
                     `metadata.{key}_2`.",
                    other.header
                ));
            }
            let (base, number) = header.rsplit_once('_')?;
            number.parse::<u32>().ok()?;
            let other = columns.iter().find(|other| other.header == base)?;
            let taken = other.target.name().filter(|name| !name.starts_with("metadata."))?;
            return Some(format!(
                "Another column has this name: `{base}` is taken as `{taken}`, and this one kept as `metadata.{header}`."
            ));
        }
        Target::Report => return Some("Part of a report of refused rows: it is left out.".into()),
        Target::Object | Target::Skip => None,
    }?;
    (other.header != *header).then(|| {
        format!(
            "`{}` is taken as `{}`. Where that is empty this one is taken; else another value is kept as `metadata.{header}`.",
            other.header,
            other.target.name().unwrap_or_default()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crm::companies::COMPANIES;
    use crate::crm::contacts::CONTACTS;

    #[test]
    fn of_columns_names_each_column_that_is_not_simply_a_field() {
        let headers = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let asked =
            headers(&["id", "Email", "Email_2", "Tags", "Labels", "first_name", "version", "company.industry", "Fax"]);
        let notes = of_columns(&Mapping::guess(&CONTACTS, &asked).unwrap());
        assert_eq!(notes.keys().collect::<Vec<_>>(), ["id", "Email_2", "Labels", "version", "company.industry"]);
        assert_eq!(notes["Labels"], "`Tags` is taken as `tags`, too: the labels of all these columns are united.");
        assert!(notes["Email_2"].as_str().is_some_and(|note| note.starts_with("`Email` is taken as `email`")));
        let notes = of_columns(&Mapping::guess(&COMPANIES, &headers(&["name", "industry", "industry_2"])).unwrap());
        assert!(notes["industry_2"].as_str().is_some_and(|note| note.contains("`metadata.industry_2`")), "{notes:?}");
    }
}
