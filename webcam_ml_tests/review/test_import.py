"""`webcam-ml import-votes`: what spreadsheets make of a file, and what must not come in."""

from pathlib import Path

import pytest

from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import LabelDatabaseError
from webcam_ml.review import Import, import_votes
from webcam_ml.review._votes_file import FiledVote, read_votes
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.review.conftest import add_gold, fill, gold, rate, ratings

PLAIN = (
    "snapshot_id,vote,curator,voted_at\n1,4,anna,2026-02-12T10:15:00+00:00\n2,N,anna,\n3,1,anna,\n"
)
VOTES = {1: "4", 2: "N", 3: "1"}

EDITED = {
    "as it was written": PLAIN.encode(),
    "byte order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "semicolons": PLAIN.replace(",", ";").encode(),
    "tabs": PLAIN.replace(",", "\t").encode(),
    "line ends of Windows": PLAIN.replace("\n", "\r\n").encode(),
    "all in quotes": "\n".join(
        ",".join(f'"{cell}"' for cell in line.split(",")) for line in PLAIN.splitlines()
    ).encode(),
    "numbers with decimals": b"snapshot_id;vote;curator\n1,0;4,0;anna\n2.0;n;anna\n3; 1.0 ;anna\n",
    "other columns, names in capitals": b"Title,CURATOR,Vote, Snapshot_ID\nx,anna,4,1\ny,anna,N,2\n"
    b'"a\nb",anna,1,3\n',
    "numbers with more decimals": b"snapshot_id;vote;curator\n1,00;4,00;anna\n2;N;anna\n3.00;1.00;anna\n",
    "numbers as formulas": b'snapshot_id,vote,curator\n="1",="4",anna\n"=""2""",N,="anna"\n3,1,anna\n',
    "a line that names the delimiter": b"sep=;\r\n" + PLAIN.replace(",", ";").encode(),
    "one that another program quoted": b'"sep=,",,,\n' + PLAIN.encode(),
    "a header with more commas than semicolons": PLAIN.replace(",", ";")
    .replace("voted_at", '"at, in UTC, or when, or so"')
    .encode(),
    "what elsewhere ends a line": (
        "snapshot_id,title,vote,curator\n1,a\u2028b\x85c\x0cd\x0b\x1ee,4,anna\n2,,N,anna\n3,,1,anna\n"
    ).encode(),
    "quotes within a cell": b'title,snapshot_id,vote,curator\nthe "good" one,1,4,anna\n'
    b'"a ""b""",2,N,anna\n,3,1,anna\n',
    "empty lines": PLAIN.replace("\n2", "\n,,,\n\n2").encode() + b"\n,,,\n",
}


@pytest.mark.parametrize("content", EDITED.values(), ids=list(EDITED))
def test_what_a_spreadsheet_does_to_a_file_changes_no_vote(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "votes.csv"
    path.write_bytes(content)
    found = read_votes(path)
    assert {one.snapshot_id: one.vote for one in found} == VOTES
    assert {one.curator for one in found} == {"anna"}


def test_a_name_that_a_spreadsheet_would_run_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text("snapshot_id,vote,curator\n1,4,'=cmd\n")
    assert read_votes(path) == [FiledVote(1, "4", "=cmd")]


REFUSED = {
    "1,6,anna": r"line 2: '6' is no vote \(1, 2, 3, 4, 5, N\)",
    "1,0,anna": "line 2: '0' is no vote",
    "1,4.5,anna": "line 2: '4.5' is no vote",
    "1,,anna": "line 2: '' is no vote",
    "x,4,anna": "line 2: 'x' is no snapshot_id",
    "1.234,4,anna": "line 2: '1.234' is no snapshot_id",
    "-1,4,anna": "line 2: '-1' is no snapshot_id",
    "1,4, ": "line 2: nobody is named",
    f"1,4,{'x' * 300}": "line 2: 'x{40}' is no curator",
    "1,4,an\0na": r"line 2: 'an\\\\x00na' is no curator \(1 to 255 characters",
    '1,4,anna,"x\n2,5,anna,y\n3,1,anna,z': "line 2: the row that begins there cannot be read .*ends? of data",
    '1,4,anna\n2,"5,anna\n3,1,"anna"': "line 3: the row that begins there cannot be read",
    "1,4,5,anna": r"line 2 has 4 cells, and there are 3 columns\. A cell that holds .* \(','\)",
    f"1,4,anna\n2,3,{'x' * 140_000}": "line 3: the row that begins there .*field limit",
    "1,4,anna\n1,5,anna": "line 3: anna gave snapshot 1 5, and 4 in a line above",
    "\n".join(f"{id},9,anna" for id in range(1, 10)): "line 6: '9' is no vote .*; 4 more",
}


@pytest.mark.parametrize("lines", REFUSED)
def test_a_line_that_is_no_vote_is_named_and_nothing_is_imported(
    sqlite: Store, tmp_path: Path, lines: str
) -> None:
    fill(sqlite, tmp_path / "pictures")
    path = tmp_path / "votes.csv"
    path.write_text(f"snapshot_id,vote,curator\n{lines}\n5,3,anna\n")
    with pytest.raises(WebcamMLError, match=REFUSED[lines]):
        import_votes(path, sqlite.database, curator=None, gold=False, apply=True)
    assert ratings(sqlite) == {}


FILES = {
    b"": "has no column snapshot_id .*; it is empty",
    b"id,vote\n1,4\n": "no column snapshot_id and no column curator.* there are: id, vote",
    b"snapshot_id,vote,vote,curator\n1,4,4,anna\n": "has the column vote 2 times",
    "snapshot_id,vote,curator\n1,4,zoé\n".encode("latin-1"): "not UTF-8.*Save as, CSV UTF-8",
    "snapshot_id,vote,curator\n".encode("utf-16"): "not UTF-8",
}


@pytest.mark.parametrize("content", FILES, ids=range(len(FILES)))
def test_a_file_that_is_no_table_of_votes_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "votes.csv"
    path.write_bytes(content)
    with pytest.raises(WebcamMLError, match=FILES[content]):
        read_votes(path)


def test_a_dry_run_says_what_would_change_and_applying_does_it_once(
    store: Store, tmp_path: Path
) -> None:
    fill(store, tmp_path / "pictures")
    rate(store, (1, 2, "anna"), (1, 5, "ben"), (3, 1, "anna"))
    store.execute(
        "UPDATE webcam_snapshot_ratings SET is_sunset_verdict = true, created_at = '2026-01-02'"
    )
    path = tmp_path / "votes.csv"
    path.write_text(PLAIN)
    before = ratings(store, "anna")

    def found(*, apply: bool) -> Import:
        return import_votes(path, store.database, curator=None, gold=False, apply=apply)

    dry = found(apply=False)
    assert [vote.snapshot_id for vote in dry.new] == [2]
    assert [(row["rating"], vote.vote) for row, vote in dry.changed] == [(2, "4")]
    assert dry.unchanged == 1
    assert ratings(store, "anna") == before
    assert found(apply=True) == dry
    assert ratings(store, "anna") == VOTES
    assert ratings(store, "ben") == {1: "5"}
    again = found(apply=True)
    assert (again.new, again.changed, again.unchanged) == ([], [], 3)


def test_votes_on_snapshots_that_are_not_there_are_refused_whole(
    store: Store, tmp_path: Path
) -> None:
    fill(store, tmp_path / "pictures")
    path = tmp_path / "votes.csv"
    path.write_text(PLAIN + "".join(f"{id},3,anna,\n" for id in range(90, 97)))
    for apply in (False, True):
        with pytest.raises(
            WebcamMLError, match=r"7 of 10 snapshots are not in .*: 90, 91, 92, 93, 94 and 2 more"
        ):
            import_votes(path, store.database, curator=None, gold=False, apply=apply)
    assert ratings(store) == {}


def test_a_vote_n_is_refused_where_it_has_no_place(sqlite: Store, tmp_path: Path) -> None:
    sqlite.execute("ALTER TABLE webcam_snapshot_ratings DROP COLUMN is_sunset_verdict")
    fill(sqlite, tmp_path / "pictures")
    path = tmp_path / "votes.csv"
    path.write_text(PLAIN)
    with pytest.raises(
        WebcamMLError, match="1 votes are N, which has no place: the database has no"
    ):
        import_votes(path, sqlite.database, curator=None, gold=False, apply=True)


def test_another_name_takes_all_votes_and_gold_is_one_a_snapshot(
    store: Store, tmp_path: Path
) -> None:
    fill(store, tmp_path / "pictures")
    path = tmp_path / "votes.csv"
    path.write_text(PLAIN + "4,2,ben,\n")
    import_votes(path, store.database, curator="zoe", gold=False, apply=True)
    assert ratings(store, "zoe") == ratings(store) == VOTES | {4: "2"}
    with pytest.raises(LabelDatabaseError, match="no table manual_labels"):
        import_votes(path, store.database, curator=None, gold=True, apply=True)
    add_gold(store)
    path.write_text(PLAIN + "1,4,ben,\n")
    found = import_votes(path, store.database, curator=None, gold=True, apply=True)
    assert len(found.new) == 3
    assert gold(store) == VOTES
    path.write_text(PLAIN + "1,5,ben,\n")
    with pytest.raises(WebcamMLError, match="snapshot 1 is 4 for anna and 5 for ben"):
        import_votes(path, store.database, curator=None, gold=True, apply=True)
