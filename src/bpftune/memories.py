"""What tuners ask to have kept beyond the daemon's end: one JSON file each.

Root alone may read them, as they may name peers. One that is not as it should be
costs its tuner what it knew, and that is told; the next save writes it anew.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NoReturn
from zlib import crc32

from bpftune.atomic import replace_file
from bpftune.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bpftune.model import Tuner

SCHEMA = 1
MOST_BYTES = 1 << 20

_UNKNOWN = (0, 0)
"""Length and checksum of what is in a file that is not ours to compare with."""


class Memories:
    """The files of all tuners, in one directory."""

    def __init__(
        self,
        directory: Path | None,
        tell: Callable[[Record], None],
        switch_off: Callable[[Tuner, str], None],
        *,
        clock: Callable[[], float],
        observe: bool = False,
    ) -> None:
        """Keep them in *directory*, if any; *observe* reads them only.

        What goes wrong with a file is for *tell*; a tuner that fails itself is for
        *switch_off*, with the reason.
        """
        self._directory = directory
        self._tell = tell
        self._switch_off = switch_off
        self._clock = clock
        self._observe = observe
        self._saved: dict[str, tuple[int, int] | None] = {}
        self._troubles: dict[str, str] = {}

    def restore(self, tuner: Tuner) -> None:
        """Give *tuner* what an earlier run saved, before anything else."""
        if self._directory is None:
            return
        path = _path(self._directory, tuner)
        self._saved[tuner.name] = None
        try:
            saved = load(path, tuner.name)
        except OSError as error:
            self._ignored(tuner, path, error.strerror or str(error))
            return
        except (ValueError, RecursionError) as error:
            self._ignored(tuner, path, str(error))
            return
        if saved is None:
            return
        self._saved[tuner.name] = _UNKNOWN
        try:
            tuner.restore(saved, self._clock(), time.time())
        except ValueError as error:
            self._ignored(tuner, path, str(error))
        except Exception as error:  # noqa: BLE001  a plugin may fail in any way
            # It may have taken in half of it.
            why = f"it fails on {path}, {type(error).__name__}: {error}"
            self._switch_off(tuner, f"{why}; without that file it would begin anew")

    def _ignored(self, tuner: Tuner, path: Path, why: str) -> None:
        self._saved[tuner.name] = _UNKNOWN
        self._tell(Record("degraded", f"{path} is ignored: {why}", tuner.name))

    def save(self, tuner: Tuner) -> None:
        """Save what *tuner* knows, unless it is what was saved last.

        One that was not asked to restore does not know yet what it would overwrite.
        """
        if self._directory is None or self._observe or tuner.name not in self._saved:
            return
        try:
            saved = tuner.save(self._clock(), time.time())
        except Exception as error:  # noqa: BLE001  a plugin may fail in any way
            self._switch_off(tuner, f"{type(error).__name__}: {error}")
            return
        try:
            self._write(self._directory, tuner, saved)
        except OSError as error:
            self._not_saved(tuner, error.strerror or str(error))
        except (TypeError, ValueError, RecursionError) as error:
            self._not_saved(tuner, str(error))
        else:
            self._troubles.pop(tuner.name, None)

    def _write(self, directory: Path, tuner: Tuner, saved: object) -> None:
        path = _path(directory, tuner)
        if saved is None:
            if self._saved[tuner.name] is not None:
                path.unlink(missing_ok=True)
                self._saved[tuner.name] = None
            return
        text = json.dumps(
            {"schema": SCHEMA, "tuner": tuner.name, "saved": saved}, allow_nan=False
        )
        if len(text) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
        what = len(text), crc32(text.encode())
        if what != self._saved[tuner.name]:
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            replace_file(path, text, 0o600)
            self._saved[tuner.name] = what

    def _not_saved(self, tuner: Tuner, error: str) -> None:
        """Tell it, but not each minute."""
        why = f"what it knows cannot be saved: {error}"
        if self._troubles.get(tuner.name) != why:
            self._troubles[tuner.name] = why
            self._tell(Record("degraded", why, tuner.name))


def _path(directory: Path, tuner: Tuner) -> Path:
    return directory / f"tuner-{tuner.name}.json"


def load(path: Path, name: str) -> object:
    """Return what the tuner *name* saved in *path*; None if there is no file.

    Raises OSError, and ValueError or RecursionError if it is no such file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(data) > MOST_BYTES:
        raise ValueError("it is too large")
    kept = json.loads(data, parse_constant=_no_number)
    if not isinstance(kept, dict) or kept.get("schema") != SCHEMA:
        raise ValueError(f"it is not of schema {SCHEMA}")
    if kept.get("tuner") != name:
        raise ValueError("it is another tuner's")
    if "saved" not in kept:
        raise ValueError("there is nothing in it")
    saved: object = kept["saved"]
    return saved


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
