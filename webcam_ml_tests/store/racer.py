"""One of several processes that write versions and append to one chain, until killed.

Each line on stdout is a fact: ``won NUMBER`` (its version is the one) or ``added NAME`` (its line is in
the chain).

All try to write each version, and each adds the lines of its own numbers.
"""

import hashlib
import sys

from webcam_ml.store import Bucket, open_bucket

CHAIN = "chain.jsonl"


def add(bucket: Bucket, name: str, *, careful: bool) -> None:
    """Append a line that names the digest of all before it, as the ledger does."""
    while True:
        found = bucket.get(CHAIN)
        before = b"" if found is None else found.data
        data = before + f"{name} {hashlib.sha256(before).hexdigest()}\n".encode()
        if not careful:
            bucket.put(CHAIN, data)
            return
        if found is None:
            if bucket.create(CHAIN, data):
                return
        elif bucket.swap(CHAIN, data, found.tag):
            return


def race(address: str, who: int, of: int, count: int, *, careful: bool) -> None:
    bucket = open_bucket(address)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(count):
        key = f"versions/{number}/lineage.json"
        own = f"process {who}, version {number}".encode()
        if careful:
            won = bucket.create(key, own)
        else:
            won = bucket.get(key) is None
            bucket.put(key, own)
        if won:
            print(f"won {number}", flush=True)
        if number % of == who:
            add(bucket, f"{number}", careful=careful)
            print(f"added {number}", flush=True)
    print("done", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    numbers = (int(one) for one in sys.argv[2:5])
    race(sys.argv[1], *numbers, careful=sys.argv[5] == "careful")
