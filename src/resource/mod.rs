//! Resources: one definition for each, and everything that follows from it.
//!
//! A [`Resource`] (definition.rs) names its table, its fields with their types and limits, its relations and its sorts.
//! From this definition come the list query ([`list_query`]), the SQL ([`select`]), the JSON of responses ([`row_json`]),
//! the validation of bodies ([`body`]), the reads ([`read_rows`]) and writes ([`batch`]), the HTTP operations ([`http`]) and their OpenAPI
//! ([`openapi`]). So they cannot disagree, and the database catalogue is tested against the same definition.
//!
//! What is specific to a resource stands in its own file, such as those of [`crate::crm`]: the rules of its rows as
//! [`Hooks`], and what needs more than its definition in a [`ResourceModule`]. A definition names the resources that it
//! is related to; the [`registry`] resolves these names.
//!
//! | files | subject |
//! |---|---|
//! | `definition`, `field`, `column_type`, `relation`, `list_filter`, `sort`, `row_visibility`, `operations`, `hooks`, `registry` | what a resource is |
//! | `module`, `write_ops` | what a resource has beside its definition |
//! | `list_query`, `cursor`, `select`, `list_conditions`, `row_predicates`, `word_search`, `search_windows`, `search_highlight`, `row_json` | from a query to SQL and JSON |
//! | `own_id`, `read_request`, `read_query`, `read_service`, `cached_read` | reads, from the cache |
//! | `compute_read`, `read_rows`, `row_loader`, `computed_read` | reads, from the database |
//! | `hot_queries`, `cache_refresh` | which queries are refreshed ahead |
//! | `body`, `pending_row`, `references`, `batch` | writes |
//! | `row`, `row_type` | rows in responses |
//! | `export`, `audit_log` | all rows as a file; the history of a row |
//! | `clean_text`, `instant`, `iso_codes` | values of bodies |

pub mod args;
pub mod audit_log;
pub mod batch;
pub mod body;
pub mod cache_refresh;
pub mod cached_read;
pub mod clean_text;
mod column_type;
mod compute_read;
pub mod computed_read;
pub mod crud;
mod cursor;
mod definition;
pub mod export;
mod field;
mod hooks;
mod hot_queries;
pub mod http;
pub mod instant;
pub mod iso_codes;
mod list_conditions;
mod list_filter;
pub mod list_query;
mod module;
pub mod openapi;
mod operations;
mod own_id;
mod pending_row;
pub mod read_query;
mod read_request;
pub mod read_rows;
mod read_service;
pub mod references;
pub mod registry;
mod related_tags;
mod relation;
mod row;
pub mod row_json;
mod row_loader;
mod row_predicates;
mod row_type;
mod row_visibility;
mod search_highlight;
mod search_windows;
pub mod select;
mod sort;
mod word_search;
mod write_ops;

pub use self::body::{Changeset, ValidationErrors};
pub use self::column_type::FieldColumn;
pub use self::definition::{Resource, Search};
pub use self::field::{Field, FieldType, MAX_HOURS, Mutability};
pub use self::hooks::Hooks;
pub use self::list_filter::ListFilter;
pub use self::module::{DuplicateCheck, ResourceModule};
pub use self::operations::Operations;
pub use self::pending_row::PendingRow;
pub use self::read_service::{ReadOptions, ReadService};
pub use self::relation::{Cardinality, MANY as MAX_RELATED, Relation};
pub use self::row::Row;
pub(crate) use self::row_type::row_type;
pub use self::row_visibility::{RowVisibility, VisibilityLink};
pub use self::sort::Sort;
pub use self::write_ops::WriteOps;
pub use crate::base::suggest::{did_you_mean, nearest};
