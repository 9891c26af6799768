//! All that can be asked: each noun by each sort, whole and narrowed by each filter alone, counted, searched, paged,
//! with its relations, one by one and in batches.

use diesel::pg::PgConnection;
use rapport::auth::{Business, Tenant};
use rapport::crm::companies::COMPANIES;
use rapport::crm::contacts::CONTACTS;
use rapport::crm::duplicates::{self, Prospect};
use rapport::db::Statement;
use rapport::noun::batch::statements;
use rapport::noun::params::{Form, List, View};
use rapport::noun::{Arity, Change, Draft, Field, Kind, Noun, Search, select, store};
use rapport::nouns::NOUNS;
use serde_json::json;
use uuid::Uuid;

use crate::catalogue::UNINDEXED_SORTS;

pub struct Question {
    pub name: String,
    /// A page that nothing narrows, by a sort that has an index.
    pub plain: bool,
    pub statement: Statement,
}

/// The business that has most of the rows.
pub const BUSY: &str = "01939d5e-0000-7000-8000-000000000000";

pub fn all(conn: &mut PgConnection) -> Vec<Question> {
    let id: Uuid = BUSY.parse().expect("a UUID");
    let business = Business { id, country: "US".into(), time_zone: "UTC".into(), currency: "EUR".into() };
    let tenant = Tenant::of_operator(id);
    let mut questions = Vec::new();
    for noun in NOUNS {
        let mut ask = |name: String, statement: Statement| {
            let whole = name.contains("?&sort=") || name.contains("?sort=");
            let plain = whole && !UNINDEXED_SORTS.iter().any(|(table, _)| *table == noun.table);
            questions.push(Question { name, plain, statement });
        };
        let parse = |query: &str| {
            List::parse(noun, query, &business).unwrap_or_else(|error| panic!("{}?{query}: {error:?}", noun.plural))
        };
        let filters = filters(conn, noun);
        let names = noun.relations.iter().map(|relation| relation.name).collect::<Vec<_>>().join(",");
        let includes = if names.is_empty() { names } else { format!("include={names}") };
        for sort in noun.sorts {
            for (narrowed, filter) in filters.iter().enumerate() {
                for direction in ["", "-"] {
                    let query = format!("{filter}&sort={direction}{}", sort.name);
                    let list = parse(&query);
                    ask(format!("{}?{query}", noun.plural), select::page(&list, &tenant));
                    // A page later: where the first ended, if it was full.
                    let page = store::list(conn, &tenant, &parse(&format!("{query}&limit=1"))).expect("a page");
                    let page: serde_json::Value = serde_json::from_slice(&page).expect("JSON");
                    if let (Some(cursor), true) = (page["page"]["next"].as_str(), narrowed == 0) {
                        let query = format!("{query}&cursor={cursor}");
                        ask(format!("{}?{query}", noun.plural), select::page(&parse(&query), &tenant));
                    }
                }
            }
            let query = format!("sort=-{}&{includes}", sort.name);
            ask(format!("{}?{query}", noun.plural), select::page(&parse(&query), &tenant));
        }
        for filter in &filters {
            for (way, cap) in [("true", 10_000), ("exact", 0)] {
                ask(format!("{}?{filter}&count={way}", noun.plural), select::count(&parse(filter), &tenant, cap));
            }
        }
        let ids = ids(conn, noun);
        let with_all = parse(&includes).view;
        for view in [View::default(), with_all] {
            for count in [1, 50] {
                let some = ids[..count.min(ids.len())].to_vec();
                let name = format!("{count} {} by id, {} relations", noun.plural, view.include.len());
                ask(name, select::by_ids(noun, &tenant, &view, some));
            }
        }
        for count in [1, 64] {
            let some = ids[..count.min(ids.len())].to_vec();
            ask(format!("{count} {} coalesced", noun.plural), select::by_keys(noun, vec![id; some.len()], some));
        }
        if noun.operations.batch {
            let some = || ids[..64.min(ids.len())].to_vec();
            ask(format!("{} locked for a batch", noun.plural), statements::locked(noun, &tenant, some(), false));
            for key in noun.keys() {
                let known = (0..64).map(|_| value(conn, noun, key)).collect();
                let locked = statements::locked_by_key(noun, &tenant, key, known, true);
                ask(format!("{} locked by {}", noun.plural, key.name), locked);
            }
            let change = Change::of_item(
                noun,
                serde_json::Map::from_iter([("metadata".to_owned(), json!({}))]),
                false,
                &business,
            );
            let drafts: Vec<Draft> =
                some().into_iter().map(|id| Draft::new(id, change.clone().expect("a change"))).collect();
            ask(
                format!("{} changed by a batch", noun.plural),
                statements::update(noun, &tenant, &drafts.iter().collect::<Vec<_>>()),
            );
            for filter in filters.iter().filter(|filter| !filter.starts_with("deleted")) {
                let walk = select::walk(&parse(filter), &tenant, ids[0], chrono::Utc::now(), false, 250);
                ask(format!("{} walked with {filter}", noun.plural), walk);
            }
            ask(format!("{} deleted by a batch", noun.plural), statements::delete(noun, &tenant, some()));
        }
        for relation in noun.relations.iter().filter(|relation| relation.arity != Arity::One) {
            let name = format!("{} of 50 {}", relation.name, noun.plural);
            ask(name, select::related(relation, &tenant, ids[..50.min(ids.len())].to_vec()));
        }
    }
    // What is looked for before a contact or a company is made twice: all that is known of them, and each thing alone.
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
    for noun in [&CONTACTS, &COMPANIES] {
        for (number, prospect) in alone.iter().enumerate() {
            let statement = duplicates::question(noun, &tenant, prospect);
            questions.push(Question { name: format!("{} like {number}", noun.plural), plain: false, statement });
            let statement = duplicates::guard::question(noun, &tenant, prospect);
            questions.push(Question { name: format!("{} made {number}", noun.plural), plain: false, statement });
        }
    }
    questions
}

/// Nothing, and each filter alone, with values that are there.
fn filters(conn: &mut PgConnection, noun: &Noun) -> Vec<String> {
    let mut filters = vec![String::new()];
    for field in noun.fields {
        for form in Form::of(field) {
            let (name, value) = (form.name(field), value(conn, noun, field));
            filters.push(format!("{name}={value}"));
            if *form == Form::Any && field.kind != Kind::Bool {
                filters.push(format!("{name}={value},{}", another(field)));
            }
        }
        if field.filter && field.kind == Kind::Uuid && field.nullable {
            filters.push(format!("{}=none", field.name));
        }
        if field.filter && field.kind == Kind::Object {
            filters.push("metadata.plan=gold".into());
            filters.push("metadata.vip=true".into());
        }
    }
    if noun.soft_delete() {
        filters.push("deleted=true".into());
    }
    if noun.search != Search::None {
        filters.push("q=granite".into());
        filters.push("q=rare200".into());
    }
    filters
}

/// A value of `field` that some row of the busy business has.
fn value(conn: &mut PgConnection, noun: &Noun, field: &Field) -> String {
    let shown = match field.kind {
        Kind::Time => format!("to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')", field.name),
        Kind::Tags => format!("{}[1]", field.name),
        _ => format!("{}::text", field.name),
    };
    let sql = format!(
        "SELECT v FROM (SELECT {shown} AS v FROM {} WHERE {} = '{BUSY}' LIMIT 2000) t WHERE v IS NOT NULL ORDER BY md5(v) LIMIT 1",
        noun.table, noun.tenant
    );
    let row = Statement::new(sql).row(conn).expect("a value");
    let value = row.and_then(|row| row.text(0).map(str::to_owned)).unwrap_or_else(|| another(field));
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

/// A value that fits, whether or not a row has it.
fn another(field: &Field) -> String {
    match field.kind {
        Kind::Uuid => Uuid::nil().to_string(),
        Kind::Choice(among) => among[0].into(),
        Kind::Email => "nobody@example.com".into(),
        Kind::Domain => "nobody.example".into(),
        Kind::Phone => "%2B14155550100".into(),
        Kind::Int { min, .. } => min.to_string(),
        Kind::Bool => "true".into(),
        Kind::Time => "2026-06-01T00:00:00Z".into(),
        Kind::Date => "2026-06-01".into(),
        Kind::Currency => "USD".into(),
        Kind::Text { max: 8, .. } => "00000001".into(),
        _ => "vip".into(),
    }
}

fn ids(conn: &mut PgConnection, noun: &Noun) -> Vec<Uuid> {
    let sql = format!("SELECT id FROM {} WHERE {} = '{BUSY}' ORDER BY md5(id::text) LIMIT 64", noun.table, noun.tenant);
    let rows = Statement::new(sql).rows(conn).expect("ids");
    rows.iter().filter_map(|row| row.uuid(0)).collect()
}
