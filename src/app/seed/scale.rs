//! The large data set for benchmarks.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::result::Error;
use diesel::{Connection, QueryResult};

use crate::db::Statement;

/// Helpers in the session's temporary schema.
const FUNCTIONS: &str = include_str!("functions.sql");
const SCALE: &str = include_str!("scale.sql");

/// Begins a step of `scale.sql`; the rest of its line is the step's name.
const STEP: &str = "-- step: ";

/// A thousand million messages: more is a typing error.
const MAX_SCALE: f64 = 1000.0;

/// Creates the load businesses (slugs `load-01`, `load-02`, …), or does nothing when they exist. Returns whether it
/// did. At `scale` 1 there are 50 of them with a million messages in all; see `scale.sql`.
///
/// `progress` is called with the name of each step before it begins. Everything is one transaction, and a VACUUM
/// follows, for index-only scans: so `conn` must not be inside a transaction.
pub fn scale(conn: &mut PgConnection, scale: f64, progress: impl Fn(&str)) -> QueryResult<bool> {
    if !(scale > 0.0 && scale <= MAX_SCALE) {
        return Err(Error::QueryBuilderError(
            format!("the scale must be above 0 and at most {MAX_SCALE}, not {scale}").into(),
        ));
    }
    #[allow(clippy::disallowed_methods, reason = "a tool of the command line: it has no pool and nothing to retry")]
    let created = conn.transaction::<_, Error, _>(|conn| {
        // A second process waits here, and then finds what the first one created.
        conn.batch_execute("SELECT pg_advisory_xact_lock(hashtext('rapport seed'))")?;
        if exists(conn, "load-01")? {
            return Ok(false);
        }
        conn.batch_execute(FUNCTIONS)?;
        for (name, sql) in steps(SCALE) {
            progress(name);
            conn.batch_execute(&sql.replace(":scale", &scale.to_string()))?;
        }
        Ok(true)
    })?;
    if created {
        progress("vacuum");
        conn.batch_execute(VACUUM)?;
    } else {
        progress("the business load-01 is there already: nothing was added");
    }
    Ok(created)
}

/// By name: the database may hold tables of other applications, which are not ours to vacuum.
const VACUUM: &str = "VACUUM businesses, users, memberships, companies, contacts, campaigns, leads, \
                      conversations, messages, services, staff, bookings";

fn exists(conn: &mut PgConnection, slug: &str) -> QueryResult<bool> {
    let mut sql = Statement::new("SELECT EXISTS (SELECT FROM businesses WHERE slug = ");
    Ok(sql.bind(slug).sql(")").scalar(conn)?.unwrap_or(false))
}

/// Returns the named steps of a script; what comes before the first is a comment.
fn steps(script: &str) -> impl Iterator<Item = (&str, &str)> {
    script.split(STEP).skip(1).map(|step| step.split_once('\n').unwrap_or((step, "")))
}
