//! A read as a client asks for it: what is left of a request once its caller and its resource are known.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// A read of a resource, unparsed: the key under which its parsed form is cached, and what is saved of a hot query.
///
/// As text, it is `list ?status=new` or `one <id>?include=company`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReadRequest {
    /// The rows that a query string selects.
    List(String),
    /// The row with this id; the query string says which fields and relations are shown.
    One(Uuid, String),
}

impl ReadRequest {
    /// Returns the query string.
    pub fn query(&self) -> &str {
        match self {
            ReadRequest::List(query) | ReadRequest::One(_, query) => query,
        }
    }
}

impl fmt::Display for ReadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadRequest::List(query) => write!(f, "list ?{query}"),
            ReadRequest::One(id, query) => write!(f, "one {id}?{query}"),
        }
    }
}

/// A text is no [`ReadRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a read is `list ?<query>` or `one <id>?<query>`")]
pub struct InvalidReadRequest;

impl FromStr for ReadRequest {
    type Err = InvalidReadRequest;

    fn from_str(text: &str) -> Result<Self, InvalidReadRequest> {
        let (target, query) = text.split_once('?').ok_or(InvalidReadRequest)?;
        match target.split_once(' ') {
            Some(("list", "")) => Ok(ReadRequest::List(query.to_owned())),
            Some(("one", id)) => {
                let id = Uuid::try_parse(id).map_err(|_| InvalidReadRequest)?;
                Ok(ReadRequest::One(id, query.to_owned()))
            }
            _ => Err(InvalidReadRequest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn requests() -> impl Strategy<Value = ReadRequest> {
        let query = any::<String>;
        prop_oneof![
            query().prop_map(ReadRequest::List),
            (any::<u128>(), query()).prop_map(|(id, query)| ReadRequest::One(Uuid::from_u128(id), query)),
        ]
    }

    proptest! {
        #[test]
        fn display_round_trips_through_from_str(request in requests()) {
            prop_assert_eq!(request.to_string().parse(), Ok(request));
        }

        /// What is read from a text is the same again when it is read from its own text.
        #[test]
        fn from_str_accepts_no_ambiguous_text(text in "(list |one )?[0-9a-f-]{0,36}[ ?]{0,2}[a-z=&?]{0,8}") {
            if let Ok(request) = text.parse::<ReadRequest>() {
                prop_assert_eq!(request.to_string().parse(), Ok(request));
            }
        }
    }

    #[test]
    fn from_str_refuses_other_texts() {
        for text in ["", "?", "list", "list x?", "list?", "one ?", "one 7?include=company", "batch []?"] {
            assert_eq!(text.parse::<ReadRequest>(), Err(InvalidReadRequest), "{text}");
        }
    }
}
