//! Tests that the tags of a cached response cover all that it shows: after any change of a row, of a link, or of what is deleted,
//! each response is as if it were computed anew.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use rapport::app::registry::RESOURCES;
use rapport::resource::{Cardinality, Field, FieldType, Resource};
use serde_json::{Value, json};

use crate::support::{Client, Samples, Service, link_target};

/// A read, and the resources whose rows it shows.
struct Read {
    path: String,
    /// The ids of a batch read.
    batch: Option<Value>,
    shows: BTreeSet<&'static str>,
}

impl Read {
    fn text(&self, api: &Client, is_fresh: bool) -> (u16, String) {
        let request = match &self.batch {
            None => api.request("GET", &self.path),
            Some(ids) => api.request("POST", &self.path).json(ids),
        };
        let answer = api.send(if is_fresh { request.header("Cache-Control", "no-store") } else { request });
        assert!(answer.status < 500, "{}: {}", self.path, answer.text);
        // That a credential was used is noted once a minute, and no change of it.
        let text = without_last_used(answer.text);
        // An error has the id of its request.
        (answer.status, if answer.status == 200 { text } else { String::new() })
    }
}

fn without_last_used(text: String) -> String {
    let mut kept = String::with_capacity(text.len());
    for part in text.split_inclusive(',') {
        kept.push_str(if part.starts_with("\"last_used_at\":") { "," } else { part });
    }
    kept
}

/// Reads of a resource, with all relations: lists, by each link, the row, and the row in a batch.
fn reads(resource: &'static Resource, row: &Value) -> Vec<Read> {
    let (path, id) = (resource.path(), row["id"].as_str().expect("an id"));
    let relations: Vec<&str> = resource.relations.iter().map(|relation| relation.name).collect();
    let related = resource.relations.iter().map(|relation| relation.resource().plural);
    let all: BTreeSet<&'static str> = related.chain([resource.plural]).collect();
    let own = BTreeSet::from([resource.plural]);
    let include = format!("include={}", relations.join(","));
    let read = |path: String, shows: &BTreeSet<&'static str>| Read { path, batch: None, shows: shows.clone() };
    if relations.is_empty() {
        return vec![read(path.to_owned(), &own), read(format!("{path}/{id}"), &own)];
    }
    let mut reads = vec![read(format!("{path}?{include}"), &all), read(format!("{path}/{id}?{include}"), &all)];
    let batch = Some(json!({ "ids": [id], "include": relations }));
    reads.push(Read { path: format!("{path}/batch/read"), batch, shows: all.clone() });
    for field in links(resource).filter(|field| field.filter) {
        let Some(value) = row[field.name].as_str() else { continue };
        // Other relations are those of the list above.
        let linked = BTreeSet::from([resource.plural, link_target(resource, field).plural]);
        reads.push(read(format!("{path}?{}={value}&{include}", field.name), &linked));
    }
    reads
}

fn links(resource: &'static Resource) -> impl Iterator<Item = &'static Field> {
    let is_link = |field: &&Field| {
        let one = |relation: &&rapport::resource::Relation| relation.arity == Cardinality::One;
        field.field_type == FieldType::Uuid
            && resource.relations.iter().filter(one).any(|relation| relation.column == field.name)
    };
    resource.fields.iter().filter(is_link)
}

#[test]
fn cached_response_equals_a_fresh_one_after_any_change() {
    let service = Service::start();
    let api = &service.client;
    let mut samples = Samples::new(api);
    let cached: Vec<&'static Resource> = RESOURCES.into_iter().filter(|resource| resource.cacheable).collect();
    let mut all = Vec::new();
    for resource in &cached {
        // Others refer to the first row; the second is there for links to move to.
        let [id, _] = [samples.some(resource), samples.id(resource)];
        let row = api.get(&format!("{}/{id}", resource.path())).expect(200).json;
        all.extend(reads(resource, &row));
    }
    assert!(all.len() > 70, "{} reads", all.len());
    // From here on each read is in the cache before a change: the last comparison put it there.
    all.iter().for_each(|read| drop(read.text(api, false)));
    let mut conn = service.database.connect();
    let mut changed = 0;
    let mut change = |sql: &str, of: &[&str]| {
        // Some changes break a rule of the table: then nothing has changed.
        if conn.batch_execute(sql).is_err() {
            return;
        }
        changed += 1;
        for read in all.iter().filter(|read| of.iter().any(|plural| read.shows.contains(plural))) {
            assert_eq!(read.text(api, false), read.text(api, true), "{} after {sql}", read.path);
        }
    };
    for resource in &cached {
        for table in resource.tables() {
            change(&format!("UPDATE {table} SET version = version + 1, updated_at = now()"), &[resource.plural]);
        }
        for link in links(resource).filter(|_| resource.source_tables.is_empty()) {
            let (table, column, target) = (resource.table, link.name, link_target(resource, link));
            let id = if target.table == "business_users" { "user_id" } else { "id" };
            let from = if target.table == "business_users" { "memberships" } else { target.table };
            let of = [resource.plural, target.plural];
            // From one row to another, to none, and back.
            let other = format!(
                "(SELECT o.{id} FROM {from} o WHERE o.business_id = t.business_id AND o.{id} <> t.{column} LIMIT 1)"
            );
            change(&format!("UPDATE {table} t SET {column} = {other} WHERE {column} IS NOT NULL"), &of);
            // What shows the other side only has shown it with the change before.
            change(&format!("UPDATE {table} SET {column} = NULL"), &of[..1]);
        }
        if resource.field("deleted_at").is_some() {
            let table = resource.table;
            change(&format!("UPDATE {table} SET deleted_at = now()"), &[resource.plural]);
            change(&format!("UPDATE {table} SET deleted_at = NULL"), &[resource.plural]);
        }
    }
    for resource in cached.iter().filter(|resource| resource.source_tables.is_empty() && resource.plural != "api-keys")
    {
        change(
            &format!("DELETE FROM {0} WHERE id = (SELECT max(id::text)::uuid FROM {0})", resource.table),
            &[resource.plural],
        );
    }
    assert!(changed > 60, "{changed} changes");
}
