DROP VIEW stat_differences, stat_facts, stat_facts_bookings, stat_facts_messages, stat_facts_conversations, stat_facts_leads, stat_facts_responses, stat_unfolded, stat_turns_now;
DO $$
DECLARE
    counted regclass;
BEGIN
    FOREACH counted IN ARRAY '{bookings,messages,conversations,leads}'::regclass[] LOOP
        EXECUTE format('DROP TRIGGER count_rows ON %1$s; DROP TRIGGER count_update ON %1$s; DROP TRIGGER count_truncate ON %1$s', counted);
    END LOOP;
END $$;
DROP TRIGGER mark_insert ON messages;
DROP TRIGGER mark_delete ON messages;
DROP TRIGGER mark_update ON messages;
DROP TRIGGER count_closing ON conversations;
DROP TABLE conversation_closings, stat_changed_conversations, stat_turns, stat_zones, stat_days, stat_quarters, stat_deltas;
DROP FUNCTION rapport_count_bookings(), rapport_count_messages(), rapport_count_conversations(), rapport_count_leads(), rapport_count_truncate(),
    rapport_correct_all_statistics(), rapport_correct_statistics(uuid), rapport_fold_turns(uuid[], bigint, boolean),
    rapport_turn_facts(timestamptz, uuid, numeric), rapport_mark_conversation(), rapport_log_closing(), rapport_count_rows(regclass, text),
    rapport_duration_bucket(numeric), rapport_is_counted(timestamptz), rapport_quarter(timestamptz), rapport_statistics_lock(uuid);
DROP SEQUENCE stat_deltas_place_seq, stat_changed_conversations_place_seq;
