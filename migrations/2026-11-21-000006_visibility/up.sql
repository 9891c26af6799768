-- What agents see, how contacts are forgotten, and keys that may do less than their role.

ALTER TABLE businesses ADD COLUMN agents_see text NOT NULL DEFAULT 'all'
    CONSTRAINT businesses_agents_see_check CHECK (agents_see IN ('all', 'assigned'));

ALTER TABLE businesses ADD COLUMN erasure text NOT NULL DEFAULT 'anonymise'
    CONSTRAINT businesses_erasure_check CHECK (erasure IN ('anonymise', 'delete'));

-- `area:action`, as the service names them; null: all that the role may
ALTER TABLE api_keys ADD COLUMN permissions text[];
