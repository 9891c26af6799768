//! Markets of WhatsApp's rate card: countries with rates of their own, and regions for the others.
//!
//! The countries of each region are those of Meta, "Pricing on the WhatsApp Business Platform", "Country calling codes"
//! (<https://developers.facebook.com/docs/whatsapp/pricing#country-calling-codes>). A country is looked up by its own code first: Meta gives
//! more and more of them a market of their own, whose older rates are those of the region.

use crate::resource::iso_codes::is_country;

/// The region of the countries that have no market of their own and are in no other region.
const OTHER: &str = "other";

/// Regions with their countries (ISO 3166-1 alpha-2).
static REGIONS: [(&str, &str); 8] = [
    ("north_america", "CA US"),
    (
        "rest_of_africa",
        "AO BF BI BJ BW CG CI CM DZ ER ET GA GH GM GW KE LR LS LY MA MG ML MR MW MZ NA NE RW SD SL SN SO SS SZ TD TG TN \
         TZ UG ZM ZW",
    ),
    ("rest_of_asia_pacific", "AF AU BD CN HK JP KH LA LK MN NP NZ PG PH SG TH TJ TM TW UZ VN"),
    ("rest_of_central_eastern_europe", "AL AM AZ BG BY CZ GE GR HR HU LT LV MD MK PL RO RS SI SK UA"),
    ("rest_of_latin_america", "BO CR DO EC GT HN HT JM NI PA PR PY SV UY VE"),
    ("rest_of_middle_east", "BH IQ JO KW LB OM QA YE"),
    ("rest_of_western_europe", "AT BE CH DK FI IE NO PT SE"),
    // Meta lists none here; these have a market of their own since.
    (OTHER, "KZ"),
];

/// Countries that have, or had, a market of their own, by the name that Meta's rate card gives them.
static NAMES: [(&str, &str); 39] = [
    ("Argentina", "AR"),
    ("Bangladesh", "BD"),
    ("Brazil", "BR"),
    ("Chile", "CL"),
    ("Colombia", "CO"),
    ("Egypt", "EG"),
    ("France", "FR"),
    ("Germany", "DE"),
    ("Hong Kong", "HK"),
    ("Hungary", "HU"),
    ("India", "IN"),
    ("Indonesia", "ID"),
    ("Iraq", "IQ"),
    ("Israel", "IL"),
    ("Italy", "IT"),
    ("Kazakhstan", "KZ"),
    ("Kuwait", "KW"),
    ("Malaysia", "MY"),
    ("Mexico", "MX"),
    ("Morocco", "MA"),
    ("Nepal", "NP"),
    ("Netherlands", "NL"),
    ("Nigeria", "NG"),
    ("Oman", "OM"),
    ("Pakistan", "PK"),
    ("Peru", "PE"),
    ("Poland", "PL"),
    ("Qatar", "QA"),
    ("Romania", "RO"),
    ("Russia", "RU"),
    ("Saudi Arabia", "SA"),
    ("Singapore", "SG"),
    ("South Africa", "ZA"),
    ("Spain", "ES"),
    ("Sri Lanka", "LK"),
    ("Turkey", "TR"),
    ("Ukraine", "UA"),
    ("United Arab Emirates", "AE"),
    ("United Kingdom", "GB"),
];

/// Returns the market that `text` names: the code of a country, a region, or either as Meta's rate card writes it (`Rest of Africa`).
pub fn named(text: &str) -> Option<String> {
    let code = text.trim().to_uppercase();
    if is_country(&code) {
        return Some(code);
    }
    let folded = fold(text);
    let region = REGIONS.iter().find(|(region, _)| fold(region) == folded).map(|(region, _)| *region);
    let country = || NAMES.iter().find(|(name, _)| fold(name) == folded).map(|(_, code)| *code);
    region.or_else(country).map(str::to_owned)
}

/// Returns the regions, for error messages.
pub fn regions() -> impl Iterator<Item = &'static str> {
    REGIONS.iter().map(|(region, _)| *region)
}

/// Returns the region whose rates `country` has where it has none of its own; `None` for one that always was a market.
pub fn region_of(country: &str) -> Option<&'static str> {
    let of_country = |(_, countries): &&(&str, &str)| countries.split(' ').any(|known| known == country);
    let is_market = || NAMES.iter().any(|(_, code)| *code == country);
    let region = REGIONS.iter().find(of_country).map(|(region, _)| *region);
    region.or_else(|| (!is_market()).then_some(OTHER))
}

/// Keeps letters only, in lower case.
fn fold(text: &str) -> String {
    text.chars().filter(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn named_codes_regions_and_names_of_the_rate_card() {
        for (text, market) in [
            ("DE", Some("DE")),
            (" de", Some("DE")),
            ("Germany", Some("DE")),
            ("SAUDI ARABIA", Some("SA")),
            ("Rest of Central & Eastern Europe", Some("rest_of_central_eastern_europe")),
            ("rest_of_latin_america", Some("rest_of_latin_america")),
            ("Other", Some("other")),
            ("Europe", None),
            ("XX", None),
            ("", None),
        ] {
            assert_eq!(named(text).as_deref(), market, "{text}");
        }
    }

    #[test]
    fn each_country_is_in_one_region_at_most() {
        let countries: Vec<&str> = REGIONS.iter().flat_map(|(_, countries)| countries.split_whitespace()).collect();
        assert!(countries.iter().chain(NAMES.iter().map(|(_, code)| code)).all(|code| is_country(code)));
        assert_eq!(countries.iter().collect::<HashSet<_>>().len(), countries.len());
        let regions = ["KE", "US", "KZ", "AT", "IS"].map(region_of);
        let expected = ["rest_of_africa", "north_america", "other", "rest_of_western_europe", "other"];
        assert_eq!(regions, expected.map(Some));
        for market in ["DE", "GB", "IN", "BR", "AE"] {
            assert_eq!(region_of(market), None, "{market}");
        }
    }
}
