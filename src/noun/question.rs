//! A question that can be answered from the cache: what is asked, what the answer depends on, and how it is computed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use actix_web::web::Data;
use uuid::Uuid;

use super::field::Kind;
use super::json::Shown;
use super::params::{List, View};
use super::{Engine, Noun, Visible, store};
use crate::auth::{Business, Role, Tenant};
use crate::cache::{Fresh, Key, Scope};
use crate::error::Result;

/// What is asked.
#[derive(Clone, Debug)]
pub enum What {
    List(List),
    One(Uuid, View),
    Batch(Vec<Uuid>, View),
    /// What happened to a row of a noun: a list of the audit log.
    History(&'static Noun, Uuid, List),
}

impl What {
    fn view(&self) -> &View {
        match self {
            What::List(list) | What::History(_, _, list) => &list.view,
            What::One(_, view) | What::Batch(_, view) => view,
        }
    }
}

#[derive(Debug)]
pub struct Question {
    pub noun: &'static Noun,
    pub what: What,
    /// What the answer is made of.
    pub scopes: Vec<Scope>,
    /// As it was typed.
    pub typed: String,
    /// The question in its normal form: two that ask for the same are the same.
    text: Arc<str>,
    /// Whether the engine keeps it in mind.
    pub remembered: AtomicBool,
}

impl Question {
    pub fn new(noun: &'static Noun, what: What, business: &Business, typed: &str) -> Self {
        let view = what.view();
        let own = noun.reads().iter().enumerate().map(|(place, table)| match &what {
            // The ids of a view are those of its first table.
            What::One(id, _) if place == 0 => Scope::row(business.id, table, *id),
            _ => Scope::table(business.id, table),
        });
        let related = view.include.iter().flat_map(|(relation, _)| relation.noun.reads());
        let related = related.map(|table| Scope::table(business.id, table));
        let mut scopes: Vec<Scope> = Vec::new();
        for scope in own.chain(related) {
            // A whole table stands for its buckets.
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        let text = normal_form(&what, view).into();
        Self { noun, what, scopes, typed: typed.to_owned(), text, remembered: AtomicBool::new(false) }
    }

    /// What of its rows is shown.
    pub fn view(&self) -> &View {
        self.what.view()
    }

    /// Whether it can be written down: it says nothing that someone has typed of a person.
    pub fn is_impersonal(&self) -> bool {
        let closed = |kind| {
            matches!(kind, Kind::Uuid | Kind::Choice(_) | Kind::Int { .. } | Kind::Bool | Kind::Time | Kind::Date)
        };
        match &self.what {
            What::List(list) => {
                list.search.is_none()
                    && list.cursor.is_none()
                    && list.filters.iter().all(|filter| closed(filter.field.kind))
            }
            What::One(..) => true,
            What::Batch(..) | What::History(..) => false,
        }
    }

    /// The key of its answer to someone in `role`.
    pub fn key(&self, business: &Business, role: Role, sees_only: Option<Uuid>) -> Key {
        let question = self.text.clone();
        Key { business: business.id, role: role.name(), sees_only, noun: self.noun.plural, question }
    }

    /// What else the answer depends on for someone who is limited to their own: the rows through which others are seen.
    pub fn seen_through(&self, business: &Business) -> Vec<Scope> {
        let mut nouns: Vec<&Noun> = self.view().include.iter().map(|(relation, _)| relation.noun).collect();
        nouns.push(self.noun);
        let mut scopes = Vec::new();
        while let Some(noun) = nouns.pop() {
            let (Visible::Linked(links) | Visible::AssignedOrLinked(_, links)) = noun.visible else { continue };
            for (_, other) in links {
                scopes.extend(other.reads().iter().map(|table| Scope::table(business.id, table)));
                nouns.push(other);
            }
        }
        scopes
    }

    /// The key of the plain answer about a row, which a write of that row supersedes.
    pub fn of_row(noun: &'static Noun, tenant: &Tenant, id: Uuid) -> Key {
        let what = What::One(id, View::default());
        let text = normal_form(&what, &View::default());
        let (role, sees_only) = (tenant.role().name(), tenant.sees_only());
        Key { business: tenant.id(), role, sees_only, noun: noun.plural, question: text.into() }
    }

    /// Asks the database.
    pub async fn compute(self: Arc<Self>, engine: Data<Engine>, tenant: Tenant) -> Result<Fresh> {
        let noun = self.noun;
        // Fetched alone, and not in a round: rounds serve several businesses and everyone in them, in one statement.
        let alone = tenant.sees_only().is_some() || engine.db.walls_reads();
        match &self.what {
            What::List(_) => {
                let body = engine.db.within(&tenant).read("list", move |conn| {
                    let What::List(list) = &self.what else { return Ok(Vec::new()) };
                    store::list(conn, &tenant, list)
                });
                Ok(hashed(body.await?))
            }
            What::One(id, view) if view.include.is_empty() && !alone => {
                let cells = engine.coalescer.one(noun, &tenant, *id).await?;
                let row = cells.map(|cells| store::row(noun, view, &cells, &store::Related::default()));
                Ok(of_row(row.ok_or_else(|| store::missing(noun))?))
            }
            What::One(id, view) => {
                let (id, asked) = (*id, view.clone());
                let row = engine
                    .db
                    .within(&tenant)
                    .read("one_with_relations", move |conn| store::one(conn, &tenant, noun, id, &asked));
                Ok(of_row(row.await?.ok_or_else(|| store::missing(noun))?))
            }
            What::History(..) => {
                let body = engine.db.within(&tenant).read("history", move |conn| {
                    let What::History(noun, id, list) = &self.what else { return Ok(Vec::new()) };
                    store::history(conn, &tenant, noun, *id, list)
                });
                Ok(hashed(body.await?))
            }
            What::Batch(..) => {
                let body = engine.db.within(&tenant).read("batch_read", move |conn| {
                    let What::Batch(ids, view) = &self.what else { return Ok(Vec::new()) };
                    store::batch(conn, &tenant, noun, ids, view)
                });
                Ok(hashed(body.await?))
            }
        }
    }
}

/// A document whose ETag is a hash of its bytes: lists and whatever has no version of its own.
fn hashed(body: Vec<u8>) -> Fresh {
    let etag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&body));
    Fresh { body, etag }
}

fn of_row(row: store::Row) -> Fresh {
    Fresh { etag: row.etag(), body: row.json }
}

fn normal_form(what: &What, view: &View) -> String {
    let shown = |shown: Shown| shown.map_or("*".to_owned(), |mask| format!("{mask:x}"));
    let include = view.include.iter().map(|(relation, fields)| format!("{}:{}", relation.name, shown(*fields)));
    let include = include.collect::<Vec<_>>().join(",");
    let what = match what {
        // Debug escapes whatever was typed, so that no text can pass for the end of itself.
        What::List(list) => format!(
            "list {} {} {} {:?} {} {:?} {:?} {:?}",
            list.sort.name,
            list.descending,
            list.limit,
            list.count,
            list.deleted,
            list.filters.iter().map(|filter| (filter.field.name, &filter.test)).collect::<Vec<_>>(),
            list.search,
            list.cursor
        ),
        What::One(id, _) => format!("one {id}"),
        // Never kept.
        What::History(noun, id, _) => format!("history {} {id}", noun.plural),
        What::Batch(ids, _) => format!("batch {ids:?}"),
    };
    format!("{} [{include}] {what}", shown(view.shown))
}
