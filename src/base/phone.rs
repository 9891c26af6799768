//! Normalises phone numbers: E.164 where possible, otherwise as written.

use phonenumber::{Mode, country};

/// Normalises `text` as dialled in `country` (ISO 3166-1 alpha-2). A number of a plausible length for its country
/// becomes `+<digits>`, with `;ext=<digits>` after it where an extension was given (RFC 3966); anything else is
/// returned as written, trimmed.
pub fn normalise(text: &str, country: &str) -> String {
    let text = text.trim();
    // Only without a country code of its own: the library would remove the region's trunk prefix (the 1 of the US) even
    // from a number that begins with another country's code.
    let region = if text.starts_with('+') { None } else { country.parse::<country::Id>().ok() };
    let parsed = phonenumber::parse(region, text).ok().filter(plausible);
    match parsed {
        Some(number) => {
            let e164 = number.format().mode(Mode::E164).to_string();
            let e164 = e164.split(';').next().unwrap_or_default();
            match number.extension() {
                Some(extension) => format!("{e164};ext={extension}"),
                None => e164.to_owned(),
            }
        }
        None => text.to_owned(),
    }
}

/// As [`normalise`], but accepts a complete number without its `+`, as WhatsApp writes it. A number that could be
/// dialled in `country` is taken as one of that country, because people write those.
pub fn normalise_unsigned(text: &str, country: &str) -> String {
    let known = normalise(text, country);
    if known.starts_with('+') || !known.bytes().all(|byte| byte.is_ascii_digit()) {
        return known;
    }
    let whole = format!("+{known}");
    let is_number = phonenumber::parse(None, &whole).is_ok_and(|number| plausible(&number));
    if is_number { normalise(&whole, country) } else { known }
}

/// Returns how a phone number searched as `text` may be stored: as written, and as [`normalise`] and
/// [`normalise_unsigned`] make it.
pub fn spellings(text: &str, country: &str) -> Vec<String> {
    let mut spellings = vec![text.to_owned()];
    for spelling in [normalise(text, country), normalise_unsigned(text, country)] {
        if !spellings.contains(&spelling) {
            spellings.push(spelling);
        }
    }
    spellings
}

/// Calling codes that independent countries share: the numbering plan tells which.
const SHARED_CODES: [u16; 2] = [1, 7];

/// Returns the country (ISO 3166-1 alpha-2) that a number in E.164 is charged as: that of its calling code, also for those that use it
/// with it (Jersey has the code of the United Kingdom); within [`SHARED_CODES`] that of its plan, and without one the main country.
pub fn country(number: &str) -> Option<String> {
    let parsed = number.starts_with('+').then(|| phonenumber::parse(None, number).ok()).flatten()?;
    if SHARED_CODES.contains(&parsed.country().code())
        && let Some(country) = parsed.country().id()
    {
        return Some(country.as_ref().to_owned());
    }
    let sharing = phonenumber::metadata::DATABASE.region(&parsed.country().code())?;
    sharing.first().filter(|region| region.len() == 2).map(|region| (*region).to_owned())
}

/// Checks the length, not the numbering plan: plans change faster than the library's tables, and a number that people
/// wrote down should be found again. E.164 (ITU-T, section 6.2.1) allows 15 digits; none in use has fewer than 7.
fn plausible(number: &phonenumber::PhoneNumber) -> bool {
    let national = number.national().to_string().len();
    let longest = 15 - number.code().value().to_string().len();
    match number.code().value() {
        1 => national == 10,
        _ => (6..=longest).contains(&national),
    }
}

#[cfg(test)]
mod tests {
    use super::{country, normalise, normalise_unsigned};

    #[test]
    fn normalise_valid_number_to_e164_other_text_unchanged() {
        for (written, expected) in [
            ("(415) 293-3313", "+14152933313"),
            ("1-955-371-0847 x371", "+19553710847;ext=371"),
            ("262.397.7937", "+12623977937"),
            ("+44 20 7946 0958", "+442079460958"),
            ("  +49 30 123456 ", "+4930123456"),
            ("+49 1511 2345678", "+4915112345678"),
            ("ask for Tom", "ask for Tom"),
            ("12", "12"),
        ] {
            assert_eq!(normalise(written, "US"), expected);
        }
        assert_eq!(normalise("030 123456", "DE"), "+4930123456");
    }

    #[test]
    fn normalise_unsigned_number_to_e164_where_valid() {
        for (written, expected) in [
            ("16045550177", "+16045550177"),
            ("4915112345678", "+4915112345678"),
            ("(415) 293-3313", "+14152933313"),
            ("+49 1511 2345678", "+4915112345678"),
            // Of no country: as written.
            ("12", "12"),
            ("72345", "72345"),
            ("ask for Tom", "ask for Tom"),
        ] {
            assert_eq!(normalise_unsigned(written, "US"), expected, "{written}");
        }
    }

    #[test]
    fn country_by_calling_code_and_numbering_plan() {
        for (number, expected) in [
            ("+447700900123", Some("GB")),
            // Jersey, Guernsey and Man; Åland; Svalbard; Christmas Island; the Vatican; Western Sahara.
            ("+447797712345", Some("GB")),
            ("+447781123456", Some("GB")),
            ("+447924123456", Some("GB")),
            ("+358412345678", Some("FI")),
            ("+35818123456", Some("FI")),
            ("+4779123456", Some("NO")),
            ("+61891641234", Some("AU")),
            ("+390669812345", Some("IT")),
            ("+212528812345", Some("MA")),
            ("+4915112345678", Some("DE")),
            ("+5215512345678", Some("MX")),
            ("+551187654321", Some("BR")),
            ("+14152933313", Some("US")),
            ("+16045550177", Some("CA")),
            ("+18095550123", Some("DO")),
            ("+79161234567", Some("RU")),
            ("+77011234567", Some("KZ")),
            ("+80012340000", None),
            ("447700900123", None),
            ("Y2FwaV9ncm91cDoxMjM0NQ", None),
            ("+", None),
        ] {
            assert_eq!(country(number).as_deref(), expected, "{number}");
        }
    }

    #[test]
    fn normalise_is_idempotent() {
        for written in ["1-955-371-0847 x371", "+442079460958", "ask for Tom"] {
            let once = normalise(written, "US");
            assert_eq!(normalise(&once, "US"), once);
        }
    }
}
