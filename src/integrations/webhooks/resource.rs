//! The webhook resource and its rules: valid addresses and event types, and that no webhook is sent more than its author
//! may read.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::auth::{Action, Area, Tenant, TenantSettings};
use crate::base::egress::MAX_URL_LEN;
use crate::base::error::{Error, Result};
use crate::base::request_context;
use crate::db::schema::webhooks;
use crate::db::{SqlValue, Statement, Tx};
use crate::integrations::events::EventRegistry;
use crate::integrations::events::event_types::is_sent;
use crate::resource::{
    Changeset, Field, FieldType, Hooks, Operations, PendingRow, Resource, Search, Sort, ValidationErrors, select,
};

const STATUSES: &[&str] = &["active", "paused"];

static SECRET: Field = Field::text(
    webhooks::secret,
    60,
    r#""whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD""#,
    "Signs what is sent. It is not shown again.",
)
.not_null();

pub static WEBHOOKS: Resource = Resource {
    name: "webhook",
    plural: "webhooks",
    schema: "Webhook",
    description: "Where events are sent to. The secret that signs them is shown once, in the answer that made it.",
    table: "webhooks",
    area: Area::Webhooks,
    fields: &[
        Field::id(webhooks::id),
        Field::text(webhooks::url, MAX_URL_LEN, r#""https://example.com/hooks/rapport""#, "Where to, by https.").required(),
        Field::text(webhooks::description, 200, r#""Our ERP""#, "What it is for."),
        Field::new(
            webhooks::types,
            FieldType::Tags,
            r#"["lead.*","booking.created"]"#,
            "Which events: `lead.updated`, `lead.*`, `*.deleted`, or `*` for all. Those of API keys and webhooks are never sent.",
        )
        .required(),
        Field::choice(webhooks::status, STATUSES, r#""active""#, "While it is paused, deliveries gather and are sent afterwards.")
            .default(r#""active""#),
        Field::text(webhooks::paused_because, 200, r#""The endpoint answered 410 Gone.""#, "Why the service paused it itself.")
            .read_only(),
        Field::time(webhooks::failing_since, "Since when no delivery has arrived; null when the last one did.").read_only(),
        Field::version(webhooks::version),
        Field::created_at(webhooks::created_at),
        Field::updated_at(webhooks::updated_at),
    ],
    sorts: &[Sort::column(webhooks::created_at)],
    search: Search::None,
    // Its secret is deleted with it, so it cannot be restored.
    operations: Operations { restore: false, batch: false, ..Operations::ALL },
    hooks: Hooks { prepare, before, ..Hooks::NONE },
    secret: Some(&SECRET),
    compressible: false,
    ..Resource::BASE
};

/// Validates address and types.
fn prepare(change: &mut Changeset, _: &TenantSettings, faults: &mut ValidationErrors) {
    if let Some(Err(why)) = change.text(webhooks::url).map(|url| request_context::egress_policy().read(url)) {
        faults.field("url", "not_allowed", format!("`url` {why}"));
    }
    if let Some(SqlValue::Texts(types)) = change.get(webhooks::types) {
        match EventRegistry::of_process().parse(types.iter().map(String::as_str)) {
            Err(details) => details.into_iter().for_each(|detail| faults.field("types", "unknown_type", detail)),
            Ok(types) if types.is_empty() => faults.field("types", "required", "Name at least one type, or `*`."),
            Ok(types) if types.resources().all(|resource| !is_sent(resource)) => {
                faults.field("types", "not_sent", "Events of API keys and webhooks are never sent.");
            }
            Ok(_) => {}
        }
    }
    if !change.creates && change.text(webhooks::status).is_some() {
        // A status set by the caller clears the reason for the pause and the time of the first failure.
        change.set_if_changed(webhooks::status, webhooks::paused_because, None::<String>);
        change.set_if_changed(webhooks::status, webhooks::failing_since, None::<DateTime<Utc>>);
    }
}

/// Checks one row at a time: webhooks have no batches.
fn before(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [PendingRow]) -> Result<()> {
    for draft in drafts {
        let id = (!draft.changes.creates).then_some(draft.id);
        guard(tx, tenant, id, Some(&draft.changes))?;
    }
    Ok(())
}

/// Checks that the caller may read all events that the webhook is sent, by its stored and its new types. Errors: 403.
pub fn guard(tx: &mut Tx<'_>, tenant: &Tenant, id: Option<Uuid>, change: Option<&Changeset>) -> Result<()> {
    let mut types = match change.and_then(|change| change.get(webhooks::types)) {
        Some(SqlValue::Texts(types)) => types.clone(),
        _ => Vec::new(),
    };
    if let Some(id) = id {
        let mut sql = Statement::new("SELECT t.types FROM webhooks t");
        sql.append(select::tenant_predicate(&WEBHOOKS, tenant)).sql(" AND t.id = ").bind(id);
        let stored: Option<Vec<String>> = sql.sql(" FOR NO KEY UPDATE").scalar(tx)?;
        types.extend(stored.unwrap_or_default());
    }
    let types = EventRegistry::of_process()
        .parse(types.iter().map(String::as_str))
        .unwrap_or_else(|_| EventRegistry::of_process().of(is_sent));
    let may = |resource: &Resource| !is_sent(resource) || tenant.permissions().has(resource.area, Action::Read);
    if tenant.restricted_to_user().is_some() || !types.resources().all(may) {
        let detail = "A webhook is sent at most what the caller that makes or changes it may read.";
        return Err(Error::Forbidden(detail.into()));
    }
    Ok(())
}
