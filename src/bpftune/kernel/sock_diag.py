"""How large the buffers of TCP sockets are, asked of the kernel without BPF.

``NETLINK_SOCK_DIAG`` with ``INET_DIAG_SKMEMINFO``, as ``ss -tm`` does
(linux/inet_diag.h, linux/sock_diag.h). Any user may ask.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from bpftune.kernel.errors import KernelError
from bpftune.model import Netns, Tunable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpftune.kernel.netns import Namespaces

WMEM, RMEM = "net.ipv4.tcp_wmem", "net.ipv4.tcp_rmem"

InUse = Callable[[Netns, Tunable], int | None]
"""Tells the largest buffer, in bytes, to which a tunable applies; None: unknown."""

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_SKMEMINFO = 7
_RCVBUF, _SNDBUF = 1, 3  # places in that array of u32

# Not listening, and with data to send or to come: TCP_ESTABLISHED to
# TCP_FIN_WAIT2, TCP_CLOSE_WAIT to TCP_CLOSING but TCP_LISTEN.
_STATES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_REQUEST = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_MESSAGE_BYTES = 72  # struct inet_diag_msg
_READ_BYTES = 64 * 1024
_TIMEOUT_S = 5.0


def buffers_in_use(namespaces: Namespaces) -> InUse:
    """Return a function that asks in any of *namespaces*."""

    def in_use(netns: Netns, tunable: Tunable) -> int | None:
        try:
            sndbuf, rcvbuf = namespaces.inside(netns.cookie, largest_buffers)
        except KernelError:
            return None
        return {WMEM: sndbuf, RMEM: rcvbuf}.get(tunable.name)

    return in_use


def largest_buffers() -> tuple[int, int]:
    """Return the largest send and receive buffer of a TCP connection, in bytes.

    Of the calling thread's network namespace; 0 where there is none. Raises
    KernelError if the kernel cannot tell.
    """
    sndbuf_bytes = rcvbuf_bytes = 0
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG
        ) as netlink:
            netlink.settimeout(_TIMEOUT_S)
            for family in (socket.AF_INET, socket.AF_INET6):
                for buffers in _dump(netlink, family):
                    sndbuf_bytes = max(sndbuf_bytes, buffers[0])
                    rcvbuf_bytes = max(rcvbuf_bytes, buffers[1])
    except OSError as error:
        raise KernelError(f"cannot ask for sockets: {error.strerror}") from error
    return sndbuf_bytes, rcvbuf_bytes


def _dump(netlink: socket.socket, family: int) -> Iterator[tuple[int, int]]:
    """Yield the send and receive buffer of each connection of *family*."""
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 1 << (_SKMEMINFO - 1), _STATES)
    length = _HEADER.size + len(body)
    netlink.send(
        _HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, family, 0) + body
    )
    while True:
        data = netlink.recv(_READ_BYTES)
        for kind, message in _messages(data):
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                code = -int.from_bytes(message[:4], "little", signed=True)
                raise OSError(code, f"errno {code}")
            found = buffers_in(message)
            if found is not None:
                yield found


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            return
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def buffers_in(message: bytes) -> tuple[int, int] | None:
    """Return the send and receive buffer in a ``struct inet_diag_msg``, if any."""
    rest = message[_MESSAGE_BYTES:]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        if not _ATTRIBUTE.size <= length <= len(rest):
            return None
        numbers = rest[_ATTRIBUTE.size : length]
        if kind == _SKMEMINFO and len(numbers) >= 4 * (_SNDBUF + 1):
            sizes = struct.unpack_from("=4I", numbers)
            return sizes[_SNDBUF], sizes[_RCVBUF]
        rest = rest[(length + 3) & ~3 :]
    return None
