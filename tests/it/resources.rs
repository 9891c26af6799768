//! Tests of every resource against its definition. No resource is named here, so a new one is tested as soon as it is
//! registered.

use rapport::app::registry::RESOURCES;
use rapport::resource::list_query::FilterOp;
use rapport::resource::{Cardinality, Field, FieldType, Mutability, Resource};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::support::{Answer, Client, Samples, Service, link_target, module_of};

#[test]
fn every_resource_behaves_as_its_definition_says() {
    let service = Service::start();
    let api = &service.client;
    let mut samples = Samples::new(api);
    for resource in RESOURCES {
        let walk = Walk { resource, api };
        walk.names_are_unambiguous();
        if resource.operations.create {
            walk.is_created(&mut samples);
        }
        let row = samples.row(resource);
        walk.is_read_with_its_etag(&row);
        walk.is_listed(&row);
        walk.is_expanded(&row);
        walk.is_read_in_batches(&row, &mut samples);
        walk.refuses_other_methods(&row);
        if resource.operations.update {
            walk.is_written_back(&row);
            walk.is_changed(&row);
            walk.is_changed_only_from_the_version_that_was_read(&row);
        }
        if resource.operations.delete {
            let row = samples.row(resource);
            walk.is_deleted(&row);
        }
    }
}

struct Walk<'a> {
    resource: &'static Resource,
    api: &'a Client,
}

impl Walk<'_> {
    fn one(&self, row: &Value) -> String {
        format!("{}/{}", self.resource.path(), id(row))
    }

    /// A row can be sent back as it was read; what a client does not set must be the row's own.
    fn is_written_back(&self, row: &Value) {
        let name = self.resource.plural;
        let read = self.read(row);
        let same = self.api.patch(&self.one(row), read.json.clone()).expect(200);
        assert_eq!(same.json, read.json, "{name}: written back");
        if self.resource.operations.batch {
            let body = json!({ "items": [read.json] });
            let batch = self.api.post(&format!("{}/batch/update", self.resource.path()), body).expect(200);
            assert_eq!(batch.json["results"][0]["row"], read.json, "{name}: written back in a batch");
        }
        // All that differ are refused together.
        let fixed = self.resource.fields.iter().filter(|field| field.mutability != Mutability::Always);
        let others: Map<String, Value> =
            fixed.map(|field| (field.name.to_owned(), another(field, &read.json[field.name]))).collect();
        let mut pointers: Vec<String> = others.keys().map(|name| format!("/{name}")).collect();
        pointers.sort_unstable();
        let refused = self.api.patch(&self.one(row), Value::Object(others)).expect(422);
        assert_eq!(refused.faults(), pointers, "{name}: {}", refused.text);
        let codes = refused.json["errors"].as_array().expect("errors").iter().map(|fault| &fault["code"]);
        assert!(codes.into_iter().all(|code| code == "read_only"), "{name}: {}", refused.text);
    }

    fn read(&self, row: &Value) -> Answer {
        self.api.get(&self.one(row)).expect(200)
    }

    fn with(&self, method: &str, row: &Value, header: (&str, &str)) -> Answer {
        let request = self.api.request(method, &self.one(row)).header(header.0, header.1);
        let request = match method {
            "PATCH" => request.json(&json!({})),
            _ => request,
        };
        self.api.send(request)
    }

    /// An included relation appears in the JSON like a field, so no two may share a name.
    fn names_are_unambiguous(&self) {
        let mut names: Vec<&str> = self.resource.fields.iter().map(|field| field.name).collect();
        names.extend(self.resource.relations.iter().map(|relation| relation.name));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{} uses a name twice", self.resource.path());
        let mut parameters = rapport::resource::list_query::names(self.resource);
        let count = parameters.len();
        parameters.sort_unstable();
        parameters.dedup();
        assert_eq!(parameters.len(), count, "{} uses a parameter twice", self.resource.path());
    }

    fn is_created(&self, samples: &mut Samples) {
        let plural = self.resource.path();
        // From an empty body: the errors name what is missing, and adding that is enough.
        let mut body = Map::new();
        let mut answer = self.api.post(plural, json!({})).expect(422);
        let required = self.resource.fields.iter().filter(|field| field.required);
        for field in required {
            assert!(answer.faults().contains(&format!("/{}", field.name).as_str()), "{plural}");
        }
        let full = samples.body(self.resource);
        for _ in 0..2 {
            for pointer in answer.faults() {
                let name = &pointer[1..];
                body.insert(name.to_owned(), full[name].clone());
            }
            answer = self.api.post(plural, Value::Object(body.clone()));
            if answer.status == 201 {
                break;
            }
        }
        let answer = answer.expect(201);
        for (name, value) in &body {
            self.agrees(name, value, &answer.json);
        }

        let body = samples.body(self.resource);
        let made = self.api.post(plural, Value::Object(body.clone())).expect(201);
        assert_eq!(made.header("location"), format!("/api/v1/{}", self.one(&made.json)));
        let read = self.read(&made.json);
        // An API key or a secret is in the create response only.
        if made.json.get("key").or(made.json.get("secret")).is_none() {
            assert_eq!(read.header("etag"), made.header("etag"));
        }
        for field in self.resource.fields {
            assert_eq!(read.json[field.name], made.json[field.name], "{plural}.{}", field.name);
        }
        for (name, value) in &body {
            self.agrees(name, value, &read.json);
        }
    }

    /// The given value is returned, except for field types that are normalised.
    fn agrees(&self, name: &str, given: &Value, row: &Value) {
        match self.resource.field(name).expect("a field").field_type {
            FieldType::Time => {
                let instant = |value: &Value| value.as_str().and_then(|text| text.parse::<chrono::DateTime<_>>().ok());
                assert_eq!(instant(&row[name]), instant(given).map(|time: chrono::DateTime<chrono::Utc>| time));
            }
            // Stored with the scale of its column.
            FieldType::Decimal => {
                let shown = row[name].as_str().expect("a decimal").trim_end_matches('0');
                assert_eq!(shown, given.as_str().expect("a decimal").trim_end_matches('0'));
            }
            _ => assert_eq!(&row[name], given, "{}.{name}", self.resource.path()),
        }
    }

    fn is_read_with_its_etag(&self, row: &Value) {
        let names: Vec<&str> = self.resource.fields.iter().map(|field| field.name).collect();
        let relation = self.resource.relations.first().map(|relation| format!("?include={}", relation.name));
        for query in ["", "?fields=id,created_at"].into_iter().chain(relation.as_deref()) {
            let path = format!("{}{query}", self.one(row));
            let read = self.api.get(&path).expect(200);
            if query.is_empty() {
                assert_eq!(members(&read.json), names);
                // A row that never changes has no version column.
                let version = read.json["version"].as_i64().unwrap_or_default();
                assert!(read.header("etag").starts_with(&format!("\"{version}.")));
            }
            let etag = read.header("etag").to_owned();
            for known in [etag.clone(), format!("W/{etag}"), format!("\"0\", {etag}"), "*".to_owned()] {
                let request = self.api.request("GET", &path).header("If-None-Match", &known);
                let answer = self.api.send(request).expect(304);
                assert_eq!((answer.header("etag"), answer.text.as_str()), (etag.as_str(), ""));
            }
            let request = self.api.request("GET", &path).header("If-None-Match", "\"0\"");
            self.api.send(request).expect(200);
            let head = self.api.send(self.api.request("HEAD", &path)).expect(200);
            assert_eq!((head.header("etag"), head.text.as_str()), (etag.as_str(), ""));
            assert_eq!(head.header("content-length"), read.text.len().to_string());
        }
        self.api.get(&format!("{}/{}", self.resource.path(), Uuid::now_v7())).expect(404);
    }

    fn is_listed(&self, row: &Value) {
        let (plural, wanted) = (self.resource.path(), id(row));
        let shown = self.read(row).json;
        let list = |query: &str| self.api.get(&format!("{plural}?limit=500&{query}")).expect(200);
        // The audit log has more than a page.
        let every = |query: &str| ids(&self.api.all(&format!("{plural}?limit=500&{query}")));
        let whole = list("");
        assert!(ids(whole.rows()).contains(&wanted), "{plural}");
        let request = self.api.request("GET", &format!("{plural}?limit=500"));
        let known = self.api.send(request.header("If-None-Match", format!("W/{}", whole.header("etag"))));
        assert_eq!(known.expect(304).text, "");
        let head = self.api.send(self.api.request("HEAD", &format!("{plural}?limit=500"))).expect(200);
        assert_eq!(head.header("etag"), whole.header("etag"));
        for sort in self.resource.sorts {
            let mut up = every(&format!("sort={}", sort.name));
            let down = every(&format!("sort=-{}", sort.name));
            up.reverse();
            assert_eq!(up, down, "{plural} by {}", sort.name);
        }
        for field in self.resource.fields {
            for form in FilterOp::of(field) {
                let name = form.name(field);
                let example: Value = serde_json::from_str(field.example).expect("an example");
                let example = if field.field_type == FieldType::Tags { &example[0] } else { &example };
                list(&format!("{name}={}", escaped(example)));
                let value =
                    if field.field_type == FieldType::Tags { &shown[field.name][0] } else { &shown[field.name] };
                if value.is_null() {
                    continue;
                }
                let found = every(&format!("{name}={}", escaped(value))).contains(&wanted);
                assert_eq!(found, *form != FilterOp::Before, "{plural}?{name}={value}");
            }
        }
        if self.resource.field("metadata").is_some_and(|field| field.filter) && self.resource.operations.create {
            assert!(ids(list("metadata.plan=gold").rows()).contains(&wanted), "{plural}");
            assert!(ids(list("metadata.plan=golden").rows()).is_empty(), "{plural}");
        }
        let count = every("").len();
        for asked in ["count=true", "count=exact"] {
            assert_eq!(list(asked).json["page"]["total"], count, "{plural}");
        }
    }

    fn is_expanded(&self, row: &Value) {
        let plural = self.resource.path();
        let shown = self.read(row).json;
        let all: Vec<&str> = self.resource.relations.iter().map(|relation| relation.name).collect();
        for include in all.iter().copied().map(str::to_owned).chain((!all.is_empty()).then(|| all.join(","))) {
            let one = self.api.get(&format!("{}?include={include}", self.one(row))).expect(200).json;
            let list = self.api.get(&format!("{plural}?limit=500&include={include}")).expect(200);
            let batch = json!({ "ids": [id(row)], "include": include.split(',').filter(|n| !n.is_empty()).collect::<Vec<_>>() });
            let batch = self.api.post(&format!("{plural}/batch/read"), batch).expect(200);
            assert_eq!(batch.rows()[0], one, "{plural}: a batch shows what a single read shows");
            let listed = list.rows().iter().find(|listed| id(listed) == id(row));
            assert_eq!(listed, Some(&one), "{plural}: a list shows what a single read shows");
            for relation in
                self.resource.relations.iter().filter(|relation| include.split(',').any(|n| n == relation.name))
            {
                let related = &one[relation.name];
                match relation.arity {
                    Cardinality::One if shown[relation.column].is_null() => assert!(related.is_null()),
                    Cardinality::One => {
                        let field = self.resource.field(relation.column).expect("a column that is shown");
                        assert_eq!(link_target(self.resource, field).path(), relation.resource().path());
                        assert_eq!(related["id"], shown[relation.column], "{plural}.{}", relation.name);
                        let path = format!("{}/{}", relation.resource().path(), id(related));
                        assert_eq!(*related, self.api.get(&path).expect(200).json);
                    }
                    Cardinality::Many { .. } => assert!(related.is_array(), "{plural}.{}", relation.name),
                    Cardinality::First => {
                        assert!(related.is_object() || related.is_null(), "{plural}.{}", relation.name)
                    }
                }
            }
        }
    }

    fn is_read_in_batches(&self, row: &Value, samples: &mut Samples) {
        let path = format!("{}/batch/read", self.resource.path());
        let (mine, nobody) = (id(row), Uuid::now_v7().to_string());
        let other = id(&samples.row(self.resource));
        let answer = self.api.post(&path, json!({ "ids": [other, nobody, mine, other], "fields": ["id"] })).expect(200);
        assert_eq!(ids(answer.rows()), [other.clone(), mine, other]);
        assert_eq!(answer.json["missing"], json!([nobody]));
        assert_eq!(members(&answer.rows()[0]), ["id"]);
    }

    fn refuses_other_methods(&self, row: &Value) {
        let (plural, operations) = (self.resource.path(), self.resource.operations);
        let one = self.one(row);
        let offered = |offers: &[(&'static str, bool)]| -> Vec<&'static str> {
            offers.iter().filter(|(_, offered)| *offered).map(|(method, _)| *method).collect()
        };
        let mut paths = vec![
            (
                plural.to_owned(),
                offered(&[
                    ("GET", true),
                    ("HEAD", true),
                    ("POST", operations.create || module_of(self.resource).custom_create.is_some()),
                ]),
            ),
            (
                one.clone(),
                offered(&[("GET", true), ("HEAD", true), ("PATCH", operations.update), ("DELETE", operations.delete)]),
            ),
            (format!("{plural}/batch/read"), vec!["POST"]),
        ];
        match operations.restore {
            true => paths.push((format!("{one}/restoration"), vec!["POST"])),
            false => {
                self.api.post(&format!("{one}/restoration"), json!({})).expect(404);
            }
        }
        for (path, offered) in paths {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
                if !offered.contains(&method) {
                    let answer = self.api.send(self.api.request(method, &path)).expect(405);
                    assert_eq!(answer.header("allow"), offered.join(", "), "{method} {path}");
                    assert_eq!(answer.code(), "method_not_allowed");
                }
            }
        }
    }

    fn is_changed(&self, row: &Value) {
        let before = self.read(row).json;
        let fields = || self.resource.fields.iter();
        // Null in a required field is rejected.
        let firm: Vec<&str> = fields()
            .filter(|field| field.mutability == Mutability::Always && !field.nullable)
            .map(|field| field.name)
            .collect();
        let nulls: Map<String, Value> = firm.iter().map(|name| (name.to_string(), Value::Null)).collect();
        if !firm.is_empty() {
            let refused = self.api.patch(&self.one(row), Value::Object(nulls)).expect(422);
            assert_eq!(refused.faults().len(), firm.len(), "{}", refused.text);
        }
        assert_eq!(self.read(row).json, before);
        // In other fields null clears the value, and omitted fields are kept.
        let empty: Map<String, Value> = fields()
            .filter(|field| field.mutability == Mutability::Always && field.nullable)
            .map(|field| (field.name.to_owned(), Value::Null))
            .collect();
        let after = self.api.patch(&self.one(row), Value::Object(empty.clone())).expect(200);
        assert_eq!(after.json, self.read(row).json);
        assert_eq!(after.header("etag"), self.read(row).header("etag"));
        for field in fields().filter(|field| !["version", "updated_at"].contains(&field.name)) {
            let expected = if empty.contains_key(field.name) { &Value::Null } else { &before[field.name] };
            assert_eq!(&after.json[field.name], expected, "{}.{}", self.resource.path(), field.name);
        }
        // Each value that was read can be written back; one by one, because some fields affect others.
        let mut back = after;
        for field in fields().filter(|field| field.mutability == Mutability::Always) {
            back = self.api.patch(&self.one(row), json!({ field.name: before[field.name] })).expect(200);
            assert_eq!(back.json[field.name], before[field.name], "{}.{}", self.resource.path(), field.name);
        }
        // If a field was cleared in between, the version has increased.
        if empty.keys().any(|name| !before[name].is_null()) {
            assert!(back.json["version"].as_i64() > before["version"].as_i64());
            assert!(back.json["updated_at"].as_str() > before["updated_at"].as_str());
        }
    }

    fn is_changed_only_from_the_version_that_was_read(&self, row: &Value) {
        let writable = || self.resource.fields.iter().filter(|field| field.mutability == Mutability::Always);
        let text = writable().find(|field| matches!(field.field_type, FieldType::Text { .. }) && field.name != "url");
        let choice = writable().find(|field| matches!(field.field_type, FieldType::Choice(_)));
        let number = writable().find(|field| matches!(field.field_type, FieldType::Int { .. }));
        let field = text.or(choice).or(number).expect("a field to change");
        let mut turn = 0;
        // Another value each time: the same one would change nothing.
        let mut other = || {
            turn += 1;
            match field.field_type {
                FieldType::Choice(among) => json!(among[among.len() - 1 - turn / 2 % 2]),
                FieldType::Int { min, .. } => json!(min + turn as i64),
                _ => json!(format!("other {turn}")),
            }
        };
        let include = self.resource.relations.first().map(|relation| format!("?include={}", relation.name));
        for query in ["", "?fields=id"].into_iter().chain(include.as_deref()) {
            let current = self.api.get(&format!("{}{query}", self.one(row))).expect(200);
            let etag = current.header("etag").to_owned();
            let mut change = || {
                let request = self.api.request("PATCH", &self.one(row)).header("If-Match", &etag);
                self.api.send(request.json(&json!({ field.name: other() })))
            };
            let won = change().expect(200);
            assert_ne!(won.header("etag"), etag);
            let version = won.json["version"].clone();
            assert_eq!(change().expect(412).code(), "precondition_failed");
            assert_eq!(self.read(row).json["version"], version, "who lost changed nothing");
        }
        self.with("PATCH", row, ("If-Match", "*")).expect(200);
        assert_eq!(self.with("PATCH", row, ("If-Match", "yesterday")).expect(400).code(), "invalid_etag");
        let nobody = format!("{}/{}", self.resource.path(), Uuid::now_v7());
        let request = self.api.request("PATCH", &nobody).header("If-Match", "\"1\"");
        self.api.send(request.json(&json!({}))).expect(404);
    }

    fn is_deleted(&self, row: &Value) {
        let (plural, wanted) = (self.resource.path(), id(row));
        let lists = |query: &str| ids(&self.api.all(&format!("{plural}?limit=500{query}"))).contains(&wanted);
        self.with("DELETE", row, ("If-Match", "\"999\"")).expect(412);
        let before = self.read(row);
        let gone = self.with("DELETE", row, ("If-Match", before.header("etag"))).expect(204);
        assert_eq!(gone.text, "");
        self.api.get(&self.one(row)).expect(404);
        self.api.get(&format!("{}?fields=id", self.one(row))).expect(404);
        self.api.patch(&self.one(row), json!({})).expect(if self.resource.operations.update { 404 } else { 405 });
        self.api.delete(&self.one(row)).expect(404);
        let batch = self.api.post(&format!("{plural}/batch/read"), json!({ "ids": [wanted] })).expect(200);
        assert_eq!(batch.json["missing"], json!([wanted]));
        assert!(!lists(""), "{plural}");
        if !self.resource.operations.restore {
            self.api.get(&format!("{plural}?deleted=true")).expect(400);
            return;
        }
        assert!(lists("&deleted=true"), "{plural}");
        let path = format!("{}/restoration", self.one(row));
        let back = self.api.post(&path, json!({})).expect(200);
        assert!(back.json["version"].as_i64() > before.json["version"].as_i64());
        let read = self.read(row);
        assert_eq!((back.header("etag"), &back.json), (read.header("etag"), &read.json));
        for field in self.resource.fields.iter().filter(|field| !["version", "updated_at"].contains(&field.name)) {
            assert_eq!(read.json[field.name], before.json[field.name], "{plural}.{}", field.name);
        }
        assert!(lists("") && !lists("&deleted=true"), "{plural}");
        // Restoring a row that is not deleted changes nothing.
        assert_eq!(self.api.post(&path, json!({})).expect(200).json, read.json);
        self.api.post(&format!("{plural}/{}/restoration", Uuid::now_v7()), json!({})).expect(404);
    }
}

/// A value of the field that is not `own`.
fn another(field: &Field, own: &Value) -> Value {
    match field.field_type {
        FieldType::Int { .. } => json!(987_654_321),
        FieldType::Uuid => json!(Uuid::now_v7()),
        FieldType::Time => json!("2001-02-03T04:05:06Z"),
        FieldType::Date => json!("2001-02-03"),
        FieldType::Bool => json!(own != &json!(true)),
        FieldType::Tags => json!(["crm:read"]),
        FieldType::Object => json!({ "another": 1 }),
        FieldType::Choice(among) => json!(among.iter().find(|choice| own != **choice)),
        FieldType::Email => json!("another@example.com"),
        _ => json!("another"),
    }
}

fn id(row: &Value) -> String {
    row["id"].as_str().expect("an id").to_owned()
}

fn ids(rows: &[Value]) -> Vec<String> {
    rows.iter().map(id).collect()
}

fn members(row: &Value) -> Vec<&str> {
    row.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// A JSON value as an escaped query parameter.
fn escaped(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
