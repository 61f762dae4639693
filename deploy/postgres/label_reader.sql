-- In the label database, as its owner: psql -d webcams -f deploy/postgres/label_reader.sql
-- Then give the role a password that is in no file and no history: \password webcam_ml_reader
--
-- What webcam-ml needs to read labels, and no more. The role owns nothing and can write nothing.
CREATE ROLE webcam_ml_reader LOGIN;
GRANT USAGE ON SCHEMA public TO webcam_ml_reader;
GRANT SELECT ON webcams, webcam_snapshots, webcam_snapshot_ratings TO webcam_ml_reader;

-- What a database may lack: what the application recorded (disagreement_report with predictions: database),
-- the curator's gold (label_source: all_judges), pictures from elsewhere (external_images: true).
DO $$
BEGIN
  IF to_regclass('snapshot_ai_inferences') IS NOT NULL THEN
    GRANT SELECT ON snapshot_ai_inferences TO webcam_ml_reader;
  END IF;
  IF to_regclass('manual_labels') IS NOT NULL THEN
    GRANT SELECT ON manual_labels TO webcam_ml_reader;
  END IF;
  IF to_regclass('external_images') IS NOT NULL THEN
    GRANT SELECT ON external_images TO webcam_ml_reader;
  END IF;
END
$$;
