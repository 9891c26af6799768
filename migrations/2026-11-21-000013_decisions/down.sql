DROP FUNCTION rapport_contact_of(text);
DROP FUNCTION rapport_company_of(text);
DROP TABLE decisions;
