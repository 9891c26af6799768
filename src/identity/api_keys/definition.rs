//! The resource `api-keys`: its definition and validation.

use std::time::Duration;

use crate::auth::{Area, Permissions, Role, TenantSettings};
use crate::db::SqlValue;
use crate::db::schema::api_keys;
use crate::resource::{
    Changeset, Field, FieldType, Hooks, Operations, Resource, Search, Sort, ValidationErrors, did_you_mean,
};

static KEY: Field = Field::named(
    "key",
    FieldType::Text { min: 1, max: 60 },
    r#""rk_4fJx9QaT0m3v…""#,
    "The key. It is not shown again.",
)
.not_null();

pub static API_KEYS: Resource = Resource {
    name: "api_key",
    plural: "api-keys",
    schema: "ApiKey",
    description: "How programs come in. The key itself is shown once, in the answer that made it.",
    table: "api_keys",
    area: Area::Keys,
    fields: &[
        Field::id(api_keys::id),
        Field::text(api_keys::name, 100, r#""Website form""#, "What it is for.").required(),
        Field::choice(
            api_keys::role,
            Role::NAMES,
            r#""agent""#,
            "What it may do; at most what its maker may. The least that has its permissions, when left out.",
        )
        .not_null()
        .once(),
        Field::new(
            api_keys::permissions,
            FieldType::Tags,
            r#"["crm:read","crm:write"]"#,
            "What it may do, as `GET /me` names it, where that is less than its role may; null: all that its role may.",
        )
        .once(),
        Field::text(api_keys::prefix, 20, r#""rk_4fJx9Qa""#, "How the key begins, to recognise it by.")
            .read_only()
            .not_null(),
        Field::new(
            api_keys::expires_at,
            FieldType::Time,
            r#""2100-01-01T00:00:00Z""#,
            "When it ends by itself; never, if null.",
        ),
        Field::time(api_keys::last_used_at, "When it was last used, to the minute.").read_only(),
        Field::version(api_keys::version),
        Field::created_at(api_keys::created_at),
        Field::updated_at(api_keys::updated_at),
    ],
    sorts: &[Sort::column(api_keys::created_at)],
    search: Search::None,
    // A revoked key cannot be restored: it may have leaked.
    operations: Operations { restore: false, batch: false, ..Operations::ALL },
    hooks: Hooks { prepare, ..Hooks::NONE },
    cache_ttl: Duration::from_secs(900),
    secret: Some(&KEY),
    compressible: false,
    ..Resource::BASE
};

/// Validates permissions, role and expiry. An expiry in the past is an error, because a key is revoked by deleting it.
fn prepare(change: &mut Changeset, _: &TenantSettings, faults: &mut ValidationErrors) {
    let permissions = match change.get(api_keys::permissions) {
        Some(SqlValue::Texts(names)) if names.is_empty() => {
            let detail =
                "Name at least one permission, or leave `permissions` out: then the key may what its role may.";
            return faults.field("permissions", "required", detail);
        }
        Some(SqlValue::Texts(names)) => Some(
            names.iter().map(|name| Permissions::named(name).ok_or(name.clone())).collect::<Result<Permissions, _>>(),
        ),
        _ => None,
    };
    let role = change.text(api_keys::role).and_then(Role::named);
    match (permissions, role) {
        (Some(Err(unknown)), _) => {
            let known: Vec<String> = Role::Owner.permissions().names().collect();
            let hint = did_you_mean(&unknown, known.iter().map(String::as_str));
            faults.field("permissions", "not_a_choice", format!("There is no permission `{unknown}`.{hint}"));
        }
        (Some(Ok(all)), role) => match (role, Role::least_with(all)) {
            (Some(role), _) if !role.permissions().contain(all) => {
                let detail = format!("The role `{role}` has not all of these permissions; leave `role` out.");
                faults.field("permissions", "out_of_range", detail);
            }
            (None, Some(least)) => change.set_default(api_keys::role, least.name()),
            _ => {}
        },
        (None, None) if change.creates => faults.field("role", "required", "Give a `role`, or `permissions`."),
        (None, _) => {}
    }
    if change.time(api_keys::expires_at).is_some_and(|time| time <= chrono::Utc::now()) {
        faults.field("expires_at", "past", "`expires_at` must be in the future. To end a key now, delete it.");
    }
}
