"""What is live in a bucket: several machines with a mirror each, overtaken, killed, put back."""

import shutil
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from webcam_ml.errors import WebcamMLError
from webcam_ml.live import (
    Ledger,
    LedgerDamagedError,
    PromotionRefused,
    candidate_counter,
    current_ledger,
    promote_override,
    prune,
    read_refusals,
    rollback,
    verify,
)
from webcam_ml.live._copy import copy_store, pull
from webcam_ml.live._shared import SharedHistory
from webcam_ml.store import ArtifactStore, BucketStore, open_bucket
from webcam_ml_tests.live.fixtures import Live
from webcam_ml_tests.live.models import Made, Works
from webcam_ml_tests.seaweed import BUCKET, LOSE_THE_ANSWER, PASS, S3, failing
from webcam_ml_tests.store.test_bucket import set_environment


@dataclass
class Shared:
    """A bucket where `first` is live, and machines that use it."""

    address: str
    prepared: Live
    folder: Path
    machines: list[Live] = field(default_factory=list)

    def machine(self) -> Live:
        store = BucketStore(open_bucket(self.address), self.folder / str(len(self.machines)))
        self.machines.append(
            Live(
                Works(store),
                {
                    name: {
                        asset: store.find(asset, stored.data_version)
                        for asset, stored in by_asset.items()
                    }
                    for name, by_asset in self.prepared.found.items()
                },
                {
                    name: store.find(stored.asset, stored.data_version)
                    for name, stored in self.prepared.evidence.items()
                },
            )
        )
        return self.machines[-1]

    def copy(self) -> "Shared":
        """Make another bucket like it was in the beginning."""
        return share(self.prepared, self.folder / uuid.uuid4().hex)


def share(prepared: Live, folder: Path, bucket: str = BUCKET) -> Shared:
    address = f"s3://{bucket}/{uuid.uuid4().hex}"
    copy_store(open_bucket(str(prepared.store.root)), open_bucket(address))
    return Shared(address, prepared, folder)


@pytest.fixture
def shared(prepared: Live, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shared:
    set_environment(monkeypatch, s3.settings())
    return share(prepared, tmp_path)


def live_version(machine: Live) -> str:
    entry = current_ledger(machine.store).live("binary")
    assert entry is not None
    return entry.version


def test_what_one_machine_promotes_is_live_for_every_other(
    shared: Shared, made: dict[str, Made], tmp_path: Path
) -> None:
    here, there = shared.machine(), shared.machine()
    assert live_version(there) == made["first"].version
    assert here.promote("better").is_new
    assert live_version(there) == made["better"].version
    link = there.production / "binary"
    assert (link / "model.onnx").read_bytes() == made["better"].exported.model
    assert str(link / "model.onnx") in (link / "scorer.env").read_text()
    assert not there.promote("better").is_new
    (pulled,) = pull(open_bucket(shared.address), tmp_path / "application").values()
    assert (pulled / "model.onnx").read_bytes() == made["better"].exported.model
    assert rollback(there.store, reason="odd at night").version == made["first"].version
    assert live_version(here) == made["first"].version
    assert [one.action for one in Ledger.read(here.production).entries] == [
        "promote", "promote", "rollback",
    ]  # fmt: skip
    assert verify(here.store) == []
    # The folder that comes back is a store like any other.
    back = tmp_path / "back"
    copy_store(open_bucket(shared.address), open_bucket(str(back)))
    assert verify(ArtifactStore(back)) == []


def test_a_refusal_and_a_count_are_known_to_every_machine(
    shared: Shared, made: dict[str, Made]
) -> None:
    here, there = shared.machine(), shared.machine()
    with pytest.raises(PromotionRefused, match="not_worse_than_champion"):
        here.promote("shuffled")
    current_ledger(there.store)
    (refusal,) = read_refusals(there.production)
    assert refusal.version == made["shuffled"].version
    numbers = [
        candidate_counter(machine.store, "binary")("another", digest * 64, "f" * 64)
        for machine, digest in ((here, "a"), (there, "b"), (here, "b"))
    ]
    assert [one.candidate_number for one in numbers] == [3, 4, 4]
    assert verify(here.store) == []


class Ended(BaseException):
    """The process is gone from here on."""


def ending_at(patch: pytest.MonkeyPatch, number: int) -> None:
    """Let the process end before its write number so many to the bucket; a probe is none."""
    count = 0

    def counted(write: Callable[..., object]) -> Callable[..., object]:
        def wrapped(bucket: object, key: str, *rest: object) -> object:
            nonlocal count
            if key.startswith("production"):
                count += 1
                if count == number:
                    raise Ended
            return write(bucket, key, *rest)

        return wrapped

    from webcam_ml.store._object_bucket import ObjectBucket

    for name in ("create", "swap", "put"):
        patch.setattr(ObjectBucket, name, counted(getattr(ObjectBucket, name)))


def test_a_promotion_that_ends_at_any_write_is_completed_by_another_machine(
    shared: Shared, made: dict[str, Made]
) -> None:
    """Two files of the model, the ledger, the head."""
    decided = []
    for number in (1, 2, 3, 4, 5):
        bucket = shared.copy()
        dying, other = bucket.machine(), bucket.machine()
        with pytest.MonkeyPatch.context() as patch:
            ending_at(patch, number)
            if number < 5:
                with pytest.raises(Ended):
                    dying.promote("better")
            else:
                dying.promote("better")
        decided.append(live_version(other) == made["better"].version)
        assert other.promote("better").is_new == (not decided[-1])
        assert live_version(dying) == made["better"].version
        assert verify(dying.store) == []
    assert decided == [False, False, False, True, True]


def test_who_is_overtaken_judges_again(
    shared: Shared, made: dict[str, Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = shared.machine(), shared.machine()
    write, overtaking = SharedHistory.write, True

    def write_late(history: SharedHistory, name: str, data: bytes) -> bool:
        nonlocal overtaking
        if overtaking and name == "ledger.jsonl":
            overtaking = False
            promote_override(there.store, made["shuffled"].version, reason="to see what happens")
        return write(history, name, data)

    monkeypatch.setattr(SharedHistory, "write", write_late)
    # Its evidence compares with a model that is not live any more.
    with pytest.raises(PromotionRefused, match="another promotion or roll-back came between"):
        here.promote("better")
    assert live_version(here) == made["shuffled"].version
    assert verify(here.store) == []


def test_a_line_whose_answer_is_lost_is_written_once(
    prepared: Live,
    s3: S3,
    made: dict[str, Made],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost: set[str] = set()

    def deed(method: str, number: int) -> str:
        # Every third write, so that each is repeated, and its repetition is heard.
        if method == "PUT" and number % 3 == 0:
            lost.add(method)
            return LOSE_THE_ANSWER
        return PASS

    unsigned = {"AWS_SKIP_SIGNATURE": "true"}
    set_environment(monkeypatch, {**s3.settings(), **unsigned})
    bucket = share(prepared, tmp_path, "open")
    with failing(s3, deed) as proxy:
        set_environment(monkeypatch, {**proxy.settings(), **unsigned})
        here = bucket.machine()
        assert here.promote("better").is_new
        assert rollback(here.store).version == made["first"].version
    assert lost
    set_environment(monkeypatch, {**s3.settings(), **unsigned})
    assert len(current_ledger(bucket.machine().store).entries) == 3
    assert verify(bucket.machines[-1].store) == []


def test_an_own_line_is_recognised_after_others_went_on_from_it(
    shared: Shared, made: dict[str, Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = shared.machine(), shared.machine()
    write = SharedHistory.write
    first = True

    def without_answer(history: SharedHistory, name: str, data: bytes) -> bool:
        nonlocal first
        written = write(history, name, data)
        if first and name == "ledger.jsonl":
            first = False
            rollback(there.store)
            return False  # what the client says when it repeats the write now
        return written

    monkeypatch.setattr(SharedHistory, "write", without_answer)
    promotion = here.promote("better")
    assert promotion.is_new
    assert [one.version for one in current_ledger(here.store).entries] == [
        made[name].version for name in ("first", "better", "first")
    ]
    assert (here.production / "binary").readlink().name == made["first"].version
    assert verify(here.store) == []


def test_a_history_that_went_back_is_refused_by_a_machine_that_has_seen_more(
    shared: Shared,
) -> None:
    here = shared.machine()
    bucket = open_bucket(shared.address)
    names = ("ledger.jsonl", "ledger.head")
    before = {name: bucket.get(f"production/{name}") for name in names}
    here.promote("better")
    for name, found in before.items():
        assert found is not None
        bucket.put(f"production/{name}", found.data)
    with pytest.raises(WebcamMLError, match=r"only moves forward.*remove .*production"):
        current_ledger(here.store)
    shutil.rmtree(here.production)
    assert len(current_ledger(here.store).entries) == 1


def test_a_history_that_was_changed_is_named_by_its_bucket(shared: Shared) -> None:
    here = shared.machine()
    bucket = open_bucket(shared.address)
    found = bucket.get("production/ledger.jsonl")
    assert found is not None
    bucket.put("production/ledger.jsonl", found.data.replace(b"promote", b"rollback"))
    with pytest.raises(LedgerDamagedError, match=f"in {shared.address}"):
        here.promote("better")
    assert [str(one) for one in verify(here.store)]


def test_verify_proves_the_bucket_and_not_the_mirror(shared: Shared) -> None:
    here = shared.machine()
    assert verify(here.store) == []
    stored = here.found["first"]["onnx_model"]
    stored.verify()  # the mirror has it, whole
    bucket = open_bucket(shared.address)
    key = f"onnx_model/{stored.version}/model.meta.json"
    bucket.put(key, b"{}")
    bucket.delete(f"manifest_val/{here.found['first']['manifest_val'].version}/lineage.json")
    problems = [str(one) for one in verify(here.store)]
    assert any(one.startswith(f"{shared.address}/{key}: has sha256") for one in problems)
    assert any(
        one.startswith(f"{shared.address}/manifest_val/") and "is gone" in one for one in problems
    )
    assert not any("webcam-ml-verify" in one for one in problems)


def test_prune_frees_in_the_bucket_what_nothing_needs(
    shared: Shared, made: dict[str, Made]
) -> None:
    here = shared.machine()
    here.works.add(made["first"])  # the latest of each asset
    freed = {(one.asset, one.folder.name) for one in prune(here.store, dry_run=False)}
    assert ("checkpoint", here.found["better"]["checkpoint"].version) in freed
    there = BucketStore(open_bucket(shared.address), shared.folder / "new")
    assert not there.has("checkpoint", here.found["better"]["checkpoint"].data_version)
    assert there.has("checkpoint", here.found["first"]["checkpoint"].data_version)
    assert prune(there) == []
    assert verify(there) == []


RACER = """
    import sys
    from dataclasses import dataclass
    from pathlib import Path

    from webcam_ml.live._production import Production, change_production
    from webcam_ml.store import ArtifactStore, BucketStore, Provenance, open_bucket

    address, mirror, who, of, count = *sys.argv[1:3], *map(int, sys.argv[3:])
    store = (
        BucketStore(open_bucket(address), Path(mirror))
        if "://" in address else ArtifactStore(Path(address))
    )

    @dataclass(frozen=True)
    class Note:
        number: int

        def save(self, folder: Path) -> None:
            (folder / "note.txt").write_text(str(self.number))

    def commit(production: Production, reason: str) -> None:
        first = production.ledger.entries[0]
        production.commit(
            "override", first.target_type, first.version, digests=first.digests,
            lineage=first.lineage, verdicts={}, candidates_judged=None, reason=reason, run_id=None,
        )

    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(count):
        stored, is_new = store.write("notes", Note(number), inputs={}, provenance=Provenance(str(who)))
        if is_new:
            print("won", number, flush=True)
        if number % of == who:
            change_production(store, lambda production: commit(production, f"{who} {number}"))
            print("added", who, number, flush=True)
"""


@pytest.mark.parametrize("in_bucket", [False, True], ids=["folder", "s3"])
@pytest.mark.parametrize("each", [12, pytest.param(375, marks=pytest.mark.slow)])
def test_of_machines_that_write_and_decide_at_once_one_wins_and_none_is_lost(
    shared: Shared, each: int, in_bucket: bool
) -> None:
    """Each of four writes all versions and makes a quarter of the decisions, two of them a third of that."""
    address = shared.address
    if not in_bucket:
        address = str(shared.folder / "store")
        copy_store(open_bucket(shared.address), open_bucket(address))
    # Two never come to their end, so that they are killed in their middle however fast they are.
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RACER), address,
             str(shared.folder / f"racer {who}"), str(who), "4", str(4 * each if who > 1 else 10**6)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for who in range(4)
    ]  # fmt: skip
    for one in racing:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in racing:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    said: dict[str, list[str]] = {"won": [], "added": []}
    for who, one in enumerate(racing):
        assert one.stdout is not None
        decisions = 0
        for line in one.stdout:
            fact, _, what = line.strip().partition(" ")
            said[fact].append(what)
            decisions += fact == "added"
            if who < 2 and decisions == each // 3:
                one.kill()
        one.communicate()
        assert (one.returncode != 0) == (who < 2)
    store = shared.machine().store if in_bucket else ArtifactStore(Path(address))
    texts = [
        (store.named("notes", name).folder / "note.txt").read_text()
        for name in store.versions("notes")
    ]
    assert len(texts) == len(set(texts))
    assert set(map(str, range(4 * each))) <= set(texts)
    assert len(said["won"]) == len(set(said["won"]))
    added = [one.reason for one in current_ledger(store).entries[1:]]
    assert len(added) == len(set(added))
    assert set(said["added"]) <= set(added)
    # A killed process may have written without having had the time to say so.
    assert len(texts) - len(said["won"]) <= 2
    assert len(added) - len(said["added"]) <= 2
    assert verify(store) == []
