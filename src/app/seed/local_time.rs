//! Local times of the seeded rows, by the program's data of time zones: those of the database may be years old.

use chrono::{TimeDelta, Utc};
use diesel::QueryResult;
use diesel::pg::PgConnection;

use crate::base::zones;
use crate::db::Statement;

/// How long before and after now rows are seeded, in days.
const AROUND: i64 = 1_500;

/// Fills the session's table behind `pg_temp.seed_instant` and `pg_temp.seed_today` (functions.sql) with the offsets of these zones.
pub fn prepare(conn: &mut PgConnection, names: &[&str]) -> QueryResult<()> {
    let (now, around) = (Utc::now(), TimeDelta::days(AROUND));
    let (mut zone_names, mut since, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        let zone = zones::get(name).unwrap_or_else(zones::utc);
        for (at, seconds) in zone.offsets(now - around, now + around) {
            zone_names.push((*name).to_owned());
            since.push(at);
            offsets.push(i64::from(seconds));
        }
    }
    let mut sql = Statement::new(
        "INSERT INTO pg_temp.seed_offsets (zone, since, utc_offset) SELECT zone, since, seconds * interval '1 second' FROM unnest(",
    );
    sql.bind(zone_names).sql(", ").bind(since).sql(", ").bind(offsets).sql(") o (zone, since, seconds)");
    sql.run(conn).map(drop)
}
