"""What docs/architecture.md says of who imports whom."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import bpftune

SOURCE = Path(bpftune.__file__).parent
TABLE = SOURCE.parents[1] / "docs" / "architecture.md"
BESIDE = {"__init__", "__main__", "trust", "compile"}
PROGRAMS = {"lab/hurried.py"}


def rows() -> dict[str, int]:
    """Return the row of each module and package, by its name."""
    found: dict[str, int] = {}
    text = TABLE.read_text().partition("## Layers")[2].partition("\n## ")[0]
    for number, line in enumerate(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)):
        for name in re.findall(r"`([a-z_]+)[^`]*`", line):
            found[name] = number
    return found


def imported(file: Path) -> Iterator[str]:
    """Yield what *file* imports of ours when it runs, not what only names types."""
    tree = ast.parse(file.read_text())
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "bpftune":
                yield from (one.name for one in node.names)
            elif node.module.startswith("bpftune."):
                yield node.module.split(".")[1]
        waiting.extend(ast.iter_child_nodes(node))


def test_every_module_has_its_place() -> None:
    there = {path.stem for path in SOURCE.glob("*.py")}
    there |= {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    missing = there - BESIDE - rows().keys()
    assert not missing


def test_modules_import_only_from_above() -> None:
    row = rows()
    wrong = []
    for file in SOURCE.rglob("*.py"):
        about = file.relative_to(SOURCE)
        mine = about.parts[0].removesuffix(".py")
        if mine in BESIDE or str(about) in PROGRAMS:
            continue
        wrong += [
            f"{about} imports {other}"
            for other in imported(file)
            if row.get(other, 0) > row[mine]
        ]
    assert not wrong


def test_tuners_and_policies_never_import_the_kernel() -> None:
    wrong = [
        file
        for package in ("tuners", "policy", "model")
        for file in (SOURCE / package).rglob("*.py")
        if "kernel" in imported(file)
    ]
    assert not wrong
