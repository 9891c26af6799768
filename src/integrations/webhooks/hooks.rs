//! Rules of webhooks: valid addresses and event types, and that none is sent more than its author may read.

use uuid::Uuid;

use super::resource::WEBHOOKS;
use crate::auth::{Action, Tenant, TenantSettings};
use crate::base::error::{Error, Result};
use crate::base::request_context;
use crate::db::{SqlValue, Statement, Tx};
use crate::integrations::events::EventRegistry;
use crate::integrations::events::event_types::is_sent;
use crate::resource::{Changeset, PendingRow, Resource, ValidationErrors, select};

/// Validates address and types.
pub fn prepare(change: &mut Changeset, _: &TenantSettings, faults: &mut ValidationErrors) {
    if let Some(Err(why)) = change.text("url").map(|url| request_context::egress_policy().read(url)) {
        faults.field("url", "not_allowed", format!("`url` {why}"));
    }
    if let Some(SqlValue::Texts(types)) = change.get("types") {
        match EventRegistry::of_process().parse(types.iter().map(String::as_str)) {
            Err(details) => details.into_iter().for_each(|detail| faults.field("types", "unknown_type", detail)),
            Ok(types) if types.is_empty() => faults.field("types", "required", "Name at least one type, or `*`."),
            Ok(types) if types.resources().all(|resource| !is_sent(resource)) => {
                faults.field("types", "not_sent", "Events of API keys and webhooks are never sent.");
            }
            Ok(_) => {}
        }
    }
    if !change.creates && change.text("status").is_some() {
        // A status set by the caller clears the reason for the pause and the time of the first failure.
        change.set_if_changed("status", "paused_because", SqlValue::Text(None));
        change.set_if_changed("status", "failing_since", SqlValue::Time(None));
    }
}

/// Checks one row at a time: webhooks have no batches.
pub fn before(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [PendingRow]) -> Result<()> {
    for draft in drafts {
        let id = (!draft.changes.creates).then_some(draft.id);
        guard(tx, tenant, id, Some(&draft.changes))?;
    }
    Ok(())
}

/// Checks that the caller may read all events that the webhook is sent, by its stored and its new types. Errors: 403.
pub fn guard(tx: &mut Tx<'_>, tenant: &Tenant, id: Option<Uuid>, change: Option<&Changeset>) -> Result<()> {
    let mut types = match change.and_then(|change| change.get("types")) {
        Some(SqlValue::Texts(types)) => types.clone(),
        _ => Vec::new(),
    };
    if let Some(id) = id {
        let mut sql = Statement::new("SELECT array_to_string(t.types, ' ') FROM webhooks t");
        sql.append(select::tenant_predicate(&WEBHOOKS, tenant)).push(" AND t.id = ").bind(SqlValue::Uuid(Some(id)));
        let known = sql.push(" FOR NO KEY UPDATE").row(tx)?;
        types.extend(known.iter().filter_map(|row| row.text(0)).flat_map(str::split_whitespace).map(str::to_owned));
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
