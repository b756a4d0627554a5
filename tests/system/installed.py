"""A test's own tuner, installed as any other is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bpftune.compile import compile_one, find_clang


@contextmanager
def installed(source: Path, more: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Give a directory for PYTHONPATH with the tuner in *source*, compiled.

    *more* are files that are added to it, by name.
    """
    name = source.name
    with TemporaryDirectory(prefix="bpftune-site-") as made:
        package = Path(made, name)
        shutil.copytree(
            source, package, ignore=shutil.ignore_patterns("*.o", "__pycache__")
        )
        for file, text in (more or {}).items():
            (package / file).write_text(text)
        compile_one(find_clang(), package / f"{name}.bpf.c")
        about = Path(made, f"{name}-1.dist-info")
        about.mkdir()
        (about / "entry_points.txt").write_text(
            f"[bpftune.tuners]\n{name} = {name}:tuner\n"
        )
        yield Path(made)
