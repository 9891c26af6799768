DROP INDEX sessions_expires_at_idx;
DROP TABLE invitations;
DROP TABLE password_tokens;
