//! National spellings of one phone line, to find a contact whose number is written in another of them.
//!
//! WhatsApp writes some numbers without a digit that people dial, or with one that they no longer dial. The spellings
//! serve matching only: a stored number and the address that is sent to keep the digits that were given.

/// Digits of a national number in Mexico and Argentina.
const NATIONAL_LEN: usize = 10;

/// Digits of a number in Brazil without country, area and mobile prefix.
const BRAZIL_SUBSCRIBER_LEN: usize = 8;

/// Returns the spelling under which all [`variants`] of a number meet. `digits` is a complete number with its country
/// code and without `+`; any other text is returned unchanged.
///
/// - Brazil: mobile numbers got a leading 9 from 2012 to 2016 (Anatel, resolution 553/2010); WhatsApp omits it for
///   older accounts. The key has it. Landlines (8 digits that begin with 2 to 5) have none.
/// - Mexico: mobile numbers had a 1 after the country code until 2019; the key has none.
/// - Argentina: mobile numbers are dialled from abroad with a 9 after the country code; the key has none.
pub fn match_key(digits: &str) -> String {
    if let Some((area, subscriber)) = brazilian_mobile(digits) {
        return format!("55{area}9{subscriber}");
    }
    for (country, mobile) in [("52", "521"), ("54", "549")] {
        if let Some(national) = national(digits, mobile) {
            return format!("{country}{national}");
        }
    }
    digits.to_owned()
}

/// Returns the spellings of a number: `digits` first, then the others, at most three in all. Anything but a number of a
/// country with several spellings has only its own.
pub fn variants(digits: &str) -> Vec<String> {
    let mut spellings = vec![digits.to_owned()];
    let mut add = |spelling: String| {
        if !spellings.contains(&spelling) {
            spellings.push(spelling);
        }
    };
    if let Some((area, subscriber)) = brazilian_mobile(digits) {
        add(format!("55{area}9{subscriber}"));
        add(format!("55{area}{subscriber}"));
    }
    for (country, mobile) in [("52", "521"), ("54", "549")] {
        if let Some(national) = national(digits, mobile).or_else(|| national(digits, country)) {
            add(format!("{country}{national}"));
            add(format!("{mobile}{national}"));
        }
    }
    spellings
}

/// Returns the area code and the last eight digits of a Brazilian mobile number, with or without its 9.
fn brazilian_mobile(digits: &str) -> Option<(&str, &str)> {
    let (area, number) = only_digits(digits)?.strip_prefix("55")?.split_at_checked(2)?;
    let subscriber = match number.len() {
        BRAZIL_SUBSCRIBER_LEN => number,
        _ => number.strip_prefix('9')?,
    };
    let is_mobile = subscriber.len() == BRAZIL_SUBSCRIBER_LEN && subscriber.starts_with(['6', '7', '8', '9']);
    is_mobile.then_some((area, subscriber))
}

/// Returns the ten national digits after `prefix`.
fn national<'a>(digits: &'a str, prefix: &str) -> Option<&'a str> {
    only_digits(digits)?.strip_prefix(prefix).filter(|national| national.len() == NATIONAL_LEN)
}

fn only_digits(text: &str) -> Option<&str> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn match_key_joins_national_spellings() {
        for (digits, key) in [
            ("551187654321", "5511987654321"),
            ("5511987654321", "5511987654321"),
            // Landlines, and a mobile number that no old account can have without its 9.
            ("551133334444", "551133334444"),
            ("5511933334444", "5511933334444"),
            ("55118765432", "55118765432"),
            ("5215512345678", "525512345678"),
            ("525512345678", "525512345678"),
            ("5491123456789", "541123456789"),
            ("541123456789", "541123456789"),
            ("447700900123", "447700900123"),
            ("+551187654321", "+551187654321"),
            ("GB.1349", "GB.1349"),
            ("55é", "55é"),
            ("", ""),
        ] {
            assert_eq!(match_key(digits), key, "{digits}");
        }
    }

    #[test]
    fn variants_given_spelling_first() {
        assert_eq!(variants("551187654321"), ["551187654321", "5511987654321"]);
        assert_eq!(variants("5511987654321"), ["5511987654321", "551187654321"]);
        assert_eq!(variants("551133334444"), ["551133334444"]);
        assert_eq!(variants("525512345678"), ["525512345678", "5215512345678"]);
        assert_eq!(variants("5491123456789"), ["5491123456789", "541123456789"]);
        assert_eq!(variants("447700900123"), ["447700900123"]);
    }

    fn numbers() -> impl Strategy<Value = String> {
        prop_oneof!["(55|52|521|54|549)[0-9]{6,12}", "[0-9]{0,16}", any::<String>()]
    }

    proptest! {
        #[test]
        fn variants_share_one_key(digits in numbers()) {
            let key = match_key(&digits);
            prop_assert_eq!(&match_key(&key), &key);
            let spellings = variants(&digits);
            prop_assert_eq!(spellings.first(), Some(&digits));
            prop_assert!(spellings.len() <= 3);
            prop_assert!(spellings.contains(&key));
            for spelling in &spellings {
                prop_assert_eq!(&match_key(spelling), &key);
                let mut of_spelling = variants(spelling);
                of_spelling.sort();
                let mut sorted = spellings.clone();
                sorted.sort();
                prop_assert_eq!(of_spelling, sorted);
            }
        }
    }
}
