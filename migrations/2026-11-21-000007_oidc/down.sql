DROP TABLE oidc_departures, identities;
