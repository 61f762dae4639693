"""The role of deploy/postgres/label_reader.sql reads all that is read, and may do no more."""

import pytest
import sqlalchemy as sa

from webcam_ml.labels import LabelDatabaseError, read_label_values, read_labels, read_unrated
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.labels.test_all_judges import fill
from webcam_ml_tests.labels.test_external_images import WITH_EXTERNAL, with_pictures
from webcam_ml_tests.postgres import PostgresServer


@pytest.mark.parametrize("is_old", [False, True], ids=["today", "an older database"])
def test_it_reads_what_every_judge_said(
    postgres: Store, postgres_server: PostgresServer, is_old: bool
) -> None:
    if is_old:
        fill(postgres, columns=False, gold=False)
        postgres.execute("DROP TABLE snapshot_ai_inferences")
    else:
        with_pictures(postgres)
    expected = read_labels(postgres.database, WITH_EXTERNAL)
    name = str(postgres.engine.url.database)
    with postgres_server.role("reader", name) as url:
        reader = Store(url)
        found = read_labels(reader.database, WITH_EXTERNAL)
        assert found.frame.equals(expected.frame)
        assert found.judged is not None
        assert expected.judged is not None
        assert found.judged.said.equals(expected.judged.said)
        values = read_label_values(reader.database, WITH_EXTERNAL)
        assert values.frame["snapshot_id"].equals(expected.frame["snapshot_id"])
        unrated = read_unrated(reader.database, WITH_EXTERNAL)
        assert unrated.rated.equals(read_unrated(postgres.database, WITH_EXTERNAL).rated)
        for statement in (
            "UPDATE webcam_snapshots SET calculated_rating = 5",
            "DELETE FROM webcam_snapshot_ratings",
            "CREATE TABLE mine (id int)",
            *([] if is_old else ["DELETE FROM manual_labels", "DELETE FROM external_images"]),
        ):
            with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                reader.execute(statement)


def test_a_right_that_is_missing_is_named_with_the_role_that_has_it(
    postgres: Store, postgres_server: PostgresServer
) -> None:
    with_pictures(postgres)
    without = "REVOKE SELECT ON manual_labels FROM webcam_ml_reader"
    name = str(postgres.engine.url.database)
    with (
        postgres_server.role("reader", name, without) as url,
        pytest.raises(
            LabelDatabaseError,
            match=r"permission denied for table manual_labels.*label_reader\.sql",
        ),
    ):
        read_labels(Store(url).database, WITH_EXTERNAL)
