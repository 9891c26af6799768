//! Writes templates as a channel lists them.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use uuid::Uuid;

use super::{DELETED, QUALITIES, STATUSES, components};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{Statement, Tx};

/// Longest name and language that are kept, in characters; Meta's are shorter.
const MAX_NAME_LEN: usize = 512;
const MAX_LANGUAGE_LEN: usize = 32;
/// Longest reason, category and id.
const MAX_REASON_LEN: usize = 500;
const MAX_SHORT_LEN: usize = 64;

/// What identifies a template on its channel: name and language.
pub type TemplateKey = (String, String);

/// Writes a list of templates as Meta gives it (`data` of `message_templates`), as of `at`. Those that are as known stay unchanged; what is no
/// template is left out. Returns their keys. Queries: one.
pub fn write(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    channel: Uuid,
    list: &Json,
    at: DateTime<Utc>,
) -> Result<Vec<TemplateKey>> {
    let mut found: Vec<Listed> = list.as_array().into_iter().flatten().filter_map(Listed::read).collect();
    // One statement cannot write a row twice; the later one of a list counts.
    found.reverse();
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found.dedup_by(|a, b| a.key == b.key);
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let column = |of: fn(&Listed) -> &str| found.iter().map(|one| of(one).to_owned()).collect::<Vec<_>>();
    let mut sql = Statement::new(
        "INSERT INTO templates AS t (business_id, id, channel_id, status_at, external_id, name, language, category, status, rejected_reason, \
         quality, components) SELECT ",
    );
    sql.bind(tenant.id()).sql(", rapport_uuid_v7(), ").bind(channel).sql(", ").bind(at);
    sql.sql(", nullif(a.external_id, ''), a.name, a.language, nullif(a.category, ''), a.status, nullif(a.reason, ''), a.quality, a.components::jsonb FROM unnest(");
    sql.bind(column(|one| &one.external_id)).sql(", ").bind(column(|one| &one.key.0)).sql(", ");
    sql.bind(column(|one| &one.key.1)).sql(", ").bind(column(|one| &one.category)).sql(", ");
    sql.bind(column(|one| one.status)).sql(", ").bind(column(|one| &one.reason)).sql(", ");
    sql.bind(column(|one| one.quality)).sql(", ").bind(column(|one| &one.components));
    sql.sql(
        ") AS a (external_id, name, language, category, status, reason, quality, components) ORDER BY a.name, a.language \
         ON CONFLICT (business_id, channel_id, name, language) DO UPDATE SET external_id = excluded.external_id, category = excluded.category, \
         status = excluded.status, status_at = excluded.status_at, rejected_reason = excluded.rejected_reason, quality = excluded.quality, \
         components = excluded.components, version = t.version + 1, updated_at = now() \
         WHERE t.status_at <= excluded.status_at \
         AND (t.external_id, t.category, t.status, t.rejected_reason, t.quality, t.components) IS DISTINCT FROM \
             (excluded.external_id, excluded.category, excluded.status, excluded.rejected_reason, excluded.quality, excluded.components)",
    );
    sql.run(tx)?;
    Ok(found.into_iter().map(|one| one.key).collect())
}

/// Marks the templates of a channel as deleted that its list, as of `at`, does not have. Queries: one.
pub fn mark_missing(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    channel: Uuid,
    listed: &[TemplateKey],
    at: DateTime<Utc>,
) -> Result<()> {
    let (names, languages): (Vec<String>, Vec<String>) = listed.iter().cloned().unzip();
    let mut sql = Statement::new("UPDATE templates SET version = version + 1, updated_at = now(), status = ");
    sql.bind(DELETED).sql(", status_at = ").bind(at).sql(" WHERE business_id = ").bind(tenant.id());
    sql.sql(" AND channel_id = ").bind(channel).sql(" AND status <> ").bind(DELETED).sql(" AND status_at <= ").bind(at);
    sql.sql(" AND NOT EXISTS (SELECT FROM unnest(").bind(names).sql(", ").bind(languages);
    sql.sql(") AS l (name, language) WHERE l.name = templates.name AND l.language = templates.language)").run(tx)?;
    Ok(())
}

/// A template of a list.
struct Listed {
    key: TemplateKey,
    external_id: String,
    category: String,
    status: &'static str,
    reason: String,
    quality: &'static str,
    components: String,
}

impl Listed {
    /// Returns none for what has no name or language that can be kept.
    fn read(listed: &Json) -> Option<Self> {
        let text = |member: &str| listed[member].as_str().unwrap_or_default();
        let key = (text("name").to_owned(), text("language").to_owned());
        let fits = |text: &str, max: usize| !text.is_empty() && text.chars().count() <= max;
        if !fits(&key.0, MAX_NAME_LEN) || !fits(&key.1, MAX_LANGUAGE_LEN) {
            return None;
        }
        Some(Self {
            key,
            external_id: cut(text("id"), MAX_SHORT_LEN),
            category: cut(&text("category").to_lowercase(), MAX_SHORT_LEN),
            status: status(text("status")),
            reason: reason(text("rejected_reason")),
            quality: quality(listed["quality_score"]["score"].as_str().unwrap_or_default()),
            components: components::of_list(&listed["components"]).to_string(),
        })
    }
}

/// Returns the status that Meta calls `name`.
pub fn status(name: &str) -> &'static str {
    let name = name.to_lowercase();
    STATUSES.iter().copied().find(|known| *known == name).unwrap_or("unknown")
}

/// Returns the rating that Meta calls `name`.
pub fn quality(name: &str) -> &'static str {
    let name = name.to_lowercase();
    QUALITIES.iter().copied().find(|known| *known == name).unwrap_or("unknown")
}

/// Returns a reason for people; empty where Meta says `NONE`.
pub fn reason(text: &str) -> String {
    if text.eq_ignore_ascii_case("none") { String::new() } else { cut(text, MAX_REASON_LEN) }
}

fn cut(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}
