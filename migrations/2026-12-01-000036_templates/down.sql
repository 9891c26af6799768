DROP TABLE template_syncs, templates;
DROP FUNCTION rapport_log_templates();
