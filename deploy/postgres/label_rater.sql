-- For `webcam-ml review` and `webcam-ml import-votes`, in the label database, as its owner:
--   psql -d webcams -f deploy/postgres/label_rater.sql
-- Then give the role a password that is in no file and no history: \password webcam_ml_rater
--
-- The role reads what is rated and writes votes, and no more. It owns nothing.
CREATE ROLE webcam_ml_rater LOGIN;
GRANT USAGE ON SCHEMA public TO webcam_ml_rater;
GRANT SELECT ON webcams, webcam_snapshots TO webcam_ml_rater;
-- A vote is added, changed when the same curator votes again, and removed when it is taken back.
GRANT SELECT, INSERT, UPDATE, DELETE ON webcam_snapshot_ratings TO webcam_ml_rater;

-- What a database may lack: the sequence of ids, the scores of models, the curator's gold (--gold).
DO $$
BEGIN
  IF to_regclass('webcam_snapshot_ratings_id_seq') IS NOT NULL THEN
    GRANT USAGE ON SEQUENCE webcam_snapshot_ratings_id_seq TO webcam_ml_rater;
  END IF;
  IF to_regclass('snapshot_ai_inferences') IS NOT NULL THEN
    GRANT SELECT ON snapshot_ai_inferences TO webcam_ml_rater;
  END IF;
  IF to_regclass('manual_labels') IS NOT NULL THEN
    GRANT SELECT, INSERT, UPDATE, DELETE ON manual_labels TO webcam_ml_rater;
  END IF;
  IF to_regclass('manual_labels_id_seq') IS NOT NULL THEN
    GRANT USAGE ON SEQUENCE manual_labels_id_seq TO webcam_ml_rater;
  END IF;
END
$$;
