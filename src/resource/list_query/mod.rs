//! List queries: parses a query string against a resource's definition.
//!
//! | parameter | meaning |
//! |---|---|
//! | `status=new,won` | any of the values; `\\,` for a comma within one; in JSON `["new", "won"]` |
//! | `company_id=none` | no reference |
//! | `assignee_id=me` | the user who asks (`own_id.rs`) |
//! | `created_after=…`, `created_before=…` | at or after, and before, an instant or a day |
//! | `score_min=…`, `score_max=…` | bounds, both included |
//! | `tags=a,b` | any of the tags |
//! | `metadata.plan=gold` | the client's own field has this text, number or boolean |
//! | `q=anna` | search |
//! | `sort=-created_at` | one of the resource's sorts, `-` for descending |
//! | `limit`, `cursor` | 1 to 500 rows (default 50), and where the previous page ended |
//! | `include=company,contact` | relations to expand |
//! | `fields=id,title,company.name` | only these fields |
//! | `count=true`, `count=exact` | count up to 10,000, or to the end |
//! | `deleted=true` | only deleted rows, which can be restored |
//!
//! Parameters that the definition lacks are rejected with the nearest name that it has; all errors are reported at
//! once.
//!
//! | file | what it decides |
//! |---|---|
//! | `parse.rs` | the entry points: from a query string, a JSON filter, or names |
//! | `parser.rs` | which parameter is what, and what may be repeated |
//! | `filters.rs`, `filter_op.rs`, `filter_value.rs` | filters by fields: operators, values, several values |
//! | `search.rs`, `sort.rs`, `projection.rs` | `q`, `sort`, and `include` with `fields` |
//! | `parameter_names.rs` | which parameters a resource has |
//! | `list.rs`, `predicate.rs` | the parsed list query, and the condition of a filter |

mod filter_op;
mod filter_value;
mod filters;
mod list;
mod parameter_errors;
mod parameter_names;
mod parse;
mod parser;
mod predicate;
mod projection;
mod search;
mod sort;

pub use self::filter_op::FilterOp;
pub use self::filter_value::MAX_FILTER_VALUES;
pub use self::list::{COUNT_CAP, Count, DEFAULT_LIMIT, Filter, List, MAX_LIMIT};
pub use self::parameter_names::names;
pub use self::predicate::Predicate;
pub use self::projection::{Included, Projection};
