from pathlib import Path

import polars as pl
import pytest

from webcam_ml.contracts import Column, Table, TableError

TABLE = Table(
    (
        Column("id", pl.Int64),
        Column("text", pl.String),
        Column("note", pl.String, needed=False),
        Column("weight", pl.Float64, needed=False, default=1.0),
    ),
    made_by="labels_raw",
)


def written(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text)
    return path


def test_what_is_written_is_read_back_whatever_the_texts_are(tmp_path: Path) -> None:
    texts = ["=1+1", "'=1", "a,b", 'say "x"', "two\nlines", "", None, "＝1"]
    frame = pl.DataFrame(
        {"id": range(8), "text": texts, "note": texts, "weight": 0.1}, schema=TABLE.schema
    )
    path = tmp_path / "table.csv"
    TABLE.write(frame.reverse().sort("id").with_columns(more=1), path)
    assert TABLE.read(path).equals(frame)
    assert not any(line.startswith("0,=") for line in path.read_text().splitlines())


def test_unknown_columns_stay_aside_wherever_and_however_often_they_stand(tmp_path: Path) -> None:
    path = written(tmp_path, "x,text,y,id,x\n?,a,?,1,?\n")
    assert TABLE.read(path, "id", "text").rows() == [(1, "a")]


def test_columns_come_in_the_order_in_which_they_are_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "id,text\n1,a\n")
    assert TABLE.read(path, "text", "id").rows() == [("a", 1)]


def test_a_missing_column_takes_its_declared_value_in_every_row(tmp_path: Path) -> None:
    path = written(tmp_path, "id,text\n1,a\n2,b\n")
    assert TABLE.read(path).rows() == [(1, "a", None, 1.0), (2, "b", None, 1.0)]
    assert TABLE.read(path, "weight")["weight"].to_list() == [1.0, 1.0]


def test_only_what_is_asked_for_has_to_be_right(tmp_path: Path) -> None:
    path = written(tmp_path, "id,weight,weight\n1,?,?\n")
    assert TABLE.read(path, "id").rows() == [(1,)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text\na\n", r"lacks id; its columns are text"),
        ("", r"lacks id, text; its columns are none at all"),
        ("id,text,id\n1,a,1\n", r"has the column id 2 times"),
        ("id,text\n1,a\n1.5,b\n", r"has '1\.5' in the column id \(row 2\), where Int64"),
        ("id,text,weight\n1,a,heavy\n", r"has 'heavy' in the column weight \(row 1\)"),
        ("id,text\n1,a,b,c\n", r"is no table \(found more fields"),
    ],
)
def test_a_fault_is_named_with_the_file_and_what_to_do(
    tmp_path: Path, text: str, message: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(TableError, match=rf"table\.csv {message}") as caught:
        TABLE.read(path)
    assert "Materialize labels_raw again" in str(caught.value)
    assert "upgrade webcam-ml" in str(caught.value)


def test_no_file_is_a_fault_too(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot be read"):
        TABLE.read(tmp_path / "table.csv")
