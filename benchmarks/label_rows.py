"""Real rows for the label database, made by PostgreSQL itself: a million take a minute."""

import sqlalchemy as sa

from webcam_ml.demo._schema import GROWN, METADATA

ROWS_A_WEBCAM = 100

# As in the real tables: star counts 62, 10, 8, 11 and 9 percent, about 1.02 raters a snapshot, and a
# fifth of the snapshots without a rating. Everything follows from the number of the row.
STATEMENTS = (
    """
    INSERT INTO webcams (id, title, source, view_count, lat, lng, country)
    SELECT 1000 + 17 * i, 'Webcam ' || i, CASE WHEN i % 5 = 0 THEN 'custom' ELSE 'windy' END,
           i * 37 % 10000, (i * 7 % 180) - 90, (i * 13 % 360) - 180, 'Portugal'
    FROM generate_series(0, :webcams - 1) AS i
    """,
    """
    CREATE TEMPORARY TABLE drawn ON COMMIT DROP AS
    SELECT i AS id, i AS snapshot_id, 'session-' || i % 997 AS session,
           CASE WHEN h < 62 THEN 1 WHEN h < 72 THEN 2 WHEN h < 80 THEN 3 WHEN h < 91 THEN 4 ELSE 5 END
           AS rating
    FROM (SELECT i, abs(hashint4(i::int + 77) % 100) AS h FROM generate_series(1, :rows) AS i) AS one
    UNION ALL
    SELECT :rows + i, i * 50, 'second-' || i % 13, 1 + i % 5
    FROM generate_series(1, :rows / 50) AS i
    """,
    # In the order of their ids on disk, as an application inserts them.
    """
    INSERT INTO webcam_snapshots
           (id, webcam_id, phase, firebase_url, firebase_path, captured_at, calculated_rating)
    SELECT i, 1000 + 17 * (abs(hashint4(i::int) % :webcams)),
           CASE WHEN i % 2 = 0 THEN 'sunset' ELSE 'sunrise' END,
           'https://storage.example.org/snapshots/' || i || '.jpg', 'snapshots/' || i || '.jpg',
           TIMESTAMP '2024-02-12 10:15:00' + i * INTERVAL '29 seconds', round(average, 2)
    FROM generate_series(1, :rows + :rows / 5) AS i
    LEFT JOIN (SELECT snapshot_id, avg(rating) AS average FROM drawn GROUP BY 1) AS cached
           ON cached.snapshot_id = i
    ORDER BY i
    """,
    """
    INSERT INTO webcam_snapshot_ratings (id, snapshot_id, user_session_id, rating)
    SELECT id, snapshot_id, session, rating FROM drawn ORDER BY id
    """,
    "ANALYZE",
)

# Two language models judge five snapshots of six, scores in steps of .05 that follow the stars by and large;
# one snapshot in 40 gets an N, one in 30 a gold label.
JUDGED_STATEMENTS = (
    """
    CREATE TEMPORARY TABLE said ON COMMIT DROP AS
    SELECT s.id, CASE WHEN s.id % 4 = 0 THEN 'vista-1' ELSE 'vista-2-large' END AS model,
           CASE WHEN h + 12 * coalesce(s.calculated_rating, 2) < 70 THEN 0
                ELSE round((h + 12 * coalesce(s.calculated_rating, 2))::numeric / 8) * 0.05 END AS score
    FROM (SELECT id, calculated_rating, abs(hashint4(id::int + 5) % 70) AS h FROM webcam_snapshots) AS s
    WHERE s.id % 6 <> 0
    """,
    """
    UPDATE webcam_snapshots SET llm_model = said.model, llm_quality = least(said.score, 1)
    FROM said WHERE said.id = webcam_snapshots.id
    """,
    """
    UPDATE webcam_snapshot_ratings SET is_sunset_verdict = true
    """,
    """
    INSERT INTO webcam_snapshot_ratings (id, snapshot_id, user_session_id, is_sunset_verdict)
    SELECT 3 * :rows + i, i * 40, 'curator-1', false FROM generate_series(1, :rows / 40) AS i
    """,
    """
    INSERT INTO manual_labels (source, image_id, is_sunset, rating)
    SELECT 'webcam', i * 30, i % 4 > 0, CASE WHEN i % 4 > 0 THEN 1 + i % 5 END
    FROM generate_series(1, :rows / 30) AS i
    """,
    "ANALYZE",
)


def fill(url: str, rows: int, *, judges: bool = False) -> None:
    """Replace what is in a database by so many rated snapshots, and what two judges said of them."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        GROWN.drop_all(connection)
        (GROWN if judges else METADATA).create_all(connection)
        webcams = max(rows // ROWS_A_WEBCAM, 60)
        for statement in (*STATEMENTS, *JUDGED_STATEMENTS) if judges else STATEMENTS:
            connection.execute(sa.text(statement), {"rows": rows, "webcams": webcams})
    engine.dispose()
