-- Only for record_inferences: true (disagreement_report), after label_reader.sql, in the same way.
-- The role may then add and correct scores in this one table, and still change nothing else.
GRANT SELECT, INSERT, UPDATE ON snapshot_ai_inferences TO webcam_ml_reader;
GRANT USAGE ON SEQUENCE snapshot_ai_inferences_id_seq TO webcam_ml_reader;
