DROP TRIGGER import_ended ON jobs;
DROP FUNCTION rapport_analyze_grown(text[], bigint);
DROP FUNCTION rapport_import_matches(text, text, text[], text[]);
DROP FUNCTION rapport_import_ended_trigger();
DROP TABLE import_row_results, import_chunks, imports;
DROP FUNCTION rapport_idempotency_lookup(uuid);
DROP TABLE idempotency_keys, job_runs, jobs;
