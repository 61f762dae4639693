"""The measured process: the same pool from rows as dicts and loops, as one writes it first."""

import sys
from collections import defaultdict

import psycopg2
import psycopg2.extras

from benchmarks.measure import tell
from benchmarks.queue_pool import POOL, digest_of
from webcam_ml.dataset import SplitConfig


def main() -> None:
    with (
        psycopg2.connect(sys.argv[1]) as connection,
        connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor,
    ):
        cursor.execute("SELECT id, webcam_id, captured_at, firebase_url FROM webcam_snapshots")
        snapshots = cursor.fetchall()
        cursor.execute("SELECT snapshot_id FROM webcam_snapshot_ratings")
        rated = {row["snapshot_id"] for row in cursor.fetchall()}
    split = SplitConfig()
    splits: dict[int, str] = {}
    of_webcam = defaultdict(list)
    for snapshot in snapshots:
        webcam = snapshot["webcam_id"]
        if snapshot["id"] in rated or not snapshot["firebase_url"]:
            continue
        if webcam not in splits:
            splits[webcam] = split.split_of(webcam)
        if splits[webcam] == "train":
            of_webcam[webcam].append((snapshot["captured_at"], snapshot["id"]))
    frames = []
    for mine in of_webcam.values():
        mine.sort(reverse=True)
        frames += [(turn, mine[turn]) for turn in range(len(mine))]
    frames.sort(key=lambda frame: frame[1], reverse=True)
    frames.sort(key=lambda frame: frame[0])
    tell(pool=digest_of([frame[1][1] for frame in frames[:POOL]]))


if __name__ == "__main__":
    main()
