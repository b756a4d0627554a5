"""Look for network namespaces: processes', mounted ones, and those with a name."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.kernel import mountinfo
from bpftune.kernel.errors import KernelError
from bpftune.kernel.setns import ElsewhereError, call_in, cookie_here
from bpftune.model import Netns, NetnsCookie

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TASK = struct.Struct("=QII")  # struct netns_task in host.bpf.c

MountKey = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """A way into a namespace: *path* has inode *inum*.

    *changed_ns* is the inode's ctime where *path* is a mount, which pins the
    inode: a name deleted and made again may get the same inode number. What
    /proc shows of a process has no stable ctime; there it is None.
    """

    netns: Netns
    path: str
    inum: int
    changed_ns: int | None = None

    def leads_there(self) -> bool:
        """Tell whether *path* still has the inode. Only the cookie is proof."""
        try:
            found = Path(self.path).stat()
        except OSError:
            return False
        return found.st_ino == self.inum and self.changed_ns in (
            None,
            found.st_ctime_ns,
        )


class Scanner:
    """Finds the namespaces other than the host's, at most *most* of them.

    *list_tasks* runs ``list_netns`` of host.bpf.c and returns its output.
    Without it, or where it raises KernelError, /proc is walked, which takes
    about eight times as long and enters every namespace it finds.
    """

    def __init__(
        self,
        host: Netns,
        list_tasks: Callable[[], bytes] | None,
        run_netns: Path,
        most: int,
    ) -> None:
        """Find out what the host's namespace looks like as a file."""
        # "self" is the main thread, also when another asks.
        own = Path("/proc/self/ns/net").stat()
        self.own = Place(host, "/proc/self/ns/net", own.st_ino)
        self._nsfs_dev = own.st_dev
        self._list_tasks = list_tasks
        self._run_netns = run_netns
        self._most = most
        self._mounts_seen: dict[MountKey, NetnsCookie] = {}

    def scan(self) -> dict[NetnsCookie, Place]:
        """Return all that can be reached now; of several ways in, a name's."""
        tasks = list(self._tasks())
        cookies = {inum: cookie for cookie, inum, _ in tasks}
        found: dict[NetnsCookie, Place] = {}
        mounts_seen: dict[MountKey, NetnsCookie] = {}
        for path, name in self._mounts():
            place = self._mounted(path, name, cookies)
            if place is not None and len(found) < self._most:
                found.setdefault(place.netns.cookie, place)
                key = (path, place.inum, place.changed_ns or 0)
                mounts_seen[key] = place.netns.cookie
        self._mounts_seen = mounts_seen
        for cookie, inum, path in tasks:
            if cookie not in found and len(found) < self._most:
                place = Place(Netns(cookie), path, inum)
                # Seen from a container, the number is another process's.
                if place.leads_there():
                    found[cookie] = place
        return found

    def _mounted(
        self, path: str, name: str | None, cookies: dict[int, NetnsCookie]
    ) -> Place | None:
        """Return the namespace at *path*, entering it if its cookie is unknown."""
        try:
            at = Path(path).stat()
            if at.st_dev != self._nsfs_dev or at.st_ino == self.own.inum:
                return None
            cookie = (
                cookies.get(at.st_ino)
                or self._mounts_seen.get((path, at.st_ino, at.st_ctime_ns))
                or call_in(path, at.st_ino, cookie_here)
            )
        except (OSError, ElsewhereError):
            return None  # gone meanwhile, or a namespace of another kind
        return Place(Netns(cookie, name), path, at.st_ino, at.st_ctime_ns)

    def _mounts(self) -> Iterator[tuple[str, str | None]]:
        """Yield paths of bound namespaces and their names, named ones first."""
        # Read before the names: what is mounted then has its name already.
        mounts = mountinfo.MOUNTINFO.read_bytes()
        try:
            # Links to /proc/PID/ns/net are found here only.
            with os.scandir(self._run_netns) as entries:
                paths = {entry.path: entry.name for entry in entries}
        except OSError:
            paths = {}
        yield from sorted(paths.items())
        for mount in mountinfo.parse(mounts):
            is_net = mount.kind == "nsfs" and mount.root.startswith("net:")
            if is_net and mount.point not in paths:
                yield mount.point, None

    def _tasks(self) -> Iterator[tuple[NetnsCookie, int, str]]:
        """Yield (cookie, inode, path) of processes outside the host's namespace."""
        try:
            output = self._list_tasks() if self._list_tasks else None
        except KernelError:
            output = None  # this kernel cannot run it
        if output is None:
            yield from self._processes()
            return
        whole = len(output) // _TASK.size * _TASK.size
        for cookie, inum, tgid in _TASK.iter_unpack(output[:whole]):
            if cookie != self.own.netns.cookie:
                yield NetnsCookie(cookie), inum, f"/proc/{tgid}/ns/net"

    def _processes(self) -> Iterator[tuple[NetnsCookie, int, str]]:
        cookies = {self.own.inum: self.own.netns.cookie}
        with os.scandir("/proc") as entries:
            pids = [entry.name for entry in entries if entry.name.isdecimal()]
        for pid in pids:
            path = f"/proc/{pid}/ns/net"
            try:
                inum = Path(path).stat().st_ino
                if inum not in cookies:
                    cookies[inum] = call_in(path, inum, cookie_here)
            except (OSError, ElsewhereError):
                continue  # ended meanwhile
            if inum != self.own.inum:
                yield cookies[inum], inum, path
