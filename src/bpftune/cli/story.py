"""``bpftune history`` and ``bpftune explain``: what was decided, and why.

The daemon is asked, as it alone knows what was learned; without one, root reads
the history file.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bpftune.cli.client import DaemonMissingError, NoSuchError, Reply, call, escaped
from bpftune.cli.errors import CommandError, ExitCode
from bpftune.cli.measured import destination
from bpftune.cli.names import moment
from bpftune.cli.sentences import local_time, sentence
from bpftune.cli.tale import tale
from bpftune.cli.terminal import say, say_json, say_paged, table
from bpftune.history import read
from bpftune.paths import state_dir
from bpftune.text import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpftune.cli.sentences import Told


def history(
    *,
    since: str | None,
    tunable: str | None,
    netns: str | None,
    limit: int | None,
    json: bool = False,
) -> int:
    """Tell every decision, oldest first."""
    after = None if since is None else moment(since, datetime.now(UTC)).timestamp()
    try:
        records = call(
            "History",
            since=None if after is None else rfc3339(after),
            tunable=tunable,
            netns=netns,
            limit=limit,
        )["records"]
    except DaemonMissingError:
        records = list(_from_file(after, tunable, netns))[-(limit or 0) :]
    if json:
        say_json({"records": records})
        return ExitCode.OK
    if not records:
        say("Nothing is recorded" + (" of that." if since or tunable or netns else "."))
        return ExitCode.OK
    rows = [
        (local_time(one.get("time")), one.get("change") or "", sentence(one))
        for one in records
    ]
    say_paged(table(("TIME", "CHANGE", "WHAT"), rows))
    return ExitCode.OK


def explain(*, about: str, json: bool = False) -> int:
    """Tell the whole story of a change, a tunable or a destination."""
    try:
        answer = call("Explain", about=about)
    except DaemonMissingError:
        answer = _explained_from_file(about)
    if json:
        say_json(answer)
    else:
        say_paged(tale(about, answer))
    return ExitCode.OK


def _explained_from_file(about: str) -> Reply:
    records = [one for one in _from_file(None, None, None) if is_about(one, about)]
    if not records:
        raise NoSuchError(
            f"the history has nothing about {about}", "see what it has: bpftune history"
        )
    return {"records": records, "tunables": [], "learned": [], "known": []}


def is_about(record: Told, about: str) -> bool:
    """Tell whether *record* belongs to a change, a tunable or a destination."""
    named = (record.get("change"), record.get("tunable"), destination(record))
    return about in named


def _from_file(
    after: float | None, tunable: str | None, netns: str | None
) -> Iterator[Told]:
    """Yield what the history file has, if it may be read."""
    directory = state_dir()
    sys.stderr.write(f"bpftune: the daemon is not running; reading {directory}\n")
    try:
        for record in read(directory, since_unix=after, tunable=tunable, netns=netns):
            yield escaped(record)
    except PermissionError as error:
        raise CommandError(
            f"cannot read the history in {directory}: {error.strerror}",
            "try it as root",
            ExitCode.NOT_PERMITTED,
        ) from error
