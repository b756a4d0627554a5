"""The file in which the settings that the admin took outlive the daemon.

Lines as the undo journal has them, and for this boot only: a setting does not
outlive the kernel, nor does a network namespace. What a sysctl file sets is not
in there, for that is read anew at each start.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bpftune.journal import Journal, Replayed, read_lines
from bpftune.kernel.errors import KernelError
from bpftune.model import Netns, NetnsCookie
from bpftune.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NAME = "settings"  # in the run directory

MOST_TEXT = 4096  # the kernel's words are shorter, and so are ours
MOST_COMM = 16
MOST_READ = 1 << 16

YIELDED, ADOPTED, GONE = "yielded", "adopted", "gone"  # steps


def fields_of(setting: Setting) -> dict[str, object]:
    """Return a line: it is the admin's, or was given back."""
    return {
        "step": YIELDED if setting.counts else ADOPTED,
        "cookie": setting.netns.cookie,
        "netns": setting.netns.name,
        "name": setting.name,
        "tuner": setting.tuner,
        "text": setting.text,
        "why": setting.why,
        "uid": setting.uid,
        "comm": setting.comm.decode("latin-1"),
    }


def setting_from(fields: dict[str, Any]) -> Setting:
    """Return the setting of a line. Raises ValueError or KeyError."""
    netns = fields["netns"]
    setting = Setting(
        Netns(
            NetnsCookie(_count(fields["cookie"])),
            None if netns is None else _text(netns),
        ),
        _text(fields["name"]),
        _text(fields["tuner"]),
        _text(fields["text"]),
        _text(fields["why"]),
        uid=None if fields["uid"] is None else _count(fields["uid"]),
        comm=_text(fields["comm"]).encode("latin-1"),
    )
    if not setting.name or len(setting.comm) > MOST_COMM:
        raise ValueError("no name, or too long a command")
    return setting


def _count(thing: object) -> int:
    if type(thing) is not int or not 0 <= thing < 2**64:
        raise ValueError("not a count")
    return thing


def _text(thing: object) -> str:
    if not isinstance(thing, str) or len(thing) > MOST_TEXT:
        raise ValueError("not a text")
    return thing


class SettingsFile:
    """The file as one run of the daemon reads it once, and writes it."""

    def __init__(self, path: Path, boot: str) -> None:
        """Keep it at *path*, for this *boot* only; nothing is opened yet."""
        self._path = path
        self._boot = boot
        self._journal = Journal(path, boot)
        self._behind = True
        self.trouble = ""
        """Why it is not up to date; empty if it is."""

    def read(self) -> tuple[list[Setting], Replayed]:
        """Return the settings that were the admin's, and how the file was read.

        Whatever it holds, it is never fatal. Raises JournalError if it cannot be
        read at all: then nobody knows what is the admin's.
        """
        found: dict[tuple[int, str], Setting] = {}

        def take(fields: dict[str, Any], _: Replayed) -> bool:
            return _take(fields, found)

        told = read_lines(self._path, self._boot, take)
        return [] if told.is_of_another_boot else list(found.values()), told

    def note(self, setting: Setting, all_of_them: Iterable[Setting]) -> None:
        """Note whose *setting* is by now.

        If it fails, ``trouble`` says so, and *all_of_them* are written the next time.
        """
        self._append(fields_of(setting), all_of_them)

    def gone(self, cookie: NetnsCookie, all_of_them: Iterable[Setting]) -> None:
        """Note that a namespace ended; see ``note``."""
        self._append({"step": GONE, "cookie": cookie}, all_of_them)

    def catch_up(self, all_of_them: Iterable[Setting]) -> None:
        """Write *all_of_them* that count, unless they are on file already."""
        if self._behind:
            try:
                self._write(all_of_them)
            except KernelError as error:
                self.trouble = str(error)

    def _append(self, line: dict[str, object], all_of_them: Iterable[Setting]) -> None:
        if not self._behind:
            try:
                self._journal.append(line)
            except KernelError as error:
                self._behind, self.trouble = True, str(error)
                return
            if self._journal.is_long:
                with suppress(KernelError):  # it goes on as it is
                    self._write(all_of_them)
        self.catch_up(all_of_them)

    def _write(self, all_of_them: Iterable[Setting]) -> None:
        self._journal.rewrite((fields_of(one) for one in all_of_them if one.counts), 0)
        self._behind, self.trouble = False, ""

    def close(self) -> None:
        """Close it; it stays."""
        self._journal.close()


def _take(fields: dict[str, Any], found: dict[tuple[int, str], Setting]) -> bool:
    """Note in *found* what a line says; False if it makes no sense."""
    try:
        if fields["step"] == GONE:
            cookie = _count(fields["cookie"])
            for key in [key for key in found if key[0] == cookie]:
                del found[key]
            return True
        setting = setting_from(fields)
    except (ValueError, KeyError):
        return False
    key = setting.netns.cookie, setting.name
    if fields["step"] == ADOPTED:
        found.pop(key, None)
        return True
    if fields["step"] == YIELDED and setting.why and len(found) < MOST_READ:
        found[key] = setting
        return True
    return False
