DROP TABLE messages, conversations;
DROP FUNCTION rapport_unread_trigger();
