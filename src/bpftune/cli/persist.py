"""``bpftune persist``: keep what is in force on the host over a reboot.

The file is one of sysctl.d(5) whose first line tells the daemon that its lines
are bpftune's, not the admin's.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.cli.client import call
from bpftune.cli.errors import CommandError, ExitCode
from bpftune.cli.sentences import counted, value_of, whole
from bpftune.cli.terminal import say, say_json
from bpftune.kernel.sysctl import dotted_name
from bpftune.kernel.sysctl_files import PERSISTED, is_persisted, parse
from bpftune.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bpftune.cli.client import Reply
    from bpftune.model import Value

FILE = Path("/etc/sysctl.d/90-bpftune.conf")
HOST = "host"
_NUMBERS = re.compile(r"[0-9]+(\s+[0-9]+)*")
_HEADER = f"""\
{PERSISTED}
# It is applied at boot, and bpftune goes on from there. Remove the file to start
# from the vendor's values again; remove its first line to make these values yours.
"""


def wanted(status: Reply, before: Mapping[str, str]) -> dict[str, str]:
    """Return what the file should set: its values *before*, and those in force.

    What a reboot applied is found, not in force, and stays in the file. What is
    on trial is not proved: then the last value that paid. The admin's goes.
    """
    values = dict(before)
    for one in status["yielded"]:
        if one["netns"]["name"] == HOST:
            values.pop(one["tunable"], None)
    for one in status["in_force"]:
        settled: Value | None = value_of(one["settled"])
        if one["netns"]["name"] == HOST and settled != value_of(one["found"]):
            values[one["tunable"]] = whole(settled)
    return dict(sorted(values.items()))


def text_of(values: Mapping[str, str]) -> str:
    """Return the text of the file."""
    lines = [one_line(f"{name} = {value}") + "\n" for name, value in values.items()]
    return _HEADER + "".join(lines)


def values_in(file: Path) -> dict[str, str] | None:
    """Return what *file* sets if it is one of ours; None if there is none.

    Raises CommandError if it is somebody else's.
    """
    try:
        text = file.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _cannot("read", file, error) from error
    if not is_persisted(text):
        raise CommandError(
            f"{printable(str(file), 255)} exists and is not of bpftune's making",
            "move it away, or choose another with --file",
        )
    values = {}
    for line in parse(text, file, []):
        if line.value is None or not _NUMBERS.fullmatch(line.value):
            raise CommandError(
                f"line {line.number} of {printable(str(file), 255)} is not of "
                "bpftune's making",
                "move it to a file of your own",
            )
        values[dotted_name(line.path)] = line.value
    return values


def replace(file: Path, text: str) -> None:
    """Write *file* so that at any time it is whole, old or new, for all to read."""
    try:
        file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        try:
            with os.fdopen(fd, "w") as made:
                made.write(text)
                made.flush()
                os.fchmod(fd, 0o644)
                os.fsync(fd)
            Path(name).replace(file)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise _cannot("write", file, error) from error


def _cannot(what: str, file: Path, error: OSError) -> CommandError:
    permitted = not isinstance(error, PermissionError)
    return CommandError(
        f"cannot {what} {printable(str(file), 255)}: {error.strerror}",
        "" if permitted else "try it as root: sudo bpftune persist",
        ExitCode.FAILED if permitted else ExitCode.NOT_PERMITTED,
    )


def persist(*, dry_run: bool, file: str | None, json: bool = False) -> int:
    """Write the values in force on the host to *file*, or tell what it would."""
    path = Path(file) if file is not None else FILE
    before = values_in(path)
    values = wanted(call("Status"), before or {})
    removed = not values and before is not None
    if not dry_run:
        if values:
            replace(path, text_of(values))
        elif removed:
            try:
                path.unlink()
            except OSError as error:
                raise _cannot("remove", path, error) from error
    if json:
        numbers = {name: [int(n) for n in values[name].split()] for name in values}
        say_json({"file": str(path), "values": numbers, "written": not dry_run})
    else:
        _say(path, values, removed=removed, dry_run=dry_run)
    return ExitCode.OK


def _say(
    path: Path, values: Mapping[str, str], *, removed: bool, dry_run: bool
) -> None:
    name = printable(str(path), 255)
    if not values:
        say(
            "Nothing of bpftune's is in force on the host, so there is nothing to keep."
        )
        if removed:
            say(f"{name} {'would be' if dry_run else 'is'} removed.")
        return
    would = "would keep" if dry_run else "keeps"
    say(f"{name} {would} {counted(len(values), 'value')} over a reboot:")
    for tunable, value in values.items():
        say(f"  {one_line(tunable)} = {one_line(value)}")
