//! Every query of the API: each resource by each sort, unfiltered and with each single filter, counted, searched,
//! paged, with its relations, by id and in batches.

use chrono::{DateTime, TimeDelta};
use diesel::pg::PgConnection;
use rapport::analytics::{self, Period};
use rapport::app::registry::RESOURCES;
use rapport::auth::{Tenant, TenantSettings};
use rapport::channels::inbox::counts;
use rapport::channels::worker_tasks::claims::{self, Claim};
use rapport::channels::worker_tasks::waiters;
use rapport::crm::companies::COMPANIES;
use rapport::crm::contacts::CONTACTS;
use rapport::crm::duplicates::{self, Prospect};
use rapport::db::Statement;
use rapport::http::precondition::IfMatch;
use rapport::resource::batch::{Returning, sql};
use rapport::resource::list_query::{FilterOp, List, Projection};
use rapport::resource::{Cardinality, Changeset, Field, FieldType, PendingRow, Resource, Search, crud, select};
use rapport::scheduling::availability::interval::Interval;
use rapport::scheduling::availability::load::{self, Wish};
use rapport::scheduling::services::SERVICES;
use rapport::scheduling::staff::STAFF;
use serde_json::json;
use uuid::Uuid;

use crate::catalogue::UNINDEXED_SORTS;

pub struct Question {
    pub name: String,
    /// An unfiltered page, by a sort that has an index.
    pub plain: bool,
    pub statement: Statement,
}

/// The business that has most of the rows.
pub const BUSY: &str = "01939d5e-0000-7000-8000-000000000000";

/// What dashboards list and count, the answers and the runs of models of a period; and claims of tasks.
fn statistics(business: Uuid) -> Vec<Question> {
    let day = |text: &str| text.parse().expect("a date");
    let period = Period::new(day("2026-11-01"), day("2026-11-30"), "UTC");
    let buckets = period.buckets(None);
    let asked = analytics::Question { business, metrics: &["responses"], period: &period, buckets: &buckets };
    let mut statements = analytics::dashboard_statements(business, buckets.starts[0], buckets.starts[1]);
    statements.push(("answers of a period", analytics::turns(&asked)));
    statements.push(("runs of models in a period", analytics::ai_usage_statement(&asked)));
    let claim = Claim { kinds: vec!["reply".into(), "summary".into()], limit: 5, lease_seconds: 60, wait: 0 };
    statements.push(("claim of tasks", claims::statement(&Tenant::for_operator(business), &claim)));
    statements.push(("tasks for waiting claims", waiters::statement([(business, "reply".to_owned())].into())));
    let question = |(name, statement): (&str, Statement)| Question { name: name.into(), plain: false, statement };
    statements.into_iter().map(question).collect()
}

pub fn all(conn: &mut PgConnection) -> Vec<Question> {
    let id: Uuid = BUSY.parse().expect("a UUID");
    let business = TenantSettings { id, country: "US".into(), time_zone: "UTC".into(), currency: "EUR".into() };
    let tenant = Tenant::for_operator(id);
    let mut questions = statistics(id);
    let service = ids(conn, &SERVICES)[0];
    let (staff, from) = (ids(conn, &STAFF), DateTime::UNIX_EPOCH + TimeDelta::days(20_700));
    for one in [Some(staff[0]), None] {
        let wish = Wish { service, staff: one, range: Interval::new(from, from + TimeDelta::days(30)) };
        let asked = &staff[..if one.is_some() { 1 } else { 20 }];
        for (name, statement) in load::statements(&tenant, &[wish], asked) {
            questions.push(Question { name: format!("{name}, {} of them", asked.len()), plain: false, statement });
        }
    }
    for (user, whose) in [(Some(Uuid::nil()), "a member"), (None, "an API key")] {
        let name = format!("counts of an inbox for {whose}");
        questions.push(Question { name, plain: false, statement: counts::statement(&tenant, user) });
    }
    for resource in RESOURCES {
        let mut ask = |name: String, statement: Statement| {
            let whole = name.contains("?&sort=") || name.contains("?sort=");
            let is_sorted =
                resource.table == "audit_entries" || !UNINDEXED_SORTS.iter().any(|(table, _)| *table == resource.table);
            questions.push(Question { name, plain: whole && is_sorted, statement });
        };
        let parse = |query: &str| {
            List::parse(resource, query, &business)
                .unwrap_or_else(|error| panic!("{}?{query}: {error:?}", resource.plural))
        };
        let filters = filters(conn, resource);
        let names = resource.relations.iter().map(|relation| relation.name).collect::<Vec<_>>().join(",");
        let includes = if names.is_empty() { names } else { format!("include={names}") };
        for sort in resource.sorts {
            for (narrowed, filter) in filters.iter().enumerate() {
                for direction in ["", "-"] {
                    let query = format!("{filter}&sort={direction}{}", sort.name);
                    let list = parse(&query);
                    ask(format!("{}?{query}", resource.plural), select::page(&list, &tenant));
                    // A later page: the one after the first, if that was full.
                    let page = crud::list(conn, &tenant, &parse(&format!("{query}&limit=1"))).expect("a page");
                    let page: serde_json::Value = serde_json::from_slice(&page.read).expect("JSON");
                    if let (Some(cursor), true) = (page["page"]["next"].as_str(), narrowed == 0) {
                        let query = format!("{query}&cursor={cursor}");
                        ask(format!("{}?{query}", resource.plural), select::page(&parse(&query), &tenant));
                    }
                }
            }
            let query = format!("sort=-{}&{includes}", sort.name);
            ask(format!("{}?{query}", resource.plural), select::page(&parse(&query), &tenant));
        }
        for filter in &filters {
            for (way, cap) in [("true", 10_000), ("exact", 0)] {
                ask(format!("{}?{filter}&count={way}", resource.plural), select::count(&parse(filter), &tenant, cap));
            }
        }
        let ids = ids(conn, resource);
        let has_rows = !ids.is_empty() || !resource.operations.batch;
        assert!(has_rows, "{}: neither query_plans/data.sql nor generated.rs made rows of it", resource.plural);
        let with_all = parse(&includes).projection;
        for view in [Projection::default(), with_all] {
            for count in [1, 50] {
                let some = ids[..count.min(ids.len())].to_vec();
                let name = format!("{count} {} by id, {} relations", resource.plural, view.include.len());
                ask(name, select::by_ids(resource, &tenant, &view, some));
            }
        }
        for count in [1, 64] {
            let some = ids[..count.min(ids.len())].to_vec();
            ask(
                format!("{count} {} coalesced", resource.plural),
                select::by_keys(resource, vec![id; some.len()], some),
            );
        }
        if resource.operations.batch {
            let some = || ids[..64.min(ids.len())].to_vec();
            ask(
                format!("{} locked for a batch", resource.plural),
                sql::lock_rows(resource, &tenant, some(), Returning::Versions),
            );
            for key in resource.unique_fields() {
                let known = (0..64).map(|_| value(conn, resource, key)).collect();
                let locked = sql::lock_rows_by_key(resource, &tenant, key, known, Returning::Rows);
                ask(format!("{} locked by {}", resource.plural, key.name), locked);
            }
            let change = Changeset::of_item(
                resource,
                serde_json::Map::from_iter([("metadata".to_owned(), json!({}))]),
                false,
                &business,
            );
            let drafts: Vec<PendingRow> =
                some().into_iter().map(|id| PendingRow::new(id, change.clone().expect("a change"))).collect();
            ask(
                format!("{} changed by a batch", resource.plural),
                sql::update(resource, &tenant, &drafts.iter().collect::<Vec<_>>(), Returning::Rows),
            );
            for filter in filters.iter().filter(|filter| !filter.starts_with("deleted")) {
                let walk =
                    select::select_ids_for_update(&parse(filter), &tenant, ids[0], chrono::Utc::now(), false, 250);
                ask(format!("{} walked with {filter}", resource.plural), walk);
            }
            ask(
                format!("{} deleted by a batch", resource.plural),
                sql::delete(resource, &tenant, some(), IfMatch::ANY),
            );
        }
        for relation in resource.relations.iter().filter(|relation| relation.arity != Cardinality::One) {
            let name = format!("{} of 50 {}", relation.name, resource.plural);
            ask(name, select::related(relation, &tenant, ids[..50.min(ids.len())].to_vec()));
        }
    }
    // The duplicate check before a contact or a company is created: with all known values, and with each alone.
    let known = Prospect {
        email: Some("contact5000@example.com".into()),
        phone: Some("+14150002500".into()),
        domain: Some("company5000.example".into()),
        external_id: Some("ext-3000".into()),
        company: Some(id),
        name: Some("Granite Harbour".into()),
        ..Prospect::default()
    };
    let alone = [
        Prospect { email: known.email.clone(), ..Prospect::default() },
        Prospect { phone: known.phone.clone(), ..Prospect::default() },
        Prospect { domain: known.domain.clone(), ..Prospect::default() },
        Prospect { external_id: known.external_id.clone(), ..Prospect::default() },
        Prospect { name: known.name.clone(), ..Prospect::default() },
        known,
    ];
    for resource in [&CONTACTS, &COMPANIES] {
        for (number, prospect) in alone.iter().enumerate() {
            let statement = duplicates::question(resource, &tenant, prospect);
            questions.push(Question { name: format!("{} like {number}", resource.plural), plain: false, statement });
            let statement = duplicates::check::question(resource, &tenant, prospect);
            questions.push(Question { name: format!("{} made {number}", resource.plural), plain: false, statement });
        }
    }
    questions
}

/// No filter, and each filter alone, with existing values.
fn filters(conn: &mut PgConnection, resource: &Resource) -> Vec<String> {
    let mut filters = vec![String::new()];
    for field in resource.filterable() {
        for form in FilterOp::of(field) {
            let (name, value) = (form.name(field), value(conn, resource, field));
            filters.push(format!("{name}={value}"));
            if *form == FilterOp::Any && field.field_type != FieldType::Bool {
                filters.push(format!("{name}={value},{}", another(field)));
            }
        }
        if field.filter && field.field_type == FieldType::Uuid && field.nullable {
            filters.push(format!("{}=none", field.name));
        }
        if field.filter && field.field_type == FieldType::Object {
            filters.push("metadata.plan=gold".into());
            filters.push("metadata.vip=true".into());
        }
    }
    if resource.soft_delete() {
        filters.push("deleted=true".into());
    }
    if resource.search != Search::None {
        filters.push("q=granite".into());
        filters.push("q=rare200".into());
    }
    filters
}

/// A value of `field` that some row of the busy business has.
fn value(conn: &mut PgConnection, resource: &Resource, field: &Field) -> String {
    if resource.list_filter(field.name).is_some() {
        // Of the busy business: a label, and a member.
        let of = |table: &str, column: &str| {
            format!("SELECT {column}::text FROM {table} WHERE business_id = '{BUSY}' ORDER BY id LIMIT 1")
        };
        let sql = match field.name {
            "label_id" => of("labels", "id"),
            "unread_by" => of("memberships", "user_id"),
            _ => return another(field),
        };
        let row = crate::support::statement(sql).row(conn).expect("a value").expect("a row");
        return row.text(0).expect("an id").to_owned();
    }
    let shown = match field.field_type {
        FieldType::Time => format!("to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')", field.name),
        FieldType::Tags => format!("{}[1]", field.name),
        _ => format!("{}::text", field.name),
    };
    let sql = format!(
        "SELECT v FROM (SELECT {shown} AS v FROM {} WHERE {} = '{BUSY}' LIMIT 2000) t WHERE v IS NOT NULL ORDER BY md5(v) LIMIT 1",
        resource.table, resource.tenant_column
    );
    let row = crate::support::statement(sql).row(conn).expect("a value");
    let value = row.and_then(|row| row.text(0).map(str::to_owned)).unwrap_or_else(|| another(field));
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

/// A valid value, whether or not a row has it.
fn another(field: &Field) -> String {
    match field.field_type {
        FieldType::Uuid => Uuid::nil().to_string(),
        FieldType::Choice(among) => among[0].into(),
        FieldType::Email => "nobody@example.com".into(),
        FieldType::Domain => "nobody.example".into(),
        FieldType::Phone => "%2B14155550100".into(),
        FieldType::Int { min, .. } => min.to_string(),
        FieldType::Bool => "true".into(),
        FieldType::Time => "2026-06-01T00:00:00Z".into(),
        FieldType::Date => "2026-06-01".into(),
        FieldType::Currency => "USD".into(),
        FieldType::Text { max: 8, .. } => "00000001".into(),
        _ => "vip".into(),
    }
}

fn ids(conn: &mut PgConnection, resource: &Resource) -> Vec<Uuid> {
    let sql = format!(
        "SELECT id FROM {} WHERE {} = '{BUSY}' ORDER BY md5(id::text) LIMIT 64",
        resource.table, resource.tenant_column
    );
    let rows = crate::support::statement(sql).rows(conn).expect("ids");
    rows.iter().filter_map(|row| row.uuid(0)).collect()
}
