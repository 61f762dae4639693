"""Bit flips and cut files in everything that is stored: noticed before use, always."""

import json
import random
import shutil
from pathlib import Path

import pytest

from webcam_ml.store import ArtifactDamagedError, ArtifactMissingError, ArtifactStore, Lineage
from webcam_ml_tests.faults.conftest import Undisturbed
from webcam_ml_tests.faults.test_disk import TYPES

FLIPS = 12


def copied(undisturbed: Undisturbed, asset: str, folder: Path) -> ArtifactStore:
    shutil.copytree(undisturbed.project.artifacts / asset, folder / asset)
    return ArtifactStore(folder)


@pytest.mark.parametrize("asset", TYPES)
def test_a_flipped_bit_or_a_cut_in_any_file_of_an_asset_is_noticed_before_use(
    undisturbed: Undisturbed, tmp_path: Path, asset: str
) -> None:
    """lineage.json is among the files, with the fields that enter no version."""
    store = copied(undisturbed, asset, tmp_path)
    latest = store.latest(asset)
    chance = random.Random(asset)
    for path in sorted(latest.folder.iterdir()):
        whole = path.read_bytes()
        damaged = [flipped(whole, chance.randrange(8 * len(whole))) for _ in range(FLIPS)]
        damaged += [whole[: chance.randrange(len(whole))] for _ in range(3)]
        damaged += [b"", whole + b"\n"] if path.name != "lineage.json" else [b""]
        try:
            for content in damaged:
                path.write_bytes(content)
                with pytest.raises((ArtifactDamagedError, ArtifactMissingError)):
                    store.find(asset, latest.data_version).load(TYPES[asset])
        finally:
            path.write_bytes(whole)
    store.find(asset, latest.data_version).load(TYPES[asset])


def test_a_damaged_pointer_is_noticed_or_points_to_what_is_whole(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    store = copied(undisturbed, "labels_raw", tmp_path)
    pointer = store.root / "labels_raw" / "latest.json"
    expected, whole = store.latest("labels_raw"), pointer.read_bytes()
    try:
        for position in range(8 * len(whole)):
            pointer.write_bytes(flipped(whole, position))
            try:
                assert store.latest("labels_raw") == expected
            except (ArtifactDamagedError, ArtifactMissingError):
                continue
        for end in range(len(whole) - 2):
            pointer.write_bytes(whole[:end])
            with pytest.raises((ArtifactDamagedError, ArtifactMissingError)):
                store.latest("labels_raw")
    finally:
        pointer.write_bytes(whole)


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_lineage_without_a_checksum_is_of_an_earlier_version_and_still_read(
    undisturbed: Undisturbed,
) -> None:
    stored = ArtifactStore(undisturbed.project.artifacts).latest("labels_raw")
    content = json.loads((stored.folder / "lineage.json").read_bytes())
    del content["record_sha256"]
    assert Lineage.from_json(json.dumps(content).encode()) == stored.lineage
