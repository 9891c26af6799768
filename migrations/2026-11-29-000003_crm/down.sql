DROP FUNCTION rapport_companies_like(text, text, text, text);
DROP FUNCTION rapport_contacts_like(text, text, text, uuid, text);
DROP FUNCTION rapport_contact_of(text);
DROP FUNCTION rapport_company_of(text);
DROP TABLE leads, campaigns, contacts, companies;
DROP FUNCTION rapport_company_name(text);
DROP FUNCTION rapport_mailbox(text);
