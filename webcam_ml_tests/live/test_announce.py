"""The webhook hears of each line of the ledger and of each refused candidate, once."""

import argparse

import pytest
from dagster import DagsterInstance, build_sensor_context

from webcam_ml.live import PromotionRefused, add_release_commands, announce
from webcam_ml.notify._outbox import Message
from webcam_ml.orchestration.build import build_definitions
from webcam_ml_tests.live.fixtures import Live
from webcam_ml_tests.live.models import Made
from webcam_ml_tests.notify.webhook import Webhook, webhook

__all__ = ["webhook"]


def run(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    add_release_commands(parser.add_subparsers(required=True))
    options = parser.parse_args(arguments)
    assert options.run(options) == 0


@pytest.fixture
def here(live: Live, monkeypatch: pytest.MonkeyPatch) -> Live:
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", str(live.store.root))
    return live


def test_promotion_roll_back_and_override_are_told_with_their_reasons(
    here: Live, made: dict[str, Made], webhook: Webhook
) -> None:
    first, better, shuffled = (made[name].version for name in ("first", "better", "shuffled"))
    announce(here.promote("better").entry, here.store)
    run("rollback", "--reason", "odd at night")
    run("promote", shuffled, "--override", "it was the lens")
    promoted, back, override = webhook.texts
    assert promoted == f"webcam-ml: {better} is live for binary, instead of {first}."
    assert back == (
        f"webcam-ml: {first} is live again for binary, instead of {better}. Reason: odd at night"
    )
    assert override.startswith(
        f"webcam-ml: {shuffled} is live by override for binary, instead of {first}; against it: "
    )
    assert override.endswith(". Reason: it was the lens")


def test_a_refusal_is_told_once_with_the_reason_and_the_command(
    here: Live, made: dict[str, Made], webhook: Webhook
) -> None:
    for evidence in (here.evidence["shuffled"], None):
        if evidence is None:  # the same candidate judged anew, by another run
            here.evidence["shuffled"] = here.works.compare(
                here.found["shuffled"], made["shuffled"].world.cache
            )
        with pytest.raises(PromotionRefused) as no:
            here.promote("shuffled")
        assert no.value.refusal is not None
        announce(no.value.refusal, here.store)
    (text,) = webhook.texts
    assert "does not go live. " in text
    assert "not_worse_than_champion: " in text
    assert text.endswith(f'webcam-ml promote {made["shuffled"].version} --override "REASON"')


@pytest.mark.filterwarnings("default")  # Dagster warns of its own deprecated internals
def test_the_sensor_sends_what_did_not_arrive(
    here: Live, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook.status = 500
    announce(here.promote("better").entry, here.store)
    webhook.status = 200
    monkeypatch.setattr(Message, "is_due", lambda *_: True)  # four minutes have passed
    definitions = build_definitions()
    for _ in range(2):
        with (
            DagsterInstance.ephemeral() as instance,
            build_sensor_context(instance=instance, resources=definitions.resources) as context,
        ):
            definitions.get_sensor_def("live_events_sensor").evaluate_tick(context)
    assert len(webhook.texts) == 2
    assert webhook.texts[0] == webhook.texts[1]
