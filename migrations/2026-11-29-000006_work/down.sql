DROP TABLE merges, decisions, notes, tasks;
