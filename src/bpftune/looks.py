"""Looks at sockets: a search of the namespace now and then, else a cheap one."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from bpftune.kernel.errors import KernelError

if TYPE_CHECKING:
    from bpftune.agenda import Looking
    from bpftune.kernel.netns import Namespaces
    from bpftune.kernel.sockets import Sockets
    from bpftune.model import SocketSample


class Looks:
    """Takes the looks that are due."""

    def __init__(self, sockets: Sockets, namespaces: Namespaces) -> None:
        """Take looks with *sockets*."""
        self._sockets = sockets
        self._namespaces = namespaces
        self._marks = False  # may be on sockets
        self._refused = sockets.refused

    def take(self, look: Looking, now_s: float) -> tuple[SocketSample, ...]:
        """Sample the senders or receivers that *look* is for.

        Raises NetnsGoneError, at the next search, and KernelError.
        """
        sockets, watch = self._sockets, look.watch
        if not look.must_search(now_s):
            return sockets.again(
                look.cookie, watch.prefix, watch.buffer_bytes, receivers=watch.receivers
            )
        mark = look.left > 0
        self._marks |= mark
        seen = self._namespaces.inside(
            look.cookie,
            lambda: sockets.sample(
                watch.prefix,
                watch.buffer_bytes,
                receivers=watch.receivers,
                mark=mark,
            ),
        )
        if sockets.marked:
            look.searched(now_s)
        return seen

    def lost(self) -> str:
        """Return why searches leave no marks any more, once; else nothing."""
        known, self._refused = self._refused, self._sockets.refused
        return self._refused if self._refused != known else ""

    def rest(self) -> None:
        """Nobody watches: leave nothing on the sockets."""
        if self._marks:
            with suppress(KernelError):  # tried again at the next rest
                self._sockets.unmark()
                self._marks = False
