"""Network namespaces: found by cookie, entered for a moment, named for people.

A cookie is never used twice until the next boot; an inode number is, so only
the cookie says which namespace one is in. No descriptor of another namespace
stays open, since that would keep it alive.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections import OrderedDict
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bpftune.kernel.errors import KernelError
from bpftune.kernel.inotify import DirectoryWatch
from bpftune.kernel.netns_scan import Place, Scanner
from bpftune.kernel.setns import ElsewhereError, call_in, cookie_here
from bpftune.model import Netns, NetnsCookie

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MOST_KNOWN = 4096
MISS_S = 5.0
"""How long a cookie that was looked for in vain is not looked for again."""

SCANS_AT_ONCE, SCANS_PER_S = 8.0, 4.0
"""Scans that unknown cookies may cause: a burst, and the rate after it."""

RUN_NETNS = Path("/run/netns")


class NetnsGoneError(KernelError):
    """The namespace ended, or nothing that leads to it can be found."""


class Namespaces:
    """The network namespaces that can be reached from here.

    *host* is the one the daemon runs in. Not for use by several threads at
    once, but for what ``inside`` calls.
    """

    def __init__(
        self,
        list_tasks: Callable[[], bytes] | None = None,
        clock: Callable[[], float] = time.monotonic,
        run_netns: Path = RUN_NETNS,
    ) -> None:
        """Learn the host's cookie; nothing else is looked for yet.

        *list_tasks*: see ``Scanner``. *clock* counts seconds.
        """
        self.host = Netns(cookie_here(), "host")
        self._scanner = Scanner(self.host, list_tasks, run_netns, MOST_KNOWN)
        self._clock = clock
        self._names = DirectoryWatch(run_netns)
        self._known: OrderedDict[NetnsCookie, Place] = OrderedDict()
        self._missed: OrderedDict[NetnsCookie, float] = OrderedDict()
        self._scans_left, self._scans_counted_s = SCANS_AT_ONCE, clock()
        self._thread = threading.local()

    @property
    def fd(self) -> int:
        """Readable when ``/run/netns`` changed; -1 if the kernel cannot tell."""
        return self._names.fd

    def noticed(self) -> bool:
        """Drain *fd*; True if a name came or went.

        A name comes shortly before its namespace is mounted on it, so a scan
        right now may not find it yet.
        """
        if not self._names.drain():
            return False
        self._missed.clear()
        return True

    def close(self) -> None:
        """Stop watching for names."""
        self._names.close()

    def find(self, cookie: NetnsCookie) -> Netns | None:
        """Return the namespace, None if it is gone or cannot be reached.

        One met before is not looked for again: ``gone`` tells when it ended.
        Cookies found in vain are remembered and scans are rationed, so a flood
        of short-lived namespaces costs little; a new one may then be found
        only at a later event.
        """
        if cookie == self.host.cookie:
            return self.host
        place = self._known.get(cookie) or self._look_for(cookie)
        if place is None:
            return None
        self._known.move_to_end(cookie)
        return place.netns

    def has_ended(self, cookie: NetnsCookie) -> bool:
        """Tell whether a scan looked for it in vain lately.

        Not found is not gone: scans are rationed, and what is known is bounded.
        """
        return self._clock() - self._missed.get(cookie, -inf) < MISS_S

    def everywhere(self) -> list[Netns]:
        """Scan, and return the host's namespace and all others, by cookie."""
        found = self._scan()
        return [self.host, *(found[cookie].netns for cookie in sorted(found))]

    def gone(self) -> list[NetnsCookie]:
        """Return the known namespaces that ended since the last call.

        They are forgotten. Costs a stat of each, and a scan if a path of one
        is gone, as it may live on through another.
        """
        doubtful = [c for c, place in self._known.items() if not place.leads_there()]
        if not doubtful:
            return []
        found = self._scan()
        ended = [cookie for cookie in doubtful if cookie not in found]
        for cookie in ended:
            self._known.pop(cookie, None)
        return ended

    def undo_prefix(self, cookie: NetnsCookie) -> str:
        """Return what a person types before a command to run it there.

        Empty for the host; of one that is gone, it makes the rest a comment.
        Quoted for the shell, not escaped for a terminal.
        """
        if cookie == self.host.cookie:
            return ""
        place = self._known.get(cookie) or self._look_for(cookie)
        if place is None:
            return f"# network namespace #{cookie} is gone: "
        if place.netns.name is not None:
            return f"ip netns exec {shlex.quote(place.netns.name)} "
        return f"nsenter --net={shlex.quote(place.path)} "

    def inside(self, cookie: NetnsCookie, do: Callable[[], T]) -> T:
        """Call *do* inside the namespace and return its result.

        In a thread of its own, whose cookie is checked before; what *do*
        raises is raised here. In the host's namespace it is called directly.
        Raises NetnsGoneError, or KernelError if it may not be entered.
        """
        if cookie == self.host.cookie:
            if not getattr(self._thread, "entered", False):
                return do()
            return self._at(self._scanner.own, do)
        for locate in (self._known.get, self._look_for):
            place = locate(cookie)
            if place is not None:
                try:
                    return self._at(place, do)
                except ElsewhereError:
                    continue
        raise NetnsGoneError(
            f"network namespace #{cookie} ended or cannot be reached from here"
        )

    def _at(self, place: Place, do: Callable[[], T]) -> T:
        """Call *do* at *place*, if the cookie is the one expected there."""
        ready = False

        def check_and_do() -> T:
            nonlocal ready
            if cookie_here() != place.netns.cookie:
                raise ElsewhereError
            ready = self._thread.entered = True
            return do()

        try:
            return call_in(place.path, place.inum, check_and_do)
        except OSError as error:
            if ready:
                raise
            raise KernelError(
                f"cannot enter network namespace {place.path}: {error.strerror}",
                hint="CAP_SYS_ADMIN and CAP_SYS_PTRACE are needed; root has them",
            ) from error

    def _look_for(self, cookie: NetnsCookie) -> Place | None:
        """Scan for *cookie* unless that was done, or too much was done, lately."""
        now_s = self._clock()
        if now_s - self._missed.get(cookie, -inf) < MISS_S:
            return None
        earned = (now_s - self._scans_counted_s) * SCANS_PER_S
        self._scans_left = min(self._scans_left + earned, SCANS_AT_ONCE)
        self._scans_counted_s = now_s
        if self._scans_left < 1:
            return None
        self._scans_left -= 1
        place = self._scan().get(cookie)
        if place is None:
            self._missed[cookie] = now_s
            self._missed.move_to_end(cookie)
            while now_s - next(iter(self._missed.values())) >= MISS_S:
                self._missed.popitem(last=False)
        return place

    def _scan(self) -> dict[NetnsCookie, Place]:
        """Find all namespaces but the host's, and remember them."""
        found = self._scanner.scan()
        for cookie, place in found.items():
            self._known[cookie] = place
            self._known.move_to_end(cookie)
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return found
