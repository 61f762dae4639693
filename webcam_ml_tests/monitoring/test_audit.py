"""What an application did wrong is named from twenty pictures, and what it did right is never."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from webcam_ml.dataset.images import ImageCache
from webcam_ml.features import get_backbone
from webcam_ml.labels import LabelDatabase
from webcam_ml.monitoring import (
    LARGEST_CHANCE,
    SKEWS,
    Finding,
    ServedAudit,
    _version,
    announce_findings,
    audit_verdict,
    benign,
    chance_of,
    demanded,
    differs,
    explain,
    noise_of,
    skewed,
)
from webcam_ml.scoring import baseline_score, decode_image
from webcam_ml.store import ArtifactStore
from webcam_ml_tests.live.fixtures import Live
from webcam_ml_tests.live.models import Made
from webcam_ml_tests.monitoring.application import (
    Application,
    bgr,
    cropped_and_not_normalised,
    decoded,
    encoded_again,
    scores_of,
    sharpened,
)
from webcam_ml_tests.notify.webhook import Webhook, webhook
from webcam_ml_tests.postgres import PostgresServer

__all__ = ["webhook"]

# Four of a webcam in a row, of a day mostly, of which one is drawn.
ROWS = 100


@pytest.fixture
def application(made: dict[str, Made], prepared: Live, tmp_path: Path) -> Application:
    """On the store in which `first` is live; nothing is written there."""
    return Application.of(made["first"], f"sqlite:///{tmp_path}/app.db", prepared.store)


def named(audit: ServedAudit) -> list[str]:
    return [finding.name for finding in audit.findings]


@pytest.mark.parametrize("prepare", [decoded, encoded_again, sharpened])
def test_an_honest_application_has_no_finding(
    application: Application, made: dict[str, Made], prepare
) -> None:
    application.score(made["first"].exported, prepare, rows=ROWS)
    audit = application.audit()
    assert named(audit) == []
    assert audit.rows.height == 20
    assert audit.rows["webcam_id"].n_unique() == 20
    assert set(audit.rows["verdict"]) == {"same"}


@pytest.mark.parametrize("place", ["table", "columns"])
def test_crop_and_missing_normalisation_are_named_from_twenty_pictures(
    application: Application, made: dict[str, Made], place: str
) -> None:
    first = made["first"]
    application.score(first.exported, cropped_and_not_normalised, rows=ROWS)
    if place == "columns":
        application.move_to_columns("binary")
    (finding,) = application.audit().findings
    assert finding.name == "other_preprocessing"
    assert finding.model_version == first.version
    assert "crop to cover and no normalisation" in finding.sentence
    assert finding.of == 20
    assert finding.p_value is not None
    assert finding.p_value < 0.001


def test_swapped_channels_are_named(application: Application, made: dict[str, Made]) -> None:
    application.score(made["first"].exported, bgr, rows=ROWS)
    (finding,) = application.audit().findings
    assert finding.name == "other_preprocessing"
    assert "those of: BGR (" in finding.sentence


def test_rows_that_differ_are_counted_not_those_that_were_explained(
    application: Application, made: dict[str, Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_version, "ROWS_EXPLAINED", 20)
    application.score(made["first"].exported, bgr, rows=2 * ROWS)
    audit = application.audit(pictures=40)
    (finding,) = audit.findings
    assert finding.name == "other_preprocessing"
    assert finding.of == audit.rows.height == 40
    assert finding.rows == (audit.rows["verdict"] == "differs").sum()
    assert f" {finding.rows} of 40 scores of " in f" {finding.sentence}"
    nearer, of = map(int, re.findall(r"nearer in (\d+) of (\d+) looked into", finding.sentence)[0])
    assert 10 < nearer <= of <= 20


@pytest.mark.parametrize(
    ("loaded", "name"), [("better", "first"), ("first", "shuffled"), ("shuffled", "better")]
)
def test_a_file_under_the_name_of_another_is_always_found(
    application: Application, made: dict[str, Made], loaded: str, name: str
) -> None:
    application.score(made[loaded].exported, decoded, rows=ROWS, name=made[name].version)
    (finding,) = application.audit().findings
    assert finding.name == "wrong_version"
    assert f"those of {made[loaded].version}:" in finding.sentence


def test_what_no_model_of_the_store_and_no_usual_mistake_explains_is_said_to_be_so(
    application: Application, made: dict[str, Made]
) -> None:
    random = np.random.default_rng(0)
    application.record(made["first"].version, random.uniform(0, 1, ROWS).tolist())
    (finding,) = application.audit().findings
    assert finding.name == "other_scores"


def test_a_version_that_nobody_knows_is_named_and_not_compared(
    application: Application, made: dict[str, Made]
) -> None:
    application.score(made["first"].exported, decoded, rows=ROWS, name="sunset-v7-final")
    audit = application.audit()
    (finding,) = audit.findings
    assert (finding.name, finding.rows) == ("unknown_version", ROWS)
    assert audit.rows.is_empty()


def test_fallbacks_under_a_models_name_are_told_from_its_own_scores(
    application: Application, made: dict[str, Made]
) -> None:
    first = made["first"]
    own = scores_of(first.exported, [decoded(one) for one in application.contents(ROWS)])
    fallbacks = [
        baseline_score(7 * id % 5_000, None, "sunset").raw_score
        for id in application.frame["webcam_id"].head(ROWS)
    ]
    mixed = [fallbacks[i] if i % 3 == 0 else own[i] for i in range(ROWS)]
    application.record(first.version, mixed)
    audit = application.audit(pictures=ROWS)
    (finding,) = audit.findings
    assert finding.name == "baseline_under_a_models_name"
    stored_ids = application.frame["snapshot_id"].head(ROWS)
    fell_back = audit.rows["snapshot_id"].is_in(stored_ids.gather_every(3).implode()).sum()
    assert fell_back / 2 < finding.rows <= fell_back


def test_rows_off_the_scale_are_counted_all_and_not_compared(
    application: Application, made: dict[str, Made]
) -> None:
    application.score(made["first"].exported, decoded, rows=ROWS)
    application.execute(
        "UPDATE snapshot_ai_inferences SET raw_score = 3.2 WHERE snapshot_id <= 5",
        "UPDATE snapshot_ai_inferences SET raw_score = NULL WHERE snapshot_id = 6",
        "UPDATE snapshot_ai_inferences SET ai_rating = 0.4 WHERE snapshot_id = 7",
    )
    (finding,) = application.audit().findings
    assert (finding.name, finding.rows, finding.of) == ("scores_off_scale", 7, ROWS)


def test_the_share_without_a_score_is_a_finding_above_its_limit(
    application: Application, made: dict[str, Made]
) -> None:
    application.score(made["first"].exported, decoded, rows=ROWS)
    snapshots = application.frame.height
    (finding,) = application.audit(max_unscored_fraction=0.5).findings
    assert (finding.name, finding.rows, finding.of) == (
        "unscored_frames",
        snapshots - ROWS,
        snapshots,
    )
    application.move_to_columns("binary")
    application.execute("UPDATE webcam_snapshots SET scoring_path = 'unscored' WHERE id <= 10")
    (finding,) = application.audit(max_unscored_fraction=0.5).findings
    assert finding.rows == snapshots - ROWS + 10


def test_pictures_that_changed_under_their_address_are_told_from_a_skew(
    application: Application, made: dict[str, Made], tmp_path: Path
) -> None:
    first = made["first"]
    application.score(first.exported, decoded, rows=ROWS)
    folder = tmp_path / "pictures"
    folder.mkdir()
    moved = application.frame["image_path_or_url"].head(ROWS).to_list()
    for source in moved:
        shutil.copy(source, folder)
    application.execute(
        *(
            f"UPDATE webcam_snapshots SET firebase_url = '{folder / Path(source).name}'"
            f" WHERE firebase_url = '{source}'"
            for source in moved
        )
    )
    mine = replace(application, images=ImageCache(tmp_path / "cache"))
    assert named(mine.audit(pictures=ROWS)) == []
    for one, other in zip(moved[::2], moved[1::2], strict=True):
        shutil.copy(
            other, folder / Path(one).name
        )  # a camera's current picture, at the same address
    (finding,) = mine.audit(pictures=ROWS).findings
    assert finding.name == "pictures_changed"
    assert 3 <= finding.rows < finding.of  # half of them; another picture may score alike


def test_a_database_without_scores_has_nothing_to_find(application: Application) -> None:
    application.execute("DROP TABLE snapshot_ai_inferences")
    audit = application.audit()
    assert (named(audit), audit.places, audit.unscored) == ([], (), 0)
    assert "no place for scores" in audit_verdict(audit, "other_scores").reason


def test_equal_databases_give_equal_bytes_and_what_is_stored_is_read_back(
    application: Application, made: dict[str, Made], tmp_path: Path
) -> None:
    application.score(made["first"].exported, bgr, rows=ROWS)
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        application.audit().save(folder)
    one, two = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert one == two
    read = ServedAudit.load(folders[0])
    again = tmp_path / "again"
    again.mkdir()
    read.save(again)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == one


def test_a_role_that_may_only_select_is_enough(
    made: dict[str, Made], prepared: Live, postgres_server: PostgresServer
) -> None:
    password = "only-looks"
    with (
        postgres_server.login("auditor", password),
        postgres_server.fresh_database() as url,
    ):
        application = Application.of(made["first"], url, prepared.store)
        application.score(made["first"].exported, bgr, rows=ROWS)
        application.execute(
            "GRANT SELECT ON webcams, webcam_snapshots, snapshot_ai_inferences TO auditor"
        )
        name = str(LabelDatabase(url).description["name"])
        database = LabelDatabase(postgres_server.url(name, user="auditor", password=password))
        assert named(application.audit(database)) == ["other_preprocessing"]
        application.execute("DROP OWNED BY auditor")


def test_the_webhook_hears_of_a_skew_once_and_again_when_it_returns(
    application: Application, made: dict[str, Made], tmp_path: Path, webhook: Webhook
) -> None:
    outbox = ArtifactStore(tmp_path / "artifacts")
    application.score(made["first"].exported, bgr, rows=ROWS)
    skewed = application.audit()
    mended = replace(skewed, findings=())
    for audit in (skewed, skewed, mended, mended):
        announce_findings(audit, outbox)
    (text,) = webhook.texts
    assert text.startswith("webcam-ml: served scores, other_preprocessing: ")
    assert "BGR" in text
    announce_findings(skewed, outbox)
    assert webhook.texts == [text, text]


def test_a_finding_that_returns_is_told_also_where_another_version_kept_it(
    application: Application, tmp_path: Path, webhook: Webhook
) -> None:
    outbox = ArtifactStore(tmp_path / "artifacts")
    audit = application.audit()
    for versions in ("AB", "B", "AB"):
        announce_findings(replace(audit, findings=unknown(versions)), outbox)
    assert webhook.texts == [
        "webcam-ml: served scores, unknown_version: A is not known. Also found of B.",
        "webcam-ml: served scores, unknown_version: A is not known.",
    ]


def test_two_hundred_names_are_one_message(
    application: Application, tmp_path: Path, webhook: Webhook
) -> None:
    outbox = ArtifactStore(tmp_path / "artifacts")
    many = replace(application.audit(), findings=unknown([f"v{i}" for i in range(200)]))
    for _ in range(2):
        announce_findings(many, outbox)
    (text,) = webhook.texts
    assert text.endswith("v0 is not known. Also found of v1, v2, v3, v4 and 195 more.")


def unknown(versions: Sequence[str]) -> tuple[Finding, ...]:
    return tuple(
        Finding("unknown_version", one, 1, 1, None, f"{one} is not known.") for one in versions
    )


@pytest.fixture(scope="module")
def honest(made: dict[str, Made]) -> dict[str, np.ndarray]:
    """Scores of the same pictures by the file, its benign copies, honest applications, and mistakes."""
    world = made["first"].world
    digests = world.index.usable()["sha256"].head(90)
    contents = [world.images.read(digest) for digest in digests]
    pixels = [decode_image(one) for one in contents]

    def score(pictures: list[np.ndarray]) -> np.ndarray:
        return np.array(scores_of(made["first"].exported, pictures))

    own = score(pixels)
    copies = np.stack([score(list(copy)) for copy in zip(*map(benign, pixels), strict=True)])
    backbone = get_backbone(made["first"].exported.meta.model_name)
    mistakes = [
        skewed(one, content, mean=backbone.mean, std=backbone.std)
        for one, content in zip(pixels, contents, strict=True)
    ]
    return {
        "own": own,
        "copies": copies,
        "mistakes": np.stack([score([one[skew] for one in mistakes]) for skew in SKEWS]),
        "Pillow": score([decoded(one) for one in contents]),
        "encoded again, 85": score([encoded_again(one, 85) for one in contents]),
        "encoded again, 95": score([encoded_again(one, 95) for one in contents]),
        "Lanczos, 0.9": score([sharpened(one) for one in contents]),
    }


def test_a_thousand_honest_audits_raise_no_alarm(honest: dict[str, np.ndarray]) -> None:
    random = np.random.default_rng(0)
    applications = [name for name in honest if name not in ("own", "copies", "mistakes")]
    alarms = 0
    for number in range(1_000):
        rows = (20, 60)[number // 2 % 2]
        drawn = random.choice(90, rows, replace=False)
        stored = honest[applications[number % len(applications)]][drawn].round(number % 5 + 2)
        own = honest["own"][drawn]
        noise = noise_of(own, honest["copies"][:, drawn])
        other = differs(stored, own, noise)
        alarms += chance_of(int(other.sum()), rows) < LARGEST_CHANCE
        demand = demanded(stored, own, noise)
        if demand is not None:
            guesses = dict(zip(SKEWS, honest["mistakes"][:, drawn], strict=True))
            alarms += explain(stored, own, guesses, demand=demand) is not None
    assert alarms == 0
