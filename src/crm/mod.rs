//! The resources of the CRM, one module each. A module has the definition of its resource and, beside it, its rules.

pub mod bookings;
pub mod businesses;
pub mod campaigns;
pub mod companies;
pub mod contacts;
pub mod conversations;
pub mod decisions;
pub mod duplicates;
pub mod leads;
pub mod merges;
pub mod messages;
pub mod notes;
pub mod privacy;
pub mod reminders;
pub mod services;
pub mod staff;
pub mod tasks;
