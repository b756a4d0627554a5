"""The maps of tuners' BPF objects that hold what was decided, or what was added up.

What a tuner put into one is in force as long as the tuner and the network
namespace are; all of it is gone with the daemon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bpftune.kernel.bpf_map import BpfMap
from bpftune.kernel.errors import KernelError
from bpftune.model import Drop, NetnsCookie, Put, Table, Take, Taken, Tuner

if TYPE_CHECKING:
    from bpftune.kernel.loader import Loader

Row = tuple[Tuner, Table, Any]


class Tables:
    """Does what tuners ask of their tables."""

    def __init__(self, loader: Loader, *, observe: bool = False) -> None:
        """Use the objects that *loader* has; with *observe*, put nothing in."""
        self._loader = loader
        self._observe = observe
        self._maps: dict[tuple[Tuner, Table], BpfMap[Any, Any]] = {}
        self._put: dict[NetnsCookie, dict[Row, None]] = {}

    def do(
        self, tuner: Tuner, cookie: NetnsCookie, request: Put | Drop | Take
    ) -> list[Taken]:
        """Do what *tuner* asks, and return what it took, by namespace.

        A key has to be of the namespace *cookie*. Raises KernelError, and ValueError
        if a row is not what the table takes.
        """
        if isinstance(request, Take):
            return self._take(tuner, request.table)
        if request.key.netns_cookie != cookie:
            raise ValueError(f"{request.key} is of another network namespace")
        if self._observe:
            return []
        row = tuner, request.table, request.key
        found = self._map(tuner, request.table)
        if isinstance(request, Put):
            found.put(request.key, request.value)
            self._put.setdefault(cookie, {})[row] = None
        else:
            found.remove(request.key)
            self._put.get(cookie, {}).pop(row, None)
        return []

    def _take(self, tuner: Tuner, table: Table) -> list[Taken]:
        rows: dict[NetnsCookie, list[tuple[Any, Any]]] = {}
        for key, value in self._map(tuner, table).take():
            rows.setdefault(key.netns_cookie, []).append((key, value))
        return [Taken(cookie, table, tuple(found)) for cookie, found in rows.items()]

    def evicted(self) -> dict[tuple[str, str], int]:
        """Return how many entries were lost for lack of room, by tuner and table."""
        return {
            (tuner.name, table.name): found.evicted
            for (tuner, table), found in self._maps.items()
        }

    def _map(self, tuner: Tuner, table: Table) -> BpfMap[Any, Any]:
        found = self._maps.get((tuner, table))
        if found is None:
            bpf = self._loader.object(tuner)
            found = BpfMap(bpf, table.name, table.key, table.value)
            self._maps[tuner, table] = found
        return found

    def forget(self, cookie: NetnsCookie) -> None:
        """Remove what was put in for a namespace that ended."""
        self._remove(list(self._put.pop(cookie, {})))

    def clear(self, tuner: Tuner) -> None:
        """Remove all that *tuner* put in: it failed."""
        for cookie, rows in list(self._put.items()):
            theirs = [row for row in rows if row[0] is tuner]
            self._remove(theirs)
            for row in theirs:
                del rows[row]
            if not rows:
                del self._put[cookie]

    def _remove(self, rows: list[Row]) -> None:
        for tuner, table, key in rows:
            try:
                self._map(tuner, table).remove(key)
            except KernelError:  # its object is gone, and the map with that
                continue
