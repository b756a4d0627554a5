"""The maps of tuners' BPF objects that hold what was decided, or what was added up.

What a tuner put into one is in force as long as the tuner and the network
namespace are; all of it is gone with the daemon. While the tuner or the namespace is
paused nobody watches for harm: then it is not in the kernel, but remembered.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bpftune import pauses
from bpftune.kernel.bpf_map import BpfMap
from bpftune.kernel.errors import KernelError
from bpftune.model import Drop, Netns, NetnsCookie, Put, Table, Take, Taken, Tuner
from bpftune.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from bpftune.kernel.loader import Loader

Row = tuple[Tuner, Table, Any]


@dataclass(slots=True)
class _Held:
    """What a row is to say, if that is a change, and whether it is in the kernel."""

    value: Any
    changes: bool
    in_force: bool


class Tables:
    """Does what tuners ask of their tables."""

    def __init__(
        self,
        loader: Loader,
        paused: pauses.Pauses | None = None,
        find: Callable[[NetnsCookie], Netns | None] = Netns,
        *,
        observe: bool = False,
    ) -> None:
        """Use the objects that *loader* has; with *observe*, put nothing in.

        Nor what is *paused*, in the namespaces that *find* finds.
        """
        self._loader = loader
        self._paused = paused or pauses.Pauses()
        self._find = find
        self._observe = observe
        self._maps: dict[tuple[Tuner, Table], BpfMap[Any, Any]] = {}
        self._put: dict[NetnsCookie, dict[Row, _Held]] = {}

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
        if isinstance(request, Drop):
            found.remove(request.key)
            self._put.get(cookie, {}).pop(row, None)
            return []
        in_force = not self.why_not(tuner, cookie)
        held = _Held(request.value, request.changes, in_force)
        mine = self._put.setdefault(cookie, {})
        if held.in_force:
            found.put(request.key, request.value)
        elif row in mine and mine[row].in_force:
            found.remove(request.key)
        mine[row] = held
        return []

    def why_not(self, tuner: Tuner, cookie: NetnsCookie) -> str:
        """Return why what *tuner* puts in there is not in force; empty if it is."""
        if self._observe:
            return "observing"
        netns = self._find(cookie) or Netns(cookie)
        return pauses.WHY if self._paused.cover_rows(tuner.name, netns) else ""

    def review(self) -> dict[str, str]:
        """Take out what is paused now and put in what is not any more.

        Return what could not be done, by the name of the tuner.
        """
        troubles = {}
        for cookie, rows in self._put.items():
            tuners = {row[0] for row in rows}
            wanted = {tuner: not self.why_not(tuner, cookie) for tuner in tuners}
            for (tuner, table, key), held in rows.items():
                if held.in_force == wanted[tuner]:
                    continue
                try:
                    found = self._map(tuner, table)
                    if wanted[tuner]:
                        found.put(key, held.value)
                    else:
                        found.remove(key)
                    held.in_force = wanted[tuner]
                except KernelError as error:
                    troubles[tuner.name] = str(error)
        return troubles

    def known(self) -> list[tuple[Tuner, Netns]]:
        """Return which tuners have rows for which namespaces, in force or not."""
        return [
            (tuner, self._find(cookie) or Netns(cookie))
            for cookie, rows in self._put.items()
            for tuner in dict.fromkeys(row[0] for row in rows)
        ]

    def held(self, tuner: Tuner) -> list[str]:
        """Return a sentence on where the rows of *tuner* are not in force, if any."""
        reasons = {
            printable(str(netns)): self.why_not(one, netns.cookie)
            for one, netns in self.known()
            if one is tuner
        }
        places = sorted(place for place in reasons if reasons[place])
        if not places:
            return []
        return [f"not in force in {', '.join(places)}: {reasons[places[0]]}"]

    def in_force(self, cookie: NetnsCookie | None = None) -> Counter[str]:
        """Return how many keys have a row in the kernel that changes something.

        By the tuner's name. In one namespace, or in all.
        """
        keys = {
            (tuner.name, key)
            for place, rows in self._put.items()
            for (tuner, _, key), held in rows.items()
            if held.in_force and held.changes and cookie in (None, place)
        }
        return Counter(name for name, _ in keys)

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
