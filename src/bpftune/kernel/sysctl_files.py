"""What the admin's sysctl files say (sysctl.d(5), sysctl.conf(5)).

Files in /etc and /run are the admin's; those in /usr/lib, /usr/local/lib and
/lib are a vendor's defaults. All of them speak for the host's namespace only.
A file that begins with ``PERSISTED`` is bpftune's own, wherever it is. Nothing
here applies a file: it is read to know whose a value is.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.kernel.sysctl import SysctlError, dotted_name, relative_path

if TYPE_CHECKING:
    from collections.abc import Iterator

ADMINS = ("etc/sysctl.d", "run/sysctl.d")
VENDORS = ("usr/local/lib/sysctl.d", "usr/lib/sysctl.d", "lib/sysctl.d")
SYSCTL_CONF = "etc/sysctl.conf"

PERSISTED = "# Written by bpftune persist, and bpftune's to tune."
"""First line of a file that keeps our own values over a reboot: not the admin's."""

_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileSetting:
    """One line of a sysctl file: *value* as written there, without outer blanks.

    *optional*: the line began with ``-``, so a failure to set it is no error.
    """

    name: str
    value: str
    file: Path
    line: int
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """A file, or a line of it, that could not be understood; it is left out."""

    file: Path
    line: int
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else f"{self.file}"
        return f"{where}: {self.reason}"


@dataclass(slots=True)
class SysctlFiles:
    """Settings by dotted name, and what was wrong with the files."""

    admins: dict[str, FileSetting] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a file; *path* is a pattern if it has a wildcard, value None: a ban."""

    path: str
    value: str | None
    file: Path
    number: int
    optional: bool


def admins_values(root: Path = Path("/")) -> dict[str, FileSetting]:
    """Return what the admin's files set, by dotted name; see ``read_files``."""
    return read_files(root).admins


def read_files(root: Path = Path("/")) -> SysctlFiles:
    """Read the files of the system at *root* by systemd's rules.

    A file hides those of the same name in directories of less weight (/etc,
    /run, /usr/local/lib, /usr/lib, /lib); a link to /dev/null or an empty file
    hides them and says nothing. Files go in the order of their names whatever
    directory they are in, /etc/sysctl.conf last; of two lines for one sysctl
    the later wins. A pattern sets each sysctl that it matches in the kernel
    that runs, but for those that any line names in full; ``-NAME`` without a
    value only keeps patterns off NAME.

    One rule differs: a vendor's file that comes later does not take away what
    the admin asked for, nor does one that bpftune wrote. Whatever is in force,
    the admin has an opinion there.
    """
    result = SysctlFiles()
    lines: list[_Line] = []
    for path in files_in_order(root):
        text = _read(path, result.problems)
        if not is_persisted(text):
            lines += parse(text, path, result.problems)
    named = {line.path for line in lines if not _is_pattern(line.path)}
    for line in lines:
        if line.value is None or not _is_admins(line.file, root):
            continue
        paths = {line.path}
        if _is_pattern(line.path):
            paths = _matches(root / "proc/sys", line.path) - named
        for name in map(dotted_name, paths):
            result.admins[name] = FileSetting(
                name, line.value, line.file, line.number, line.optional
            )
    return result


def files_in_order(root: Path) -> list[Path]:
    """Return the files that count, in the order in which they are applied."""
    chosen: dict[str, Path] = {}
    for directory in (*ADMINS, *VENDORS):
        try:
            with os.scandir(root / directory) as entries:
                names = [e.name for e in entries if e.name.endswith(".conf")]
        except OSError:
            continue
        for name in names:
            chosen.setdefault(name, root / directory / name)
    files = [chosen[name] for name in sorted(chosen, key=os.fsencode)]
    conf = root / SYSCTL_CONF
    # Debian links /etc/sysctl.d/99-sysctl.conf to it: then it has its place.
    if conf.exists() and not any(_same(conf, path) for path in files):
        files.append(conf)
    return files


def parse(text: str, file: Path, problems: list[Problem]) -> Iterator[_Line]:
    """Yield the lines of *text* that mean something; report those that do not."""
    for number, raw in enumerate(text.splitlines(), 1):
        content = raw.strip()
        if not content or content[0] in "#;":
            continue
        optional = content.startswith("-")
        name, equals, value = content.removeprefix("-").partition("=")
        if not equals and not optional:
            problems.append(Problem(file, number, "not of the form NAME = VALUE"))
            continue
        try:
            path = relative_path(name.strip())
        except SysctlError as error:
            problems.append(Problem(file, number, str(error)))
            continue
        yield _Line(path, value.strip() if equals else None, file, number, optional)


def is_persisted(text: str) -> bool:
    """Tell whether *text* is that of a file that bpftune wrote on demand."""
    first, _, _ = text.partition("\n")
    return first.rstrip() == PERSISTED


def _read(path: Path, problems: list[Problem]) -> str:
    try:
        mode = path.stat().st_mode
        if stat.S_ISCHR(mode):
            return ""  # a link to /dev/null
        if not stat.S_ISREG(mode):
            problems.append(Problem(path, 0, "is not a regular file"))
            return ""
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        problems.append(Problem(path, 0, f"cannot be read: {error.strerror}"))
        return ""
    if len(data) > _MOST_BYTES:
        problems.append(Problem(path, 0, "is larger than 1 MiB; the rest is ignored"))
    return data[:_MOST_BYTES].decode(errors="surrogateescape")


def _is_pattern(path: str) -> bool:
    return any(char in path for char in "*?[")


def _matches(proc_sys: Path, pattern: str) -> set[str]:
    """Return the paths under *proc_sys* that match, as glob(7) has it."""
    # To pathlib "**" is any depth of directories; to glob(7) it is "*".
    found = proc_sys.glob(re.sub(r"\*+", "*", pattern))
    return {str(path.relative_to(proc_sys)) for path in found if path.is_file()}


def _is_admins(file: Path, root: Path) -> bool:
    return file == root / SYSCTL_CONF or file.parent in {root / d for d in ADMINS}


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
