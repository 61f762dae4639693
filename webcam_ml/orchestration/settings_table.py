"""The table of all settings in ``docs/configuration.md``, made from their declarations.

``python -m webcam_ml.orchestration.settings_table docs/configuration.md`` writes it anew between its
two marks; a test compares.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from webcam_ml.contracts import Settings, allowed, as_text, default_of, group_of
from webcam_ml.orchestration.config import SETTINGS_BY_ASSET

BEGIN = "<!-- settings: made by python -m webcam_ml.orchestration.settings_table -->"
END = "<!-- end of settings -->"


def settings_table() -> str:
    """Give the table in Markdown: asset, field, default, what is allowed, meaning."""
    rows = ["| asset | field | default | allowed | meaning |", "|---|---|---|---|---|"]
    for asset, settings in SETTINGS_BY_ASSET.items():
        for number, cells in enumerate(_rows(settings)):
            rows.append(f"| {'' if number else f'`{asset}`'} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def with_table(page: str) -> str:
    """Replace what stands between the two marks of a page by the table."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{settings_table()}{END}{after}"


def _rows(settings: type[Settings], group: str = "") -> Iterator[tuple[str, ...]]:
    for name, field in settings.model_fields.items():
        inner = group_of(field)
        if inner is not None:
            same = _same_fields(inner)
            yield f"`{name}`", "–", same or "the fields below", f"{field.description}"
            if not same:
                yield from _rows(inner, f"{name}.")
            continue
        default = default_of(field)
        if default in (None, "", ()):
            shown = "–" if default is None else "empty"
        else:
            shown = f"`{as_text(default)}`"
        yield f"`{group}{name}`", shown, allowed(field), f"{field.description}"


def _same_fields(group: type[Settings]) -> str:
    """Say which asset has the fields of a group; empty if none has."""
    for asset, settings in SETTINGS_BY_ASSET.items():
        if issubclass(settings, group):
            more = [f"`{name}`" for name in settings.model_fields if name not in group.model_fields]
            return f"the fields of `{asset}`" + (f", without {', '.join(more)}" if more else "")
    return ""


def main() -> None:
    """Write the table into the page that the command line names."""
    page = Path(sys.argv[1])
    page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
