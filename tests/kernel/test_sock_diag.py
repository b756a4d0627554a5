"""Buffers in use are those of the namespace that is asked about."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bpftune.kernel.netns import Namespaces
from bpftune.kernel.sock_diag import RMEM, WMEM, buffers_in_use
from bpftune.model import Netns, NetnsCookie, Tunable

if TYPE_CHECKING:
    from tests.kernel.conftest import NamedNetns

    MakeNetns = Callable[..., NamedNetns]


def test_only_connections_in_that_namespace_count(make_netns: MakeNetns) -> None:
    busy, idle = make_netns(), make_netns()
    busy.run("ip", "link", "set", "lo", "up")
    namespaces = Namespaces()
    namespaces.everywhere()
    in_use = buffers_in_use(namespaces)
    with ExitStack() as stack:
        stack.callback(namespaces.close)

        def connect() -> tuple[socket.socket, socket.socket]:
            listener = socket.create_server(("127.0.0.1", 0))
            return listener, socket.create_connection(listener.getsockname())

        listener, client = namespaces.inside(busy.cookie, connect)
        stack.callback(listener.close)
        stack.callback(client.close)
        for name, option in ((WMEM, socket.SO_SNDBUF), (RMEM, socket.SO_RCVBUF)):
            used_bytes = in_use(Netns(busy.cookie), Tunable(name))
            assert used_bytes is not None
            assert used_bytes >= client.getsockopt(socket.SOL_SOCKET, option)
            assert in_use(Netns(idle.cookie), Tunable(name)) == 0
        assert in_use(Netns(busy.cookie), Tunable("net.core.somaxconn")) is None
        assert in_use(Netns(NetnsCookie(2**63)), Tunable(WMEM)) is None
