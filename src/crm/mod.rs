//! The resources of the CRM, one module each. A module has the definition of its resource and, beside it, its rules.

pub mod campaigns;
pub mod companies;
pub mod contacts;
pub mod decisions;
pub mod duplicates;
pub mod leads;
pub mod merges;
pub mod notes;
pub mod privacy;
pub mod tasks;
