"""The daemon's numbers as metrics: what is measured, and of what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.governor import SOCKET_SHARE
from bpftune.kernel import process
from bpftune.metrics import Family, Labels, labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpftune.control.about import About
    from bpftune.control.reading import Reading
    from bpftune.daemon import Daemon
    from bpftune.ledger import Entry
    from bpftune.metrics import Tally
    from bpftune.model import Tunable

_STATES = ("on", "paused", "degraded", "unsupported", "off")
_TRIPLE = ("min", "default", "max")


def fields_of(tunable: Tunable, count: int) -> tuple[str, ...]:
    """Return what each number of a value is called."""
    if count == 1:
        return ("value",)
    if count == 3:
        return _TRIPLE
    if tunable.is_range and count == 2:
        return ("low", "high")
    return tuple(map(str, range(count)))


def families(
    daemon: Daemon, about: About, looks: Reading, tally: Tally
) -> Iterator[Family]:
    """Yield all metrics of *daemon*, one after the other: together they are large."""
    yield Family(
        "bpftune_build",
        "info",
        "The version that runs.",
        {labels(version=about.version): 1},
    )
    yield Family(
        "bpftune_mode",
        "info",
        "Whether it tunes or only observes.",
        {labels(mode=about.mode): 1},
    )
    yield _tuner_states(looks)
    yield from tally.families()
    yield from _tunables(daemon)
    yield Family(
        "bpftune_events_received",
        "counter",
        "Events that came from BPF programs.",
        {labels(tuner=t.name): daemon.inbox.received[t.name] for t in about.tuners},
    )
    yield _losses(daemon)
    yield from _maps(daemon)
    yield Family(
        "bpftune_netns_tracked",
        "gauge",
        "Network namespaces of which something is known.",
        {(): len(daemon.ledger)},
    )
    yield Family(
        "bpftune_in_force",
        "gauge",
        "Values of bpftune's that are in force, in all namespaces.",
        {(): len(daemon.ledger.in_force())},
    )
    yield from _tables(daemon)
    yield from _process(about)


def _tuner_states(looks: Reading) -> Family:
    samples: dict[Labels, float] = {}
    for shape in looks.tuners():
        for state in _STATES:
            key = labels(tuner=str(shape["name"]), state=state)
            samples[key] = int(shape["state"] == state)
    return Family("bpftune_tuner_state", "gauge", "1 for the tuner's state.", samples)


def _tunables(daemon: Daemon) -> list[Family]:
    """Return values beside their bounds, as they are in the host's namespace."""
    values: dict[Labels, float] = {}
    bounds: dict[Labels, float] = {}
    mine = daemon.ledger.of(daemon.machine.namespaces.host.cookie)
    total_bytes = daemon.machine.memory().total_bytes
    for tunable, entry in mine.items():
        names = fields_of(tunable, len(entry.expected))
        for name, number in zip(names, entry.expected, strict=True):
            values[labels(tunable=tunable.name, field=name)] = number
        for bound, number in _bounds(entry, total_bytes).items():
            bounds[labels(tunable=tunable.name, bound=bound)] = number
    return [
        Family(
            "bpftune_tunable_value",
            "gauge",
            "The numbers of a tunable in the host's network namespace.",
            values,
        ),
        Family(
            "bpftune_tunable_bound",
            "gauge",
            "What the last number of a tunable cannot be below or above.",
            bounds,
        ),
    ]


def _bounds(entry: Entry, total_bytes: int) -> dict[str, int]:
    if entry.tunable.is_range:
        return {"lower": entry.found[-1]}
    most = max(total_bytes // SOCKET_SHARE, entry.found[-1])
    return {"lower": entry.found[-1], "upper": most}


def _losses(daemon: Daemon) -> Family:
    samples: dict[Labels, float] = {}
    for cause, count in daemon.lost.items():
        samples[labels(tuner="", cause=cause)] = count
    for tuner, causes in daemon.machine.loader.lost().items():
        for cause, count in causes.items():
            samples[labels(tuner=tuner, cause=cause)] = count
    text = "Events that were lost, by cause."
    return Family("bpftune_events_lost", "counter", text, samples)


def _maps(daemon: Daemon) -> list[Family]:
    entries: dict[Labels, float] = {}
    capacity: dict[Labels, float] = {}
    for name, (used, room) in daemon.machine.loader.maps().items():
        capacity[labels(map=name)] = room
        if used is not None:
            entries[labels(map=name)] = used
    return [
        Family("bpftune_map_entries", "gauge", "Entries of a BPF map.", entries),
        Family(
            "bpftune_map_capacity",
            "gauge",
            "Entries that a BPF map has room for; bytes of a ring buffer.",
            capacity,
        ),
    ]


def _tables(daemon: Daemon) -> list[Family]:
    destinations = daemon.tables.in_force()
    return [
        Family(
            "bpftune_destinations_in_force",
            "gauge",
            "Destinations for which a tuner has something in force that is no sysctl.",
            {labels(tuner=t.name): destinations[t.name] for t in daemon.tuners},
        ),
        Family(
            "bpftune_table_evicted",
            "counter",
            "Entries that a tuner's table lost, as others needed the room.",
            {
                labels(tuner=tuner, table=table): count
                for (tuner, table), count in daemon.tables.evicted().items()
            },
        ),
    ]


def _process(about: About) -> list[Family]:
    return [
        Family(
            "process_cpu_seconds",
            "counter",
            "Processor time, user and system.",
            {(): process.cpu_seconds()},
            unit="seconds",
        ),
        Family(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory.",
            {(): process.rss_bytes()},
            unit="bytes",
        ),
        Family(
            "bpftune_python_blocks",
            "gauge",
            "Small blocks of memory in use: if they become ever more, it leaks.",
            {(): process.python_blocks()},
        ),
        Family(
            "process_open_fds",
            "gauge",
            "Open descriptors.",
            {(): process.open_files()},
        ),
        Family(
            "process_start_time_seconds",
            "gauge",
            "When it was started, in seconds since 1970.",
            {(): round(about.started_unix, 3)},
            unit="seconds",
        ),
    ]
