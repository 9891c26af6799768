DROP FUNCTION rapport_erase_merged(uuid[]);
