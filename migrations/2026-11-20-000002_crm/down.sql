DROP TABLE leads, campaigns, contacts, companies;
