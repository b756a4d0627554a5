"""``/proc/self/mountinfo``: where cgroup2 and bound namespaces are (proc(5))."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MOUNTINFO = Path("/proc/self/mountinfo")

_ESCAPED = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount: what of the file system (*root*) is seen at *point*.

    Paths are as the kernel has them, undecodable bytes as surrogates. Of a
    namespace bound to a file, *root* is ``net:[INODE]`` and *kind* ``nsfs``.
    """

    kind: str
    root: str
    point: str


def _path(field: bytes) -> str:
    """Undo the kernel's octal escapes of blank, tab, newline and backslash."""
    return os.fsdecode(_ESCAPED.sub(lambda m: bytes([int(m[1], 8) & 0xFF]), field))


def parse(data: bytes) -> Iterator[Mount]:
    """Yield the mounts of a mountinfo file; lines of another shape are skipped."""
    for line in data.split(b"\n"):
        # The number of optional fields before " - " varies.
        before, found, after = line.partition(b" - ")
        fields, kind = before.split(b" "), after.partition(b" ")[0]
        if found and len(fields) >= 6:
            yield Mount(os.fsdecode(kind), _path(fields[3]), _path(fields[4]))
