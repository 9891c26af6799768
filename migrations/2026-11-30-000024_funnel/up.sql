-- How far leads have come, which their status does not tell once they are lost; facts of leads for reports; opening hours.

-- What the audit log says of leads, read before anything is locked.
CREATE TEMPORARY TABLE audited_stages ON COMMIT DROP AS
    SELECT e.business_id, e.row_id AS id, max(least(array_position('{new,contacted,qualified,proposal,won}'::text[], c.status), 4)) AS stage
    FROM audit_entries e CROSS JOIN LATERAL (VALUES (e.changes -> 'status' ->> 'old'), (e.changes -> 'status' ->> 'new')) c (status)
    WHERE e.resource = 'leads' AND e.changes ? 'status' GROUP BY 1, 2;

-- When a business is open, such as `Mo-Fr 09:00-17:30; Sa 10:00-14:00` in its time zone (OpenStreetMap's opening_hours). It is locked before
-- leads, as writers of leads lock it.
ALTER TABLE businesses ADD COLUMN opening_hours text;
SELECT rapport_log_changes('businesses', 'id');

ALTER TABLE leads ADD COLUMN furthest_stage text NOT NULL DEFAULT 'new';
-- What is known of leads from before: their status, and what the audit log says. A lead that is won has passed every stage. (Without the
-- log of changes, which would have a row for each; one of all in a business is enough.)
ALTER TABLE leads DISABLE TRIGGER log_change;
UPDATE leads l SET furthest_stage = (ARRAY['new', 'contacted', 'qualified', 'proposal'])[f.stage]
FROM (
    SELECT s.business_id, s.id, max(s.stage) AS stage FROM (
        SELECT business_id, id, stage FROM audited_stages
        UNION ALL
        SELECT business_id, id, least(array_position('{new,contacted,qualified,proposal,won}'::text[], status), 4) AS stage FROM leads) s
    GROUP BY s.business_id, s.id
) f
WHERE f.business_id = l.business_id AND f.id = l.id AND f.stage > 1;
ALTER TABLE leads ENABLE ALWAYS TRIGGER log_change;
SELECT rapport_log_all(id, 'leads') FROM businesses;

-- squawk-ignore constraint-missing-not-valid
ALTER TABLE leads ADD CONSTRAINT leads_furthest_stage_check CHECK (furthest_stage IN ('new', 'contacted', 'qualified', 'proposal'));

CREATE FUNCTION rapport_keep_furthest_stage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- A lead that is won has passed every stage.
    stages constant text[] := '{new,contacted,qualified,proposal,won}';
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.furthest_stage := OLD.furthest_stage;
    END IF;
    IF NEW.status <> 'new' AND array_position(stages, NEW.status) > array_position(stages, NEW.furthest_stage) THEN
        NEW.furthest_stage := CASE NEW.status WHEN 'won' THEN 'proposal' ELSE NEW.status END;
    END IF;
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_keep_furthest_stage() FROM PUBLIC;
CREATE TRIGGER leads_furthest_stage BEFORE INSERT OR UPDATE OF status, furthest_stage ON leads
    FOR EACH ROW EXECUTE FUNCTION rapport_keep_furthest_stage();
ALTER TABLE leads ENABLE ALWAYS TRIGGER leads_furthest_stage;
SELECT rapport_log_changes('leads');

-- Leads as reports see them: when they came in, were first answered, won and lost, and how long that took, in seconds.
CREATE VIEW lead_facts WITH (security_invoker = true) AS
    SELECT l.business_id, l.id AS lead_id, l.title, l.status, l.furthest_stage, l.source, l.campaign_id, l.assignee_id, l.company_id, l.contact_id,
        l.entered_at, l.first_touch_at,
        CASE WHEN l.status = 'won' THEN l.closed_at END AS closed_won_at,
        CASE WHEN l.status = 'lost' THEN l.closed_at END AS closed_lost_at,
        l.lost_reason, l.value_minor, l.currency,
        CASE WHEN rapport_is_counted(l.first_touch_at) AND rapport_is_counted(l.entered_at) THEN extract(epoch FROM l.first_touch_at - l.entered_at) END AS first_touch_seconds,
        CASE WHEN rapport_is_counted(l.closed_at) AND rapport_is_counted(l.entered_at) THEN extract(epoch FROM l.closed_at - l.entered_at) END AS closing_seconds
    FROM leads l WHERE l.deleted_at IS NULL;
GRANT SELECT ON lead_facts TO rapport_tenant;

-- Its indexes. (Most leads are in two of them only when they are made.)
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX leads_entered_at_idx ON leads (business_id, entered_at, id);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX leads_first_touch_at_idx ON leads (business_id, first_touch_at, id) WHERE first_touch_at IS NOT NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX leads_closed_won_at_idx ON leads (business_id, (CASE WHEN status = 'won' THEN closed_at END), id)
    WHERE CASE WHEN status = 'won' THEN closed_at END IS NOT NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX leads_assignee_entered_at_idx ON leads (business_id, assignee_id, entered_at, id) WHERE assignee_id IS NOT NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX leads_untouched_idx ON leads (business_id, entered_at, id) WHERE status = 'new' AND first_touch_at IS NULL AND deleted_at IS NULL;

-- The turns of a period, each of which is looked at for times within the opening hours.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX stat_turns_answered_at_idx ON stat_turns (business_id, answered_at);
