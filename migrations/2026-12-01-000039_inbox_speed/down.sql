DROP INDEX conversations_counts_idx;
