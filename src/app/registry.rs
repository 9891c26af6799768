//! The registry: every resource of the API.

use crate::channels::conversations::CONVERSATIONS;
use crate::channels::messages::MESSAGES;
use crate::crm::campaigns::CAMPAIGNS;
use crate::crm::companies::COMPANIES;
use crate::crm::contacts::CONTACTS;
use crate::crm::decisions::DECISIONS;
use crate::crm::leads::LEADS;
use crate::crm::merges::MERGES;
use crate::crm::notes::NOTES;
use crate::crm::tasks::TASKS;
use crate::identity::api_keys::API_KEYS;
use crate::identity::businesses::BUSINESSES;
use crate::identity::invitations::INVITATIONS;
use crate::identity::memberships::MEMBERSHIPS;
use crate::identity::users::USERS;
use crate::integrations::import::IMPORTS;
use crate::integrations::jobs::JOBS;
use crate::integrations::webhooks::WEBHOOKS;
use crate::resource::Resource;
use crate::resource::audit_log::AUDIT_LOG;
use crate::scheduling::bookings::BOOKINGS;
use crate::scheduling::services::SERVICES;
use crate::scheduling::staff::STAFF;

/// Every resource, in the order of the OpenAPI document.
pub static RESOURCES: [&Resource; 22] = [
    &LEADS,
    &COMPANIES,
    &CONTACTS,
    &CONVERSATIONS,
    &MESSAGES,
    &DECISIONS,
    &BOOKINGS,
    &SERVICES,
    &STAFF,
    &CAMPAIGNS,
    &TASKS,
    &NOTES,
    &MERGES,
    &BUSINESSES,
    &USERS,
    &MEMBERSHIPS,
    &INVITATIONS,
    &API_KEYS,
    &WEBHOOKS,
    &AUDIT_LOG,
    &IMPORTS,
    &JOBS,
];

#[cfg(test)]
mod tests {
    use super::RESOURCES;
    use crate::resource::openapi::example;

    #[test]
    fn resource_definitions_are_consistent() {
        for resource in RESOURCES {
            let name = resource.plural;
            assert!(resource.fields.len() <= 64, "{name}: the shown fields are a mask of 64 bits");
            assert_eq!(resource.fields[0].name, "id", "{name}: rows are recognised by their first cell");
            for relation in resource.relations {
                assert!(resource.field(relation.name).is_none(), "{name}: {} is a field and a relation", relation.name);
            }
            let filters = crate::resource::list_query::names(resource);
            assert!(!filters.iter().any(|filter| filter == "format"), "{name}: `format` is a parameter of its export");
            for field in resource.fields {
                assert!(!example(field.example).is_null(), "{name}: the example of {} is no JSON", field.name);
            }
            let default = resource.default_sort.trim_start_matches('-');
            assert!(resource.sorts.iter().any(|sort| sort.name == default), "{name}: no sort {default}");
        }
    }
}
