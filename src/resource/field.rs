//! A field of a resource: its column, its type, its limits, who may write it, and how lists filter by it.

use diesel::Column;

use super::column_type::{ColumnKind, FieldColumn};
use crate::db::Statement;

/// What a field holds. The type decides validation, SQL type, JSON form and the filters of a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FieldType {
    Uuid,
    /// Characters, not bytes.
    Text {
        min: usize,
        max: usize,
    },
    /// A password: stored unchanged, blanks included.
    Secret {
        min: usize,
        max: usize,
    },
    /// One of a closed set.
    Choice(&'static [&'static str]),
    Email,
    /// A host name: `example.com`.
    Domain,
    /// Normalised to E.164 where possible, otherwise kept as written.
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
    /// Times of a day: a list of up to [`MAX_HOURS`] objects with `start` and `end`, whose resource reads them.
    Hours,
    /// A client's own JSON object. An update is merged into the stored one (RFC 7396), unless the field is
    /// `replace_whole`.
    Object,
}

impl FieldType {
    /// Whether a column of this kind holds any of its values.
    const fn fits(self, kind: ColumnKind) -> bool {
        match self {
            FieldType::Uuid => matches!(kind, ColumnKind::Uuid),
            FieldType::Int { .. } => matches!(kind, ColumnKind::Int),
            FieldType::Bool => matches!(kind, ColumnKind::Bool),
            FieldType::Time => matches!(kind, ColumnKind::Time),
            FieldType::Date => matches!(kind, ColumnKind::Date),
            FieldType::Decimal => matches!(kind, ColumnKind::Decimal),
            FieldType::Tags => matches!(kind, ColumnKind::Texts),
            FieldType::Object | FieldType::Hours => matches!(kind, ColumnKind::Json),
            _ => matches!(kind, ColumnKind::Text),
        }
    }

    /// Returns the SQL type that holds any value of the field type.
    pub fn sql(self) -> &'static str {
        match self {
            FieldType::Uuid => "uuid",
            FieldType::Int { .. } => "bigint",
            FieldType::Bool => "boolean",
            FieldType::Time => "timestamptz",
            FieldType::Date => "date",
            FieldType::Decimal => "numeric",
            FieldType::Tags => "text[]",
            FieldType::Object | FieldType::Hours => "jsonb",
            _ => "text",
        }
    }
}

/// Who may set a field, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutability {
    /// The service only.
    ReadOnly,
    /// The client, when the row is created.
    Once,
    /// The client, at any time.
    Always,
}

/// A field of a resource. Its column stays behind as its name: lists, exports and imports work with any resource's.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub field_type: FieldType,
    pub description: &'static str,
    pub mutability: Mutability,
    /// Required when the row is created.
    pub required: bool,
    pub nullable: bool,
    /// Lists can be filtered by it.
    pub filter: bool,
    /// Equality ignores case (there is an index on `lower(column)`).
    pub fold_case: bool,
    /// Unique among the rows of a business that are not deleted: rows can be matched by it.
    pub unique: bool,
    /// Of an amount: the field that holds its currency.
    pub currency: Option<&'static str>,
    /// May be a phone number, which filters find in any spelling.
    pub phone_search: bool,
    /// Can hold the address or phone number of a contact, by which a row without a contact belongs to one.
    pub contact_address: bool,
    /// Says nothing about a person, whatever a client writes into it: an erasure keeps it.
    pub impersonal: bool,
    /// Of an object: an update replaces it as a whole, because null has a meaning in it.
    pub replace_whole: bool,
    /// Example value, as JSON.
    pub example: &'static str,
    /// Default, as JSON, for the OpenAPI document; the database applies it.
    pub default: Option<&'static str>,
}

/// Times of a day at most.
pub const MAX_HOURS: usize = 20;

/// Money and other counts stay within what JavaScript represents exactly.
pub const SAFE_INTEGER: i64 = 9_007_199_254_740_991;

impl Field {
    /// A field that is stored in `column`, which gives it its name and says whether it can be null. Does not compile
    /// where a column of that SQL type cannot hold values of the field type.
    pub const fn new<C: FieldColumn>(
        column: C,
        field_type: FieldType,
        example: &'static str,
        about: &'static str,
    ) -> Self {
        let _ = column;
        assert!(field_type.fits(C::KIND), "the column cannot hold values of this field type");
        let mut field = Self::named(C::NAME, field_type, example, about);
        field.nullable = C::NULLABLE;
        field
    }

    /// A field that is not stored in a column: shown once, or computed.
    pub const fn named(name: &'static str, field_type: FieldType, example: &'static str, about: &'static str) -> Self {
        Self {
            name,
            field_type,
            description: about,
            mutability: Mutability::Always,
            required: false,
            nullable: true,
            filter: false,
            fold_case: false,
            unique: false,
            currency: None,
            phone_search: false,
            contact_address: false,
            impersonal: false,
            replace_whole: false,
            example,
            default: None,
        }
    }

    pub const fn text<C: FieldColumn>(column: C, max: usize, example: &'static str, about: &'static str) -> Self {
        Self::new(column, FieldType::Text { min: 1, max }, example, about)
    }

    pub const fn choice<C: FieldColumn>(
        column: C,
        among: &'static [&'static str],
        example: &'static str,
        about: &'static str,
    ) -> Self {
        Self::new(column, FieldType::Choice(among), example, about).filter()
    }

    pub const fn int<C: FieldColumn>(
        column: C,
        min: i64,
        max: i64,
        example: &'static str,
        about: &'static str,
    ) -> Self {
        Self::new(column, FieldType::Int { min, max }, example, about)
    }

    /// An amount in minor units (cents) of the currency in the field `currency`.
    pub const fn money<C, D>(column: C, currency: D, example: &'static str, about: &'static str) -> Self
    where
        C: FieldColumn,
        D: Column<Table = C::Table> + Copy,
    {
        Self::int(column, 0, SAFE_INTEGER, example, about).in_currency(currency)
    }

    pub const fn time<C: FieldColumn>(column: C, about: &'static str) -> Self {
        Self::new(column, FieldType::Time, r#""2026-11-20T09:30:00Z""#, about)
    }

    /// A reference to a row of another resource, in the same business.
    pub const fn link<C: FieldColumn>(column: C, about: &'static str) -> Self {
        Self::new(column, FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c70""#, about).filter()
    }

    /// The first field of every resource.
    pub const fn id<C: FieldColumn>(column: C) -> Self {
        Self::new(
            column,
            FieldType::Uuid,
            r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#,
            "UUIDv7, so it sorts by creation.",
        )
        .read_only()
        .not_null()
    }

    /// A client's own fields.
    pub const fn metadata<C: FieldColumn>(column: C) -> Self {
        let about = "Fields of your own: any JSON object, of which a change names what it changes (RFC 7396). A list is \
                     narrowed by `metadata.<key>=<text>`.";
        Self::new(column, FieldType::Object, r#"{"plan":"gold"}"#, about).default("{}").filter()
    }

    /// Labels.
    pub const fn tags<C: FieldColumn>(column: C) -> Self {
        Self::new(column, FieldType::Tags, r#"["vip"]"#, "Labels. `tags=a,b` finds rows with any of them.")
            .default("[]")
            .filter()
    }

    /// The row's id in another system.
    pub const fn external_id<C: FieldColumn>(column: C) -> Self {
        Self::text(column, 200, r#""crm-42""#, "Its id in the system it came from; unique where given.")
            .filter()
            .unique()
    }

    pub const fn version<C: FieldColumn>(column: C) -> Self {
        Self::int(column, 1, i64::MAX, "1", "Grows with each change; it is the row's ETag.").read_only().not_null()
    }

    pub const fn created_at<C: FieldColumn>(column: C) -> Self {
        Self::time(column, "When the row was made.").read_only().not_null().filter()
    }

    pub const fn updated_at<C: FieldColumn>(column: C) -> Self {
        Self::time(column, "When it last changed.").read_only().not_null().filter()
    }

    pub const fn required(mut self) -> Self {
        self.required = true;
        self.nullable = false;
        self
    }

    /// Never null: the default applies where no value is given.
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

    /// The column holds the currency of this amount. An amount given without a currency keeps the one that the
    /// row has, or gets the business's own where it has none.
    pub const fn in_currency<C: Column + Copy>(mut self, column: C) -> Self {
        let _ = column;
        self.currency = Some(C::NAME);
        self
    }

    pub const fn phone_search(mut self) -> Self {
        self.phone_search = true;
        self
    }

    pub const fn contact_address(mut self) -> Self {
        self.contact_address = true;
        self
    }

    pub const fn impersonal(mut self) -> Self {
        self.impersonal = true;
        self
    }

    pub const fn replace_whole(mut self) -> Self {
        self.replace_whole = true;
        self
    }

    /// Whether it may hold a phone number.
    pub fn is_phone(&self) -> bool {
        self.phone_search || self.field_type == FieldType::Phone
    }

    /// Whether a body sets it, that of a new row or that of a change.
    pub fn is_writable(&self, creates: bool) -> bool {
        self.mutability == Mutability::Always || (creates && self.mutability == Mutability::Once)
    }

    /// Whether an update of it is merged into the stored object.
    pub fn merges(&self) -> bool {
        self.field_type == FieldType::Object && self.mutability == Mutability::Always && !self.replace_whole
    }

    pub const fn read_only(mut self) -> Self {
        self.mutability = Mutability::ReadOnly;
        self
    }

    pub const fn once(mut self) -> Self {
        self.mutability = Mutability::Once;
        self
    }

    /// Returns its default as SQL, for sets in which only some rows give the field; equal to the column's default.
    pub fn default_sql(&self) -> Option<Statement> {
        let default: serde_json::Value = serde_json::from_str(self.default?).ok()?;
        let mut sql = Statement::default();
        match (self.field_type, default) {
            (FieldType::Time, _) => sql.sql("now()"),
            (FieldType::Tags, _) => sql.sql("'{}'::text[]"),
            (_, serde_json::Value::String(text)) => sql.literal(&text),
            (FieldType::Object, object) => sql.literal(&object.to_string()).sql("::jsonb"),
            (_, serde_json::Value::Bool(flag)) => sql.sql(if flag { "true" } else { "false" }),
            (_, other) => sql.number(other.as_i64()?),
        };
        Some(sql)
    }

    /// Returns the part of the name that range filters are built on: `created_at` → `created`.
    pub fn stem(&self) -> &'static str {
        match self.field_type {
            FieldType::Time => self.name.strip_suffix("_at").unwrap_or(self.name),
            FieldType::Date => self.name.strip_suffix("_on").unwrap_or(self.name),
            _ => self.name,
        }
    }
}
