//! Parameters of an upload: its query string and content type.

use actix_web::{HttpMessage, HttpRequest};
use serde_json::{Map, Value as Json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::resource::{FORMATS, NAMES, ON_MATCH};
use crate::base::error::{Error, FieldError, Result};
use crate::resource::{did_you_mean, openapi};

/// Maximum length of a file name, in characters.
const MAX_FILE_NAME_LEN: usize = 255;

/// Parameters of an upload.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UploadParameters {
    /// What the rows are.
    #[param(inline, value_type = ImportedResource)]
    pub resource: &'static str,
    /// As the Content-Type says, too.
    #[param(inline, value_type = Option<ImportFormat>)]
    pub format: &'static str,
    /// What the file is called.
    #[param(max_length = 255)]
    pub file_name: Option<String>,
    /// A JSON object from header to field; see the import's `mapping`.
    #[param(value_type = Option<String>)]
    pub mapping: Map<String, Json>,
    /// By what rows are recognised, comma-separated; see the import's `match_by`.
    #[param(value_type = Option<String>)]
    pub match_by: Option<Vec<String>>,
    /// What becomes of a row that is there already; `update`.
    #[param(inline, value_type = Option<OnMatch>)]
    pub on_match: &'static str,
    /// `true` only tries it.
    #[param(value_type = Option<bool>)]
    pub dry_run: bool,
    /// `false` only keeps it.
    #[param(rename = "start", value_type = Option<bool>)]
    pub starts: bool,
}

/// Declares descriptions of parameters that are one of a closed set.
macro_rules! choices {
    ($($name:ident = $among:expr;)+) => {$(
        struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                openapi::choice($among).into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

choices! {
    ImportedResource = NAMES;
    ImportFormat = FORMATS;
    OnMatch = ON_MATCH;
}

impl UploadParameters {
    const PARAMETERS: [&'static str; 8] =
        ["resource", "format", "file_name", "mapping", "match_by", "on_match", "dry_run", "start"];

    /// Parses the query string and the content type. Errors: 400 with every error; 415.
    pub fn read(request: &HttpRequest) -> Result<Self> {
        let format = match request.content_type() {
            "text/csv" => "csv",
            "application/x-ndjson" | "application/jsonl" => "ndjson",
            _ => {
                let detail = "Send the file as `Content-Type: text/csv` or `application/x-ndjson`.";
                return Err(Error::Unsupported(detail.into()));
            }
        };
        let mut parameters = Self {
            resource: "",
            format,
            file_name: None,
            mapping: Map::new(),
            match_by: None,
            on_match: "update",
            dry_run: false,
            starts: true,
        };
        let mut faults = Vec::new();
        for (name, value) in url::form_urlencoded::parse(request.query_string().as_bytes()) {
            if let Err((code, detail)) = parameters.take(&name, &value) {
                faults.push(FieldError::new(format!("/query/{name}"), code, detail));
            }
        }
        if parameters.resource.is_empty() && faults.is_empty() {
            let detail = format!("`resource` says what the rows are: one of {}.", NAMES.join(", "));
            faults.push(FieldError::new("/query/resource", "required", detail));
        }
        if faults.is_empty() { Ok(parameters) } else { Err(Error::parameters(faults)) }
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), (&'static str, String)> {
        let choice = |among: &'static [&'static str]| {
            let found = among.iter().find(|known| **known == value).copied();
            found.ok_or_else(|| ("not_a_choice", format!("`{name}` is one of {}.", among.join(", "))))
        };
        let flag = || choice(&["true", "false"]).map(|flag| flag == "true");
        match name {
            "resource" => self.resource = choice(NAMES)?,
            "format" if choice(FORMATS)? != self.format => {
                return Err(("not_a_choice", "`format` and the Content-Type of the body do not agree.".into()));
            }
            "format" => {}
            "file_name" if (1..=MAX_FILE_NAME_LEN).contains(&value.chars().count()) && !value.contains('\0') => {
                self.file_name = Some(value.to_owned());
            }
            "file_name" => return Err(("length", format!("`file_name` has 1 to {MAX_FILE_NAME_LEN} characters."))),
            "mapping" => {
                let object = serde_json::from_str(value);
                self.mapping =
                    object.map_err(|_| ("format", "`mapping` is a JSON object from header to field.".into()))?;
            }
            "match_by" => {
                self.match_by = Some(value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
            }
            "on_match" => self.on_match = choice(ON_MATCH)?,
            "dry_run" => self.dry_run = flag()?,
            "start" => self.starts = flag()?,
            _ => {
                let hint = did_you_mean(name, Self::PARAMETERS);
                return Err(("unknown_parameter", format!("There is no parameter `{name}`.{hint}")));
            }
        }
        Ok(())
    }
}
