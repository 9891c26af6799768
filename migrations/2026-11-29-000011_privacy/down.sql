DROP FUNCTION rapport_erase_imports(uuid[]);
DROP FUNCTION rapport_erase_merged(uuid[]);
DROP FUNCTION rapport_erase_audit(uuid[]);
