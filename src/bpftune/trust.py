"""Whose code is it? Who, beside root, could replace what the daemon runs.

A third-party tuner runs as the daemon, as root. So nobody may be able to
write it who cannot write the daemon's own code anyway: a daemon installed by
root takes tuners installed by root, one in a user's checkout takes that
user's too.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOST_LINKS = 40  # as many as the kernel follows in one path
_MOST_FILES = 10_000


class Component(NamedTuple):
    """One step on the way to a file: what ``lstat`` says of it."""

    path: str
    mode: int
    uid: int
    gid: int


class Writer(NamedTuple):
    """Somebody who can write: *kind* is user, group or everybody (*number* 0)."""

    kind: str
    number: int

    def __str__(self) -> str:
        return self.kind if self.kind == "everybody" else f"{self.kind} {self.number}"


def writers(components: Iterable[Component]) -> dict[Writer, str]:
    """Return who, beside root, can change any of *components*, and where.

    An owner counts whatever the mode is, for they can change it. A sticky
    directory such as /tmp lets others only add names: what is in it belongs to
    its owner. So directories in which an added name matters (see ``within``)
    come without the sticky bit.
    """
    found: dict[Writer, str] = {}
    for path, mode, uid, gid in components:
        if uid != 0:
            found.setdefault(Writer("user", uid), path)
        sticky = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
        if stat.S_ISLNK(mode) or sticky:
            continue
        if mode & stat.S_IWGRP:
            found.setdefault(Writer("group", gid), path)
        if mode & stat.S_IWOTH:
            found.setdefault(Writer("everybody", 0), path)
    return found


def _look(path: str) -> Component:
    status = os.lstat(path)
    return Component(path, status.st_mode, status.st_uid, status.st_gid)


def on_the_way_to(path: Path) -> Iterator[Component]:
    """Yield each directory, link and file that is passed to reach *path*.

    Raises OSError if there is no such file.
    """
    todo = [*reversed(Path(os.path.abspath(path)).parts[1:])]  # noqa: PTH100 - links are followed below
    current, links = "/", 0
    yield _look(current)
    while todo:
        part = todo.pop()
        if part == "..":
            current = os.path.dirname(current)  # noqa: PTH120 - text, as above
            continue
        here = _look(os.path.join(current, part))  # noqa: PTH118 - text, as above
        yield here
        if not stat.S_ISLNK(here.mode):
            current = here.path
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = Path(os.readlink(here.path))  # noqa: PTH115 - text, as above
        if target.is_absolute():
            current = "/"
        todo += [part for part in reversed(target.parts) if part != "/"]


def _where_names_matter(component: Component) -> Component:
    return component._replace(mode=component.mode & ~stat.S_ISVTX)


def search_directory(directory: Path) -> Component:
    """Return *directory*, in which an added file could be imported instead."""
    return _where_names_matter(_look(os.path.realpath(directory)))


def within(place: Path) -> Iterator[Component]:
    """Yield *place*, a file or a directory with all that is in it.

    Raises OSError if there is too much in it to be a package.
    """
    count = 0
    todo = [os.path.realpath(place)]
    while todo:
        entry = _look(todo.pop())
        count += 1
        if count > _MOST_FILES:
            raise OSError(errno.E2BIG, "too many files", str(place))
        yield _where_names_matter(entry)
        if stat.S_ISDIR(entry.mode):
            with os.scandir(entry.path) as names:
                todo += [name.path for name in names]


def own_writers() -> dict[Writer, str]:
    """Return who, beside root, can change the daemon's own code."""
    return writers(on_the_way_to(Path(__file__)))


def why_not(components: Iterable[Component], own: Iterable[Writer]) -> str:
    """Return why *components* are not to be trusted, or "" if they are."""
    strangers = {
        writer: path
        for writer, path in writers(components).items()
        if writer not in set(own)
    }
    if not strangers:
        return ""
    writer, path = next(iter(strangers.items()))
    return f"{path} can be written by {writer}, who cannot write bpftune itself"
