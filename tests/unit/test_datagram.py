"""Datagrams to a reader that may be away, slow, or back."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpftune.datagram import Datagrams
from tests.unit.receivers import Receiver


def send(target: Datagrams) -> bool:
    return target.deliver(lambda: target.socket.sendto(b"x", target.path))


def test_a_reader_may_come_go_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    target = Datagrams(path, "nobody takes it")
    for _ in range(2):
        assert not send(target)
        assert target.trouble.startswith("nobody takes it: ")
        with Receiver(path) as reader:
            assert send(target)
            assert target.trouble == ""
            assert reader.datagrams() == [b"x"]
    target.close()


def test_a_slow_reader_is_no_trouble_and_never_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    target = Datagrams(path, "nobody takes it")
    with Receiver(path):
        sent = 0
        while send(target):
            sent += 1
            assert sent < 100_000, "it has room without end"
        assert sent
        assert target.trouble == ""
    target.close()


def test_what_is_no_error_of_a_socket_is_not_swallowed(tmp_path: Path) -> None:
    target = Datagrams(tmp_path / "socket", "nobody takes it")

    def fail() -> None:
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="mistake"):
        target.deliver(fail)
    target.close()
