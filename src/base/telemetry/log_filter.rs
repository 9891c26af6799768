//! Validates `RAPPORT_LOG`. The filter itself takes a misspelt level for the name of a target and then logs nothing.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::base::suggest::nearest;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The target of this crate's own events; the first part of those of its modules.
const OWN_TARGET: &str = "rapport";

/// Returns every error of a filter such as `info`, `rapport=debug,warn` or `rapport::db=trace`.
pub fn log_filter_faults(filter: &str) -> Vec<String> {
    let mut faults: Vec<String> = directives(filter).into_iter().filter_map(fault).collect();
    if faults.is_empty()
        && let Err(error) = EnvFilter::try_new(filter)
    {
        faults.push(format!("RAPPORT_LOG: {error}"));
    }
    faults
}

/// Splits at commas; those within `[…]` belong to a directive.
fn directives(filter: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let parts = filter.split(|c| {
        depth += match c {
            '[' | '{' => 1,
            ']' | '}' => -1,
            _ => 0,
        };
        c == ',' && depth <= 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn fault(directive: &str) -> Option<String> {
    let is_level = |text: &str| text.parse::<LevelFilter>().is_ok();
    // A span's fields have `=` too; what follows the first one after them is the level.
    let after_span = directive.rfind(']').map_or(0, |end| end + 1);
    let (target, level) = match directive[after_span..].split_once('=') {
        Some((before, level)) => (&directive[..after_span + before.len()], Some(level)),
        None if after_span > 0 => (directive, None),
        None if is_level(directive) => return None,
        None => return Some(format!("RAPPORT_LOG: `{directive}` is no level.{}", meant(directive))),
    };
    if let Some(level) = level.filter(|level| !is_level(level)) {
        return Some(format!("RAPPORT_LOG: in `{directive}`, `{level}` is no level.{}", meant(level)));
    }
    let root = target.split(['[', ':']).next().unwrap_or_default();
    let misspelt = root != OWN_TARGET && nearest(root, &[OWN_TARGET]).is_some();
    misspelt.then(|| format!("RAPPORT_LOG: nothing logs as `{root}`. Did you mean `{OWN_TARGET}`?"))
}

fn meant(level: &str) -> String {
    // The name of a target resembles a level only by chance.
    let is_target = level == OWN_TARGET || level.contains(['_', ':']);
    let near = if is_target { None } else { nearest(&level.to_ascii_lowercase(), &LEVELS) };
    let guess = near.map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
    format!("{guess} Levels are {}; for one target, `target=level`.", LEVELS.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_filter_faults_of_good_filters_none() {
        for filter in [
            "info",
            "WARN",
            "0",
            "off",
            "rapport=debug,warn",
            "rapport::db=trace,actix_http=error",
            "[request{id=7}]=debug",
            "rapport[request]=trace,info",
            "",
        ] {
            assert_eq!(log_filter_faults(filter), [""; 0], "{filter}");
        }
    }

    #[test]
    fn log_filter_faults_of_misspelt_parts_name_nearest() {
        let faults = log_filter_faults("inof,rapport=debg,raport::db=info");
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[0].contains("`inof` is no level. Did you mean `info`?"), "{faults:?}");
        assert!(faults[1].contains("`debg` is no level. Did you mean `debug`?"), "{faults:?}");
        assert!(faults[2].contains("nothing logs as `raport`. Did you mean `rapport`?"), "{faults:?}");
        assert!(log_filter_faults("rapport")[0].contains("target=level"), "a target alone says no level");
    }
}
