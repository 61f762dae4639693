import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webcam_ml.errors import WebcamMLError
from webcam_ml.live import Ledger, LedgerDamagedError, LedgerEntry
from webcam_ml.live._layout import version_folder
from webcam_ml.live._ledger import Action
from webcam_ml.store import ArtifactStore


def entry_after(ledger: Ledger, action: Action, version: str) -> LedgerEntry:
    live = ledger.live("binary")
    return LedgerEntry(
        sequence=len(ledger.entries) + 1,
        previous=ledger.last_digest,
        time="2026-02-12T10:15:00+00:00",
        action=action,
        target_type="binary",
        version=version,
        replaces=None if live is None else live.version,
        digests={"model.onnx": "0" * 64, "model.meta.json": "1" * 64},
        lineage={},
        verdicts={},
        candidates_judged_on_test_split=None,
        reason="größer",
        run_id=None,
    )


def ledger_of(*steps: tuple[Action, str]) -> Ledger:
    ledger = Ledger()
    for action, version in steps:
        ledger = ledger.with_entry(entry_after(ledger, action, version))
    return ledger


def write(folder: Path, ledger: Ledger) -> list[bytes]:
    (folder / "ledger.jsonl").write_bytes(ledger.to_bytes())
    (folder / "ledger.head").write_bytes(ledger.head_bytes())
    return ledger.to_bytes().splitlines(keepends=True)


@pytest.fixture
def lines(tmp_path: Path) -> list[bytes]:
    return write(tmp_path, ledger_of(("promote", "a"), ("promote", "b"), ("override", "c")))


def test_a_ledger_is_read_back_as_it_was_written(tmp_path: Path, lines: list[bytes]) -> None:
    ledger = Ledger.read(tmp_path)
    assert ledger.to_bytes() == b"".join(lines)
    assert [entry.version for entry in ledger.entries] == ["a", "b", "c"]
    assert not ledger.interrupted


def test_no_files_are_an_empty_history(tmp_path: Path) -> None:
    assert Ledger.read(tmp_path) == Ledger()


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_line_that_was_removed_is_noticed_the_last_one_too(
    tmp_path: Path, lines: list[bytes], gone: int
) -> None:
    del lines[gone]
    (tmp_path / "ledger.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(LedgerDamagedError, match=r"ledger\.jsonl"):
        Ledger.read(tmp_path)


def test_lines_that_were_exchanged_are_noticed(tmp_path: Path, lines: list[bytes]) -> None:
    (tmp_path / "ledger.jsonl").write_bytes(lines[0] + lines[2] + lines[1])
    with pytest.raises(LedgerDamagedError, match="line 2"):
        Ledger.read(tmp_path)


def test_a_line_that_was_added_by_hand_is_noticed(tmp_path: Path, lines: list[bytes]) -> None:
    (tmp_path / "ledger.jsonl").write_bytes(b"".join([*lines, lines[-1]]))
    with pytest.raises(LedgerDamagedError, match="line 4"):
        Ledger.read(tmp_path)


@pytest.mark.parametrize("name", ["ledger.jsonl", "ledger.head"])
def test_a_file_that_is_gone_is_noticed(tmp_path: Path, lines: list[bytes], name: str) -> None:
    (tmp_path / name).unlink()
    with pytest.raises(LedgerDamagedError):
        Ledger.read(tmp_path)


def test_no_byte_can_be_changed_or_cut_off(tmp_path: Path, lines: list[bytes]) -> None:
    for name in ("ledger.jsonl", "ledger.head"):
        path = tmp_path / name
        data = path.read_bytes()
        # Every byte of the short file, every seventh of the long one.
        for position in range(0, len(data), 1 if len(data) < 200 else 7):
            path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
            with pytest.raises(LedgerDamagedError):
                Ledger.read(tmp_path)
        for length in range(1, len(data), 11):
            path.write_bytes(data[:length])
            with pytest.raises(LedgerDamagedError):
                Ledger.read(tmp_path)
        path.write_bytes(data)


def test_a_head_one_line_behind_is_an_interrupted_promotion(
    tmp_path: Path, lines: list[bytes]
) -> None:
    before = ledger_of(("promote", "a"), ("promote", "b"))
    (tmp_path / "ledger.head").write_bytes(before.head_bytes())
    assert Ledger.read(tmp_path).interrupted


def test_what_was_written_by_an_older_version_keeps_its_bytes(tmp_path: Path) -> None:
    ledger = ledger_of(("promote", "a"))
    spaced = json.dumps(json.loads(ledger.lines[0]), separators=(", ", " : ")).encode()
    old = Ledger(ledger.entries, (spaced,))
    write(tmp_path, old)
    longer = Ledger.read(tmp_path)
    longer = longer.with_entry(entry_after(longer, "promote", "b"))
    write(tmp_path, longer)
    assert Ledger.read(tmp_path).lines[0] == spaced


def test_a_rollback_takes_away_all_that_came_after_its_goal() -> None:
    ledger = ledger_of(("promote", "a"), ("promote", "b"), ("promote", "c"), ("rollback", "a"))
    assert [entry.version for entry in ledger.promotions_in_force("binary")] == ["a"]
    assert ledger.withdrawn("binary") == {"b", "c"}
    assert ledger.promotions_in_force("regression") == ()


def test_an_override_brings_back_what_was_withdrawn() -> None:
    ledger = ledger_of(("promote", "a"), ("promote", "b"), ("rollback", "a"), ("override", "b"))
    assert [entry.version for entry in ledger.promotions_in_force("binary")] == ["a", "b"]
    assert ledger.withdrawn("binary") == frozenset()


@given(st.lists(st.tuples(st.sampled_from(["promote", "rollback"]), st.sampled_from("abcd"))))
def test_the_last_entry_always_names_what_is_live_and_nothing_live_is_withdrawn(
    steps: list[tuple[Action, str]],
) -> None:
    ledger = Ledger()
    for action, version in steps:
        standing = [entry.version for entry in ledger.promotions_in_force("binary")]
        if action == "rollback" and version not in standing[:-1]:
            continue
        if action == "promote" and standing[-1:] == [version]:
            continue
        ledger = ledger.with_entry(entry_after(ledger, action, version))
        live = ledger.live("binary")
        assert live is not None
        assert live.version == version
        held = {entry.version for entry in ledger.promotions_in_force("binary")}
        assert not held & ledger.withdrawn("binary")
        assert held | ledger.withdrawn("binary") == set(ledger.first_entries())


@pytest.mark.parametrize("again", ["promote", "override"])
def test_a_version_that_came_back_and_was_rolled_back_is_withdrawn(again: Action) -> None:
    ledger = ledger_of(("promote", "a"), ("promote", "b"), (again, "a"), ("rollback", "b"))
    assert ledger.withdrawn("binary") == {"a"}
    assert [entry.version for entry in ledger.promotions_in_force("binary")] == ["b"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["promote", "rollback"]), st.sampled_from("abcd")), max_size=12
    )
)
def test_no_version_stands_and_is_withdrawn_at_once(steps: list[tuple[Action, str]]) -> None:
    ledger = Ledger()
    for action, version in steps:
        standing = [entry.version for entry in ledger.promotions_in_force("binary")]
        if action == "rollback" and version not in standing[:-1]:
            continue
        ledger = ledger.with_entry(entry_after(ledger, action, version))
        after = [entry.version for entry in ledger.promotions_in_force("binary")]
        assert after[-1] == version
        assert len(after) == len(set(after))
        assert not ledger.withdrawn("binary") & set(after)


NAMES_OF_NO_FOLDER = (
    "",
    ".",
    "..",
    ".hidden",
    "../../../victim",
    "/absolute",
    "a/b",
    "a/",
    "a\nNODE_OPTIONS=--require=/tmp/evil.js",
    "a\0b",
    "a\x1b]0;title\x07",
)


def changed(content: dict[str, object]) -> Ledger:
    """A ledger of one line, by somebody who knows how lines are chained."""
    line = json.loads(entry_after(Ledger(), "promote", "a").to_line())
    return Ledger(lines=(json.dumps(line | content).encode(),))


@pytest.mark.parametrize("field", ["version", "replaces", "lost"])
@pytest.mark.parametrize("name", NAMES_OF_NO_FOLDER)
def test_a_version_that_is_no_name_of_a_folder_is_no_entry_and_not_repeated(
    tmp_path: Path, name: str, field: str
) -> None:
    write(tmp_path, changed({field: [name] if field == "lost" else name}))
    with pytest.raises(LedgerDamagedError, match="line 1 that is no entry") as caught:
        Ledger.read(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", NAMES_OF_NO_FOLDER)
def test_no_folder_is_given_for_a_version_that_is_no_name_of_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(WebcamMLError, match="is no name of a model version") as caught:
        version_folder(ArtifactStore(tmp_path), name)
    assert str(caught.value).isprintable()


def test_an_entry_names_the_digests_of_its_files(tmp_path: Path) -> None:
    write(tmp_path, changed({"digests": {"model.meta.json": "1" * 64}}))
    with pytest.raises(LedgerDamagedError, match="line 1 that is no entry"):
        Ledger.read(tmp_path)


@pytest.mark.parametrize("name", ["ledger.jsonl", "ledger.head"])
def test_a_file_that_is_nested_without_end_is_damaged(
    tmp_path: Path, lines: list[bytes], name: str
) -> None:
    (tmp_path / name).write_bytes(b"[" * 200_000 + b"\n")
    with pytest.raises(LedgerDamagedError, match=name):
        Ledger.read(tmp_path)
