//! Applies what a channel tells of a template: of all channels of its account, which share their templates.

use diesel::QueryableByName;
use serde_json::Value as Json;
use uuid::Uuid;

use super::{APPROVED, components, store, sync};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::channels::inbound::update::{TemplateChange, TemplateUpdate};
use crate::db::schema::templates;
use crate::db::{Statement, Tx};

#[derive(QueryableByName)]
#[diesel(table_name = templates)]
struct KnownTemplate {
    id: Uuid,
    components: Json,
}

/// The status that an update tells of; none where it tells of none, or of one that changes nothing.
fn status(change: &TemplateChange) -> Option<&'static str> {
    match change {
        TemplateChange::Status { event, .. } => match event.as_str() {
            "REINSTATED" => Some(APPROVED),
            // At risk of being disabled, and to be sent until then.
            "FLAGGED" => None,
            event => Some(store::status(event)),
        },
        _ => None,
    }
}

/// Applies an update. What it does not tell whole or with its time, and a template that is not known, is read with the next synchronisation,
/// which this starts: a list that is older than the update may be written after it. Queries: three at most.
pub fn apply(tx: &mut Tx<'_>, tenant: &Tenant, channel: Uuid, update: &TemplateUpdate) -> Result<()> {
    let status = status(&update.change);
    let is_status = matches!(update.change, TemplateChange::Status { .. });
    let is_read_anew = !is_status || status == Some("unknown");
    if is_read_anew {
        // Before templates are locked, as a synchronisation does it.
        sync::request_account(tx, tenant, channel)?;
    }
    let mut sql = Statement::new("SELECT t.id, t.components FROM templates t WHERE t.business_id = ");
    sql.bind(tenant.id())
        .sql(" AND t.channel_id IN (")
        .append(sync::of_account(tenant, channel))
        .sql(") AND (t.external_id = ");
    // Webhooks write `en-US` where lists have `en_US`.
    sql.bind(update.external_id.clone()).sql(" OR (t.name = ").bind(&update.name);
    sql.sql(" AND t.language = ").bind(update.language.replace('-', "_")).sql(")) ORDER BY t.id FOR NO KEY UPDATE");
    let known: Vec<KnownTemplate> = sql.load(tx)?;
    if known.is_empty() {
        return if is_read_anew { Ok(()) } else { sync::request_account(tx, tenant, channel) };
    }
    let ids: Vec<Uuid> = known.iter().map(|template| template.id).collect();
    let mut sql = Statement::new("UPDATE templates t SET version = t.version + 1, updated_at = now(), ");
    match &update.change {
        TemplateChange::Status { reason, .. } => {
            let Some(status) = status.filter(|status| *status != "unknown") else { return Ok(()) };
            let reason = reason.as_deref().map(store::reason).filter(|reason| !reason.is_empty());
            sql.sql("status = ").bind(status).sql(", rejected_reason = ").bind(reason.clone());
            sql.sql(", status_at = ").bind(update.changed_at).sql(" WHERE t.status_at <= ").bind(update.changed_at);
            sql.sql(" AND (t.status, t.rejected_reason) IS DISTINCT FROM (")
                .bind(status)
                .sql(", ")
                .bind(reason)
                .sql(")");
        }
        TemplateChange::Category { category } => {
            let category = category.to_lowercase();
            sql.sql("category = ").bind(&category).sql(" WHERE t.category IS DISTINCT FROM ").bind(&category);
        }
        TemplateChange::Quality { score } => {
            let quality = store::quality(score);
            sql.sql("quality = ").bind(quality).sql(" WHERE t.quality <> ").bind(quality);
        }
        TemplateChange::Components { update } => {
            let changed = known.iter().map(|known| components::with_update(&known.components, update).to_string());
            sql.sql("components = c.components::jsonb FROM unnest(")
                .bind(ids.clone())
                .sql(", ")
                .bind(changed.collect::<Vec<_>>());
            sql.sql(") AS c (id, components) WHERE c.id = t.id AND t.components <> c.components::jsonb");
        }
    }
    sql.sql(" AND t.business_id = ").bind(tenant.id()).sql(" AND t.id = ANY(").bind(ids).sql(")").run(tx)?;
    Ok(())
}
