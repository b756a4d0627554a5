"""The control socket inside the daemon's loop: many clients, none is waited for.

A turn does a bounded amount of work, then the daemon has its own. Whoever is
slow, sends garbage or too much is cut off; when there are too many, whoever has
most connections loses the one that was idle longest.
"""

from __future__ import annotations

import selectors
import socket
import stat
import time
from collections import Counter
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Protocol

from bpftune.control.access import is_trusted
from bpftune.control.client import Client, GoneError, peer_of
from bpftune.control.framing import Call, CallError, FramingError, error_reply
from bpftune.control.framing import parse_call as parse
from bpftune.kernel.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bpftune.control.access import Peer

MOST_CLIENTS = 16
BACKLOG = 64
TURN_S = 0.005
"""So long a turn lasts, when there is more to do than that."""


class Service(Protocol):
    """Answers calls."""

    def answer(self, call: Call, *, trusted: bool) -> Iterator[bytes | None]:
        """Yield the pieces of the reply, and None where the daemon may go on.

        Raises CallError, and GoneError if the rest of a reply cannot be had.
        """

    def is_watch(self, call: Call) -> bool:
        """Tell whether *call* asks for all records from now on."""


class Server:
    """Listens at *path* and serves whoever connects.

    *fd* is readable when there is something to do; then, and when the time that
    ``turn`` returned has come, ``turn`` is to be called.
    """

    def __init__(
        self,
        path: Path,
        service: Service,
        *,
        group: int | None = None,
        identify: Callable[[socket.socket], Peer] = peer_of,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Listen. A socket file that is there is nobody's: the lock is ours.

        Members of *group*, a number, are trusted as root is. Raises KernelError.
        """
        self._path = path
        self._service = service
        self._group = group
        self._identify = identify
        self._clock = clock
        self._clients: list[Client] = []
        self._selector = selectors.DefaultSelector()
        self._listening = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        )
        try:
            self._listen()
        except OSError as error:
            self._listening.close()
            self._selector.close()
            raise KernelError(
                f"cannot listen at {path}: {error.strerror or error}",
                "status, rollback and the like need it; tuning does not",
            ) from error
        self._selector.register(self._listening, selectors.EVENT_READ)
        self.cut_off: Counter[str] = Counter()

    def _listen(self) -> None:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self._path.lstat().st_mode):
                raise FileExistsError(17, "there is something else")
            self._path.unlink()
        self._listening.bind(str(self._path))
        self._path.chmod(0o666)  # who may do what is asked of the kernel
        self._listening.listen(BACKLOG)

    @property
    def fd(self) -> int:
        """Readable when there is something to do."""
        return self._selector.fileno()

    @property
    def client_count(self) -> int:
        """How many are connected."""
        return len(self._clients)

    def close(self) -> None:
        """Send all away and stop listening. May be called twice."""
        while self._clients:
            self._clients.pop().close()
        self._selector.close()
        if self._listening.fileno() >= 0:
            self._listening.close()
            with suppress(OSError):
                self._path.unlink()

    # --- a turn ------------------------------------------------------------------

    def turn(self) -> float:
        """Do what there is to do, for a while; return when to come back."""
        began_s = self._clock()
        for key, events in self._selector.select(0):
            if key.fileobj is self._listening:
                self._accept(began_s)
            elif key.data in self._clients:
                self._guard(key.data, self._exchange, key.data, events)
        self._end_late(began_s)
        while waiting := [one for one in self._clients if one.is_waiting]:
            for client in waiting:
                if client in self._clients:
                    self._guard(client, self._work, client)
                if self._clock() - began_s >= TURN_S:
                    return began_s  # others first, then the rest at once
        return min((client.due_s for client in self._clients), default=inf)

    def send_to_watchers(self, message: Callable[[bool], bytes]) -> None:
        """Send a record to all who watch: *message* of whether they are trusted."""
        for client in [one for one in self._clients if one.watches]:
            data = message(self._is_trusted(client.peer))
            self._guard(client, client.send, data, self._clock())
            if client in self._clients:
                self._await(client)

    @property
    def has_watchers(self) -> bool:
        """Whether somebody wants to hear of each record."""
        return any(client.watches for client in self._clients)

    def _is_trusted(self, peer: Peer) -> bool:
        return is_trusted(peer, self._group)

    def _guard(
        self, client: Client, do: Callable[..., None], *arguments: object
    ) -> None:
        """Call *do*; whatever the client is to blame for ends the client only."""
        try:
            do(*arguments)
        except GoneError:
            self._drop(client)
        except FramingError:
            self.cut_off["not a request"] += 1
            self._drop(client)

    def _accept(self, now_s: float) -> None:
        for _ in range(MOST_CLIENTS):
            try:
                connection, _address = self._listening.accept()
            except OSError:  # nobody, or gone again, or no descriptor is left
                return
            try:
                client = Client(connection, self._identify(connection), now_s)
            except OSError:
                connection.close()
                continue
            self._clients.append(client)
            self._selector.register(connection, selectors.EVENT_READ, client)
            if len(self._clients) > MOST_CLIENTS:
                self._make_room()
            if client in self._clients:  # mostly the request is there already
                self._guard(client, self._exchange, client, selectors.EVENT_READ)

    def _make_room(self) -> None:
        """Send one away: of whoever has most connections, the one idle longest.

        Users are told apart only among those who are not trusted, and half of the
        places are for those who are: one person may have thousands of user ids.
        """
        crowd = [one for one in self._clients if self._is_trusted(one.peer)]
        if len(crowd) <= MOST_CLIENTS // 2:
            others = [one for one in self._clients if one not in crowd]
            held = Counter(one.peer.uid for one in others)
            most = max(held.values())
            crowd = [one for one in others if held[one.peer.uid] == most]
        self.cut_off["too many"] += 1
        self._drop(min(crowd, key=lambda one: one.active_s))

    def _end_late(self, now_s: float) -> None:
        for client in [one for one in self._clients if one.due_s <= now_s]:
            self.cut_off["too slow"] += 1
            self._drop(client)

    def _drop(self, client: Client) -> None:
        self._clients.remove(client)
        self._selector.unregister(client.connection)
        client.close()

    # --- one client --------------------------------------------------------------

    def _exchange(self, client: Client, events: int) -> None:
        now_s = self._clock()
        if events & selectors.EVENT_WRITE:
            client.flush(now_s)
        if events & selectors.EVENT_READ and (client.watches or not client.is_busy):
            client.read(now_s)
        self._begin_next(client)

    def _begin_next(self, client: Client) -> None:
        """Take up the client's next request, if it is that far."""
        message = client.next_request(self._clock())
        if message is not None:
            client.job = self._answer(client, parse(message))
        self._await(client)

    def _await(self, client: Client) -> None:
        """Listen for what the client will do next."""
        wanted = selectors.EVENT_WRITE if client.has_output else selectors.EVENT_READ
        if client.watches:
            wanted |= selectors.EVENT_READ  # it closes the connection
        key = self._selector.get_key(client.connection)
        if key.events != wanted:
            self._selector.modify(client.connection, wanted, client)

    def _answer(self, client: Client, call: Call) -> Iterator[bytes | None]:
        trusted = self._is_trusted(client.peer)
        try:
            for part in self._service.answer(call, trusted=trusted):
                yield part if not call.oneway else None
            client.watches = self._service.is_watch(call)
        except CallError as error:
            if not call.oneway:
                yield error_reply(error)

    def _work(self, client: Client) -> None:
        """Go one step on with the answer."""
        assert client.job is not None  # noqa: S101  callers have looked
        try:
            part = next(client.job)
        except StopIteration:
            client.job = None
            self._begin_next(client)
            return
        if part is not None:
            client.send(part, self._clock())
        self._await(client)
