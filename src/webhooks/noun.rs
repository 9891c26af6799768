//! Webhooks as a noun, and their secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use super::deliveries;
use crate::auth::{Action, Area, Business, Tenant, random};
use crate::context;
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Result};
use crate::events::Kinds;
use crate::events::kinds::is_sent;
use crate::noun::store::{self, Row};
use crate::noun::{Change, Draft, Faults, Field, Hooks, Kind, Noun, Operations, Search, Sort, Writes, select};
use crate::outbound::LONGEST;

const STATUSES: &[&str] = &["active", "paused"];
/// How long the secret before a rotation still signs, in hours.
pub const OVERLAP_HOURS: u32 = 24;
/// Webhooks of one business: each event is matched with all of them, and whoever looks for what is due looks at each.
const MOST_WEBHOOKS: i64 = 50;

static SECRET: Field = Field::text(
    "secret",
    60,
    r#""whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD""#,
    "Signs what is sent. It is not shown again.",
)
.not_null();

pub static WEBHOOKS: Noun = Noun {
    name: "webhook",
    plural: "webhooks",
    schema: "Webhook",
    about: "Where events are sent to. The secret that signs them is shown once, in the answer that made it.",
    table: "webhooks",
    area: Area::Webhooks,
    fields: &[
        Field::ID,
        Field::text("url", LONGEST, r#""https://example.com/hooks/rapport""#, "Where to, by https.").required(),
        Field::text("description", 200, r#""Our ERP""#, "What it is for."),
        Field::new(
            "types",
            Kind::Tags,
            r#"["lead.*","booking.created"]"#,
            "Which events: `lead.updated`, `lead.*`, `*.deleted`, or `*` for all. Those of API keys and webhooks are never sent.",
        )
        .required(),
        Field::choice("status", STATUSES, r#""active""#, "While it is paused, deliveries gather and are sent afterwards.")
            .default(r#""active""#),
        Field::text("paused_because", 200, r#""The endpoint answered 410 Gone.""#, "Why the service paused it itself.")
            .read_only(),
        Field::time("failing_since", "Since when no delivery has arrived; null when the last one did.").read_only(),
        Field::VERSION,
        Field::CREATED_AT,
        Field::UPDATED_AT,
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::None,
    // Its secret is gone with it.
    operations: Operations { restore: false, batch: false, ..Operations::ALL },
    hooks: Hooks { prepare, before, ..Hooks::NONE },
    writes: Writes { create, ..Writes::PLAIN },
    routes: super::http::routes,
    secret: Some(&SECRET),
    packed: false,
    ..Noun::BASE
};

fn prepare(change: &mut Change, _: &Business, faults: &mut Faults) {
    if let Some(Err(why)) = change.text("url").map(|url| context::bounds().read(url)) {
        faults.field("url", "not_allowed", format!("`url` {why}"));
    }
    if let Some(Value::Texts(types)) = change.get("types") {
        match Kinds::named(types.iter().map(String::as_str)) {
            Err(details) => details.into_iter().for_each(|detail| faults.field("types", "unknown_type", detail)),
            Ok(kinds) if kinds == Kinds::none() => faults.field("types", "required", "Name at least one type, or `*`."),
            Ok(kinds) if kinds.nouns().all(|noun| !is_sent(noun)) => {
                faults.field("types", "not_sent", "Events of API keys and webhooks are never sent.");
            }
            Ok(_) => {}
        }
    }
    if !change.creates && change.text("status").is_some() {
        // Who gives it another one knows why.
        change.set_with("status", "paused_because", Value::Text(None));
        change.set_with("status", "failing_since", Value::Time(None));
    }
}

/// One at a time: there are no batches of webhooks.
fn before(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [Draft]) -> Result<()> {
    for draft in drafts {
        let id = (!draft.change.creates).then_some(draft.id);
        guard(tx, tenant, id, Some(&draft.change))?;
    }
    Ok(())
}

/// Nobody has sent to them, or to others, what they may not read. Errors: 403.
pub fn guard(tx: &mut Tx<'_>, tenant: &Tenant, id: Option<Uuid>, change: Option<&Change>) -> Result<()> {
    let mut types = match change.and_then(|change| change.get("types")) {
        Some(Value::Texts(types)) => types.clone(),
        _ => Vec::new(),
    };
    if let Some(id) = id {
        let mut sql = Statement::new("SELECT array_to_string(t.types, ' ') FROM webhooks t");
        sql.append(select::scoped(&WEBHOOKS, tenant)).push(" AND t.id = ").bind(Value::Uuid(Some(id)));
        let known = sql.push(" FOR NO KEY UPDATE").row(tx)?;
        types.extend(known.iter().filter_map(|row| row.text(0)).flat_map(str::split_whitespace).map(str::to_owned));
    }
    let kinds = Kinds::named(types.iter().map(String::as_str)).unwrap_or_else(|_| Kinds::of(is_sent));
    let may = |noun: &Noun| !is_sent(noun) || tenant.permissions().has(noun.area, Action::Read);
    if tenant.sees_only().is_some() || !kinds.nouns().all(may) {
        let detail = "A webhook is sent at most what whoever makes or changes it may read.";
        return Err(Error::Forbidden(detail.into()));
    }
    Ok(())
}

/// Makes a webhook and shows its secret, as the member `secret` of the row.
fn create(tx: &mut Tx<'_>, tenant: &Tenant, change: Change) -> Result<(Uuid, Row)> {
    // One after the other, or each would count without the rest.
    deliveries::lock(tx, tenant)?;
    let mut sql = Statement::new("SELECT count(*) FROM webhooks WHERE business_id = ");
    let there = sql.bind(Value::Uuid(Some(tenant.id()))).row(tx)?.and_then(|row| row.int(0)).unwrap_or_default();
    if there >= MOST_WEBHOOKS {
        let detail =
            format!("A business has at most {MOST_WEBHOOKS} webhooks. Delete one, or let one be sent more types.");
        return Err(Error::conflict("too_many_webhooks", detail));
    }
    let (id, mut row) = store::create(tx, tenant, change)?;
    let secret = generate()?;
    let mut sql = Statement::new("UPDATE webhooks AS t SET secret = ");
    sql.bind(Value::Text(Some(secret.clone()))).append(select::scoped(&WEBHOOKS, tenant));
    sql.push(" AND t.id = ").bind(Value::Uuid(Some(id))).run(tx)?;
    show(&mut row, &secret);
    Ok((id, row))
}

/// Gives the webhook `id` another secret; for a day both sign. Errors: 404; 403.
pub fn rotate(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, secret: &str) -> Result<Row> {
    guard(tx, tenant, Some(id), None)?;
    let mut sql = Statement::new(format!(
        "UPDATE webhooks AS t SET version = version + 1, updated_at = now(), previous_secret = secret, \
         previous_until = now() + interval '{OVERLAP_HOURS} hours', secret = "
    ));
    sql.bind(Value::Text(Some(secret.to_owned()))).append(select::scoped(&WEBHOOKS, tenant));
    sql.push(" AND t.id = ").bind(Value::Uuid(Some(id))).run(tx)?;
    let row = store::one(tx, tenant, &WEBHOOKS, id, &Default::default())?;
    let mut row = row.ok_or_else(|| store::missing(&WEBHOOKS))?;
    show(&mut row, secret);
    Ok(row)
}

fn show(row: &mut Row, secret: &str) {
    row.json.pop();
    row.json.extend_from_slice(format!(",\"secret\":\"{secret}\"}}").as_bytes());
}

/// A new secret: `whsec_` and 256 random bits, as Standard Webhooks writes them.
pub fn generate() -> Result<String> {
    Ok(format!("whsec_{}", STANDARD.encode(random::<32>()?)))
}
