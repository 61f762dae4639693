"""`label_growth_sensor`, tick by tick, on a real instance, a real store and a real label database.

Of the graph only the ends are real here, labels and manifest; what stands for the training stores a
note, or fails. The daemon's part, making a run of what a tick asks for, is played by `House.run`.
"""

import itertools
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self

import pytest
import sqlalchemy as sa
import yaml
from dagster import (
    AssetCheckResult,
    AssetChecksDefinition,
    AssetsDefinition,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultSensorStatus,
    Definitions,
    RunRequest,
    asset,
    asset_check,
    build_sensor_context,
    materialize,
)
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from webcam_ml.dataset import ExportMeta, Manifest, SplitConfig
from webcam_ml.errors import WebcamMLError
from webcam_ml.orchestration.assets import ASSETS, labels_raw, manifest_full
from webcam_ml.orchestration.build import build_definitions
from webcam_ml.orchestration.jobs import WHOLE_GRAPH
from webcam_ml.orchestration.resources import Workspace
from webcam_ml.orchestration.retraining import history
from webcam_ml.orchestration.retraining.presence import at_work
from webcam_ml.orchestration.retraining.retrain import Retrain
from webcam_ml.orchestration.retraining.sensors import build_sensors
from webcam_ml.project import CONFIGS
from webcam_ml_tests.label_schema import (
    Rows,
    create_schema,
    insert_rows,
    plain_rows,
    rating,
    snapshot,
    webcam,
)

# Dagster warns of its own deprecated internals when resources are built in a test's process.
pytestmark = pytest.mark.filterwarnings("default")

SENSOR = "label_growth_sensor"
NAMES = [key.to_user_string() for definition in ASSETS for key in definition.keys]
WEBCAMS, FRAMES = 30, 4
LABELS = WEBCAMS * FRAMES


@dataclass(frozen=True)
class Note:
    """What stands for a checkpoint."""

    text: str

    def save(self, folder: Path) -> None:
        (folder / "note.txt").write_text(self.text)

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls((folder / "note.txt").read_text())


class Course:
    """How the next run goes.

    Well; it fails before or behind the training, or at the gate (as runs of version 0.1 did); or its
    model is judged and refused, which is a run that succeeds.
    """

    now = "well"


@asset
def checkpoint(manifest_full: Manifest) -> Note:
    if Course.now == "fails before":
        raise RuntimeError("no memory")
    return Note(manifest_full.meta.labels_sha256)


@asset
def champion_comparison(checkpoint: Note) -> Note:
    if Course.now == "fails after":
        raise RuntimeError("no disk")
    return checkpoint


@asset_check(asset="champion_comparison", blocking=True)
def quality_floor() -> AssetCheckResult:
    return AssetCheckResult(passed=Course.now != "gate says no")


@asset_check(asset="champion_comparison")
def not_worse_than_champion() -> AssetCheckResult:
    return AssetCheckResult(passed=Course.now != "refused")


STEPS = [
    labels_raw, manifest_full, checkpoint, champion_comparison, quality_floor,
    not_worse_than_champion,
]  # fmt: skip


@dataclass
class House:
    """The label database, the instance and the store, and what happens in them."""

    url: str
    folder: Path
    instance: DagsterInstance
    definitions: Definitions
    cursor: str | None = None
    asked: RunRequest | None = None
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1000))

    @property
    def workspace(self) -> Workspace:
        return Workspace(artifacts=str(self.folder / "artifacts"))

    def sql(self, *statements: str) -> None:
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def rate(self, number: int, *, stars: int = 2, webcam_id: int | None = None) -> None:
        """Add rated snapshots: of webcams that are there, or of a new one."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        if webcam_id is None:
            with engine.connect() as connection:
                webcam_id = connection.exec_driver_sql("SELECT min(id) FROM webcams").scalar_one()
            webcams = ()
        else:
            webcams = (webcam(webcam_id),)
        ids = list(itertools.islice(self._ids, number))
        snapshots = tuple(snapshot(id, webcam_id, calculated_rating=float(stars)) for id in ids)
        insert_rows(
            engine, Rows(webcams, snapshots, tuple(rating(id, stars, "dora") for id in ids))
        )

    def tick(self) -> SensorExecutionData:
        with build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources=self.definitions.resources,
        ) as context:
            result = self.definitions.get_sensor_def(SENSOR).evaluate_tick(context)
        self.cursor = result.cursor
        if result.run_requests:
            (self.asked,) = result.run_requests
        return result

    def run(
        self,
        request: RunRequest | None = None,
        course: str = "well",
        steps: Sequence[AssetsDefinition | AssetChecksDefinition] = STEPS,
    ) -> DagsterRun:
        """Do what the daemon does with a request; without one, what a person does."""
        Course.now = course
        config = {} if request is None else request.run_config.get("ops", {})
        configured = ("labels_raw", "manifest_full")[: len(steps)]
        result = materialize(
            steps,
            run_config={"ops": {name: config[name] for name in configured if name in config}},
            tags={} if request is None else dict(request.tags),
            resources=self.definitions.resources,
            instance=self.instance,
            raise_on_error=False,
        )
        assert result.success == (course in ("well", "refused"))
        run = self.instance.get_run_by_id(result.run_id)
        assert run is not None
        return run

    def unfinished(
        self,
        status: DagsterRunStatus,
        job: str = WHOLE_GRAPH,
        tags: Mapping[str, str] | None = None,
    ) -> DagsterRun:
        """Leave a run in a status, as a queue or a crash does."""
        location = RegisteredCodeLocationOrigin("webcam_ml")
        origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job)
        return self.instance.create_run_for_job(
            job_def=self.definitions.resolve_job_def(job),
            status=status,
            tags=tags,
            remote_job_origin=origin,
        )

    def set_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", self.url)
        monkeypatch.setenv("WEBCAM_ML_RETRAIN_MIN_INTERVAL_SECONDS", "0")

    def retrain_with(self, config: Mapping[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
        path = self.folder / "retrain.yaml"
        path.write_text(yaml.safe_dump(dict(config)))
        monkeypatch.setenv("WEBCAM_ML_RETRAIN_CONFIG", str(path))


def said(result: SensorExecutionData) -> str:
    """The sentence of a tick, with moments and run ids replaced by a word."""
    if result.run_requests:
        (request,) = result.run_requests
        sentence = request.tags["webcam_ml/reason"]
    else:
        assert result.skip_message is not None
        sentence = result.skip_message
    sentence = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "THEN", sentence)
    return re.sub(r"Run [0-9a-f]{8}", "Run RUN", sentence)


@pytest.fixture
def house(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[House]:
    kind = getattr(request, "param", "sqlite")
    url = (
        f"sqlite:///{tmp_path}/labels.db"
        if kind == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    create_schema(engine)
    insert_rows(engine, plain_rows(n_webcams=WEBCAMS, frames_per_webcam=FRAMES))
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        house = House(
            url=url,
            folder=tmp_path,
            instance=instance,
            definitions=build_definitions(
                artifacts=tmp_path / "artifacts", cache=tmp_path / "cache"
            ),
        )
        house.set_environment(monkeypatch)
        yield house


FAILED = (
    ", but 3 retrains of exactly these labels have failed: the next one waits until labels change, "
    "or for somebody to mend the cause and start it by hand."
)
GROWN = "50 of 50 new labels since THEN (3 changed, 1 new webcam, 11 new positives, 2 gone)"
FIRST = "120 of 50 new labels for a first training (30 new webcams, 41 new positives): retrain"
SHRUNK = "DELETE FROM webcam_snapshot_ratings WHERE snapshot_id >= 1047"

# What happens, what the next tick says, and whether it starts a run.
SCRIPT: list[tuple[Callable[[House], object], str, bool]] = [
    (lambda house: None, f"{FIRST}.", True),
    (lambda house: None, f"{FIRST}.", True),  # the request was lost: it is made again
    (lambda house: house.run(house.asked), "0 of 50 new labels since THEN.", False),
    (
        lambda house: house.rate(38),
        "38 of 50 new labels since THEN.",
        False,
    ),
    (
        lambda house: house.sql(
            "UPDATE webcam_snapshots SET calculated_rating = 5 WHERE id <= 4",
            "DELETE FROM webcam_snapshot_ratings WHERE snapshot_id IN (119, 120)",
        ),
        "41 of 50 new labels since THEN (3 changed, 2 new positives, 2 gone).",
        False,
    ),
    (
        lambda house: house.rate(9, stars=5, webcam_id=77),
        f"{GROWN}: retrain.",
        True,
    ),
    # A retrain that fails is tried three times; one that broke off behind the training failed too.
    (
        lambda house: house.run(house.asked, "fails before"),
        f"{GROWN}: retrain, attempt 2 of 3.",
        True,
    ),
    (
        lambda house: house.run(house.asked, "fails after"),
        f"{GROWN}: retrain, attempt 3 of 3.",
        True,
    ),
    (
        lambda house: house.run(house.asked, "fails after"),
        "50 of 50 new labels since THEN (3 changed, 1 new webcam, 11 new positives, 2 gone)"
        + FAILED,
        False,
    ),
    # Other labels are another matter.
    (
        lambda house: house.rate(60, stars=3),
        "110 of 50 new labels since THEN (3 changed, 1 new webcam, 11 new positives, 2 gone): retrain.",
        True,
    ),
    # A gate that says no would say it again: the training counts.
    (
        lambda house: house.run(house.asked, "gate says no"),
        "0 of 50 new labels since THEN.",
        False,
    ),
    # Labels shrink, and grow to as many as before, but others.
    (lambda house: house.sql(SHRUNK), "0 of 50 new labels since THEN (60 gone).", False),
    (
        lambda house: house.rate(60),
        "60 of 50 new labels since THEN (60 gone): retrain.",
        True,
    ),
    (
        lambda house: house.run(house.asked, "refused"),
        "0 of 50 new labels since THEN.",
        False,
    ),
    (lambda house: house.rate(50), "50 of 50 new labels since THEN: retrain.", True),
    # A training by hand counts like one of the sensor's own.
    (lambda house: house.run(), "0 of 50 new labels since THEN.", False),
]


# What a database has to do with it is over when the labels have been read in every state.
@pytest.mark.parametrize(
    ("house", "script"), [("sqlite", SCRIPT), ("postgresql", SCRIPT[:6])], indirect=["house"]
)
def test_labels_change_and_each_tick_says_why_it_fires_or_not(
    house: House, script: list[tuple[Callable[[House], object], str, bool]]
) -> None:
    for number, (happens, sentence, fires) in enumerate(script):
        happens(house)
        result = house.tick()
        assert said(result) == sentence, f"step {number}"
        assert bool(result.run_requests) is fires, f"step {number}"


def judge_alone(house: House, number: int, split: str) -> None:
    """Let a judge score new snapshots that nobody rates, of one webcam of a split."""
    webcam_id = next(id for id in range(500, 600) if SplitConfig().split_of(id) == split)
    ids = list(itertools.islice(house._ids, number))
    engine = sa.create_engine(house.url, poolclass=sa.NullPool)
    insert_rows(engine, Rows((), tuple(snapshot(id, webcam_id) for id in ids), ()))
    house.sql(
        "UPDATE webcam_snapshots SET llm_quality = 0.4, llm_model = 'one' "
        f"WHERE id BETWEEN {ids[0]} AND {ids[-1]}"
    )


def test_labels_of_a_judge_count_by_the_weight_that_the_last_training_gave_them(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.retrain_with(
        {"ops": {"labels_raw": {"config": {"label_source": "all_judges"}}}}, monkeypatch
    )
    house.sql(
        "ALTER TABLE webcam_snapshots ADD COLUMN llm_quality real",
        "ALTER TABLE webcam_snapshots ADD COLUMN llm_model text",
    )
    draw = random.Random(0)
    stars = {id: draw.choice((1, 1, 1, 2, 3, 4, 5)) for id in range(10_000, 10_600)}
    insert_rows(
        sa.create_engine(house.url, poolclass=sa.NullPool),
        Rows(
            tuple(webcam(id) for id in range(500, 600)),
            tuple(snapshot(id, 500 + id % 100) for id in stars),
            tuple(rating(id, given) for id, given in stars.items()),
        ),
    )
    house.sql(
        *(
            f"UPDATE webcam_snapshots SET llm_model = 'one', "
            f"llm_quality = {(given + draw.random() * 2) / 8} WHERE id = {id}"
            for id, given in stars.items()
        )
    )
    # Before a training has heard it, a judge's labels count nothing.
    judge_alone(house, 300, "train")
    assert said(house.tick()).startswith("720 of 50 new labels by weight for a first training")
    house.run(house.asked)
    meta = ExportMeta.load(house.workspace.store.latest("manifest_full").folder)
    assert meta.heard is not None
    weight = meta.heard.weights["one"]
    needed = 50  # one label in twenty would be fewer
    judge_alone(house, 1_000, "train")
    judge_alone(house, 500, "test")
    before = house.tick()
    assert not before.run_requests
    assert said(before).startswith("0 of ")
    assert f" of {needed} new labels by weight since THEN" in said(before)
    assert f"(1,000 by one that weigh {weight:.3g} each, of judges at most as many as" in said(
        before
    )
    house.rate(needed // 2 - 1)
    assert not house.tick().run_requests
    house.rate(1)
    assert house.tick().run_requests
    house.run(house.asked)
    assert said(house.tick()).startswith("0 of ")


def holds_back(house: House, job: str, status: str) -> bool:
    sentence = said(house.tick())
    if sentence == f"{FIRST}.":
        return False
    assert sentence == (
        f"Run RUN ({job}, {status}) contains checkpoint: the labels are looked at again when it has "
        "ended."
    )
    return True


def test_a_queued_run_holds_the_sensor_back_if_it_contains_checkpoint(house: House) -> None:
    queued = house.unfinished(DagsterRunStatus.QUEUED)
    assert holds_back(house, WHOLE_GRAPH, "queued")
    house.instance.report_run_canceled(queued)
    house.unfinished(DagsterRunStatus.QUEUED, "data_only")
    assert not holds_back(house, "data_only", "queued")


def test_a_running_run_holds_the_sensor_back_until_its_process_is_killed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = house.unfinished(DagsterRunStatus.STARTED)
    assert holds_back(house, WHOLE_GRAPH, "started")  # it may be on its way to a process
    monkeypatch.setattr(history, "LONGEST_WITHOUT_EVENT", timedelta(0))
    assert not holds_back(house, WHOLE_GRAPH, "started")
    store = house.workspace.store
    with at_work(store, run_id=run.run_id):
        assert holds_back(house, WHOLE_GRAPH, "started")
    monkeypatch.undo()
    house.set_environment(monkeypatch)
    (store.root / ".runs" / f"{run.run_id}-killed.lock").touch()
    assert not holds_back(house, WHOLE_GRAPH, "started")


def test_a_retrain_that_was_killed_counts_as_a_failed_attempt(house: House) -> None:
    house.tick()
    assert house.asked is not None
    run = house.unfinished(DagsterRunStatus.STARTED, tags=dict(house.asked.tags))
    (house.workspace.store.root / ".runs").mkdir(parents=True)
    (house.workspace.store.root / ".runs" / f"{run.run_id}-killed.lock").touch()
    assert said(house.tick()) == f"{FIRST}, attempt 2 of 3."


def test_a_run_of_a_retrain_that_trained_nothing_is_not_repeated(house: House) -> None:
    house.tick()
    house.run(house.asked, steps=STEPS[:1])
    assert said(house.tick()) == (
        f"{FIRST.removesuffix(': retrain')}, but a retrain of exactly these labels is done already."
    )


def test_retrains_keep_their_distance(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.tick()
    house.run(house.asked, "fails before")
    monkeypatch.setenv("WEBCAM_ML_RETRAIN_MIN_INTERVAL_SECONDS", "3600")
    assert said(house.tick()) == (
        "The last retrain began at THEN, and min_interval puts the next one off until THEN."
    )
    monkeypatch.setenv("WEBCAM_ML_RETRAIN_MIN_INTERVAL_SECONDS", "0")
    assert said(house.tick()) == f"{FIRST}, attempt 2 of 3."


def test_a_database_that_is_down_is_a_skip_and_the_first_good_tick_catches_up(
    house: House,
) -> None:
    house.run()
    assert said(house.tick()) == "0 of 50 new labels since THEN."
    cursor = house.cursor
    database = house.folder / "labels.db"
    house.rate(50)
    database.rename(house.folder / "away.db")
    sentence = said(house.tick())
    assert sentence.startswith(f"SQLite database {database} does not exist: ")
    assert sentence.endswith(" Labels were last read at THEN.")
    assert house.cursor == cursor
    (house.folder / "away.db").rename(database)
    assert said(house.tick()) == "50 of 50 new labels since THEN: retrain."


def test_too_few_labels_are_a_skip_in_the_words_of_a_run(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"ops": {"labels_raw": {"config": {"min_rating_count": 2}}}}
    house.retrain_with(config, monkeypatch)
    sentence = said(house.tick())
    assert sentence.startswith("No labels are left in SQLite database ")
    assert "0 of 120 rated snapshots have at least 2 ratings" in sentence


def test_a_cursor_of_another_format_is_reset_with_a_word(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBCAM_ML_RETRAIN_MIN_NEW_LABELS", "121")
    sentence = "120 of 121 new labels for a first training (30 new webcams, 41 new positives)."
    aside = " (The cursor was of another format and starts afresh; nothing depends on it.)"
    for cursor in ("1770893700", "{", "[]", '{"format": 0, "count": 3}', '{"format": 1}', "null"):
        house.cursor = cursor
        assert said(house.tick()) == f"{sentence}{aside}", cursor
        assert said(house.tick()) == sentence, cursor


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read: .*No such file.*WEBCAM_ML_RETRAIN_CONFIG"),
        ("ops: {", "is no YAML"),
        ("- labels_raw", "is no run config: it must begin with ops:"),
        (
            "ops: {labels_raw: {config: {min_rating_cont: 2}}}",
            "no field min_rating_cont; did you mean min_rating_count",
        ),
        ("ops: {checkpoint: {config: {image_size: 8}}}", "image_size is 8; it must be"),
        (
            "ops: {champion_comparison: {config: {max_auc_loss: 0.5}}}",
            "max_auc_loss 0.5 instead of .*relaxed_because",
        ),
    ],
)
def test_a_run_config_that_is_not_right_is_a_skip_that_names_the_file(
    house: House, monkeypatch: pytest.MonkeyPatch, content: str | None, sentence: str
) -> None:
    path = house.folder / "mine.yaml"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("WEBCAM_ML_RETRAIN_CONFIG", str(path))
    told = said(house.tick())
    assert str(path) in told
    assert re.search(sentence, told)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("MIN_NEW_LABELS", "0", "min_new_labels is 0"),
        ("MIN_NEW_LABELS", "many", "MIN_NEW_LABELS is 'many', which is no number"),
        ("GROWTH_FRACTION", "nan", "growth_fraction is nan"),
        ("MIN_INTERVAL_SECONDS", "-1", "min_interval is -1 seconds"),
        ("MIN_INTERVAL_SECONDS", "inf", "MIN_INTERVAL_SECONDS"),
    ],
)
def test_a_threshold_that_makes_no_sense_is_a_skip_that_names_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(f"WEBCAM_ML_RETRAIN_{variable}", value)
    with pytest.raises(WebcamMLError, match=sentence):
        Retrain.from_environment(assets=NAMES)


def test_trainings_of_another_target_or_on_other_labels_are_passed_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    regression: dict[str, object] = {
        "ops": {"manifest_full": {"config": {"target_type": "regression"}}}
    }
    everybody: dict[str, object] = {
        "ops": {"labels_raw": {"config": {"label_source": "public_aggregate"}}}
    }
    house.run()
    house.retrain_with(regression, monkeypatch)
    result = house.tick()
    assert said(result) == "120 of 50 new labels for a first training (30 new webcams): retrain."
    assert result.run_requests
    assert result.run_requests[0].run_config == regression
    house.run(house.asked)
    house.rate(20)
    assert said(house.tick()) == "20 of 50 new labels since THEN."
    house.retrain_with(everybody, monkeypatch)
    assert "for a first training" in said(house.tick())
    # Back at the first kind of labels, the first training is what counts.
    house.retrain_with({}, monkeypatch)
    assert said(house.tick()) == "20 of 50 new labels since THEN."


def test_a_request_names_labels_baseline_and_attempt(house: House) -> None:
    house.run()
    house.rate(50)
    (request,) = house.tick().run_requests or []
    latest = house.workspace.store.latest("checkpoint").data_version
    labels = request.tags["webcam_ml/labels"]
    assert request.run_key == f"binary-{labels}-{latest[:16]}-1"
    assert request.tags["webcam_ml/baseline"] == latest[:16]
    assert request.tags["webcam_ml/reason"].startswith("50 of 50 new labels since ")
    assert request.run_config == yaml.safe_load((CONFIGS / "retrain.yaml").read_text())
    house.sql("UPDATE webcam_snapshots SET calculated_rating = 5 WHERE id <= 4")
    (other,) = house.tick().run_requests or []
    assert other.run_key != request.run_key


def test_the_sensor_is_off_until_somebody_turns_it_on_and_starts_the_whole_graph(
    house: House,
) -> None:
    sensor = house.definitions.get_sensor_def(SENSOR)
    assert sensor.default_status is DefaultSensorStatus.STOPPED
    assert sensor.job_name == WHOLE_GRAPH
    job = house.definitions.resolve_job_def(WHOLE_GRAPH)
    made = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert made == set(NAMES) - {"served_scores_audit"}, "a retrain does not ask what is served"


def test_the_description_names_the_run_config_that_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (tmp_path / "ours.yaml", CONFIGS / "retrain.yaml"):
        monkeypatch.setenv("WEBCAM_ML_RETRAIN_CONFIG", str(path))
        (sensor,) = build_sensors([])
        assert f"with {path}, when" in str(sensor.description)
