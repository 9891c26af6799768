//! Fills a template: from its components and variables to the `components` of a send call (Meta, "Send message templates"), and to the text
//! that people read in the thread. Or tells all that is wrong with the variables.
//!
//! | variable | |
//! |---|---|
//! | `1`, `first_name` | a placeholder of the body; one with a name also in the header |
//! | `header.1` | the number placeholder of a text header |
//! | `header.media` | the file of a header: `{"link": "https://…"}` or `{"id": "…"}`, of a document also `filename` |
//! | `header.location` | the place of a header: `latitude`, `longitude`, `name`, `address` |
//! | `button.0` | of a button, counted from 0: the end of its address, the code that it copies, the payload that a quick reply sends back, the token of a flow |

use serde_json::{Map, Value as Json, json};

use super::given_variables::{GivenVariables, text_of};
use super::placeholder::{Piece, is_positional, names, pieces};
use crate::base::error::FieldError;
use crate::channels::limits::MAX_BODY_LEN;

/// Characters of a value in the header, in the body beside other components, and of the code of a button (Meta, "Messages", parameter
/// object, and "Template components").
const MAX_HEADER_LEN: usize = 60;
const MAX_TEXT_LEN: usize = 1024;
const MAX_CODE_LEN: usize = 15;
/// Characters of the end of an address (Meta: an address has 2,000).
const MAX_SUFFIX_LEN: usize = 2000;
/// Characters of what a quick reply sends back, and of the token of a flow.
const MAX_PAYLOAD_LEN: usize = 256;
/// What Meta's one-time password buttons copy comes after this address.
const OTP_URL: &str = "https://www.whatsapp.com/otp/";

/// A template with its variables.
#[derive(Clone, Debug, PartialEq)]
pub struct FilledTemplate {
    /// The list `template.components` of a send call.
    pub components: Json,
    /// What the customer reads: header, body and footer, with empty lines between them.
    pub body: String,
}

/// Fills a template, whose components are as [`super::components::of_list`] makes them. Errors: each missing, unknown or unfit variable, with
/// a pointer into `variables`, and what of the template cannot be sent.
pub fn fill(components: &Json, variables: &Map<String, Json>) -> Result<FilledTemplate, Vec<FieldError>> {
    let mut filler = Filler { given: GivenVariables::new(variables), sent: Vec::new(), texts: Vec::new() };
    for unsupported in ["carousel", "limited_time_offer", "call_permission_request"] {
        if components.get(unsupported).is_some() {
            filler.given.fault("", "not_allowed", format!("Templates with `{unsupported}` cannot be sent here yet."));
        }
    }
    filler.header(&components["header"]);
    let is_alone = components.as_object().is_none_or(|all| all.len() <= 1);
    filler.body(&components["body"], if is_alone { MAX_BODY_LEN } else { MAX_TEXT_LEN });
    if let Some(footer) = components["footer"]["text"].as_str() {
        filler.texts.push(footer.to_owned());
    }
    for (place, button) in components["buttons"].as_array().into_iter().flatten().enumerate() {
        filler.button(place, button);
    }
    filler.finish()
}

struct Filler<'v> {
    given: GivenVariables<'v>,
    sent: Vec<Json>,
    texts: Vec<String>,
}

impl Filler<'_> {
    fn header(&mut self, header: &Json) {
        let format = header["format"].as_str().unwrap_or_default().to_uppercase();
        match format.as_str() {
            "" => {}
            "TEXT" => {
                let key = |name: &str| if is_positional(name) { format!("header.{name}") } else { name.to_owned() };
                self.text("header", header["text"].as_str().unwrap_or_default(), &key, MAX_HEADER_LEN);
            }
            "IMAGE" | "VIDEO" | "GIF" | "DOCUMENT" => {
                // GIFs are sent as videos.
                let kind = match format.as_str() {
                    "IMAGE" => "image",
                    "DOCUMENT" => "document",
                    _ => "video",
                };
                if let Some(media) = self.media(kind) {
                    self.sent.push(json!({ "type": "header", "parameters": [{ "type": kind, kind: media }] }));
                }
            }
            "LOCATION" => {
                if let Some(location) = self.location() {
                    let parameter = json!({ "type": "location", "location": location });
                    self.sent.push(json!({ "type": "header", "parameters": [parameter] }));
                }
            }
            other => {
                let detail = format!("Templates with a header of the format `{other}` cannot be sent here yet.");
                self.given.fault("", "not_allowed", detail);
            }
        }
    }

    fn body(&mut self, body: &Json, max: usize) {
        self.text("body", body["text"].as_str().unwrap_or_default(), &str::to_owned, max);
    }

    /// Fills the placeholders of a text, each with the variable that `key` names.
    fn text(&mut self, component: &str, text: &str, key: &dyn Fn(&str) -> String, max: usize) {
        let mut values = Vec::new();
        for name in names(text) {
            let Some(value) = self.given.value(&key(name), max) else { continue };
            let mut parameter = json!({ "type": "text", "text": value });
            if !is_positional(name) {
                parameter["parameter_name"] = name.into();
            }
            values.push((name, value, parameter));
        }
        let filled = pieces(text).into_iter().map(|piece| match piece {
            Piece::Literal(literal) => literal,
            Piece::Placeholder(name) => {
                values.iter().find(|(known, ..)| *known == name).map_or("", |(_, value, _)| value.as_str())
            }
        });
        self.texts.push(filled.collect());
        let parameters: Vec<Json> = values.into_iter().map(|(.., parameter)| parameter).collect();
        if !parameters.is_empty() {
            self.sent.push(json!({ "type": component, "parameters": parameters }));
        }
    }

    fn button(&mut self, place: usize, button: &Json) {
        let key = format!("button.{place}");
        let (kind, url) = (button["type"].as_str().unwrap_or_default(), button["url"].as_str().unwrap_or_default());
        let is_otp = kind == "OTP" || url.starts_with(OTP_URL);
        let parameter = match kind {
            // The code is in the body, too: it need not be given twice.
            "OTP" | "URL" if is_otp && !self.given.has(&key) => {
                let code = self.given.text("1");
                code.map(|code| ("url", json!({ "type": "text", "text": code })))
            }
            "OTP" => self.given.value(&key, MAX_CODE_LEN).map(|code| ("url", json!({ "type": "text", "text": code }))),
            "URL" if !names(url).is_empty() => {
                self.given.value(&key, MAX_SUFFIX_LEN).map(|suffix| ("url", json!({ "type": "text", "text": suffix })))
            }
            "COPY_CODE" => self
                .given
                .value(&key, MAX_CODE_LEN)
                .map(|code| ("copy_code", json!({ "type": "coupon_code", "coupon_code": code }))),
            "QUICK_REPLY" => self
                .given
                .optional(&key, MAX_PAYLOAD_LEN)
                .map(|payload| ("quick_reply", json!({ "type": "payload", "payload": payload }))),
            "FLOW" => {
                let token = self.given.optional(&key, MAX_PAYLOAD_LEN).unwrap_or_else(|| "unused".to_owned());
                Some(("flow", json!({ "type": "action", "action": { "flow_token": token } })))
            }
            "MPM" | "SPM" | "ORDER_DETAILS" => {
                self.given.fault(
                    "",
                    "not_allowed",
                    format!("Templates with a button `{kind}` cannot be sent here yet."),
                );
                None
            }
            _ => None,
        };
        if let Some((sub_type, parameter)) = parameter {
            self.sent.push(
                json!({ "type": "button", "sub_type": sub_type, "index": place.to_string(), "parameters": [parameter] }),
            );
        }
    }

    /// The file of a header, as a send call has it.
    fn media(&mut self, kind: &str) -> Option<Json> {
        let members: &[&str] = if kind == "document" { &["link", "id", "filename"] } else { &["link", "id"] };
        let given = self.given.object("header.media", members)?;
        let text = |name: &str| given.get(name).and_then(Json::as_str);
        match (text("link"), text("id")) {
            (Some(link), None) if !link.starts_with("https://") => {
                self.given.fault(
                    "header.media/link",
                    "format",
                    "`link` is an address that begins with https://.".into(),
                );
                None
            }
            (Some(_), None) | (None, Some(_)) => Some(Json::Object(given)),
            _ => {
                self.given.fault(
                    "header.media",
                    "required",
                    format!("The {kind} has either a `link` or the `id` of uploaded media."),
                );
                None
            }
        }
    }

    fn location(&mut self) -> Option<Json> {
        let given = self.given.object("header.location", &["latitude", "longitude", "name", "address"])?;
        let degrees = |name: &str| given.get(name).and_then(text_of).and_then(|text| text.parse::<f64>().ok());
        let is_on_earth = |name: &str, max: f64| degrees(name).is_some_and(|degrees| degrees.abs() <= max);
        let mut is_complete = true;
        for (name, max) in [("latitude", 90.0), ("longitude", 180.0)] {
            if !is_on_earth(name, max) {
                let detail = format!("`{name}` is a number of degrees from -{max} to {max}.");
                self.given.fault(&format!("header.location/{name}"), "out_of_range", detail);
                is_complete = false;
            }
        }
        is_complete.then_some(Json::Object(given))
    }

    fn finish(mut self) -> Result<FilledTemplate, Vec<FieldError>> {
        let texts = self.texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
        let body = texts.join("\n\n");
        if body.chars().count() > MAX_BODY_LEN {
            let detail = format!("With these values the message has more than {MAX_BODY_LEN} characters.");
            self.given.fault("", "length", detail);
        }
        self.given.finish()?;
        Ok(FilledTemplate { components: self.sent.into(), body })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables(value: Json) -> Map<String, Json> {
        value.as_object().cloned().unwrap_or_default()
    }

    fn faults(components: &Json, given: Json) -> Vec<(String, &'static str)> {
        let faults = fill(components, &variables(given)).expect_err("faults");
        faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    fn order() -> Json {
        json!({
            "header": { "format": "DOCUMENT" },
            "body": { "text": "Thank you, {{first_name}}! Your order is {{number}}; {{first_name}}." },
            "footer": { "text": "Lucky Shrub" },
            "buttons": [
                { "type": "URL", "text": "Track", "url": "https://shop.example/orders/{{1}}" },
                { "type": "QUICK_REPLY", "text": "Stop" },
                { "type": "COPY_CODE", "text": "Copy" },
                { "type": "PHONE_NUMBER", "text": "Call", "phone_number": "15550051310" },
                { "type": "QUICK_REPLY", "text": "More" },
            ],
        })
    }

    #[test]
    fn fill_all_kinds_of_variables() {
        let given = json!({
            "header.media": { "link": "https://files.example/1.pdf", "filename": "order.pdf" }, "first_name": "Anna", "number": 8601,
            "button.0": "8601", "button.2": "25OFF", "button.4": "MORE",
        });
        let filled = fill(&order(), &variables(given)).expect("a message");
        assert_eq!(filled.body, "Thank you, Anna! Your order is 8601; Anna.\n\nLucky Shrub");
        let button = |kind: &str, place: &str, parameter: Json| json!({ "type": "button", "sub_type": kind, "index": place, "parameters": [parameter] });
        let expected = json!([
            { "type": "header", "parameters": [{ "type": "document",
                "document": { "link": "https://files.example/1.pdf", "filename": "order.pdf" } }] },
            { "type": "body", "parameters": [{ "type": "text", "text": "Anna", "parameter_name": "first_name" },
                { "type": "text", "text": "8601", "parameter_name": "number" }] },
            button("url", "0", json!({ "type": "text", "text": "8601" })),
            button("copy_code", "2", json!({ "type": "coupon_code", "coupon_code": "25OFF" })),
            button("quick_reply", "4", json!({ "type": "payload", "payload": "MORE" })),
        ]);
        assert_eq!(filled.components, expected);
    }

    #[test]
    fn fill_tells_each_missing_unknown_and_unfit_variable() {
        let missing = ["/header.media", "/first_name", "/number", "/button.0", "/button.2"];
        assert_eq!(faults(&order(), json!({})), missing.map(|pointer| (pointer.to_owned(), "required")));
        let given = json!({
            "header.media": { "link": "http://files.example/1.pdf" }, "firstname": "Anna", "first_name": "An\nna", "number": [],
            "button.0": "", "button.2": "x".repeat(16), "a/b": 1,
        });
        let expected = [
            ("/header.media/link", "format"),
            ("/first_name", "format"),
            ("/number", "type"),
            ("/button.0", "blank"),
            ("/button.2", "length"),
            ("/firstname", "unknown_field"),
            ("/a~1b", "unknown_field"),
        ];
        assert_eq!(faults(&order(), given), expected.map(|(pointer, code)| (pointer.to_owned(), code)));
        let media = |given: Json| faults(&json!({ "header": { "format": "IMAGE" } }), json!({ "header.media": given }));
        assert_eq!(media(json!({ "filename": "x" })), [("/header.media/filename".to_owned(), "unknown_field")]);
        assert_eq!(media(json!({ "link": "https://a", "id": "1" })), [("/header.media".to_owned(), "required")]);
        assert_eq!(media(json!("https://a")), [("/header.media".to_owned(), "not_an_object")]);
        let place = json!({ "header": { "format": "LOCATION" } });
        let given = json!({ "header.location": { "latitude": "91", "longitude": -122.16 } });
        assert_eq!(faults(&place, given), [("/header.location/latitude".to_owned(), "out_of_range")]);
        assert_eq!(faults(&json!({ "carousel": {} }), json!({})), [(String::new(), "not_allowed")]);
    }

    #[test]
    fn fill_one_time_password_is_given_once() {
        for button in
            [json!({ "type": "OTP" }), json!({ "type": "URL", "url": format!("{OTP_URL}code/?code=otp{{{{1}}}}") })]
        {
            let components = json!({ "body": { "text": "*{{1}}* is your code." }, "buttons": [button] });
            let filled = fill(&components, &variables(json!({ "1": "123456" }))).expect("a message");
            assert_eq!(filled.components[1]["parameters"], json!([{ "type": "text", "text": "123456" }]));
            assert_eq!(filled.components[1]["sub_type"], "url");
            assert_eq!(faults(&components, json!({})), [("/1".to_owned(), "required")]);
        }
    }

    #[test]
    fn fill_lone_body_may_be_longer() {
        let lone = json!({ "body": { "text": "{{1}}" } });
        let beside = json!({ "body": { "text": "{{1}}" }, "footer": { "text": "x" } });
        let given = json!({ "1": "é".repeat(1025) });
        assert!(fill(&lone, &variables(given.clone())).is_ok());
        assert_eq!(faults(&beside, given), [("/1".to_owned(), "length")]);
    }

    proptest! {
        /// With a value for each placeholder, named or numbered, the text has all values and no placeholder; without one of them, or with
        /// one more, exactly that is the error.
        #[test]
        fn fill_needs_exactly_the_placeholders(
            names in prop_oneof![
                proptest::collection::btree_set("[a-z][a-z0-9_]{0,8}", 1..6).prop_map(|names| names.into_iter().collect::<Vec<_>>()),
                (1_usize..6).prop_map(|count| (1..=count).map(|number| number.to_string()).collect()),
            ],
            literals in proptest::collection::vec("[A-Z {}.é]{0,6}", 7),
            left_out in any::<prop::sample::Index>(),
        ) {
            let mut text = String::new();
            for (name, literal) in names.iter().zip(&literals) {
                text.push_str(&format!("{literal}{{{{{name}}}}}"));
            }
            let components = json!({ "body": { "text": text } });
            let given: Map<String, Json> = names.iter().map(|name| (name.clone(), format!("<{name}>").into())).collect();
            let filled = fill(&components, &given).expect("a message");
            let expected = names.iter().fold(text.clone(), |text, name| text.replace(&format!("{{{{{name}}}}}"), &format!("<{name}>")));
            prop_assert_eq!(&filled.body, &expected);
            let sent = filled.components[0]["parameters"].as_array().map(Vec::len);
            prop_assert_eq!(sent, Some(names.len()));
            let missing = left_out.get(&names);
            let mut fewer = given.clone();
            fewer.remove(missing);
            let faults = fill(&components, &fewer).expect_err("one fault");
            prop_assert_eq!(faults.len(), 1);
            prop_assert_eq!((&faults[0].pointer, faults[0].code), (&format!("/{missing}"), "required"));
            let mut more = given;
            more.insert("QQ".into(), "x".into());
            let faults = fill(&components, &more).expect_err("one fault");
            prop_assert_eq!(faults.len(), 1);
            prop_assert_eq!((faults[0].pointer.as_str(), faults[0].code), ("/QQ", "unknown_field"));
        }

        #[test]
        fn fill_any_text_no_panic(text in any::<String>(), value in any::<String>()) {
            let components = json!({ "header": { "format": "TEXT", "text": text }, "body": { "text": text } });
            let _ = fill(&components, &variables(json!({ "1": value, "header.1": value })));
        }
    }
}
