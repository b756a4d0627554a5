"""The file in which what was learned outlives the daemon: JSON, for root's eyes.

A file that is not just as it should be, in form and in bounds, is not used at all:
then the daemon begins to learn anew, and says so.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from bpftune.checked import InvalidError, number, rows, text, whole
from bpftune.learned import (
    LARGEST,
    MOST_GAIN_NATS,
    MOST_PAIRS,
    MOST_SIZES,
    MOST_SIZES_PER_NETNS,
    MOST_TUNABLES,
    Learned,
)
from bpftune.outcome import Level, Size
from bpftune.policy import threshold
from bpftune.policy.paired import Pairs

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 1
MOST_BYTES = 1 << 20
MOST_TRIALS = 1 / (1 - threshold.KEPT) + 1
LATEST_UNIX_S = 1e11


def load(path: Path, now_unix_s: float) -> tuple[Learned, str | None]:
    """Return what *path* holds, and why it could not be used, if so.

    No file is no trouble.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise InvalidError("it is too large")
        learned = parsed(json.loads(data))
    except FileNotFoundError:
        return Learned(now_unix_s), None
    except OSError as error:
        return Learned(now_unix_s), f"{path} is ignored: {error.strerror}"
    except (ValueError, RecursionError) as error:
        return Learned(now_unix_s), f"{path} is ignored: {error}"
    learned.age(now_unix_s)
    return learned, None


def save(learned: Learned, path: Path) -> None:
    """Write *path* anew, readable by root only: it names peers.

    Raises OSError. It is not forced to the disk: a torn file is found out.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)  # whatever was put there
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, 0o600), "w", encoding="ascii") as file:
        json.dump(as_json(learned), file)
    new.replace(path)
    learned.changed = False


def as_json(learned: Learned) -> dict[str, Any]:
    """Return all that is kept."""
    return {
        "schema": SCHEMA,
        "aged_unix_s": learned.aged_unix_s,
        "edges": list(threshold.EDGES),
        "levels": {
            tunable: [[one.paid, one.unpaid, one.gain_nats] for one in levels]
            for tunable, levels in learned.levels.items()
        },
        "pairs": {
            tunable: [pairs.won, pairs.pairs]
            for tunable, pairs in learned.pairs.items()
        },
        "sizes": [
            [netns, *place, size.size, size.gain_nats, size.seen_unix_s]
            for netns, mine in learned.sizes.items()
            for place, size in mine.items()
        ],
    }


def parsed(data: Any) -> Learned:
    """Return what JSON *data* says. Raises InvalidError."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise InvalidError(f"it is not of schema {SCHEMA}")
    if data.get("edges") != list(threshold.EDGES):
        raise InvalidError("its levels are others")
    learned = Learned(number(data.get("aged_unix_s"), 0, LATEST_UNIX_S))
    for tunable, levels in _entries(data.get("levels")):
        if len(rows(levels, 3)) != len(threshold.EDGES):
            raise InvalidError("a level is missing")
        learned.levels[tunable] = tuple(
            Level(
                number(paid, 0, MOST_TRIALS),
                number(unpaid, 0, MOST_TRIALS),
                number(gain, -MOST_TRIALS, MOST_TRIALS),
            )
            for paid, unpaid, gain in levels
        )
    for tunable, row in _entries(data.get("pairs")):
        ((won, pairs),) = rows([row], 2)
        pairs = whole(pairs, 0, MOST_PAIRS)
        learned.pairs[tunable] = Pairs(whole(won, 0, pairs), pairs)
    _take_sizes(learned, rows(data.get("sizes"), 6))
    return learned


def _take_sizes(learned: Learned, rows: list[list[Any]]) -> None:
    if len(rows) > MOST_SIZES:
        raise InvalidError("it knows too many sizes")
    for netns, tunable, destination, size, gain, seen in rows:
        mine = learned.sizes.setdefault(text(netns), {})
        mine[text(tunable), text(destination)] = Size(
            whole(size, 1, LARGEST),
            number(gain, -MOST_GAIN_NATS, MOST_GAIN_NATS),
            number(seen, 0, LATEST_UNIX_S),
        )
    if any(len(mine) > MOST_SIZES_PER_NETNS for mine in learned.sizes.values()):
        raise InvalidError("it knows too many sizes of one namespace")


def _entries(thing: Any) -> list[tuple[str, Any]]:
    """Return the entries of an object whose keys are names of tunables."""
    if not isinstance(thing, dict) or len(thing) > MOST_TUNABLES:
        raise InvalidError("not an object, or too large")
    return [(text(name), value) for name, value in thing.items()]
