//! Codes of countries and currencies: which exist, and which one an invalid code probably means.
//!
//! Countries: ISO 3166-1, from Debian's `iso-codes` 4.15 (249 of them; without `XK` and other user-assigned codes).
//! Currencies: ISO 4217 list one as of January 2026, from <https://github.com/datasets/currency-codes>, without the
//! codes that have no minor unit (precious metals, `XDR`, `XXX`, `XTS`): an amount in minor units cannot be in those.
//! `docs/WRITES.md` describes how rows that hold an older code are treated.

use super::nearest;

/// Alpha-2 and alpha-3 codes of countries.
static COUNTRIES: &str = "\
    AD:AND AE:ARE AF:AFG AG:ATG AI:AIA AL:ALB AM:ARM AO:AGO AQ:ATA AR:ARG AS:ASM AT:AUT AU:AUS AW:ABW AX:ALA \
    AZ:AZE BA:BIH BB:BRB BD:BGD BE:BEL BF:BFA BG:BGR BH:BHR BI:BDI BJ:BEN BL:BLM BM:BMU BN:BRN BO:BOL BQ:BES \
    BR:BRA BS:BHS BT:BTN BV:BVT BW:BWA BY:BLR BZ:BLZ CA:CAN CC:CCK CD:COD CF:CAF CG:COG CH:CHE CI:CIV CK:COK \
    CL:CHL CM:CMR CN:CHN CO:COL CR:CRI CU:CUB CV:CPV CW:CUW CX:CXR CY:CYP CZ:CZE DE:DEU DJ:DJI DK:DNK DM:DMA \
    DO:DOM DZ:DZA EC:ECU EE:EST EG:EGY EH:ESH ER:ERI ES:ESP ET:ETH FI:FIN FJ:FJI FK:FLK FM:FSM FO:FRO FR:FRA \
    GA:GAB GB:GBR GD:GRD GE:GEO GF:GUF GG:GGY GH:GHA GI:GIB GL:GRL GM:GMB GN:GIN GP:GLP GQ:GNQ GR:GRC GS:SGS \
    GT:GTM GU:GUM GW:GNB GY:GUY HK:HKG HM:HMD HN:HND HR:HRV HT:HTI HU:HUN ID:IDN IE:IRL IL:ISR IM:IMN IN:IND \
    IO:IOT IQ:IRQ IR:IRN IS:ISL IT:ITA JE:JEY JM:JAM JO:JOR JP:JPN KE:KEN KG:KGZ KH:KHM KI:KIR KM:COM KN:KNA \
    KP:PRK KR:KOR KW:KWT KY:CYM KZ:KAZ LA:LAO LB:LBN LC:LCA LI:LIE LK:LKA LR:LBR LS:LSO LT:LTU LU:LUX LV:LVA \
    LY:LBY MA:MAR MC:MCO MD:MDA ME:MNE MF:MAF MG:MDG MH:MHL MK:MKD ML:MLI MM:MMR MN:MNG MO:MAC MP:MNP MQ:MTQ \
    MR:MRT MS:MSR MT:MLT MU:MUS MV:MDV MW:MWI MX:MEX MY:MYS MZ:MOZ NA:NAM NC:NCL NE:NER NF:NFK NG:NGA NI:NIC \
    NL:NLD NO:NOR NP:NPL NR:NRU NU:NIU NZ:NZL OM:OMN PA:PAN PE:PER PF:PYF PG:PNG PH:PHL PK:PAK PL:POL PM:SPM \
    PN:PCN PR:PRI PS:PSE PT:PRT PW:PLW PY:PRY QA:QAT RE:REU RO:ROU RS:SRB RU:RUS RW:RWA SA:SAU SB:SLB SC:SYC \
    SD:SDN SE:SWE SG:SGP SH:SHN SI:SVN SJ:SJM SK:SVK SL:SLE SM:SMR SN:SEN SO:SOM SR:SUR SS:SSD ST:STP SV:SLV \
    SX:SXM SY:SYR SZ:SWZ TC:TCA TD:TCD TF:ATF TG:TGO TH:THA TJ:TJK TK:TKL TL:TLS TM:TKM TN:TUN TO:TON TR:TUR \
    TT:TTO TV:TUV TW:TWN TZ:TZA UA:UKR UG:UGA UM:UMI US:USA UY:URY UZ:UZB VA:VAT VC:VCT VE:VEN VG:VGB VI:VIR \
    VN:VNM VU:VUT WF:WLF WS:WSM YE:YEM YT:MYT ZA:ZAF ZM:ZMB ZW:ZWE";

/// Codes of currencies, by the number of digits after the decimal point.
static CURRENCIES: [(u8, &str); 4] = [
    (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
    (
        2,
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF \
         CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL \
         HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU \
         MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR \
         SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED \
         VES WST XAD XCD XCG YER ZAR ZMW ZWG",
    ),
    (3, "BHD IQD JOD KWD LYD OMR TND"),
    (4, "CLF UYW"),
];

/// Common wrong or withdrawn country codes, and the code that is meant.
static MEANT_COUNTRIES: [(&str, &str); 8] =
    [("UK", "GB"), ("EN", "GB"), ("EL", "GR"), ("SU", "RU"), ("BU", "MM"), ("TP", "TL"), ("ZR", "CD"), ("FX", "FR")];

/// Signs and names of currencies, and withdrawn codes with their successors.
static MEANT_CURRENCIES: [(&str, &str); 42] = [
    ("€", "EUR"),
    ("EURO", "EUR"),
    ("$", "USD"),
    ("US$", "USD"),
    ("£", "GBP"),
    ("UKP", "GBP"),
    ("STG", "GBP"),
    ("¥", "JPY"),
    ("YEN", "JPY"),
    ("RMB", "CNY"),
    ("CNH", "CNY"),
    ("NTD", "TWD"),
    ("NIS", "ILS"),
    ("₹", "INR"),
    ("SFR", "CHF"),
    ("RUR", "RUB"),
    ("TRL", "TRY"),
    ("ROL", "RON"),
    ("BYR", "BYN"),
    ("MRO", "MRU"),
    ("STD", "STN"),
    ("SLL", "SLE"),
    ("VEF", "VES"),
    ("ZWL", "ZWG"),
    ("ANG", "XCG"),
    ("CUC", "CUP"),
    ("ZMK", "ZMW"),
    ("GHC", "GHS"),
    ("AZM", "AZN"),
    ("MZM", "MZN"),
    ("BGN", "EUR"),
    ("HRK", "EUR"),
    ("LTL", "EUR"),
    ("LVL", "EUR"),
    ("EEK", "EUR"),
    ("SKK", "EUR"),
    ("DEM", "EUR"),
    ("FRF", "EUR"),
    ("ITL", "EUR"),
    ("ESP", "EUR"),
    ("NLG", "EUR"),
    ("ATS", "EUR"),
];

/// Whether `code` is the ISO 3166-1 alpha-2 code of a country.
pub fn is_country(code: &str) -> bool {
    countries().any(|(known, _)| known == code)
}

/// Returns the digits after the decimal point of the ISO 4217 currency `code`; `None`: there is no such currency.
pub fn minor_units(code: &str) -> Option<u8> {
    CURRENCIES.iter().find(|(_, codes)| codes.split(' ').any(|known| known == code)).map(|(digits, _)| *digits)
}

/// Returns the country that `text`, which is not a code, probably means. Not by similarity: half the codes differ by
/// one character.
pub fn meant_country(text: &str) -> Option<&'static str> {
    let upper = text.trim().to_uppercase();
    let known = countries().find(|(two, three)| *two == upper || *three == upper).map(|(two, _)| two);
    known.or_else(|| MEANT_COUNTRIES.iter().find(|(written, _)| *written == upper).map(|(_, code)| *code))
}

/// Returns the currency that `text`, which is not a code, probably means.
pub fn meant_currency(text: &str) -> Option<&'static str> {
    let upper = text.trim().to_uppercase();
    let meant = MEANT_CURRENCIES.iter().find(|(written, _)| *written == upper).map(|(_, code)| *code);
    // Codes with an X belong to no single country, some are metals and funds: similarity says nothing about them.
    let alike = || nearest(&upper, &currencies().collect::<Vec<_>>()).filter(|_| !upper.starts_with('X'));
    meant.or_else(alike)
}

/// Describes the digits of amounts, for the OpenAPI document.
pub fn about_minor_units() -> String {
    let but = CURRENCIES.iter().filter(|(digits, _)| *digits != 2);
    let but: Vec<String> = but.map(|(digits, codes)| format!("{digits} of {}", codes.replace(' ', ", "))).collect();
    format!("ISO 4217. An amount has 2 digits after the point; {}.", but.join("; "))
}

fn countries() -> impl Iterator<Item = (&'static str, &'static str)> {
    COUNTRIES.split(' ').filter_map(|pair| pair.split_once(':'))
}

fn currencies() -> impl Iterator<Item = &'static str> {
    CURRENCIES.iter().flat_map(|(_, codes)| codes.split(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn country_and_currency_lists_are_complete_and_sorted() {
        let two: Vec<&str> = countries().map(|(two, _)| two).collect();
        assert_eq!(two.len(), 249);
        assert!(two.is_sorted() && two.iter().all(|code| code.len() == 2));
        assert!(countries().all(|(_, three)| three.len() == 3));
        for (_, codes) in CURRENCIES {
            let codes: Vec<&str> = codes.split(' ').collect();
            assert!(codes.is_sorted() && codes.iter().all(|code| code.len() == 3));
        }
        assert_eq!(currencies().count(), 165);
    }

    #[test]
    fn suggested_codes_exist_and_misspelt_ones_do_not() {
        for (written, meant) in MEANT_COUNTRIES {
            assert!(is_country(meant) && !is_country(written), "{written}");
        }
        for (written, meant) in MEANT_CURRENCIES {
            assert!(minor_units(meant).is_some() && minor_units(written).is_none(), "{written}");
        }
        for (written, meant) in [("gb", Some("GB")), ("DEU", Some("DE")), ("uk", Some("GB")), ("XX", None), ("", None)]
        {
            assert_eq!(meant_country(written), meant, "{written}");
        }
        for (written, meant) in [("eur", Some("EUR")), ("EUE", Some("EUR")), ("€", Some("EUR")), ("XQX", None)] {
            assert_eq!(meant_currency(written), meant, "{written}");
        }
        assert_eq!([minor_units("JPY"), minor_units("EUR"), minor_units("KWD")], [Some(0), Some(2), Some(3)]);
    }
}
