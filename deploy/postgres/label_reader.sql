-- In the label database, as its owner: psql -d webcams -f deploy/postgres/label_reader.sql
-- Then give the role a password that is in no file and no history: \password webcam_ml_reader
--
-- What webcam-ml needs to read labels, and no more. The role owns nothing and can write nothing.
CREATE ROLE webcam_ml_reader LOGIN;
GRANT USAGE ON SCHEMA public TO webcam_ml_reader;
GRANT SELECT ON webcams, webcam_snapshots, webcam_snapshot_ratings TO webcam_ml_reader;
-- To audit what the application recorded (disagreement_report with predictions: database).
GRANT SELECT ON snapshot_ai_inferences TO webcam_ml_reader;
