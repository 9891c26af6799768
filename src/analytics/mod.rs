//! Statistics of a business: what the rows of other rooms add up to, by day, week or month of a time zone.
//!
//! Triggers count each change in its transaction (`stat_deltas`), `fold` adds what they counted to the sums per quarter of an hour
//! and per day, `roll_up` reads sums and what is not folded in one statement. So a statistic is equal to a recount of the rows
//! at every moment. docs/STATISTICS.md defines the figures.
//!
//! | files | subject |
//! |---|---|
//! | `statistic`, `figures`, `amounts`, `responses`, `business_hours`, `funnel`, `ai_usage`, `report` | which statistics there are, what their figures are made of, how a response is computed |
//! | `parameters`, `period` | what a request asks for |
//! | `roll_up`, `fold`, `fold_days`, `fold_sql`, `delta_age` | reading and keeping the sums |
//! | `dashboards`, `dashboard_rows`, `dashboards_http` | what a screen shows, in one request |
//! | `agent_metrics`, `agent_snapshots`, `agents_http` | what each member did, live and as of last night |
//! | `http`, `dto`, `csv`, `resource`, `openapi`, `openapi_parameters` | the endpoints |

mod agent_metrics;
mod agent_snapshots;
mod agents_http;
mod ai_usage;
mod amounts;
mod business_hours;
mod csv;
mod dashboard_rows;
mod dashboards;
mod dashboards_http;
mod delta_age;
mod dto;
mod figures;
mod fold;
mod fold_days;
mod fold_sql;
mod funnel;
mod http;
mod openapi;
mod openapi_parameters;
mod parameters;
mod period;
mod report;
mod resource;
mod responses;
mod roll_up;
mod statistic;

pub use self::agent_snapshots::task as agent_snapshots_task;
pub use self::agents_http::routes as agent_routes;
pub use self::ai_usage::statement as ai_usage_statement;
pub use self::business_hours::turns;
pub use self::dashboard_rows::statements as dashboard_statements;
pub use self::dashboards_http::routes as dashboard_routes;
pub use self::delta_age::{StatisticsBacklog, backlog, task as delta_age_task};
pub use self::fold::task as fold_task;
pub use self::fold_days::wrong_days;
pub use self::http::{of_campaigns, routes};
pub use self::openapi::describe;
pub use self::period::{Buckets, Interval, Period};
pub use self::roll_up::{Question, Sum, recount, sums};
