"""Sensors: what starts a run by itself. There is one, `label_growth_sensor`.

How much growth is enough is decided in `webcam_ml.labels`, what a retrain does in `retrain`, and
what has happened so far is read in `history`. No `from __future__ import annotations` here: Dagster
reads the annotations.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from dagster import (
    DagsterInstance,
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import decide, label_growth, utc_minute
from webcam_ml.orchestration.jobs import WHOLE_GRAPH
from webcam_ml.orchestration.resources import LabelDatabaseResource, Workspace
from webcam_ml.orchestration.retraining.history import (
    is_done,
    last_training,
    runs_with_tags,
    training_run,
)
from webcam_ml.orchestration.retraining.retrain import Retrain, retrain_config
from webcam_ml.store import ArtifactStore

# Dagster keeps cursor and history under this name.
LABEL_GROWTH_SENSOR = "label_growth_sensor"
SECONDS_BETWEEN_TICKS = 60

# Tags of the runs that it starts: by them it finds again what it did.
TARGET_TAG = "webcam_ml/retrain"
LABELS_TAG = "webcam_ml/labels"
BASELINE_TAG = "webcam_ml/baseline"
ATTEMPT_TAG = "webcam_ml/attempt"
REASON_TAG = "webcam_ml/reason"
NO_BASELINE = "none"
DIGEST_CHARACTERS = 16

CURSOR_FORMAT = 1


@dataclass(frozen=True)
class Memory:
    """What the cursor holds: the last good look at the labels.

    Nothing is decided by it. Growth is measured from the last training and attempts are counted in
    the history of runs, so that a cursor which is lost, or of another version, costs nothing.

    Attributes:
        looked_at: When the labels were last read, ISO 8601 in UTC.
        labels: Their digest.
    """

    looked_at: str
    labels: str

    def to_cursor(self) -> str:
        """Write the cursor."""
        return json.dumps({"format": CURSOR_FORMAT, **asdict(self)})

    @classmethod
    def from_cursor(cls, cursor: str) -> Self | None:
        """Read a cursor; None if it is not of this format."""
        try:
            values = json.loads(cursor)
            if values.pop("format") != CURSOR_FORMAT:
                return None
            memory = cls(**values)
            datetime.fromisoformat(memory.looked_at)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
        return memory

    @property
    def minute(self) -> str:
        """When the labels were last read, for a sentence."""
        return utc_minute(datetime.fromisoformat(self.looked_at))


def build_sensors(
    asset_names: Sequence[str], *, seconds_between_ticks: int = SECONDS_BETWEEN_TICKS
) -> list[SensorDefinition]:
    """Make the sensors.

    Args:
        asset_names: Names of all assets in the graph, to judge the run config by.
        seconds_between_ticks: How often a sensor looks, at most.
    """

    @sensor(
        name=LABEL_GROWTH_SENSOR,
        job_name=WHOLE_GRAPH,
        minimum_interval_seconds=seconds_between_ticks,
        default_status=DefaultSensorStatus.STOPPED,
        description=f"Starts a retrain of the whole graph, with {retrain_config()}, when labels "
        "have grown enough since the last training. Each tick says why it did or did not.",
    )
    def label_growth_sensor(
        context: SensorEvaluationContext,
        workspace: Workspace,
        label_database: LabelDatabaseResource,
    ) -> SensorResult:
        return tick(
            context, workspace=workspace, label_database=label_database, asset_names=asset_names
        )

    return [label_growth_sensor]


def tick(
    context: SensorEvaluationContext,
    *,
    workspace: Workspace,
    label_database: LabelDatabaseResource,
    asset_names: Sequence[str],
) -> SensorResult:
    """Look once whether labels have grown enough, and say so in one sentence.

    What counts is all labels as they are, not each label that arrives: each tick compares all of
    them with those of the last training, so that a tick which fails, or a week without ticks, loses
    nothing. That is also why it is safe at scale. Automation that fires when something upstream
    changes starts a run for every change, and when the run is broken, for every tick: one such
    condition made 368,000 failed runs in two weeks. Here a retrain that fails is tried three times
    with the same labels. Each new label starts that count again; then `min_interval` limits the
    failed runs, to one an hour by default. `run_key` is a digest of what is asked for,
    never a count or a time, since Dagster deduplicates by it for ever.
    """
    memory = Memory.from_cursor(context.cursor) if context.cursor else None
    aside = ""
    if context.cursor and memory is None:
        aside = " (The cursor was of another format and starts afresh; nothing depends on it.)"
    try:
        retrain = Retrain.from_environment(assets=asset_names)
        look = _look(context.instance, workspace.store, label_database, retrain)
    except WebcamMLError as error:
        seen = "" if memory is None else f" Labels were last read at {memory.minute}."
        look = Look(" ".join(str(error).split()).rstrip(".") + f".{seen}")
    sentence = look.sentence + aside
    context.log.info(sentence)
    cursor = None if look.memory is None else look.memory.to_cursor()
    if look.request is not None:
        return SensorResult(run_requests=[look.request], cursor=cursor)
    return SensorResult(skip_reason=SkipReason(sentence), cursor=cursor)


@dataclass(frozen=True)
class Look:
    """The outcome of a tick.

    Attributes:
        sentence: Why there is a run, or none.
        request: The run.
        memory: What to remember, if the labels were read.
    """

    sentence: str
    request: RunRequest | None = None
    memory: Memory | None = None


def _look(
    instance: DagsterInstance,
    store: ArtifactStore,
    label_database: LabelDatabaseResource,
    retrain: Retrain,
) -> Look:
    from webcam_ml.labels import LabelValues, read_label_values

    # The history first: where it rules a retrain out, the database is not read at all.
    if (running := training_run(instance, store)) is not None:
        # What is started without a job, in the shell or by Materialize, has an internal name.
        what = "assets" if running.job_name.startswith("__") else running.job_name
        return Look(
            f"Run {running.run_id[:8]} ({what}, {running.status.value.lower()}) contains "
            "checkpoint: the labels are looked at again when it has ended."
        )
    target = retrain.target.target_type
    if (wait := _wait(instance, target, retrain.growth.min_interval)) is not None:
        return Look(wait)

    now = read_label_values(label_database.connect(), retrain.query)
    digest = now.digest[:DIGEST_CHARACTERS]
    training = last_training(instance, store, query=retrain.query, target=retrain.target)
    weights: Mapping[str, float] = {}
    if training is None:
        before, baseline = LabelValues.none(), NO_BASELINE
    else:
        training.labels.verify()
        before = LabelValues.load(training.labels.folder)
        baseline = training.checkpoint.data_version[:DIGEST_CHARACTERS]
        if training.meta.heard is not None and now.judged is not None:
            weights = training.meta.heard.weights
            # Of validation and test webcams no label of a judge is learned from.
            learned = training.meta.train_webcams(now.judged["webcam_id"])
            before, now = before.judged_on(learned), now.judged_on(learned)
    tags = {TARGET_TAG: target, LABELS_TAG: digest, BASELINE_TAG: baseline}
    # No run that contains checkpoint is at work: those that are still called running have crashed.
    ended = [is_done(instance, record.dagster_run) for record in runs_with_tags(instance, tags)]
    decision = decide(
        label_growth(before, now, positive_from=retrain.target.positive_from, weights=weights),
        since=None if training is None else training.at,
        settings=retrain.growth,
        failed=len(ended) - sum(ended),
        done=any(ended),
    )
    memory = Memory(looked_at=datetime.now(UTC).isoformat(timespec="seconds"), labels=digest)
    if not decision.retrain:
        return Look(decision.reason, memory=memory)
    attempt = str(decision.attempt)
    request = RunRequest(
        run_key="-".join((*tags.values(), attempt)),
        run_config=dict(retrain.run_config),
        tags={**tags, ATTEMPT_TAG: attempt, REASON_TAG: decision.reason},
    )
    return Look(decision.reason, request=request, memory=memory)


def _wait(instance: DagsterInstance, target: str, min_interval: timedelta) -> str | None:
    """Say how long the next retrain has to wait for the last one; None if it need not."""
    for last in runs_with_tags(instance, {TARGET_TAG: target}, limit=1):
        if (then := last.create_timestamp + min_interval) > datetime.now(UTC):
            return (
                f"The last retrain began at {utc_minute(last.create_timestamp)}, and min_interval "
                f"puts the next one off until {utc_minute(then)}."
            )
    return None
