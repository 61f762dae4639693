"""Whatever differs between target types is said in contracts/: here the other modules are read for it."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import webcam_ml
from webcam_ml.contracts import TARGETS

PACKAGE = Path(webcam_ml.__file__).parent
ALLOWED = Counter(
    {
        # A default is no branch, but it has to be written somewhere.
        "dataset/_targets.py: 'binary'": 1,
        # Of two squashing functions, the sigmoid. The digest of this file's bytes names every exported
        # backbone, in every stored checkpoint: another word here would be another version of each.
        "features/_network.py: binary": 4,
        "training/_checkpoint.py: binary": 1,
    }
)


def others() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith("contracts/"):
            for node in ast.walk(ast.parse(path.read_text())):
                yield name, node


def target_types_named(node: ast.AST) -> str | None:
    """What of a node names a target type: a text, or a name such as `binary` or `is_binary`."""
    names = {*TARGETS, *(f"is_{name}" for name in TARGETS)}
    match node:
        case ast.Constant(value=str() as text) if text in TARGETS:
            return repr(text)
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) if name in names:
            return name
        case ast.keyword(arg=str() as name) if name in names:
            return name
    return None


def test_only_contracts_names_a_target_type() -> None:
    found = Counter(
        f"{file}: {named}"
        for file, node in others()
        if (named := target_types_named(node)) is not None
    )
    assert found == ALLOWED


def is_way_to_stars(node: ast.AST) -> bool:
    """Whether a node is written 1 + 4 · x."""
    match node:
        case ast.BinOp(
            left=ast.Constant(value=one),
            op=ast.Add(),
            right=ast.BinOp(left=ast.Constant(value=four), op=ast.Mult()),
        ):
            return (one, four) == (1, 4)
    return False


def test_only_contracts_knows_the_way_to_stars() -> None:
    assert [(file, ast.unparse(node)) for file, node in others() if is_way_to_stars(node)] == []
    assert is_way_to_stars(ast.parse("1.0 + 4.0 * raw_score", mode="eval").body)
