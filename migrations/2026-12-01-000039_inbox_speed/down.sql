DROP INDEX conversations_snoozed_idx;
DROP INDEX conversations_counts_idx;
