//! What a noun *is*: one description per noun, and everything that follows from it.
//!
//! A [`Noun`] names its table, its fields with their kinds and limits, its relations and its sorts. From that one
//! description come the list grammar ([`params`]), the SQL ([`select`]), the JSON of answers ([`json`]), the validation
//! of bodies ([`body`]), the five writes ([`store`]), the HTTP operations ([`http`]) and their OpenAPI ([`openapi`]).
//! So they cannot disagree, and the catalogue of the database is tested against the same description.
//!
//! What is particular to a noun stands in its own room under [`crate::crm`] as [`Hooks`].

pub mod ahead;
pub mod answer;
mod assignments;
pub mod batch;
pub mod body;
pub mod clean;
mod coalesce;
mod codes;
mod cursor;
mod draft;
mod engine;
pub mod export;
mod field;
pub mod form;
pub mod history;
pub mod http;
pub mod json;
pub mod links;
pub mod openapi;
pub mod params;
pub mod phone;
pub mod question;
mod relation;
pub mod select;
pub mod store;

pub use self::body::{Change, Faults};
pub use self::draft::Draft;
pub use self::engine::Engine;
pub use self::field::{Field, Kind, Written};
pub use self::relation::{Arity, Relation};
use crate::auth::Area;
use crate::auth::{Business, Tenant};
use crate::db::Tx;
use crate::error::Result;
pub use crate::hint::{did_you_mean, nearest};
use crate::http::precondition::IfMatch;
use crate::http::routing::Routes;
use std::time::Duration;

use uuid::Uuid;

/// A way to order a list. The expression must be NOT NULL and stand in an index `(business_id, expression, id)`.
#[derive(Clone, Copy, Debug)]
pub struct Sort {
    pub name: &'static str,
    /// SQL over the table's alias `t`.
    pub expression: &'static str,
    /// Type of the expression, for the cursor.
    pub kind: Kind,
}

impl Sort {
    /// Orders by a column of the same name.
    pub const fn time(name: &'static str, expression: &'static str) -> Self {
        Self { name, expression, kind: Kind::Time }
    }

    pub const fn int(name: &'static str, expression: &'static str) -> Self {
        Self { name, expression, kind: Kind::Int { min: i64::MIN, max: i64::MAX } }
    }

    /// Orders by bytes, so that the database's locale does not matter: fold the case in the expression.
    pub const fn text(name: &'static str, expression: &'static str) -> Self {
        Self { name, expression, kind: Kind::Text { min: 0, max: usize::MAX } }
    }
}

/// How `q` searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    None,
    /// Part of a word, by trigrams; at least three characters.
    Substring,
    /// Whole words, by full text.
    Words,
}

/// Which of the standard operations a noun has.
#[derive(Clone, Copy, Debug)]
pub struct Operations {
    pub create: bool,
    pub update: bool,
    pub delete: bool,
    /// Deleted rows stay for 30 days and can be brought back; needs `deleted_at`.
    pub restore: bool,
    /// Many can be written at once ([`batch`]); needs [`Writes::PLAIN`], of which only `restore` may be replaced.
    pub batch: bool,
}

impl Operations {
    pub const ALL: Self = Self { create: true, update: true, delete: true, restore: true, batch: true };
    pub const NONE: Self = Self { create: false, update: false, delete: false, restore: false, batch: false };
}

/// What is particular to a noun. Each hook runs inside the write's transaction, except `prepare`, which is pure. The others
/// look at a set of rows, which has one row or a thousand, in a number of queries that does not depend on it.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// Completes and checks a change without the database: derived fields, rules between fields.
    pub prepare: fn(&mut Change, &Business, &mut Faults),
    /// Runs before rows are written, and refuses those that must not be ([`Draft::refuse`]).
    pub before: fn(&mut Tx<'_>, &Tenant, &mut [Draft]) -> Result<()>,
    /// Runs after rows were written: effects on other rows.
    pub after: fn(&mut Tx<'_>, &Tenant, &[&Draft]) -> Result<()>,
    /// Runs after rows, by id, were marked deleted or brought back: what follows from them follows from fewer, or more.
    pub removed_or_restored: fn(&mut Tx<'_>, &Tenant, &[Uuid]) -> Result<()>,
}

impl Hooks {
    pub const NONE: Self = Self {
        prepare: |_, _, _| {},
        before: |_, _, _| Ok(()),
        after: |_, _, _| Ok(()),
        removed_or_restored: |_, _, _| Ok(()),
    };
}

/// Which rows someone sees who is limited to what is assigned to them (`businesses.agents_see`).
#[derive(Clone, Copy, Debug)]
pub enum Visible {
    All,
    /// Those whose column says so.
    Assigned(&'static str),
    /// Those whose links, where they have them, lead to rows that are seen.
    Linked(&'static [(&'static str, &'static Noun)]),
    /// Those whose column says so, and those whose links lead there.
    AssignedOrLinked(&'static str, &'static [(&'static str, &'static Noun)]),
}

/// Looks for a row that is there already, before it is made once more. Errors: 409.
pub type Guard = fn(&mut Tx<'_>, &Tenant, &Change) -> Result<()>;

/// How a noun's rows are written; a noun that is no plain row puts functions of its own in.
#[derive(Clone, Copy)]
pub struct Writes {
    pub create: fn(&mut Tx<'_>, &Tenant, Change) -> Result<(Uuid, store::Row)>,
    pub update: fn(&mut Tx<'_>, &Tenant, Uuid, Change, IfMatch) -> Result<store::Row>,
    pub delete: fn(&mut Tx<'_>, &Tenant, &'static Noun, Uuid, IfMatch) -> Result<()>,
    pub restore: fn(&mut Tx<'_>, &Tenant, &'static Noun, Uuid) -> Result<store::Row>,
}

impl Writes {
    pub const PLAIN: Self =
        Self { create: store::create, update: store::update, delete: store::delete, restore: store::restore };
}

impl std::fmt::Debug for Writes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writes")
    }
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}

pub struct Noun {
    /// `lead`
    pub name: &'static str,
    /// `leads`: the path's segment and the OpenAPI tag.
    pub plural: &'static str,
    /// Its path below the API's base, where that is not its plural; see [`Noun::path`].
    pub served_at: Option<&'static str>,
    /// `Lead`: the name of its schema.
    pub schema: &'static str,
    /// One sentence for readers of the API.
    pub about: &'static str,
    /// Table or view.
    pub table: &'static str,
    /// The tables behind a view, the one that its ids are of first; nothing: the table itself.
    pub tables: &'static [&'static str],
    /// Column of the tenant: `business_id`, except for the business itself.
    pub tenant: &'static str,
    /// Which permission it needs.
    pub area: Area,
    pub fields: &'static [Field],
    pub relations: &'static [Relation],
    pub sorts: &'static [Sort],
    /// `-created_at`
    pub default_sort: &'static str,
    pub search: Search,
    pub operations: Operations,
    pub hooks: Hooks,
    pub writes: Writes,
    /// Registers its creation itself, where that takes more than a transaction; it is described like any other.
    pub creation: Option<fn(Routes) -> Routes>,
    /// Refuses a single creation over HTTP that looks like a row which is there already, unless `allow_duplicate=true`.
    pub guard: Option<Guard>,
    /// Operations of its own whose path could be taken for that of a row: they are compared first.
    pub fixed: fn(&mut actix_web::web::ServiceConfig),
    /// Operations of its own, below its path; their document stands with its room's.
    pub routes: fn(&mut actix_web::web::ServiceConfig),
    /// How long its answers are kept at most: it bounds memory, they are never stale.
    pub ttl: Duration,
    /// Whether its answers are kept at all. They can be where a trigger moves their versions.
    pub cached: bool,
    /// Which rows are seen by someone who is limited to their own.
    pub visible: Visible,
    /// What the answer to its creation shows besides, once and never again.
    pub secret: Option<&'static Field>,
    /// Whether a row of it is locked before the rows that it leads to: as all do who lock several nouns.
    pub locked_first: bool,
    /// Whether its answers may be compressed: not where secrets stand beside what a caller can write (BREACH).
    pub packed: bool,
}

/// Its plural only: nouns lead to each other in circles, so showing all of one would never end.
impl std::fmt::Debug for Noun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.plural)
    }
}

impl Noun {
    /// What most nouns have in common; rooms override the rest with `..Noun::BASE`.
    pub const BASE: Noun = Noun {
        name: "",
        plural: "",
        served_at: None,
        schema: "",
        about: "",
        table: "",
        tables: &[],
        tenant: "business_id",
        area: Area::Crm,
        fields: &[],
        relations: &[],
        sorts: &[],
        default_sort: "-created_at",
        search: Search::Substring,
        operations: Operations::ALL,
        hooks: Hooks::NONE,
        writes: Writes::PLAIN,
        creation: None,
        guard: None,
        fixed: |_| {},
        routes: |_| {},
        ttl: Duration::from_secs(600),
        cached: true,
        visible: Visible::All,
        secret: None,
        locked_first: false,
        packed: true,
    };

    /// Its path below the API's base.
    pub fn path(&self) -> &'static str {
        self.served_at.unwrap_or(self.plural)
    }

    /// How long its answers are kept at most: as `configured` (noun, seconds), or else its own.
    pub fn kept(&self, configured: &[(String, u64)]) -> Duration {
        let configured = configured.iter().find(|(name, _)| name == self.plural);
        configured.map_or(self.ttl, |(_, seconds)| Duration::from_secs(*seconds))
    }

    /// The tables that its rows are read from.
    pub fn reads(&'static self) -> &'static [&'static str] {
        if self.tables.is_empty() { std::slice::from_ref(&self.table) } else { self.tables }
    }

    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The fields by which rows are recognised: what an upsert can go by.
    pub fn keys(&self) -> impl Iterator<Item = &'static Field> + use<> {
        self.fields.iter().filter(|field| field.unique)
    }

    pub fn index(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    pub fn relation(&self, name: &str) -> Option<&'static Relation> {
        self.relations.iter().find(|relation| relation.name == name)
    }

    /// Whether what happens to its rows is recorded; of the record itself it is not.
    pub fn has_history(&self) -> bool {
        !std::ptr::eq(self, &history::AUDIT_LOG)
    }

    /// Whether rows are marked deleted rather than removed.
    pub fn soft_delete(&self) -> bool {
        self.operations.restore
    }
}
