//! Prepares a template for sending: finds it, and fills it with its variables.

use diesel::QueryableByName;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::variables::{FilledTemplate, fill};
use super::{APPROVED, DELETED};
use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::base::suggest::{did_you_mean, shown, suggestion};
use crate::db::schema::templates;
use crate::db::{Statement, Tx};

/// Templates of a channel among which a misspelt name is looked for; Meta allows 6,000 in an account.
const MAX_SUGGESTED: i32 = 1_000;

/// A template that can be sent.
#[derive(Clone, Debug)]
pub struct PreparedTemplate {
    pub id: Uuid,
    /// As in the send call.
    pub name: String,
    pub language: String,
    /// What it will be charged as, if that is known: `marketing`, `utility` or `authentication`.
    pub category: Option<String>,
    /// The list `template.components` of the send call.
    pub components: Json,
    /// What the customer reads.
    pub body: String,
}

#[derive(QueryableByName)]
#[diesel(table_name = templates)]
struct FoundTemplate {
    id: Uuid,
    category: Option<String>,
    status: String,
    rejected_reason: Option<String>,
    components: Json,
}

/// Prepares the template `name` in `language` of a channel. Queries: one, two where it is unknown.
///
/// Errors, with pointers beside `name`, `language` and `variables`: 422 `invalid` for an unknown name or language, with the nearest; 409
/// `template_not_approved` with its `template_status`; 422 `template_variables` with each variable that is missing, unknown or unfit.
pub fn prepare(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    channel: Uuid,
    name: &str,
    language: &str,
    variables: &Map<String, Json>,
) -> Result<PreparedTemplate> {
    let mut sql =
        Statement::new("SELECT id, category, status, rejected_reason, components FROM templates WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND channel_id = ").bind(channel).sql(" AND name = ").bind(name);
    let found = sql.sql(" AND language = ").bind(language).first::<FoundTemplate>(tx)?;
    let Some(found) = found else { return Err(unknown(tx, tenant, channel, name, language)?) };
    if found.status != APPROVED {
        return Err(not_approved(name, language, &found));
    }
    let FilledTemplate { components, body } = fill(&found.components, variables).map_err(|faults| {
        let below = |fault: FieldError| FieldError { pointer: format!("/variables{}", fault.pointer), ..fault };
        Error::invalid_as("template_variables", faults.into_iter().map(below).collect())
    })?;
    Ok(PreparedTemplate {
        id: found.id,
        name: name.to_owned(),
        language: language.to_owned(),
        category: found.category,
        components,
        body,
    })
}

fn not_approved(name: &str, language: &str, found: &FoundTemplate) -> Error {
    let reason = found.rejected_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let detail = format!(
        "The template `{name}` in `{language}` is `{}`{reason}; only one that is `{APPROVED}` can be sent.",
        found.status
    );
    Error::Conflict {
        code: "template_not_approved",
        detail,
        pointer: Some("/name".into()),
        extra: Box::new(serde_json::json!({ "template_status": found.status })),
    }
}

/// Says what is unknown, the name or only the language, and what is known.
fn unknown(tx: &mut Tx<'_>, tenant: &Tenant, channel: Uuid, name: &str, language: &str) -> Result<Error> {
    let mut sql = Statement::new("SELECT DISTINCT name FROM templates WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND channel_id = ").bind(channel).sql(" AND status <> ").bind(DELETED);
    let known: Vec<String> = sql.sql(" ORDER BY name LIMIT ").number(MAX_SUGGESTED).scalars(tx)?;
    if !known.iter().any(|known| known == name) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = match suggestion(name, &known) {
            Some(nearest) => format!(" Did you mean `{nearest}`?"),
            None => " `GET /templates` lists them; `POST /channels/{id}/template-sync` reads them anew.".to_owned(),
        };
        let detail = format!("The channel has no template `{}`.{hint}", shown(name));
        return Ok(Error::Invalid(vec![FieldError::new("/name", "no_such_row", detail)]));
    }
    let mut sql = Statement::new("SELECT language FROM templates WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND channel_id = ").bind(channel).sql(" AND name = ").bind(name);
    let languages: Vec<String> = sql.sql(" ORDER BY language").scalars(tx)?;
    let hint = did_you_mean(language, languages.iter().map(String::as_str));
    let detail = format!("The template `{name}` is not written in `{}`.{hint}", shown(language));
    Ok(Error::Invalid(vec![FieldError::new("/language", "no_such_row", detail)]))
}
