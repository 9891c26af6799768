//! Bodies: from JSON to a [`Change`], with every fault found at once.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::field::{Field, Kind, Written};
use super::{Noun, clean, codes, did_you_mean, nearest, params, phone};
use crate::auth::Business;
use crate::db::Value;
use crate::error::{Error, Fault, Result};
use crate::hint::shown;

/// Faults that an answer names; who has more has another problem.
pub const MOST_FAULTS: usize = 200;
/// Labels of one row.
pub const MOST_TAGS: usize = 50;
const LONGEST_TAG: usize = 50;
/// Bytes of a caller's own object, as text.
pub const LARGEST_OBJECT: usize = 64 * 1024;

/// The faults of a body, gathered.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// A fault of the field `name`.
    pub fn field(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        // More would not be told.
        if self.0.len() < MOST_FAULTS {
            let name = shown(name);
            self.0.push(Fault::new(format!("/{}", name.replace('~', "~0").replace('/', "~1")), code, detail));
        }
    }

    /// A fault at `pointer`.
    pub fn add(&mut self, pointer: String, code: &'static str, detail: impl Into<String>) {
        self.0.push(Fault::new(pointer, code, detail));
    }

    /// What was read, or written, of the member `name`; nothing, and its faults are added, where it has some.
    /// Errors: those after which nothing more can be tried, as when the database refused.
    pub fn member<T>(&mut self, name: &str, read: Result<T>) -> Result<Option<T>> {
        let refused = matches!(read, Err(Error::Database(_)));
        match read.map_err(|error| error.of_member(name)) {
            Ok(read) => Ok(Some(read)),
            Err(Error::Invalid(faults)) => {
                self.0.extend(faults);
                if refused { Err(Error::Invalid(std::mem::take(&mut self.0))) } else { Ok(None) }
            }
            Err(error) => Err(error),
        }
    }

    /// What was read last, if neither it nor anything before is at fault. Errors: 422 with the faults of all.
    pub fn and<T>(mut self, read: Result<T>) -> Result<T> {
        if let Err(Error::Invalid(faults)) = read {
            self.0.extend(faults);
            self.0.truncate(MOST_FAULTS);
            return Err(Error::Invalid(self.0));
        }
        self.into_result()?;
        read
    }

    /// Faults of a part of the body, whose pointers begin at `place`.
    pub fn part(&mut self, place: &str, faults: &[Fault]) {
        let below = |fault: &Fault| Fault { pointer: format!("{place}{}", fault.pointer), ..fault.clone() };
        self.0.extend(faults.iter().map(below));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_inner(mut self) -> Vec<Fault> {
        self.0.truncate(MOST_FAULTS);
        self.0
    }

    pub fn into_result(self) -> Result<()> {
        match self.into_inner() {
            faults if faults.is_empty() => Ok(()),
            faults => Err(Error::Invalid(faults)),
        }
    }
}

/// What a body is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Create,
    Update,
    /// To be compared with a row that is there: it may repeat what was set once.
    Match,
}

/// What a write sets: fields of one noun and their new values, in the noun's order.
#[derive(Clone, Debug)]
pub struct Change {
    pub noun: &'static Noun,
    /// Whether a row is made, rather than changed.
    pub creates: bool,
    values: Vec<(&'static Field, Value)>,
    /// Fields that are set only where the other field becomes another than it is.
    following: Vec<(&'static str, &'static str)>,
    /// Fields that are set only where the row has nothing in them.
    filling: Vec<&'static str>,
}

impl Change {
    /// Nothing yet, of a row of `noun` that is there.
    pub fn none(noun: &'static Noun) -> Self {
        Self { noun, creates: false, values: Vec::new(), following: Vec::new(), filling: Vec::new() }
    }

    /// Reads the body of a creation or of a merge patch. Errors: 422 with every fault of type, range, presence, and
    /// between fields; 400 if it is no object.
    pub fn parse(noun: &'static Noun, body: Json, creates: bool, business: &Business) -> Result<Self> {
        let Json::Object(members) = body else {
            return Err(Error::malformed("not_an_object", "The body must be a JSON object."));
        };
        Self::read(noun, members, if creates { Purpose::Create } else { Purpose::Update }, business)
            .map_err(Error::Invalid)
    }

    /// Reads an item of a set. Errors: all its faults.
    pub fn of_item(
        noun: &'static Noun,
        members: Map<String, Json>,
        creates: bool,
        business: &Business,
    ) -> Result<Self, Vec<Fault>> {
        Self::read(noun, members, if creates { Purpose::Create } else { Purpose::Update }, business)
    }

    /// Reads what a row that is there is to be like. It may have fields that are set once, for the row to be compared with.
    /// Errors: all faults.
    pub fn of_match(noun: &'static Noun, members: Map<String, Json>, business: &Business) -> Result<Self, Vec<Fault>> {
        Self::read(noun, members, Purpose::Match, business)
    }

    fn read(
        noun: &'static Noun,
        mut members: Map<String, Json>,
        purpose: Purpose,
        business: &Business,
    ) -> Result<Self, Vec<Fault>> {
        let mut change = Self { creates: purpose == Purpose::Create, ..Self::none(noun) };
        let mut faults = Faults::default();
        for field in noun.fields {
            change.read_field(field, members.shift_remove(field.name), purpose, business, &mut faults);
        }
        unknown(noun, &members, change.creates, &mut faults);
        (noun.hooks.prepare)(&mut change, business, &mut faults);
        change.default_currencies(business);
        if faults.is_empty() { Ok(change) } else { Err(faults.into_inner()) }
    }

    fn read_field(
        &mut self,
        field: &'static Field,
        given: Option<Json>,
        purpose: Purpose,
        business: &Business,
        faults: &mut Faults,
    ) {
        let name = field.name;
        match given {
            None if self.creates && field.required => faults.field(name, "required", format!("`{name}` is required.")),
            None => {}
            Some(_) if field.written == Written::Never => {
                faults.field(name, "read_only", format!("`{name}` is set by the service. Leave it out."));
            }
            Some(_) if field.written == Written::Once && purpose == Purpose::Update => {
                faults.field(name, "read_only", format!("`{name}` cannot be changed. Leave it out."));
            }
            // On creation a null is the same as nothing.
            Some(Json::Null) if self.creates && field.nullable => {}
            Some(Json::Null) if !field.nullable => {
                faults.field(name, "required", format!("`{name}` must not be null."));
            }
            Some(json) => match value(field.kind, json, business) {
                Ok(Value::Json(Some(object))) if self.creates && field.merges() => {
                    self.values.push((field, Value::Json(Some(merged_into_nothing(object)))));
                }
                Ok(value) => self.values.push((field, value)),
                Err((code, detail)) => faults.field(name, code, format!("`{name}` {detail}")),
            },
        }
    }

    /// A change of a row that is there, which sets nothing yet.
    pub fn nothing(noun: &'static Noun) -> Self {
        Self::none(noun)
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(field, _)| field.name == name).map(|(_, value)| value)
    }

    /// The text of `name`, if it is set and not null.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_text)
    }

    /// Sets `name`, replacing what the caller gave. Names that the noun does not have are ignored.
    pub fn set(&mut self, name: &str, value: Value) {
        self.unset(name);
        if let Some(field) = self.noun.field(name) {
            self.values.push((field, value));
        }
    }

    /// Sets `name` unless the caller did.
    pub fn set_default(&mut self, name: &str, value: Value) {
        if self.get(name).is_none() {
            self.set(name, value);
        }
    }

    /// Sets `name` where `by`, which this change sets, becomes another than it is: whoever repeats a value changes nothing
    /// that follows from it. (Of a new row it always does.)
    pub fn set_with(&mut self, by: &'static str, name: &'static str, value: Value) {
        self.set(name, value);
        if !self.creates {
            self.following.push((name, by));
        }
    }

    /// The field with which `name` is set, see [`Change::set_with`].
    pub fn follows(&self, name: &str) -> Option<&'static str> {
        self.following.iter().find(|(follower, _)| *follower == name).map(|(_, by)| *by)
    }

    /// Sets `name` where the row has nothing in it: what it has stays. (A new row has nothing.)
    fn fill(&mut self, name: &'static str, value: Value) {
        self.set(name, value);
        if !self.creates {
            self.filling.push(name);
        }
    }

    /// Whether `name` is set only where the row has nothing in it.
    pub fn fills(&self, name: &str) -> bool {
        self.filling.contains(&name)
    }

    /// Money without a currency is in the business' own, unless the row has one already: what a change does not name stays.
    fn default_currencies(&mut self, business: &Business) {
        for field in self.noun.fields {
            let is_given = self.get(field.name).is_some_and(|amount| !amount.is_null());
            if let Some(currency) = field.currency.filter(|name| is_given && self.get(name).is_none()) {
                self.fill(currency, Value::Text(Some(business.currency.clone())));
            }
        }
    }

    /// Leaves `name` as it is.
    pub fn unset(&mut self, name: &str) {
        self.filling.retain(|filled| *filled != name);
        self.values.retain(|(field, _)| field.name != name);
        self.following.retain(|(follower, _)| *follower != name);
    }

    pub fn values(&self) -> &[(&'static Field, Value)] {
        &self.values
    }
}

fn unknown(noun: &Noun, members: &Map<String, Json>, creates: bool, faults: &mut Faults) {
    let writable = |field: &&Field| field.written == Written::Always || (creates && field.written == Written::Once);
    for name in members.keys() {
        let known = noun.fields.iter().filter(writable).map(|field| field.name);
        let hint = did_you_mean(name, known);
        faults.field(name, "unknown_field", format!("There is no field `{}`.{hint}", shown(name)));
    }
}

type Refusal = (&'static str, String);

/// One JSON value as a field of `kind`. `null` is the kind's NULL.
pub fn value(kind: Kind, json: Json, business: &Business) -> Result<Value, Refusal> {
    match (kind, json) {
        (_, Json::Null) => Ok(null(kind)),
        (Kind::Bool, Json::Bool(flag)) => Ok(Value::Bool(Some(flag))),
        (Kind::Int { min, max }, Json::Number(number)) => match number.as_i64() {
            Some(number) if (min..=max).contains(&number) => Ok(Value::Int(Some(number))),
            _ => Err(("out_of_range", must_be(kind))),
        },
        (Kind::Tags, Json::Array(items)) => tags(items),
        (Kind::Object, Json::Object(members)) => object(members),
        (Kind::Bool | Kind::Int { .. } | Kind::Tags | Kind::Object, _) => Err(("type", must_be(kind))),
        (_, Json::String(text)) => scalar(kind, &text, business),
        _ => Err(("type", must_be(kind))),
    }
}

/// One value from text: a parameter of a list, a string of a body, a cell of an import.
pub fn scalar(kind: Kind, text: &str, business: &Business) -> Result<Value, Refusal> {
    if text.contains('\0') {
        return Err(("nul", "must not contain the character U+0000.".into()));
    }
    let text = cleaned(kind, text);
    let text = text.as_ref();
    let wrong = |code| Err((code, must_be(kind)));
    let length = text.chars().count();
    match kind {
        Kind::Uuid => match Uuid::try_parse(text) {
            Ok(id) => Ok(Value::Uuid(Some(id))),
            Err(_) => wrong("format"),
        },
        Kind::Text { min: 1.., .. } | Kind::Secret { min: 1.., .. } if text.trim().is_empty() => {
            Err(("blank", "must not be blank.".into()))
        }
        Kind::Text { min, max } | Kind::Secret { min, max } if (min..=max).contains(&length) => {
            Ok(Value::Text(Some(text.to_owned())))
        }
        Kind::Text { .. } | Kind::Secret { .. } => wrong("length"),
        Kind::Choice(among) if among.contains(&text) => Ok(Value::Text(Some(text.to_owned()))),
        Kind::Choice(among) => {
            let hint = nearest(text, among).map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
            Err(("not_a_choice", format!("must be {}.{hint}", expected(kind))))
        }
        Kind::Domain if is_domain(text) => Ok(Value::Text(Some(text.to_owned()))),
        Kind::Email if is_email(text) => Ok(Value::Text(Some(text.to_owned()))),
        Kind::Phone if is_phone(text) => Ok(Value::Text(Some(phone::normalise(text, &business.country)))),
        Kind::Int { min, max } => match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(Value::Int(Some(number))),
            _ => wrong("out_of_range"),
        },
        Kind::Bool => match text {
            "true" => Ok(Value::Bool(Some(true))),
            "false" => Ok(Value::Bool(Some(false))),
            _ => wrong("type"),
        },
        Kind::Time => match params::instant(text) {
            Some(time) => Ok(Value::Time(Some(time))),
            None => wrong("format"),
        },
        Kind::Date => match date(text) {
            Some(date) => Ok(Value::Date(Some(date))),
            None => wrong("format"),
        },
        Kind::Zone if text.parse::<chrono_tz::Tz>().is_ok() => Ok(Value::Text(Some(text.to_owned()))),
        Kind::Currency if codes::minor_units(text).is_some() => Ok(Value::Text(Some(text.to_owned()))),
        Kind::Country if codes::is_country(text) => Ok(Value::Text(Some(text.to_owned()))),
        Kind::Currency | Kind::Country => {
            let meant = if kind == Kind::Country { codes::meant_country(text) } else { codes::meant_currency(text) };
            let hint = meant.map(|code| format!(" Did you mean `{code}`?")).unwrap_or_default();
            Err(("format", format!("{}{hint}", must_be(kind))))
        }
        Kind::Decimal if is_decimal(text) => Ok(Value::Decimal(Some(text.to_owned()))),
        Kind::Tags if (1..=LONGEST_TAG).contains(&length) => Ok(Value::Text(Some(text.to_owned()))),
        _ => wrong("format"),
    }
}

/// `text` as it is validated, stored and compared.
fn cleaned(kind: Kind, text: &str) -> Cow<'_, str> {
    match kind {
        Kind::Text { max, .. } if max > clean::LONGEST_LINE => clean::prose(text),
        Kind::Text { .. } | Kind::Tags => clean::line(text),
        Kind::Email | Kind::Domain | Kind::Phone => clean::address(text),
        _ => text.into(),
    }
}

fn must_be(kind: Kind) -> String {
    format!("must be {}.", expected(kind))
}

/// What a value of `kind` has to be, for people.
fn expected(kind: Kind) -> String {
    match kind {
        Kind::Uuid => "a UUID".into(),
        Kind::Text { min, max } | Kind::Secret { min, max } => format!("a text of {min} to {max} characters"),
        Kind::Choice(among) => format!("one of {}", among.join(", ")),
        Kind::Domain => "a domain such as example.com, without https:// or a path".into(),
        Kind::Email => "an e-mail address of at most 254 characters".into(),
        Kind::Phone => "a phone number of at most 50 characters, without line breaks".into(),
        Kind::Int { min, max } => format!("a whole number from {min} to {max}"),
        Kind::Bool => "true or false".into(),
        Kind::Time => "an RFC 3339 date-time such as 2026-11-20T09:30:00Z".into(),
        Kind::Date => "a date such as 2026-11-20".into(),
        Kind::Zone => "an IANA time zone such as Europe/Berlin".into(),
        Kind::Currency => "the ISO 4217 code of a currency in use, such as EUR".into(),
        Kind::Country => "an ISO 3166-1 code such as DE".into(),
        Kind::Decimal => {
            "a decimal number as a string, such as \"0.0125\": at most 8 digits before and 6 after the point".into()
        }
        Kind::Tags => format!("at most {MOST_TAGS} texts of 1 to {LONGEST_TAG} characters"),
        Kind::Object => format!("a JSON object of at most {LARGEST_OBJECT} bytes"),
    }
}

fn null(kind: Kind) -> Value {
    match kind {
        Kind::Uuid => Value::Uuid(None),
        Kind::Int { .. } => Value::Int(None),
        Kind::Bool => Value::Bool(None),
        Kind::Time => Value::Time(None),
        Kind::Date => Value::Date(None),
        Kind::Object => Value::Json(None),
        Kind::Decimal => Value::Decimal(None),
        Kind::Tags => Value::Texts(Vec::new()),
        _ => Value::Text(None),
    }
}

fn tags(items: Vec<Json>) -> Result<Value, Refusal> {
    let refusal = || ("format", must_be(Kind::Tags));
    // Before they are compared with each other.
    if items.len() > MOST_TAGS {
        return Err(refusal());
    }
    let mut tags = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Json::String(tag) if !tag.contains('\0') => {
                let tag = cleaned(Kind::Tags, &tag);
                if !(1..=LONGEST_TAG).contains(&tag.chars().count()) {
                    return Err(refusal());
                }
                if !tags.iter().any(|known| *known == *tag) {
                    tags.push(tag.into_owned());
                }
            }
            _ => return Err(refusal()),
        }
    }
    Ok(Value::Texts(tags))
}

fn object(members: Map<String, Json>) -> Result<Value, Refusal> {
    let object = Json::Object(members);
    if has_nul(&object) {
        return Err(("nul", "must not contain the character U+0000.".into()));
    }
    if has_wild_number(&object) {
        let detail =
            "may hold numbers that are 0 or between 1e-15 and 1e15, or their negatives; write others as strings.";
        return Err(("out_of_range", detail.into()));
    }
    if object.to_string().len() > LARGEST_OBJECT {
        return Err(("length", must_be(Kind::Object)));
    }
    Ok(Value::Json(Some(object)))
}

/// What a merge patch makes of nothing (RFC 7396): members that are null are none, within lists they stay.
fn merged_into_nothing(patch: Json) -> Json {
    match patch {
        Json::Object(members) => {
            let named = members.into_iter().filter(|(_, value)| !value.is_null());
            Json::Object(named.map(|(name, value)| (name, merged_into_nothing(value))).collect())
        }
        other => other,
    }
}

/// Whether a number lies where PostgreSQL would write it out in hundreds of digits: five characters of a body would
/// become three hundred of every answer.
fn has_wild_number(json: &Json) -> bool {
    match json {
        Json::Number(number) => {
            number.as_f64().is_none_or(|n| n != 0.0 && !(1e-15..=1e15).contains(&n.abs())) && !number.is_i64()
        }
        Json::Array(items) => items.iter().any(has_wild_number),
        Json::Object(members) => members.values().any(has_wild_number),
        _ => false,
    }
}

fn has_nul(json: &Json) -> bool {
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(has_nul),
        Json::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// A host name with at least two labels (RFC 1123, section 2.1), in letters of any script (RFC 5890): at most 253
/// characters.
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.chars().count())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.chars().count() <= 253 && text.contains('.') && text.split('.').all(label)
}

/// Whether `text` has the shape that mail systems accept in practice; whether it exists only a mail can tell. At most 254
/// characters (RFC 5321, section 4.5.3.1.3, less the angle brackets).
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let clean =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c == '@' || c.is_whitespace() || c.is_control());
    let dotted = domain.split('.').count() > 1 && domain.split('.').all(|label| !label.is_empty());
    // No address literals (`a@[127.0.0.1]`): they lead a mail server to hosts of someone's choice.
    text.chars().count() <= 254 && clean(local) && clean(domain) && dotted && !domain.contains(['[', ']', ':'])
}

fn is_phone(text: &str) -> bool {
    let length = text.trim().chars().count();
    (1..=50).contains(&length) && !text.contains(char::is_control)
}

/// As `numeric(14, 6)` holds without rounding.
fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str, most| (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole, 8) && digits(fraction, 6)
}

fn date(text: &str) -> Option<NaiveDate> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    let first = DateTime::from_timestamp(-62_135_596_800, 0)?.date_naive();
    let last = DateTime::from_timestamp(253_402_300_799, 0)?.date_naive();
    (text.len() == 10 && (first..=last).contains(&date)).then_some(date)
}

/// Reads a JSON body; refuses one nested deeper than `depth`, before anything else looks at it.
pub fn json(bytes: &[u8], depth: usize) -> Result<Json> {
    let too_deep = || Error::malformed("too_deep", format!("The body is nested deeper than {depth} levels."));
    let parsed: Json = serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        // The library tells its own limits apart in words only.
        match error.to_string() {
            text if text.starts_with("recursion limit") => too_deep(),
            text if text.starts_with("number out of range") => Error::malformed(
                "number_out_of_range",
                format!("A number is too large for a 64-bit float ({place}). Write it as a string."),
            ),
            _ => Error::malformed("invalid_json", format!("The body is not valid JSON ({place}).")),
        }
    })?;
    if deeper(&parsed, depth) { Err(too_deep()) } else { Ok(parsed) }
}

fn deeper(json: &Json, depth: usize) -> bool {
    match json {
        Json::Array(items) => depth == 0 || items.iter().any(|item| deeper(item, depth - 1)),
        Json::Object(members) => depth == 0 || members.values().any(|value| deeper(value, depth - 1)),
        _ => false,
    }
}
