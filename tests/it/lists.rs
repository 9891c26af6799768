//! Tests of list queries: filters, search, sorts, pages, counts, fields, and validation errors.

use proptest::prelude::*;
use rapport::crm::companies::COMPANIES;
use rapport::crm::leads::LEADS;
use rapport::resource::Resource;
use serde_json::{Value, json};

use crate::support::{Client, Service, for_cases};

fn texts(rows: &[Value], name: &str) -> Vec<String> {
    rows.iter().map(|row| row[name].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn list_with_filters_returns_matching_rows() {
    let service = Service::start();
    let api = &service.client;
    let company = api.make("companies", json!({ "name": "Brekke", "domain": "Brekke.example" }));
    for (title, body) in [
        ("a", json!({ "status": "new", "score": 10, "tags": ["vip", "eu"], "company_id": company, "source": "web" })),
        ("b", json!({ "status": "won", "score": 20, "tags": ["eu"], "metadata": { "plan": "gold", "a.b": "c" } })),
        ("c", json!({ "status": "lost", "score": 30, "value_minor": 500, "metadata": { "plan": "silver", "n": 1 } })),
        (
            "d",
            json!({ "status": "qualified", "score": 30, "entered_at": "2026-03-01T12:00:00+02:00", "currency": "USD" }),
        ),
    ] {
        let mut lead = json!({ "title": title });
        lead.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        api.create("leads", lead);
    }
    let found =
        |query: &str| texts(api.get(&format!("leads?sort=created_at&{query}")).expect(200).rows(), "title").concat();
    for (query, titles) in [
        ("status=won", "b"),
        ("status=won,lost", "bc"),
        ("status=won&status=lost", "bc"),
        ("status=won,%20lost,,", "bc"),
        ("score=30", "cd"),
        ("score=10,20", "ab"),
        ("score_min=20", "bcd"),
        ("score_max=20", "ab"),
        ("score_min=20&score_max=20", "b"),
        ("value_minor_min=1", "c"),
        ("tags=vip", "a"),
        ("tags=vip,eu", "ab"),
        ("tags=VIP", ""),
        ("company_id=none", "bcd"),
        ("company_id=01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71", ""),
        ("metadata.plan=gold", "b"),
        ("metadata.plan=gold&metadata.a.b=c", "b"),
        ("metadata.plan=gold&status=lost", ""),
        ("metadata.n=1", "c"),
        ("metadata.n=1.5", ""),
        ("metadata.plan=silver&metadata.n=1", "c"),
        ("currency=USD", "d"),
        ("entered_before=2026-03-01T10:00:00Z", ""),
        ("entered_after=2026-03-01T10:00:00Z&entered_before=2026-03-01T10:00:01Z", "d"),
        ("entered_after=2026-03-01T12:00:00+02:00&entered_before=2026-03-01T12:00:01%2B02:00", "d"),
        ("closed_after=2020-01-01T00:00:00Z", "bc"),
        ("source=web&status=new&score=10&tags=eu", "a"),
        ("count=false&deleted=false", "abcd"),
    ] {
        assert_eq!(found(query), titles, "{query}");
    }
    assert_eq!(found(&format!("company_id={company}")), "a");
    // A comma in a value is escaped with a backslash.
    api.create("companies", json!({ "name": "n", "industry": "Paint, Paper" }));
    assert_eq!(api.get("companies?industry=Paint,%20Paper").expect(200).rows().len(), 0);
    assert_eq!(api.get("companies?industry=Paint%5C,%20Paper,Steel").expect(200).rows().len(), 1);
    // Domains are compared case-insensitively; ids may be several.
    for domain in ["brekke.EXAMPLE", "x.example,BREKKE.example"] {
        assert_eq!(api.get(&format!("companies?domain={domain}")).expect(200).rows().len(), 1);
    }
    api.create("tasks", json!({ "title": "t", "lead_id": null }));
    api.create("services", json!({ "name": "x", "duration_minutes": 30, "active": false }));
    api.create("services", json!({ "name": "y", "duration_minutes": 60 }));
    assert_eq!(texts(api.get("services?active=false").expect(200).rows(), "name"), ["x"]);
    assert_eq!(api.get("services?active=true,false").expect(200).rows().len(), 2);
}

#[test]
fn search_text_with_wildcards_is_matched_literally() {
    let service = Service::start();
    let api = &service.client;
    for name in ["100% Wool", "100 Wools", "snake_case", "snakeXcase", "back\\slash", "Müller & Söhne", "O'Brien", "Ab"]
    {
        api.create("companies", json!({ "name": name }));
    }
    let found = |q: &str| {
        let q: String = url::form_urlencoded::byte_serialize(q.as_bytes()).collect();
        texts(api.get(&format!("companies?sort=created_at&q={q}")).expect(200).rows(), "name")
    };
    assert_eq!(found("100%"), ["100% Wool"]);
    assert_eq!(found("0% W"), ["100% Wool"]);
    assert_eq!(found("WOOL"), ["100% Wool", "100 Wools"]);
    assert_eq!(found("snake_"), ["snake_case"]);
    assert_eq!(found("___"), Vec::<String>::new());
    assert_eq!(found("%%%"), Vec::<String>::new());
    assert_eq!(found("k\\s"), ["back\\slash"]);
    assert_eq!(found("MÜLLER"), ["Müller & Söhne"]);
    assert_eq!(found("  & söhne "), ["Müller & Söhne"]);
    assert_eq!(found("o'b"), ["O'Brien"]);
    for short in ["", "ab", "%20%20%20%20"] {
        assert_eq!(api.get(&format!("companies?q={short}")).expect(400).faults(), ["/query/q"]);
    }
    // Notes are searched by words, and malformed search operators are no error.
    api.create("notes", json!({ "body": "Prefers the morning, not the evening." }));
    for (q, count) in [
        ("morning", 1),
        ("MORNING evening", 1),
        // The last word may be going on; not one that is left out, begun elsewhere, or of two characters.
        ("morn", 1),
        ("even morning", 0),
        ("mo", 0),
        ("the -morn", 1),
        ("\"the morn\"", 0),
        ("\"the morning\" eve", 1),
        ("\"the morning\"", 1),
        ("\"((!&|:*", 0),
        ("noon or morning", 1),
    ] {
        let q: String = url::form_urlencoded::byte_serialize(q.as_bytes()).collect();
        assert_eq!(api.get(&format!("notes?q={q}")).expect(200).rows().len(), count, "{q}");
    }
}

#[test]
fn read_with_fields_parameter_returns_only_those() {
    let service = Service::start();
    let api = &service.client;
    let company = api.make("companies", json!({ "name": "Brekke" }));
    let lead = api.make("leads", json!({ "title": "Roof", "company_id": company }));
    api.create("tasks", json!({ "title": "Call", "lead_id": lead }));
    for (query, expected) in [
        ("fields=title", json!({ "title": "Roof" })),
        ("fields=title,id", json!({ "id": lead, "title": "Roof" })),
        (
            "fields=title&include=company&fields=company.name",
            json!({ "title": "Roof", "company": { "name": "Brekke" } }),
        ),
        (
            "fields=title,company.id,tasks.title&include=tasks,company",
            json!({ "title": "Roof", "company": { "id": company }, "tasks": [{ "title": "Call" }] }),
        ),
        ("fields=id&include=contact,conversations", json!({ "id": lead, "contact": null, "conversations": [] })),
    ] {
        assert_eq!(api.get(&format!("leads?{query}")).expect(200).rows(), std::slice::from_ref(&expected), "{query}");
        assert_eq!(api.get(&format!("leads/{lead}?{query}")).expect(200).json, expected, "{query}");
    }
    // A field of a relation is a projection of that relation only.
    let whole = api.get("leads?include=company&fields=company.name").expect(200);
    assert_eq!(whole.rows()[0]["company"], json!({ "name": "Brekke" }));
    assert_eq!(whole.rows()[0]["title"], "Roof");
    let body = json!({ "ids": [lead], "include": ["company"], "fields": ["title", "company.name"] });
    let batch = api.post("leads/batch/read", body).expect(200);
    assert_eq!(batch.rows(), [json!({ "title": "Roof", "company": { "name": "Brekke" } })]);
}

#[test]
fn list_count_true_capped_at_10000_exact_is_not() {
    let service = Service::start();
    let api = &service.client;
    let more = |count: usize| {
        let business = service.business;
        service.database.run(&format!(
            "INSERT INTO campaigns (business_id, name) SELECT '{business}', 'c' FROM generate_series(1, {count})"
        ));
    };
    let page = |query: &str| api.get(&format!("campaigns?limit=1&{query}")).expect(200).json["page"].clone();
    more(10_000);
    assert_eq!(page("")["total"], Value::Null);
    assert_eq!((&page("count=true")["total"], &page("count=true")["at_least"]), (&json!(10_000), &Value::Null));
    more(1);
    assert_eq!((&page("count=true")["total"], &page("count=true")["at_least"]), (&json!(10_000), &json!(true)));
    assert_eq!((&page("count=exact")["total"], &page("count=exact")["at_least"]), (&json!(10_001), &Value::Null));
    assert_eq!(page("count=true&status=active")["total"], 0);
    // The count is independent of the page.
    let next = page("count=exact")["next"].as_str().unwrap().to_owned();
    assert_eq!(page(&format!("count=exact&cursor={next}"))["total"], 10_001);
}

#[test]
fn list_invalid_parameters_400_names_each_and_nearest() {
    let service = Service::start();
    let api = &service.client;
    let wrong = "leads?statsu=new&sort=-craeted_at&include=compnay&fields=titel&limit=0&count=yes&deleted=1&status=wno\
                 &score=101&created_after=yesterday&company_id=7&q=ab&cursor=!&tags=";
    let answer = api.get(wrong).expect(400);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let near = [
        ("statsu", "`status`"),
        ("sort", "`created_at`"),
        ("include", "`company`"),
        ("fields", "`title`"),
        ("status", "`won`"),
    ];
    for (name, hint) in near {
        let errors = answer.json["errors"].as_array().unwrap();
        let fault = errors.iter().find(|fault| fault["pointer"] == format!("/query/{name}"));
        let detail = fault.unwrap_or_else(|| panic!("{name}: {}", answer.text))["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("Did you mean {hint}?")), "{detail}");
    }
    let faults: Vec<&str> = answer.faults().iter().map(|pointer| pointer.trim_start_matches("/query/")).collect();
    assert_eq!(
        faults,
        [
            "company_id",
            "count",
            "created_after",
            "cursor",
            "deleted",
            "fields",
            "include",
            "limit",
            "q",
            "score",
            "sort",
            "statsu",
            "status",
            "tags"
        ]
    );
    // Repeated parameters that take one value.
    for twice in
        ["limit=1&limit=2", "sort=score&sort=score", "score_min=1&score_min=2", "q=abc&q=abd", "cursor=a&cursor=b"]
    {
        api.get(&format!("leads?{twice}")).expect(400);
    }
    // A single read only takes parameters of its projection.
    let id = api.make("leads", json!({ "title": "Roof" }));
    for other in
        ["limit=1", "status=new", "sort=score", "q=abc", "deleted=true", "fields=company.name", "include=staff"]
    {
        api.get(&format!("leads/{id}?{other}")).expect(400);
    }
    let batch = json!({ "ids": ["x"], "fields": "id", "sort": 1 });
    assert_eq!(api.post("leads/batch/read", batch).expect(422).faults(), ["/fields", "/ids/0", "/sort"]);
    let batch = json!({ "ids": [id], "fields": ["titel"], "include": ["compnay"] });
    assert_eq!(api.post("leads/batch/read", batch).expect(422).faults(), ["/fields", "/include"]);
}

#[test]
fn cursor_of_another_list_400_invalid_cursor() {
    let service = Service::start();
    let api = &service.client;
    for score in 0..5 {
        api.create("leads", json!({ "title": "Roof", "score": score, "tags": ["a"] }));
        api.create("companies", json!({ "name": format!("c{score}") }));
    }
    let next = |path: &str| api.get(path).expect(200).json["page"]["next"].as_str().unwrap().to_owned();
    let cursor = next("leads?limit=2&sort=score&tags=a,b");
    // Page size and projection are not part of a cursor.
    for same in ["limit=3", "limit=2&fields=id", "include=company&count=true"] {
        let page = api.get(&format!("leads?sort=score&tags=a,b&{same}&cursor={cursor}")).expect(200);
        assert_eq!(page.rows().len().min(2), 2);
    }
    for other in [
        "leads?tags=a,b",
        "leads?sort=-score&tags=a,b",
        "leads?sort=value&tags=a,b",
        "leads?sort=score",
        "leads?sort=score&tags=a",
        "leads?sort=score&tags=a,b&status=new",
        "leads?sort=score&tags=a,b&deleted=true",
        "leads?sort=score&tags=a,b&q=roof",
        "companies?sort=name",
    ] {
        let joint = if other.contains('?') { '&' } else { '?' };
        let answer = api.get(&format!("{other}{joint}cursor={cursor}")).expect(400);
        assert_eq!(answer.json["errors"][0]["code"], "invalid_cursor", "{other}");
    }
    // A corrupted cursor gives a page or an error, never a failure.
    for path in
        ["leads?limit=2&sort=score", "leads?limit=2", "companies?limit=2&sort=name", "tasks?limit=1&sort=due_at"]
    {
        if path.starts_with("tasks") {
            api.create("tasks", json!({ "title": "a" }));
            api.create("tasks", json!({ "title": "b" }));
        }
        let cursor = next(path);
        for at in 0..cursor.len() {
            for letter in ["A", "g", "_", "", "%00"] {
                let forged = format!("{}{letter}{}", &cursor[..at], &cursor[at + 1..]);
                let status = api.get(&format!("{path}&cursor={forged}")).status;
                assert!(status == 200 || status == 400, "{path}: {status} for {forged}");
            }
        }
    }
}

/// Few distinct values, so that most rows have equal sort keys.
#[derive(Clone, Debug)]
struct Seed {
    score: u8,
    value: Option<u8>,
    hour: u8,
    name: String,
}

fn seeds(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Seed>> {
    let name = prop::sample::select(vec![
        "a",
        "A",
        "ä",
        "Ä",
        "b",
        "",
        " a",
        "a b",
        "ß",
        "z",
        "Z",
        "é",
        "\u{1f600}",
        "a\u{301}",
    ]);
    let seed = (0..3u8, prop::option::of(0..2u8), 0..3u8, name).prop_map(|(score, value, hour, name)| Seed {
        score,
        value,
        hour,
        name: format!("{name}."),
    });
    prop::collection::vec(seed, count)
}

fn insert(service: &Service, seeds: &[Seed]) {
    let business = service.business;
    let mut sql = "SET synchronous_commit = off;".to_owned();
    for Seed { score, value, hour, name } in seeds {
        let value = value.map_or("NULL".to_owned(), |value| value.to_string());
        let time = format!("'2026-01-01T0{hour}:00:00Z'");
        sql.push_str(&format!(
            "INSERT INTO leads (business_id, title, score, value_minor, created_at, updated_at)
                 VALUES ('{business}', '{name}', {score}, {value}, {time}, {time});
             INSERT INTO companies (business_id, name, created_at, updated_at) VALUES ('{business}', '{name}', {time}, {time});"
        ));
    }
    service.database.run(&sql);
}

fn ids(rows: &[Value]) -> Vec<String> {
    texts(rows, "id")
}

/// The pages of `list`, one after the other; calls `meanwhile` between them.
fn walk(api: &Client, list: &str, mut meanwhile: impl FnMut()) -> Vec<String> {
    const MOST: usize = 200;
    let mut walked = Vec::new();
    let mut page = api.get(list).expect(200);
    loop {
        walked.extend(ids(page.rows()));
        let Some(next) = page.json["page"]["next"].as_str() else {
            return walked;
        };
        assert!(walked.len() < MOST, "the walk does not end");
        meanwhile();
        page = api.get(&format!("{list}&cursor={next}")).expect(200);
    }
}

#[test]
fn paging_during_inserts_returns_each_row_once_in_order() {
    let service = Service::start();
    let api = &service.client;
    let lists: Vec<(&Resource, String)> = [&LEADS, &COMPANIES]
        .into_iter()
        .flat_map(|resource| {
            resource
                .sorts
                .iter()
                .flat_map(move |sort| [(resource, sort.name.to_owned()), (resource, format!("-{}", sort.name))])
        })
        .collect();
    let cases = (seeds(0..25), seeds(1..4), 1..9usize, prop::sample::select(lists));
    for_cases(24, cases, |(before, meanwhile, limit, (resource, sort))| {
        service.database.run("TRUNCATE leads, companies CASCADE");
        insert(&service, &before);
        let list = |limit| format!("{}?fields=id&sort={sort}&limit={limit}", resource.plural);
        let whole = ids(api.get(&list(500)).expect(200).rows());
        assert_eq!(whole.len(), before.len());
        assert_eq!(&walk(api, &list(limit), || {}), &whole);

        // Rows inserted during the walk, before and after its position, cause no omission and no repetition.
        let mut rounds = 0;
        let walked = walk(api, &list(limit), || {
            rounds += 1;
            if rounds <= 3 {
                insert(&service, &meanwhile);
            }
        });
        let old: Vec<&String> = walked.iter().filter(|id| whole.contains(id)).collect();
        assert_eq!(old, whole.iter().collect::<Vec<_>>());
        let now = ids(api.get(&list(500)).expect(200).rows());
        let places: Vec<usize> = walked.iter().filter_map(|id| now.iter().position(|known| known == id)).collect();
        assert_eq!(places.len(), walked.len());
        assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "in order, and none twice");
    });
}
