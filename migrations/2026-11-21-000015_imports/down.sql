DROP FUNCTION rapport_forget_imports(uuid[]), rapport_found(text, text, text[], text[]), rapport_measure(text[], bigint);
DROP TRIGGER import_ended ON jobs;
DROP FUNCTION rapport_import_ended();
DROP TABLE import_rows, import_chunks, imports;
