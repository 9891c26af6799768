//! The resources of the CRM, one file each with the definition of its resource and its rules; and what is done with
//! them: `duplicates/`, `merges/`, `privacy/` (export and erasure of a person), `leads/` (conversion), `reminders.rs`.

pub mod campaigns;
pub mod companies;
pub mod contact_identities;
pub mod contacts;
pub mod decisions;
pub mod duplicate_proposals;
pub mod duplicates;
pub mod leads;
pub mod merges;
pub mod notes;
pub mod privacy;
pub mod reminders;
pub mod tasks;

pub use self::leads::STAGES;
