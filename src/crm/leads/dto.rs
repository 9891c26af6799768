//! What the conversion of a lead takes and returns.

use deserr::Deserr;
use serde::Serialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{LEADS, LeadRow};
use crate::crm::companies::{COMPANIES, CompanyRow};
use crate::crm::contacts::{CONTACTS, ContactRow};
use crate::resource::body::{BodyErrors, JsonObject};
use crate::resource::openapi;

/// Fields of the lead that the conversion sets itself.
pub const SETS: [&str; 3] = ["status", "company_id", "contact_id"];

/// Whom a lead is won with, and what else changes of it.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "company": { "name": "Studio Nord", "domain": "studio-nord.example" },
    "contact": { "first_name": "Anna", "email": "anna@studio-nord.example" },
    "lead": { "value_minor": 1_250_000, "currency": "EUR" },
})))]
pub struct LeadConversionRequest {
    /// The lead's own, when left out, or else the contact's.
    #[deserr(default)]
    #[schema(value_type = Option<ConversionCompany>)]
    pub company: Option<JsonObject>,
    /// The lead's own, when left out.
    #[deserr(default)]
    #[schema(value_type = Option<ConversionContact>)]
    pub contact: Option<JsonObject>,
    /// A merge patch of the lead. It becomes `won`, and closed now unless `closed_at` says otherwise.
    #[deserr(default)]
    #[schema(value_type = Option<ConversionLead>)]
    pub lead: Option<JsonObject>,
}

/// The company of a conversion.
pub struct ConversionCompany;

impl PartialSchema for ConversionCompany {
    fn schema() -> RefOr<Schema> {
        let about = "One that is there, or a new one; one with the same domain is taken as it is.";
        openapi::known_or_new(&COMPANIES).description(Some(about)).into()
    }
}

impl ToSchema for ConversionCompany {}

/// The contact of a conversion.
pub struct ConversionContact;

impl PartialSchema for ConversionContact {
    fn schema() -> RefOr<Schema> {
        let about = "One that is there, or a new one; one with the same e-mail address is taken as it is.";
        openapi::known_or_new(&CONTACTS).description(Some(about)).into()
    }
}

impl ToSchema for ConversionContact {}

/// The changes of a lead that its conversion takes.
pub struct ConversionLead;

impl PartialSchema for ConversionLead {
    fn schema() -> RefOr<Schema> {
        let about = "A merge patch of the lead, without what the conversion sets itself.";
        openapi::change(&LEADS, |name| !SETS.contains(&name)).description(Some(about)).into()
    }
}

impl ToSchema for ConversionLead {}

/// A lead that is won, its company and its contact.
#[derive(Serialize, ToSchema)]
pub struct LeadConversion {
    /// The lead as it is now.
    pub lead: LeadRow,
    /// Its company.
    #[schema(required = true)]
    pub company: Option<CompanyRow>,
    /// Its contact.
    #[schema(required = true)]
    pub contact: Option<ContactRow>,
    pub created: CreatedParties,
}

/// What was made; the rest was there.
#[derive(Serialize, ToSchema)]
pub struct CreatedParties {
    /// Whether the company was made.
    pub company: bool,
    /// Whether the contact was made.
    pub contact: bool,
}
