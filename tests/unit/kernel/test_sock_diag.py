from __future__ import annotations

import socket
import struct
from contextlib import ExitStack

from hypothesis import given
from hypothesis import strategies as st

from bpftune.kernel.sock_diag import buffers_in, largest_buffers

ASKED_BYTES = 100_000


def test_the_buffers_of_a_connection_are_among_those_asked_for() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        client = stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ASKED_BYTES)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ASKED_BYTES)
        client.connect(listener.getsockname())
        sndbuf, rcvbuf = largest_buffers()
        assert sndbuf >= client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert rcvbuf >= client.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def attribute(kind: int, body: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(body), kind) + body


def test_the_buffers_are_found_among_other_attributes() -> None:
    sizes = struct.pack("=9I", *range(100, 109))
    message = bytes(72) + attribute(1, b"cubic\0\0\0") + attribute(7, sizes)
    assert buffers_in(message) == (103, 101)
    assert buffers_in(bytes(72) + attribute(7, sizes[:12])) is None
    assert buffers_in(bytes(72)) is None


@given(st.binary(max_size=200))
def test_a_message_of_any_bytes_is_read(message: bytes) -> None:
    found = buffers_in(message)
    assert found is None or min(found) >= 0
