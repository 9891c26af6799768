//! A field of a noun: its kind, its limits, who may write it, and how it is asked for.

/// What a field holds. The kind decides validation, SQL type, JSON form and the filters that a list offers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Uuid,
    /// Characters, not bytes.
    Text {
        min: usize,
        max: usize,
    },
    /// A password: taken to the letter, blanks and all.
    Secret {
        min: usize,
        max: usize,
    },
    /// One of a closed set.
    Choice(&'static [&'static str]),
    Email,
    /// A host name: `example.com`.
    Domain,
    /// Normalised to E.164 where it can be, kept as written where it cannot.
    Phone,
    Int {
        min: i64,
        max: i64,
    },
    Bool,
    /// An instant: RFC 3339 in, UTC with microseconds out.
    Time,
    /// A calendar day: `2026-11-20`.
    Date,
    /// An IANA time zone.
    Zone,
    /// A code of ISO 4217.
    Currency,
    /// A code of ISO 3166-1 alpha-2.
    Country,
    /// A decimal number as a string: at most 8 digits before and 6 after the point.
    Decimal,
    /// Up to 50 labels of at most 50 characters.
    Tags,
    /// A JSON object of the caller's own. A change of it is merged into what is there (RFC 7396), unless the field is `replaced`.
    Object,
}

impl Kind {
    /// The SQL type that holds any value of the kind.
    pub fn sql(self) -> &'static str {
        match self {
            Kind::Uuid => "uuid",
            Kind::Int { .. } => "bigint",
            Kind::Bool => "boolean",
            Kind::Time => "timestamptz",
            Kind::Date => "date",
            Kind::Decimal => "numeric",
            Kind::Tags => "text[]",
            Kind::Object => "jsonb",
            _ => "text",
        }
    }
}

/// Who sets a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The service.
    Never,
    /// The caller, once, when the row is created.
    Once,
    /// The caller, at any time.
    Always,
}

#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub about: &'static str,
    pub written: Written,
    /// Must be given when the row is created.
    pub required: bool,
    pub nullable: bool,
    /// A list can be narrowed by it.
    pub filter: bool,
    /// Equality ignores case (there is an index on `lower(column)`).
    pub fold_case: bool,
    /// No two living rows of a business have the same: rows can be recognised by it.
    pub unique: bool,
    /// Of an amount: the field that holds its currency.
    pub currency: Option<&'static str>,
    /// May be a phone number, and is found by it however it is written.
    pub dialled: bool,
    /// Of an object: a change sets it as a whole, because null means something in it.
    pub replaced: bool,
    /// Example value, as JSON.
    pub example: &'static str,
    /// Default, as JSON, for the document; the database applies it.
    pub default: Option<&'static str>,
}

/// Money and other counts stay within what JavaScript represents exactly.
pub const SAFE_INTEGER: i64 = 9_007_199_254_740_991;

impl Field {
    pub const fn new(name: &'static str, kind: Kind, example: &'static str, about: &'static str) -> Self {
        Self {
            name,
            kind,
            about,
            written: Written::Always,
            required: false,
            nullable: true,
            filter: false,
            fold_case: false,
            unique: false,
            currency: None,
            dialled: false,
            replaced: false,
            example,
            default: None,
        }
    }

    pub const fn text(name: &'static str, max: usize, example: &'static str, about: &'static str) -> Self {
        Self::new(name, Kind::Text { min: 1, max }, example, about)
    }

    pub const fn choice(
        name: &'static str,
        among: &'static [&'static str],
        example: &'static str,
        about: &'static str,
    ) -> Self {
        Self::new(name, Kind::Choice(among), example, about).filter()
    }

    pub const fn int(name: &'static str, min: i64, max: i64, example: &'static str, about: &'static str) -> Self {
        Self::new(name, Kind::Int { min, max }, example, about)
    }

    /// An amount in minor units (cents) of the currency that the field `currency` beside it holds.
    pub const fn money(name: &'static str, currency: &'static str, example: &'static str, about: &'static str) -> Self {
        Self::int(name, 0, SAFE_INTEGER, example, about).in_currency(currency)
    }

    pub const fn time(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Kind::Time, r#""2026-11-20T09:30:00Z""#, about)
    }

    /// A link to a row of another noun, in the same business.
    pub const fn link(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Kind::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c70""#, about).filter()
    }

    pub const fn required(mut self) -> Self {
        self.required = true;
        self.nullable = false;
        self
    }

    /// Never null: `default` applies when it is not given.
    pub const fn default(mut self, json: &'static str) -> Self {
        self.nullable = false;
        self.default = Some(json);
        self
    }

    pub const fn not_null(mut self) -> Self {
        self.nullable = false;
        self
    }

    pub const fn filter(mut self) -> Self {
        self.filter = true;
        self
    }

    pub const fn fold_case(mut self) -> Self {
        self.fold_case = true;
        self
    }

    pub const fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Its amount is in the currency that the field `name` holds. An amount that is given without one is in the business' own
    /// where there is none yet, and otherwise in the one that is there.
    pub const fn in_currency(mut self, name: &'static str) -> Self {
        self.currency = Some(name);
        self
    }

    pub const fn dialled(mut self) -> Self {
        self.dialled = true;
        self
    }

    pub const fn replaced(mut self) -> Self {
        self.replaced = true;
        self
    }

    /// Whether it may hold a phone number.
    pub fn is_phone(&self) -> bool {
        self.dialled || self.kind == Kind::Phone
    }

    /// Whether a change of it is merged into what is there.
    pub fn merges(&self) -> bool {
        self.kind == Kind::Object && self.written == Written::Always && !self.replaced
    }

    pub const fn read_only(mut self) -> Self {
        self.written = Written::Never;
        self
    }

    pub const fn once(mut self) -> Self {
        self.written = Written::Once;
        self
    }

    /// The fields that every noun begins with.
    pub const ID: Self =
        Self::new("id", Kind::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#, "UUIDv7, so it sorts by creation.")
            .read_only()
            .not_null();
    pub const METADATA: Self = Self::new(
        "metadata",
        Kind::Object,
        r#"{"plan":"gold"}"#,
        "Fields of your own: any JSON object, of which a change names what it changes (RFC 7396). A list is narrowed by \
         `metadata.<key>=<text>`.",
    )
    .default("{}")
    .filter();
    pub const TAGS: Self =
        Self::new("tags", Kind::Tags, r#"["vip"]"#, "Labels. `tags=a,b` finds rows with any of them.")
            .default("[]")
            .filter();
    pub const EXTERNAL_ID: Self =
        Self::text("external_id", 200, r#""crm-42""#, "Its id in the system it came from; unique where given.")
            .filter()
            .unique();
    pub const VERSION: Self =
        Self::int("version", 1, i64::MAX, "1", "Grows with each change; it is the row's ETag.").read_only().not_null();
    pub const CREATED_AT: Self = Self::time("created_at", "When the row was made.").read_only().not_null().filter();
    pub const UPDATED_AT: Self = Self::time("updated_at", "When it last changed.").read_only().not_null().filter();

    /// Its default as SQL, for rows of a set of which only some give it; the database's own says the same.
    pub fn default_sql(&self) -> Option<String> {
        let default: serde_json::Value = serde_json::from_str(self.default?).ok()?;
        Some(match (self.kind, default) {
            (Kind::Time, _) => "now()".to_owned(),
            (Kind::Tags, _) => "'{}'::text[]".to_owned(),
            (_, serde_json::Value::String(text)) => format!("'{}'", text.replace('\'', "''")),
            (Kind::Object, object) => format!("'{}'::jsonb", object.to_string().replace('\'', "''")),
            (_, other) => other.to_string(),
        })
    }

    /// What of the name a range filter is built on: `created_at` → `created`.
    pub fn stem(&self) -> &'static str {
        match self.kind {
            Kind::Time => self.name.strip_suffix("_at").unwrap_or(self.name),
            Kind::Date => self.name.strip_suffix("_on").unwrap_or(self.name),
            _ => self.name,
        }
    }

    /// Its expression in a select list over alias `t`.
    pub fn expression(&self, alias: &str) -> String {
        match self.kind {
            // As text, because a decimal must not pass through a float.
            Kind::Decimal => format!("{alias}.{}::text", self.name),
            _ => format!("{alias}.{}", self.name),
        }
    }
}
