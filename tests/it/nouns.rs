//! Every noun keeps every promise that its description makes. Nothing here names a noun, so a new one is tested the day
//! it is listed.

use rapport::noun::params::Form;
use rapport::noun::{Arity, Kind, Noun, Written};
use rapport::nouns::NOUNS;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::support::{Answer, Client, Samples, Service, link_target};

#[test]
fn every_noun_does_what_its_description_says() {
    let service = Service::start();
    let api = &service.client;
    let mut samples = Samples::new(api);
    for noun in NOUNS {
        let walk = Walk { noun, api };
        walk.names_are_unambiguous();
        if noun.operations.create {
            walk.is_created(&mut samples);
        }
        let row = samples.row(noun);
        walk.is_read_with_its_etag(&row);
        walk.is_listed(&row);
        walk.is_expanded(&row);
        walk.is_read_in_batches(&row, &mut samples);
        walk.refuses_other_methods(&row);
        if noun.operations.update {
            walk.is_changed(&row);
            walk.is_changed_only_from_the_version_that_was_read(&row);
        }
        if noun.operations.delete {
            let row = samples.row(noun);
            walk.is_deleted(&row);
        }
    }
}

struct Walk<'a> {
    noun: &'static Noun,
    api: &'a Client,
}

impl Walk<'_> {
    fn one(&self, row: &Value) -> String {
        format!("{}/{}", self.noun.path(), id(row))
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

    /// An expanded relation takes a field's place in the JSON, so no two may share a name.
    fn names_are_unambiguous(&self) {
        let mut names: Vec<&str> = self.noun.fields.iter().map(|field| field.name).collect();
        names.extend(self.noun.relations.iter().map(|relation| relation.name));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{} uses a name twice", self.noun.path());
        let mut parameters = rapport::noun::params::names(self.noun);
        let count = parameters.len();
        parameters.sort_unstable();
        parameters.dedup();
        assert_eq!(parameters.len(), count, "{} uses a parameter twice", self.noun.path());
    }

    fn is_created(&self, samples: &mut Samples) {
        let plural = self.noun.path();
        // Nothing given: what is missing is said, and adding that is enough.
        let mut body = Map::new();
        let mut answer = self.api.post(plural, json!({})).expect(422);
        let required = self.noun.fields.iter().filter(|field| field.required);
        for field in required {
            assert!(answer.faults().contains(&format!("/{}", field.name).as_str()), "{plural}");
        }
        let full = samples.body(self.noun);
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

        let body = samples.body(self.noun);
        let made = self.api.post(plural, Value::Object(body.clone())).expect(201);
        assert_eq!(made.header("location"), format!("/api/v1/{}", self.one(&made.json)));
        let read = self.read(&made.json);
        // A key is shown once, and so belongs to that answer only.
        if made.json.get("key").or(made.json.get("secret")).is_none() {
            assert_eq!(read.header("etag"), made.header("etag"));
        }
        for field in self.noun.fields {
            assert_eq!(read.json[field.name], made.json[field.name], "{plural}.{}", field.name);
        }
        for (name, value) in &body {
            self.agrees(name, value, &read.json);
        }
    }

    /// What was given is what is shown, but for the kinds that are normalised.
    fn agrees(&self, name: &str, given: &Value, row: &Value) {
        match self.noun.field(name).expect("a field").kind {
            Kind::Time => {
                let instant = |value: &Value| value.as_str().and_then(|text| text.parse::<chrono::DateTime<_>>().ok());
                assert_eq!(instant(&row[name]), instant(given).map(|time: chrono::DateTime<chrono::Utc>| time));
            }
            // Stored with the scale of its column.
            Kind::Decimal => {
                let shown = row[name].as_str().expect("a decimal").trim_end_matches('0');
                assert_eq!(shown, given.as_str().expect("a decimal").trim_end_matches('0'));
            }
            _ => assert_eq!(&row[name], given, "{}.{name}", self.noun.path()),
        }
    }

    fn is_read_with_its_etag(&self, row: &Value) {
        let names: Vec<&str> = self.noun.fields.iter().map(|field| field.name).collect();
        let relation = self.noun.relations.first().map(|relation| format!("?include={}", relation.name));
        for query in ["", "?fields=id,created_at"].into_iter().chain(relation.as_deref()) {
            let path = format!("{}{query}", self.one(row));
            let read = self.api.get(&path).expect(200);
            if query.is_empty() {
                assert_eq!(members(&read.json), names);
                // A row that never changes has no version.
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
        self.api.get(&format!("{}/{}", self.noun.path(), Uuid::now_v7())).expect(404);
    }

    fn is_listed(&self, row: &Value) {
        let (plural, wanted) = (self.noun.path(), id(row));
        let shown = self.read(row).json;
        let list = |query: &str| self.api.get(&format!("{plural}?limit=500&{query}")).expect(200);
        let whole = list("");
        assert!(ids(whole.rows()).contains(&wanted), "{plural}");
        let request = self.api.request("GET", &format!("{plural}?limit=500"));
        let known = self.api.send(request.header("If-None-Match", format!("W/{}", whole.header("etag"))));
        assert_eq!(known.expect(304).text, "");
        let head = self.api.send(self.api.request("HEAD", &format!("{plural}?limit=500"))).expect(200);
        assert_eq!(head.header("etag"), whole.header("etag"));
        for sort in self.noun.sorts {
            let mut up = ids(list(&format!("sort={}", sort.name)).rows());
            let down = ids(list(&format!("sort=-{}", sort.name)).rows());
            up.reverse();
            assert_eq!(up, down, "{plural} by {}", sort.name);
        }
        for field in self.noun.fields {
            for form in Form::of(field) {
                let name = form.name(field);
                let example: Value = serde_json::from_str(field.example).expect("an example");
                let example = if field.kind == Kind::Tags { &example[0] } else { &example };
                list(&format!("{name}={}", escaped(example)));
                let value = if field.kind == Kind::Tags { &shown[field.name][0] } else { &shown[field.name] };
                if value.is_null() {
                    continue;
                }
                let found = ids(list(&format!("{name}={}", escaped(value))).rows()).contains(&wanted);
                assert_eq!(found, *form != Form::Before, "{plural}?{name}={value}");
            }
        }
        if self.noun.field("metadata").is_some_and(|field| field.filter) && self.noun.operations.create {
            assert!(ids(list("metadata.plan=gold").rows()).contains(&wanted), "{plural}");
            assert!(ids(list("metadata.plan=golden").rows()).is_empty(), "{plural}");
        }
        let count = whole.rows().len();
        for asked in ["count=true", "count=exact"] {
            assert_eq!(list(asked).json["page"]["total"], count, "{plural}");
        }
    }

    fn is_expanded(&self, row: &Value) {
        let plural = self.noun.path();
        let shown = self.read(row).json;
        let all: Vec<&str> = self.noun.relations.iter().map(|relation| relation.name).collect();
        for include in all.iter().copied().map(str::to_owned).chain((!all.is_empty()).then(|| all.join(","))) {
            let one = self.api.get(&format!("{}?include={include}", self.one(row))).expect(200).json;
            let list = self.api.get(&format!("{plural}?limit=500&include={include}")).expect(200);
            let batch = json!({ "ids": [id(row)], "include": include.split(',').filter(|n| !n.is_empty()).collect::<Vec<_>>() });
            let batch = self.api.post(&format!("{plural}/batch/read"), batch).expect(200);
            assert_eq!(batch.rows()[0], one, "{plural}: a batch shows what a single read shows");
            let listed = list.rows().iter().find(|listed| id(listed) == id(row));
            assert_eq!(listed, Some(&one), "{plural}: a list shows what a single read shows");
            for relation in self.noun.relations.iter().filter(|relation| include.split(',').any(|n| n == relation.name))
            {
                let related = &one[relation.name];
                match relation.arity {
                    Arity::One if shown[relation.column].is_null() => assert!(related.is_null()),
                    Arity::One => {
                        let field = self.noun.field(relation.column).expect("a column that is shown");
                        assert_eq!(link_target(self.noun, field).path(), relation.noun.path());
                        assert_eq!(related["id"], shown[relation.column], "{plural}.{}", relation.name);
                        let path = format!("{}/{}", relation.noun.path(), id(related));
                        assert_eq!(*related, self.api.get(&path).expect(200).json);
                    }
                    Arity::Many { .. } => assert!(related.is_array(), "{plural}.{}", relation.name),
                    Arity::First => assert!(related.is_object() || related.is_null(), "{plural}.{}", relation.name),
                }
            }
        }
    }

    fn is_read_in_batches(&self, row: &Value, samples: &mut Samples) {
        let path = format!("{}/batch/read", self.noun.path());
        let (mine, nobody) = (id(row), Uuid::now_v7().to_string());
        let other = id(&samples.row(self.noun));
        let answer = self.api.post(&path, json!({ "ids": [other, nobody, mine, other], "fields": ["id"] })).expect(200);
        assert_eq!(ids(answer.rows()), [other.clone(), mine, other]);
        assert_eq!(answer.json["missing"], json!([nobody]));
        assert_eq!(members(&answer.rows()[0]), ["id"]);
    }

    fn refuses_other_methods(&self, row: &Value) {
        let (plural, operations) = (self.noun.path(), self.noun.operations);
        let one = self.one(row);
        let offered = |offers: &[(&'static str, bool)]| -> Vec<&'static str> {
            offers.iter().filter(|(_, offered)| *offered).map(|(method, _)| *method).collect()
        };
        let mut paths = vec![
            (
                plural.to_owned(),
                offered(&[("GET", true), ("HEAD", true), ("POST", operations.create || self.noun.creation.is_some())]),
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
        let fields = || self.noun.fields.iter();
        // What the service sets, and what is set once, is refused: all of it together.
        let frozen: Map<String, Value> = fields()
            .filter(|field| field.written != Written::Always)
            .map(|field| (field.name.to_owned(), before[field.name].clone()))
            .collect();
        let mut pointers: Vec<String> = frozen.keys().map(|name| format!("/{name}")).collect();
        pointers.sort_unstable();
        let refused = self.api.patch(&self.one(row), Value::Object(frozen)).expect(422);
        assert_eq!(refused.faults(), pointers);
        // So is null where there must be a value.
        let firm: Vec<&str> = fields()
            .filter(|field| field.written == Written::Always && !field.nullable)
            .map(|field| field.name)
            .collect();
        let nulls: Map<String, Value> = firm.iter().map(|name| (name.to_string(), Value::Null)).collect();
        let refused = self.api.patch(&self.one(row), Value::Object(nulls)).expect(422);
        assert_eq!(refused.faults().len(), firm.len(), "{}", refused.text);
        assert_eq!(self.read(row).json, before);
        // Elsewhere null clears, and what is left out stays.
        let empty: Map<String, Value> = fields()
            .filter(|field| field.written == Written::Always && field.nullable)
            .map(|field| (field.name.to_owned(), Value::Null))
            .collect();
        let after = self.api.patch(&self.one(row), Value::Object(empty.clone())).expect(200);
        assert_eq!(after.json, self.read(row).json);
        assert_eq!(after.header("etag"), self.read(row).header("etag"));
        for field in fields().filter(|field| !["version", "updated_at"].contains(&field.name)) {
            let expected = if empty.contains_key(field.name) { &Value::Null } else { &before[field.name] };
            assert_eq!(&after.json[field.name], expected, "{}.{}", self.noun.path(), field.name);
        }
        // And each value that was read can be written back; one by one, because some decide about others.
        let mut back = after;
        for field in fields().filter(|field| field.written == Written::Always) {
            back = self.api.patch(&self.one(row), json!({ field.name: before[field.name] })).expect(200);
            assert_eq!(back.json[field.name], before[field.name], "{}.{}", self.noun.path(), field.name);
        }
        // Where something was cleared in between, the row has moved.
        if empty.keys().any(|name| !before[name].is_null()) {
            assert!(back.json["version"].as_i64() > before["version"].as_i64());
            assert!(back.json["updated_at"].as_str() > before["updated_at"].as_str());
        }
    }

    fn is_changed_only_from_the_version_that_was_read(&self, row: &Value) {
        let writable = || self.noun.fields.iter().filter(|field| field.written == Written::Always);
        let text = writable().find(|field| matches!(field.kind, Kind::Text { .. }) && field.name != "url");
        let choice = writable().find(|field| matches!(field.kind, Kind::Choice(_)));
        let field = text.or(choice).expect("a field to change");
        let mut turn = 0;
        // Another value each time: the same one would change nothing.
        let mut other = || {
            turn += 1;
            match field.kind {
                Kind::Choice(among) => json!(among[among.len() - 1 - turn / 2 % 2]),
                _ => json!(format!("other {turn}")),
            }
        };
        let include = self.noun.relations.first().map(|relation| format!("?include={}", relation.name));
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
        let nobody = format!("{}/{}", self.noun.path(), Uuid::now_v7());
        let request = self.api.request("PATCH", &nobody).header("If-Match", "\"1\"");
        self.api.send(request.json(&json!({}))).expect(404);
    }

    fn is_deleted(&self, row: &Value) {
        let (plural, wanted) = (self.noun.path(), id(row));
        let lists = |query: &str| ids(&self.api.all(&format!("{plural}?limit=500{query}"))).contains(&wanted);
        self.with("DELETE", row, ("If-Match", "\"999\"")).expect(412);
        let before = self.read(row);
        let gone = self.with("DELETE", row, ("If-Match", before.header("etag"))).expect(204);
        assert_eq!(gone.text, "");
        self.api.get(&self.one(row)).expect(404);
        self.api.get(&format!("{}?fields=id", self.one(row))).expect(404);
        self.api.patch(&self.one(row), json!({})).expect(if self.noun.operations.update { 404 } else { 405 });
        self.api.delete(&self.one(row)).expect(404);
        let batch = self.api.post(&format!("{plural}/batch/read"), json!({ "ids": [wanted] })).expect(200);
        assert_eq!(batch.json["missing"], json!([wanted]));
        assert!(!lists(""), "{plural}");
        if !self.noun.operations.restore {
            self.api.get(&format!("{plural}?deleted=true")).expect(400);
            return;
        }
        assert!(lists("&deleted=true"), "{plural}");
        let path = format!("{}/restoration", self.one(row));
        let back = self.api.post(&path, json!({})).expect(200);
        assert!(back.json["version"].as_i64() > before.json["version"].as_i64());
        let read = self.read(row);
        assert_eq!((back.header("etag"), &back.json), (read.header("etag"), &read.json));
        for field in self.noun.fields.iter().filter(|field| !["version", "updated_at"].contains(&field.name)) {
            assert_eq!(read.json[field.name], before.json[field.name], "{plural}.{}", field.name);
        }
        assert!(lists("") && !lists("&deleted=true"), "{plural}");
        // What lives is left as it is.
        assert_eq!(self.api.post(&path, json!({})).expect(200).json, read.json);
        self.api.post(&format!("{plural}/{}/restoration", Uuid::now_v7()), json!({})).expect(404);
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

/// A JSON value as a parameter's value.
fn escaped(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
