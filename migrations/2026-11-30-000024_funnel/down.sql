DROP INDEX stat_turns_answered_at_idx;
ALTER TABLE businesses DROP COLUMN opening_hours;
SELECT rapport_log_changes('businesses', 'id');
DROP VIEW lead_facts;
DROP INDEX leads_entered_at_idx, leads_first_touch_at_idx, leads_closed_won_at_idx, leads_assignee_entered_at_idx, leads_untouched_idx;
DROP TRIGGER leads_furthest_stage ON leads;
DROP FUNCTION rapport_keep_furthest_stage();
ALTER TABLE leads DROP COLUMN furthest_stage;
SELECT rapport_log_changes('leads');
