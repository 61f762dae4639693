"""What a person sees in the page of what strangers wrote."""

import re
from pathlib import Path

import pytest
from dagster import AssetSelection
from hypothesis import given
from hypothesis import strategies as st

from webcam_ml.orchestration.assets import ASSETS
from webcam_ml.orchestration.markdown import LONGEST_CELL, table

OPERATION = Path(__file__).parents[2] / "docs" / "operation.md"

# CommonMark: a backslash before ASCII punctuation makes it mean itself.
ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
MARKUP = re.compile(r"(?<!\\)(?:\\\\)*([*_`<>\[\]|~&])")


def cell(text: str) -> str:
    head, line, row = table([{"title": text}]).value.split("\n")
    assert (head, line) == ("| title |", "| --- |")
    assert row.startswith("| ")
    assert row.endswith(" |")
    return row[2:-2]


# Everything but what has no sign of its own: controls, formats, halves of pairs, line ends.
SHOWN = st.characters(exclude_categories=["C", "Zl", "Zp"])


@given(st.text(SHOWN, max_size=LONGEST_CELL))
def test_text_means_itself_and_stays_in_its_cell(text):
    written = cell(text)
    assert ESCAPED.sub(r"\1", written) == " ".join(text.split())
    assert not MARKUP.search(written)


@pytest.mark.parametrize("control", ["\x00", "\x1b[31m", "\x9b", "\u202e", "\ufeff"])
def test_a_control_character_is_written_out(control):
    shown = ESCAPED.sub(r"\1", cell(f"Quay{control}"))
    assert shown == f"Quay{control.encode('unicode_escape').decode()}"


def test_long_text_is_cut():
    assert cell("x" * 5000) == "x" * LONGEST_CELL + "…"


def test_bytes_are_shown_as_the_picture_that_they_are():
    assert cell(b"\x89PNG\r\n").startswith("![picture](data:image/png;base64,")
    assert cell(b"\xff\xd8\xff").startswith("![picture](data:image/jpeg;base64,")


# Dagster's parser warns of itself, and takes its warning for a mistake in the text.
@pytest.mark.filterwarnings("default")
def test_each_selection_by_a_tag_in_the_documents_selects_something_as_it_stands() -> None:
    documented = re.findall(r"`(tag:[^`]*)`", OPERATION.read_text())
    assert len(documented) == 4
    for text in documented:
        selection = AssetSelection.from_string(text)
        assert selection.resolve(ASSETS)
        # Quoted as the page wants it, which reads no hyphens without.
        assert str(selection) == text
