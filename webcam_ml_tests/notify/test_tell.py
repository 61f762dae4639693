"""One message for each thing that happened, never a secret, and nobody waits for a host that is down."""

import errno
import logging
import os
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from webcam_ml.notify import _outbox, deliver, news, tell, without_secrets, write_down
from webcam_ml.notify._outbox import OUTBOX, Message
from webcam_ml.store import ArtifactStore, BucketStore, open_bucket
from webcam_ml_tests.notify.webhook import TOKEN, Webhook, webhook
from webcam_ml_tests.seaweed import BUCKET, S3
from webcam_ml_tests.store.test_bucket import set_environment

__all__ = ["webhook"]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """All that any library says, also what nobody would see."""
    with caplog.at_level(logging.DEBUG):
        yield caplog
    assert TOKEN not in caplog.text


def waiting(store: ArtifactStore) -> list[Message]:
    found = (Message.read(path) for path in (store.root / OUTBOX).glob("*.json"))
    return [one for one in found if one is not None and one.settled is None]


def later(store: ArtifactStore, hours: float) -> None:
    """Let what waits be older."""
    for path in (store.root / OUTBOX).glob("*.json"):
        kept = Message.read(path)
        assert kept is not None
        path.write_bytes(replace(kept, at=kept.at - hours * 60 * 60).to_bytes())


def test_the_same_is_told_once_and_something_else_is_told_too(
    store: ArtifactStore, webhook: Webhook
) -> None:
    for what in ("a", "a", "b"):
        tell(store, "live", what, f"{what} is live")
    tell(ArtifactStore(store.root), "live", "a", "a is live")
    tell(store, "run", "a", "a failed")
    assert webhook.texts == [
        "webcam-ml: a is live", "webcam-ml: b is live", "webcam-ml: a failed",
    ]  # fmt: skip


def test_two_who_see_it_at_once_tell_it_once(store: ArtifactStore, webhook: Webhook) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: tell(store, "run", "1", "run 1 failed"), range(16)))
    deliver(store)
    assert webhook.texts == ["webcam-ml: run 1 failed"]


def test_machines_that_share_a_bucket_tell_it_once(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, webhook: Webhook
) -> None:
    set_environment(monkeypatch, s3.settings())
    bucket = open_bucket(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    here, there = (BucketStore(bucket, tmp_path / name) for name in ("here", "there"))
    for store in (here, there):
        tell(store, "live", "a", "a is live")
        deliver(store)
    assert news(here, "audit", ["bgr"]) == ["bgr"]
    tell(here, "audit", "bgr", "channels are swapped")
    assert news(there, "audit", ["bgr"]) == []
    assert news(there, "audit", []) == []  # it has passed
    assert news(there, "audit", ["bgr"]) == ["bgr"]
    assert webhook.texts == ["webcam-ml: a is live", "webcam-ml: channels are swapped"]


def test_what_has_passed_may_be_told_again(store: ArtifactStore, webhook: Webhook) -> None:
    for _ in range(2):
        tell(store, "audit", "bgr", "channels are swapped")
        tell(store, "live", "a", "a is live")
        assert news(store, "audit", []) == []
    assert len(webhook.texts) == 3
    assert webhook.texts.count("webcam-ml: a is live") == 1


def test_of_many_in_one_message_each_is_known_by_itself(
    store: ArtifactStore, webhook: Webhook
) -> None:
    told = []
    for found in ("ab", "ab", "b", "ab", "abc", "", "ab"):
        new = news(store, "audit", found)
        told.append("".join(new))
        if new:
            write_down(store, "audit", new, f"{' and '.join(new)} are odd")
            deliver(store)
    assert told == ["ab", "", "", "a", "c", "", "ab"]
    assert len(webhook.texts) == 4


def test_what_waits_for_several_is_told_although_one_of_them_has_passed(
    store: ArtifactStore, webhook: Webhook
) -> None:
    write_down(store, "audit", ["a", "b"], "a and b are odd")
    assert news(store, "audit", ["b"]) == []
    deliver(store)
    assert webhook.texts == ["webcam-ml: a and b are odd"]


def test_without_a_webhook_nothing_is_written(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEBCAM_ML_NOTIFY_URL", raising=False)
    tell(store, "live", "a", "a is live")
    deliver(store)
    assert news(store, "live", ["b"]) == []
    assert not store.root.exists()


def test_a_host_that_is_down_is_counted_and_told_when_it_is_up_again(
    store: ArtifactStore,
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    logged: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("WEBCAM_ML_NOTIFY_URL", f"http://127.0.0.1:{port}/services/{TOKEN}")
    tell(store, "live", "a", "a is live")
    tell(store, "live", "b", "b is live")
    assert "1 message does not reach" in logged.text
    assert "2 messages do not reach" in logged.text
    assert sorted(one.attempts for one in waiting(store)) == [1, 1]
    monkeypatch.setenv("WEBCAM_ML_NOTIFY_URL", webhook.url)
    later(store, 0.1)
    deliver(store)
    deliver(store)
    assert webhook.texts == ["webcam-ml: a is live", "webcam-ml: b is live"]


def test_a_host_that_never_answers_does_not_hold_anybody(
    store: ArtifactStore,
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    logged: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(_outbox, "SECONDS_TO_DELIVER", 0.2)
    webhook.silent.set()
    tell(store, "live", "a", "a is live")  # comes back, although no answer was ever given
    assert "no answer within" in logged.text
    assert len(waiting(store)) == 1


def test_a_host_that_takes_it_and_answers_too_late_gets_it_six_times_in_a_day_at_most(
    store: ArtifactStore, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_outbox, "SECONDS_TO_DELIVER", 0.2)
    webhook.silent.set()
    tell(store, "live", "a", "a is live")
    for _ in range(5):
        deliver(store)
    assert len(webhook.texts) == 1
    for _ in range(2 * 25):
        later(store, 0.5)
        deliver(store)
    assert 1 < len(webhook.texts) <= 6
    assert waiting(store) == []


@pytest.mark.parametrize("status", [302, 403, 500])
def test_a_host_that_says_no_may_still_take_the_next_message(
    store: ArtifactStore, webhook: Webhook, status: int, logged: pytest.LogCaptureFixture
) -> None:
    webhook.status = status
    tell(store, "live", "a", "a is live")
    later(store, 0.1)
    tell(store, "live", "b", "b is live")
    assert webhook.texts == [f"webcam-ml: {name} is live" for name in "aab"]
    assert f"the host answers {status}" in logged.text
    assert len(waiting(store)) == 2


@pytest.mark.parametrize(
    "address",
    [f"ftp://h/{TOKEN}", TOKEN, f"file:///{TOKEN}", f"http://[{TOKEN}", f"http://h/{TOKEN}\n"],
)
def test_what_is_no_web_address_is_said_without_showing_it(
    store: ArtifactStore,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    logged: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("WEBCAM_ML_NOTIFY_URL", address)
    tell(store, "live", "a", "a is live")
    assert "WEBCAM_ML_NOTIFY_URL is no address of a webhook" in logged.text


def test_a_folder_that_cannot_be_written_fails_nobody(
    tmp_path: Path, webhook: Webhook, logged: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    tell(ArtifactStore(tmp_path / "file"), "live", "a", "a is live")
    assert "nobody is told" in logged.text


def test_a_message_that_cannot_be_removed_fails_nobody(
    store: ArtifactStore, webhook: Webhook, logged: pytest.LogCaptureFixture
) -> None:
    (store.root / OUTBOX / "audit-0.json").mkdir(parents=True)  # unlink refuses it, whoever asks
    assert news(store, "audit", ["a"]) == []
    deliver(store)
    assert logged.text.count("nobody is told") == 2


def test_a_disk_that_was_full_keeps_no_key(
    store: ArtifactStore, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        tell(store, "live", "a", "a is live")
    assert webhook.texts == []
    tell(store, "live", "a", "a is live")
    assert webhook.texts == ["webcam-ml: a is live"]


def test_after_a_day_a_message_is_given_up_and_counted(
    store: ArtifactStore, webhook: Webhook, logged: pytest.LogCaptureFixture
) -> None:
    webhook.status = 500
    tell(store, "live", "a", "a is live")
    later(store, 25)
    webhook.status = 200
    deliver(store)
    deliver(store)
    assert len(webhook.texts) == 1
    assert logged.text.count("given up, since nobody took them for a day: 1 messages") == 1


def test_a_text_calls_nobody_forges_no_line_and_is_cut(
    store: ArtifactStore, webhook: Webhook
) -> None:
    tell(store, "live", "a", "<!channel> R&D\nwebcam-ml: b is live" + "x" * 5_000)
    (text,) = webhook.texts
    assert text.startswith("webcam-ml: &lt;!channel&gt; R&amp;D\\nwebcam-ml: b is live")
    assert len(text) < 3_100


SECRETS = {
    "WEBCAM_ML_NOTIFY_URL": f"https://hooks.example.org/services/{TOKEN}",
    "DATABASE_URL": "postgresql://reader:p%40ss%2Fword@db.example.org/webcams?sslmode=require",
    "DAGSTER_POSTGRES_URL": "postgresql://dagster:hunter22@127.0.0.1/dagster",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzE",
    "AZURE_STORAGE_ACCOUNT_KEY": "Eby8vdM02xNOcqFlq==",
    "PGPASSWORD": "hunter23",
}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        *((f"cannot open {value}: no route", f"({name})") for name, value in SECRETS.items()),
        ("the password p@ss/word is wrong", "is wrong"),
        ("the password p%40ss%2Fword is wrong", "is wrong"),
        ("dagster:hunter22@127.0.0.1 refuses", "@127.0.0.1 refuses"),
        ("https://anna:tok3n@host.example/a.jpg is dead", "https://host.example/a.jpg is dead"),
        (
            "404: https://firebase.example/v0/b/o/1.jpg?alt=media&token=tok3n",
            "https://firebase.example/v0/b/o/1.jpg",
        ),
        ("https://host/a#tok3n", "https://host/a"),
        ("password=tok3n host=db", "host=db"),
        ("{'api_key': 'tok3n', 'n': 1}", "'n': 1"),
        ("Authorization: Bearer tok3n", "Authorization"),
        ("access_token: tok3n", "access_token"),
        ("Authorization: Basic tok3n, again", "Authorization: (hidden), again"),
        ('token="tok3n tok3n" host=db', "host=db"),
        ("AWS_SECRET_ACCESS_KEY=tok3n is set", "AWS_SECRET_ACCESS_KEY=(hidden) is set"),
        ("DefaultEndpointsProtocol=https;AccountKey=tok3n==;Suffix=net", ";Suffix=net"),
        ("the signature sv=2024&sig=tok3n is old", "sv=2024&sig=(hidden) is old"),
        ("https://anna:tok/tok3n@host/a.jpg is dead", "https://host/a.jpg is dead"),
        ("postgresql://anna:a@tok3n@host/db?x=1 is dead", "postgresql://host/db is dead"),
    ],
)
def test_no_secret_is_in_a_message(text: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    told = without_secrets(text)
    assert says in told
    for secret in (
        TOKEN,
        "hunter22",
        "p@ss/word",
        "p%40ss",
        "tok3n",
        "reader:",
        "anna",
        *list(SECRETS.values())[3:],
    ):
        assert secret not in told


def test_ordinary_sentences_stay_as_they_are() -> None:
    sentence = (
        "20260212T101500Z-0a1b does not go live. quality_floor: ROC AUC 0.611 (at least 0.7 needed): "
        'webcam-ml promote 20260212T101500Z-0a1b --override "REASON"'
    )
    assert without_secrets(sentence) == sentence
    address = "https://host.example:8080/a/b.jpg is dead, write to anna@example.org, primary_key=5"
    assert without_secrets(address) == address
