//! Tests of the command `rapport seed --scale`.

use crate::support::{Database, Program};

/// Two businesses, of a thousand rows of each kind at most but for messages.
const SCALE: &str = "0.021";

#[test]
fn seed_scale_creates_the_businesses_that_are_missing() {
    let database = Database::create();
    let seed = |scale: &str| Program::run(&["seed", "--scale", scale], &[("DATABASE_URL", &database.url)]);
    for scale in ["0", "101", "NaN"] {
        let (well, said) = seed(scale);
        assert!(!well && said.contains("--scale"), "{scale}: {said}");
    }
    let counts = || {
        database.rows::<3>(
            "SELECT b.slug, count(*)::text, (SELECT count(*)::text FROM leads l WHERE l.business_id = b.id)
             FROM businesses b JOIN messages m ON m.business_id = b.id WHERE b.slug LIKE 'load-%' GROUP BY b.id ORDER BY 1",
        )
    };
    let (well, said) = seed(SCALE);
    assert!(well && said.contains("Done."), "{said}");
    let made = ["load-01", "load-02"].map(|slug| [slug, "10500", "1050"].map(str::to_owned));
    assert_eq!(counts(), made);
    let unlogged = "SELECT count(*)::text FROM messages m WHERE NOT EXISTS
        (SELECT FROM change_log c WHERE c.business_id = m.business_id AND c.changed = 'messages' AND c.touched[1] = m.id)";
    assert_eq!(database.cell(unlogged), "0");
    let first = "SELECT md5(string_agg(l::text, '' ORDER BY l.id)) FROM leads l JOIN businesses b ON b.id = l.business_id WHERE slug = 'load-01'";
    // Local times by the program's rules: from 8 to 18 on the day that is stored.
    let stored = database.rows::<3>("SELECT time_zone, starts_at::text, day::text FROM bookings");
    assert!(stored.len() > 4_000, "{} bookings", stored.len());
    for [zone, at, day] in &stored {
        let at: chrono::DateTime<chrono::Utc> = format!("{at}:00").parse().expect("an instant");
        let known = rapport::base::zones::get(zone).expect("a zone");
        assert_eq!(known.day(at).map(|day| day.to_string()).as_ref(), Some(day), "{at} in {zone}");
        let hour = (at - known.day_start(day.parse().expect("a date")).expect("a start")).num_hours();
        assert!((7..19).contains(&hour), "{at} in {zone} is at {hour}");
    }
    let before = database.cell(first);
    // As after a seed that was interrupted.
    database.run("DELETE FROM businesses WHERE slug = 'load-02'");
    let (well, said) = seed(SCALE);
    assert!(well && said.contains("load-02") && !said.contains("load-01"), "{said}");
    assert_eq!(counts(), made);
    let (well, said) = seed(SCALE);
    assert!(well && said.contains("there already"), "{said}");
    assert_eq!((counts(), database.cell(first)), (made.to_vec(), before));
}
