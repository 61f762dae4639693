"""The measured process: the same manifests from rows as dicts and loops, as one writes it first.

Written with care, so that it is the habit that is compared and not clumsiness: one statement with
its join, a dictionary per webcam for the splits, `csv` for the files, the standard library only.
"""

import csv
import hashlib
import sys
from collections import defaultdict
from pathlib import Path

import psycopg2
import psycopg2.extras

from benchmarks.measure import tell

COLUMNS = [
    "snapshot_id", "webcam_id", "label_source", "label_value", "target_label", "split",
    "image_path_or_url", "phase", "captured_at", "rating_count",
]  # fmt: skip
DETAILS = ["snapshot_id", "webcam_title", "webcam_source"] + [f"stars_{i}" for i in range(1, 6)]
SEED, TRAIN, VAL, THRESHOLD = 20260212, 70, 15, 4.0


def main() -> None:
    url, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with (
        psycopg2.connect(url) as connection,
        connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor,
    ):
        cursor.execute(
            "SELECT s.id, s.webcam_id, s.phase, s.captured_at, s.calculated_rating, "
            "s.firebase_url, w.title, w.source FROM webcam_snapshots s "
            "JOIN webcams w ON w.id = s.webcam_id ORDER BY s.id"
        )
        snapshots = cursor.fetchall()
        cursor.execute(
            "SELECT snapshot_id, rating FROM webcam_snapshot_ratings WHERE rating IS NOT NULL"
        )
        ratings = cursor.fetchall()
    stars: dict[int, list[int]] = defaultdict(lambda: [0] * 5)
    for rating in ratings:
        stars[rating["snapshot_id"]][rating["rating"] - 1] += 1
    splits: dict[int, str] = {}
    rows, details = [], []
    for snapshot in snapshots:
        counts = stars.get(snapshot["id"])
        if counts is None or not snapshot["firebase_url"] or snapshot["calculated_rating"] is None:
            continue
        webcam = snapshot["webcam_id"]
        if webcam not in splits:
            digest = hashlib.sha256(f"{webcam}|{SEED}".encode()).hexdigest()
            bucket = int(digest[:8], 16) % 100
            splits[webcam] = (
                "train" if bucket < TRAIN else "val" if bucket < TRAIN + VAL else "test"
            )
        value = float(snapshot["calculated_rating"])
        rows.append(
            {
                "snapshot_id": snapshot["id"],
                "webcam_id": webcam,
                "label_source": "manual_only",
                "label_value": value,
                "target_label": int(value >= THRESHOLD),
                "split": splits[webcam],
                "image_path_or_url": snapshot["firebase_url"],
                "phase": snapshot["phase"],
                "captured_at": snapshot["captured_at"].isoformat() + "Z",
                "rating_count": sum(counts),
            }
        )
        details.append(
            {
                "snapshot_id": snapshot["id"],
                "webcam_title": snapshot["title"],
                "webcam_source": snapshot["source"],
                **{f"stars_{i}": count for i, count in enumerate(counts, start=1)},
            }
        )
    for part in ("full", "train", "val", "test"):
        chosen = [i for i, row in enumerate(rows) if part in ("full", row["split"])]
        write(folder / f"manifest_{part}.csv", COLUMNS, [rows[i] for i in chosen])
        write(folder / f"details_{part}.csv", DETAILS, [details[i] for i in chosen])
    tell(rows=len(rows))


def write(path: Path, columns: list[str], rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
